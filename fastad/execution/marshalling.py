"""How values go to a kernel and come back: one description, which every way to call a kernel is made from.

A `CallForm` says for every input and result its type, its place in the kernel's vector, and how it is converted.
A `Binding` is memory for one caller at a time. The shortest calls (`fastad.transforms.fast`), prepared calls and
calls from numba code are made from the same description.
"""

import contextlib
import ctypes
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastad.execution.explaining import Warned, explanation, gives_notices, part_explanation
from fastad.execution.invoke import WORK_FIELD, caller, packet
from fastad.execution.kernel import Kernel, PartKernel, aligned, keeps_open, raise_for, raise_for_part
from fastad.execution.layout import Slot
from fastad.execution.request import Request
from fastad.execution.slices import Slices
from fastad.execution.work_memory import SHARED_FROM, WORK
from fastad.recording.source import at_line
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.sub import Sub

_EXACT = 2.0**53  # integers from here on are not all float64 numbers
_GIVEN = "argument or captured array"
_LEAST, _SEARCHES = 16, 4  # values from which parts of the same arrays are looked for, and how often

# Values up to which a kernel is so short that it keeps the interpreter's lock.
_HOLD_UP_TO = 20_000


@dataclass(frozen=True)
class Passed:
    """One input or result of a kernel: its type, and its place in the kernel's vector.

    Kernels compute in float64. Other inputs are converted to it, and results from it.
    """

    kind: ValueType
    slot: Slot

    @property
    def offset(self) -> int:
        """Place in the vector, in doubles: of the value, or of its address."""
        return self.slot.offset

    @property
    def by_reference(self) -> bool:
        return self.slot.by_reference

    @property
    def shape(self) -> tuple[int, ...]:
        return self.kind.shape

    @property
    def dtype(self) -> np.dtype | None:
        """What a result is cast to; None for float64."""
        return None if self.kind.dtype == "d" else DTYPES[self.kind.dtype]

    @property
    def is_plain(self) -> bool:
        """Whether the value lies in the vector as it is."""
        return not self.by_reference and self.dtype is None

    def view(self, vector: np.ndarray) -> np.ndarray | None:
        """The part of a vector that holds the value; None if it goes by reference."""
        if self.by_reference:
            return None
        return vector[self.offset : self.offset + self.slot.size].reshape(self.shape)


@dataclass(frozen=True)
class CallForm:
    """A kernel with its inputs and results. `chosen` are the results that the caller gets, in order (None: all)."""

    kernel: Kernel
    inputs: tuple[Passed, ...]
    outputs: tuple[Passed, ...]
    chosen: tuple[int, ...] | None = None

    @staticmethod
    def of(kernel: Kernel, request: Request) -> "CallForm":
        """How a kernel of a request is called."""
        results = request.results if kernel.chosen is None else request.all_results
        layout = kernel.layout
        return CallForm(kernel, _passed(request.inputs, layout.inputs), _passed(results, layout.outputs), kernel.chosen)

    @property
    def is_short(self) -> bool:
        """Whether a run takes less time than it takes to hand the interpreter's lock over and get it back."""
        rows = self.kernel.rows
        return not rows.subs and int(rows.sizes.sum()) <= _HOLD_UP_TO

    def choose(self, results: Sequence[Any]) -> Sequence[Any]:
        """The results that the caller gets."""
        return results if self.chosen is None else [results[i] for i in self.chosen]


def _passed(kinds: Sequence[ValueType], slots: Sequence[Slot]) -> tuple[Passed, ...]:
    return tuple(Passed(kind, slot) for kind, slot in zip(kinds, slots, strict=True))


class Binding:
    """A kernel with buffers of its own. One thread at a time may use it."""

    def __init__(self, form: CallForm) -> None:
        self.form, self.kernel = form, form.kernel
        kernel = form.kernel
        self.vector_in, self.vector_out = aligned(kernel.layout.in_size), aligned(kernel.layout.out_size)
        self._borrows = kernel.work_size >= SHARED_FROM
        self._work = aligned(0 if self._borrows else kernel.work_size)
        self.views_in = [passed.view(self.vector_in) for passed in form.inputs]
        self.views_out = [passed.view(self.vector_out) for passed in form.outputs]
        self.addresses_in = self.vector_in.view(np.int64)
        self.addresses_out = self.vector_out.view(np.int64)
        # What `call` needs of every value.
        self._ins = [(v, p.offset, p.kind.dtype) for v, p in zip(self.views_in, form.inputs, strict=True)]
        self._integers = _integers(form.inputs)
        self._slices: Slices | None = None
        self._searches = 0 if len(self._ins) >= _LEAST else _SEARCHES
        self._outs = [(v, p.offset, p.shape, p.dtype) for v, p in zip(self.views_out, form.outputs, strict=True)]
        self._converted = _Converted.of(self)
        self._packet = packet(kernel.address, kernel.context, self.vector_in, self.vector_out, self._work)
        self.invoke = caller(self._packet, release=not form.is_short, watched=bool(kernel.rows.subs))
        if self._borrows:
            WORK.use(self, kernel.work_size)
            sparse = any(map(keeps_open, kernel.rows.subs))
            self.invoke = partial(_borrowing, self.invoke, self._packet, kernel.work_size, sparse)
        if gives_notices(kernel.rows):
            self.invoke = Warned(self.invoke, kernel.rows, self._table_inputs)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return self.vector_in.nbytes + self.vector_out.nbytes + self._work.nbytes

    def call(self, values: Sequence[Any]) -> Sequence[Any]:
        """Results for these inputs, as new arrays."""
        if self._converted is None:
            return self._call(values, {})
        with self._converted.borrowed() as places:
            return self._call(values, places)

    def _call(self, values: Sequence[Any], places: Mapping[int, np.ndarray]) -> Sequence[Any]:
        """The same; `places` are where large values of other types than float64 are converted, by their address."""
        held = []
        for (view, offset, kind), value in self._written_singly(values):
            if view is not None:
                view[...] = value
            else:
                if kind == "i":
                    _check_exact(value, _GIVEN)
                array = places.get(offset)
                if array is None:
                    array = np.ascontiguousarray(value, np.float64)
                else:
                    np.copyto(array, np.asarray(value), casting="unsafe")
                held.append(array)
                self.addresses_in[offset] = array.ctypes.data
        if self._integers is not None:
            _check_exact(self.vector_in[self._integers], _GIVEN)
        out: list[Any] = []
        for view, offset, shape, _ in self._outs:
            if view is None:
                view = places.get(~offset)
                if view is None:
                    view = np.empty(shape)
                self.addresses_out[offset] = view.ctypes.data
            out.append(view)
        self.run()
        return self.form.choose([_finished(array, *o) for array, o in zip(out, self._outs, strict=True)])

    def _written_singly(self, values: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
        """How values are written, and they, but for those that are parts of few arrays: these are written here. They
        are looked for where the values are others than before, unless these change too often."""
        if self._searches == _SEARCHES:
            return zip(self._ins, values, strict=True)
        if self._slices is None or not self._slices.are_in(values):
            self._searches += 1
            self._slices = Slices.among(values, [(view, offset) for view, offset, _ in self._ins])
        self._slices.copy(self.vector_in)
        return [(self._ins[k], values[k]) for k in self._slices.others]

    def run(self) -> None:
        """Run the kernel on the buffers as they are."""
        code = self.invoke()
        if code:
            self.fail(code)

    def fail(self, code: int) -> None:
        """Raise what a return code other than 0 means."""
        rows = self.kernel.rows
        raise_for(code, rows, lambda index: explanation(rows, index, self._table_inputs()))

    def _table_inputs(self) -> list[np.ndarray]:
        """The inputs of the table that the kernel's rows belong to, as they are in the buffers. Seeds of derivatives
        stand between its arguments and the arrays that it captured."""
        rows, values = self.kernel.rows, []
        for view, passed in zip(self.views_in, self.form.inputs, strict=True):
            if view is None:
                where = ctypes.cast(int(self.addresses_in[passed.offset]), ctypes.POINTER(ctypes.c_double))
                view = np.ctypeslib.as_array(where, (passed.slot.size,)).reshape(passed.shape)
            values.append(view)
        return values[: rows.explicit_inputs] + values[len(values) - len(rows.captured) :]


def _integers(inputs: Sequence[Passed]) -> np.ndarray | None:
    """Where integers lie in the vector of inputs; None if there are none. There they are looked at all at once, which
    takes as long as for one of them: conversion to float64 keeps the order, so numbers beyond 2⁵³ stay beyond."""
    own = [np.arange(p.offset, p.offset + p.slot.size) for p in inputs if p.kind.dtype == "i" and not p.by_reference]
    return np.concatenate(own) if own else None


class _Converted:
    """Memory in which large inputs and results of other types than float64 are converted. It is borrowed for a
    call: new pages would take longer than the conversion."""

    def __init__(self, shapes: dict[int, tuple[int, ...]]) -> None:
        self._shapes = shapes  # by the offset of an input's address, or ~offset of a result's
        self._sizes = {at: -(-math.prod(shape) // 8) * 8 for at, shape in shapes.items()}
        self._total = sum(self._sizes.values())
        WORK.use(self, self._total)

    @staticmethod
    def of(binding: Binding) -> "_Converted | None":
        """The memory for a binding's calls; None if nothing is converted."""
        form = binding.form
        shapes = {p.offset: p.shape for p in form.inputs if p.by_reference and p.dtype is not None}
        shapes |= {~p.offset: p.shape for p in form.outputs if p.by_reference and p.dtype is not None}
        return _Converted(shapes) if shapes else None

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Within the context, arrays for the values."""
        work, start, found = WORK.take(self._total), 0, {}
        try:
            for at, shape in self._shapes.items():
                found[at] = work[start : start + math.prod(shape)].reshape(shape)
                start += self._sizes[at]
            yield found
        finally:
            WORK.give(work)


def _borrowing(invoke: Callable[[], int], fields: np.ndarray, size: int, sparse: bool) -> int:
    """Run a kernel with work memory that is borrowed for the time."""
    work = WORK.take(size, sparse)
    try:
        fields[WORK_FIELD] = work.ctypes.data
        return invoke()
    finally:
        WORK.give(work)


def _finished(array: Any, view: Any, offset: int, shape: Any, dtype: np.dtype | None) -> Any:
    """A result of the caller's own: a copy of what lies in the kernel's buffer, in its dtype; scalars unboxed."""
    if not shape:
        if dtype == np.int64:
            _check_exact(array, "result")
        return array[()] if dtype is None else dtype.type(array[()])
    if dtype is not None:
        if dtype == np.int64:
            _check_exact(array, "result")
        return array.astype(dtype)
    return array if view is None else array.copy()


def _check_exact(x: Any, what: str) -> None:
    """Raise OverflowError where an integer may not be what it stands for."""
    numbers = np.asarray(x)
    if numbers.dtype.kind in "biu" and numbers.dtype.itemsize <= 4:
        return
    if numbers.size and (numbers.max() >= _EXACT or numbers.min() <= -_EXACT):
        raise OverflowError(
            f"an integer {what} has numbers beyond 2⁵³{at_line()}, which float64, in which kernels compute, does "
            "not hold exactly: subtract an offset before the call, or pass floats if rounding does no harm"
        )


# ── kernels of sub-programs ───────────────────────────────────────────────────────────────────────────────────
def run_part(kernel: PartKernel, sub: Sub, x: np.ndarray, kept: Any = None) -> np.ndarray:
    """The result of a sub-program's kernel for a vector, and a copy of what was kept for it."""
    work = aligned(max(kernel.work_size, 1))
    out = np.zeros(sub.n_out)  # slots may stay unused, and are looked at for NaN
    source = np.ascontiguousarray(x, np.float64)
    own = np.array(() if kept is None else kept, np.float64)
    work.view(np.int64)[:1] = own.ctypes.data
    vectors = packet(kernel.address, kernel.context, source, out, work)
    code = caller(vectors, release=True, watched=True)()
    if code:
        raise_for_part(code, sub, lambda: part_explanation(sub, source))
    return out
