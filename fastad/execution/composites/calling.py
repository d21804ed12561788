"""Running sub-programs from inside a kernel: by the address of their own kernel, with scratch memory of their own.

A composite row has the address of a callee: kernel, context, doubles of work. `fastad_call` allocates the work vector,
writes the address of saved states into its first place, and calls the kernel. Sweeps and native code both use it. A
Python function gets a kernel too: a C function that calls it, keeps its exception for the caller, and returns an error
code.
"""

import ctypes
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastad.execution.composites.drivers import DriverKernel
from fastad.execution.kernel import SIGNATURE, PartKernel
from fastad.execution.machine import cache, symbols
from fastad.execution.machine.objects import LoadedCode, compile_ir, load_object
from fastad.execution.pending import keep_error
from fastad.once import once
from fastad.tables.composites.driver import Driver
from fastad.tables.composites.pieces import Pieces
from fastad.tables.composites.sub import Sub
from fastad.tables.table import Table

CALL = "fastad_call"
_TEXT = """
declare noalias ptr @malloc(i64)
declare void @free(ptr)

define i64 @fastad_call(ptr %out, ptr %x, ptr %callee, ptr %saved) {
  %kernel = load ptr, ptr %callee
  %p1 = getelementptr i64, ptr %callee, i64 1
  %context = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %callee, i64 2
  %doubles = load i64, ptr %p2
  %bytes = mul i64 %doubles, 8
  %room = add i64 %bytes, 128
  %raw = call ptr @malloc(i64 %room)
  %failed = icmp eq ptr %raw, null
  br i1 %failed, label %none, label %run
run:
  %at = ptrtoint ptr %raw to i64
  %up = add i64 %at, 63
  %aligned = and i64 %up, -64
  %work = inttoptr i64 %aligned to ptr
  store ptr %saved, ptr %work
  %code = call i64 %kernel(ptr %context, ptr %x, ptr %out, ptr %work)
  call void @free(ptr %raw)
  ret i64 %code
none:
  ret i64 -1
}
"""


@once
def _code() -> LoadedCode:
    return load_object(cache.cached(("call", _TEXT), lambda: compile_ir(_TEXT)), [CALL], symbols.address)


def call_address() -> int:
    """Address of `int64 fastad_call(double *out, const double *x, const int64 *callee, double *saved)`."""
    return _code()[CALL]


# Makes the kernel of a sub-program of its own table, for so many threads, its operands and results inline if they have
# fewer elements than the last argument (None: all are).
MakePart = Callable[[Table, int, int | None], PartKernel]


class Callee:
    """What a composite row needs to run its sub-program; `address` is that of the callee."""

    def __init__(self, sub: Sub, part: MakePart, threads: int) -> None:
        self._kernel = kernel = kernel_of(sub, part, threads)
        self.work_size: int = kernel.work_size
        self._data = np.array([kernel.address, kernel.context or 0, kernel.work_size, call_address()], np.int64)
        self.address = int(self._data.ctypes.data)


def kernel_of(sub: Sub, part: MakePart, threads: int = 1, pieces: Pieces | None = None, least: int = 0) -> PartKernel:
    """The kernel of a sub-program, its operands and results inline; `part` makes those of tables. Of a table whose
    vectors are cut into pieces, those of `least` numbers or more go by reference."""
    if isinstance(sub, Driver):
        return DriverKernel(sub, partial(kernel_of, part=part), threads)
    if sub.table is None:
        return _Callback(sub)
    table, threshold = (sub.table, None) if pieces is None else (pieces.of(sub), least)
    key = (table.hash, part, threads, threshold)  # a loop, the one that keeps its states, its adjoint call one body
    found = _shared.get(key)
    return found if found is not None else _shared.setdefault(key, part(table, threads, threshold))


_Key = tuple[str, MakePart, int, int | None]
_shared: weakref.WeakValueDictionary[_Key, PartKernel] = weakref.WeakValueDictionary()


class _Callback:
    """The kernel of a Python function."""

    context, work_size = 0, 0

    def __init__(self, sub: Sub) -> None:
        def run(context: Any, vector_in: int, vector_out: int, work: Any) -> int:
            try:
                x = _vector(vector_in, sub.n_in).copy()
                _vector(vector_out, sub.n_out)[...] = sub.evaluate(x)
            except BaseException as error:
                keep_error(error)
                return -1
            return 0

        self._function = SIGNATURE(run)
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value or 0


def _vector(address: int, size: int) -> np.ndarray:
    if size == 0:
        return np.empty(0)
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_double)), (size,))
