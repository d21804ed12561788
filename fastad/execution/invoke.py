"""Calling a kernel from Python at the least cost.

A packet holds the kernel's address and its four arguments; one small native function, shared by all kernels, takes
the packet apart. A short kernel is called through a built-in function object made for its packet (Python's C
interface, `PyCFunction_NewEx`), which costs a fifth of a call through ctypes and keeps the interpreter's lock: to
hand the lock over and wait to get it back would take longer than the kernel. A long one is called through ctypes,
which lets other Python threads run meanwhile.
"""

import ctypes
from collections.abc import Callable
from functools import partial

import numpy as np

from fastad.execution import interrupting
from fastad.execution.machine import cache, symbols
from fastad.execution.machine.objects import LoadedCode, compile_ir, load_object
from fastad.once import once

_TEXT = """
declare ptr @PyLong_AsVoidPtr(ptr)
declare ptr @PyLong_FromLongLong(i64)

define i64 @fastad_invoke(ptr %packet) {
  %f = load ptr, ptr %packet
  %p1 = getelementptr ptr, ptr %packet, i64 1
  %context = load ptr, ptr %p1
  %p2 = getelementptr ptr, ptr %packet, i64 2
  %in = load ptr, ptr %p2
  %p3 = getelementptr ptr, ptr %packet, i64 3
  %out = load ptr, ptr %p3
  %p4 = getelementptr ptr, ptr %packet, i64 4
  %work = load ptr, ptr %p4
  %code = call i64 %f(ptr %context, ptr %in, ptr %out, ptr %work)
  ret i64 %code
}

define ptr @fastad_invoke_object(ptr %self, ptr %nothing) {
  %packet = call ptr @PyLong_AsVoidPtr(ptr %self)
  %code = call i64 @fastad_invoke(ptr %packet)
  %result = call ptr @PyLong_FromLongLong(i64 %code)
  ret ptr %result
}
"""
_RELEASING = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_METH_NOARGS = 4
WORK_FIELD = 4  # of a packet


class _MethodDefinition(ctypes.Structure):
    """PyMethodDef of Python's C interface."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_make_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)


@once
def _loaded() -> LoadedCode:
    names = ["fastad_invoke", "fastad_invoke_object"]
    return load_object(cache.cached(("invoke", _TEXT), lambda: compile_ir(_TEXT)), names, symbols.address)


@once
def _definition() -> _MethodDefinition:
    return _MethodDefinition(b"kernel", _loaded()["fastad_invoke_object"], _METH_NOARGS, None)


def caller(packet: np.ndarray, release: bool, watched: bool = False) -> Callable[[], int]:
    """A function without arguments that runs the kernel of a packet and returns its code.

    With `release` other Python threads run meanwhile. `watched`: the kernel has loops, which Ctrl-C stops. The packet
    must outlive the function.
    """
    address = packet.ctypes.data
    if watched:
        entry = interrupting.entry(_loaded()["fastad_invoke"])
        return interrupting.watched(partial(_RELEASING(entry), ctypes.c_void_p(address)))
    if release:
        return partial(_RELEASING(_loaded()["fastad_invoke"]), ctypes.c_void_p(address))
    return _make_function(ctypes.addressof(_definition()), address, None)


def packet(
    address: int, context: int | None, vector_in: np.ndarray, vector_out: np.ndarray, work: np.ndarray
) -> np.ndarray:
    """The packet for a kernel on these vectors; it and the vectors must outlive the calls."""
    vectors = (vector_in.ctypes.data, vector_out.ctypes.data, work.ctypes.data)
    return np.array([address, context or 0, *vectors], np.int64)
