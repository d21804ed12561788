"""Running a table on NumPy arrays: binds buffers to kernels, and chooses the tier as in the ski-rental problem."""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastad.execution.invoke import caller, packet
from fastad.execution.kernel import Kernel, aligned, raise_for
from fastad.execution.layout import Slot
from fastad.tables.derive import adjoint_table, tangent_table
from fastad.tables.inline import compact
from fastad.tables.table import DTYPES, Table, ValueType

# Estimates of compile time, for the choice of tier, in seconds: for any table, a scalar row, an array row.
COMPILE_SECONDS, COMPILE_SECONDS_A_ROW, COMPILE_SECONDS_AN_ARRAY_ROW = 0.02, 6e-5, 2e-3
# Rows of a derivative beside those of its value, and time that the sweeps take for a scalar row: estimates.
_DERIVED, SECONDS_A_ROW = 3, 12e-9
# Estimates up to which it is worth deriving a table just to look for its code in the disk cache.
_LOOK_UP_TO = 2.0
# Time to load the sweeps of a mode, where they were not used yet in this process.
SWEEP_START_SECONDS = 0.3
# Values up to which a kernel is so short that it keeps the interpreter's lock.
_HOLD_UP_TO = 20_000
_sweeps_loaded: set[str] = set()


class GuardFailed(Exception):  # control flow, never seen by users
    """A replay met another path than the recorded one; `guard` counts the guards of the table."""

    def __init__(self, guard: int) -> None:
        super().__init__(guard)
        self.guard = guard


@dataclass(frozen=True)
class Plan:
    """What to run: a table (mode "value"), or its tangents or adjoints with respect to the inputs `wrt`.

    `table` is the table of just that, derived when it is first needed: the sweeps compute it from `base`. `chosen`
    are the results of the derivative that are wanted, in order (None: all of them).
    """

    base: Table
    mode: str = "value"
    wrt: tuple[int, ...] = ()
    seeds: tuple[float, ...] | None = None
    chosen: tuple[int, ...] | None = None

    @cached_property
    def table(self) -> Table:
        """The derived table."""
        if self.mode == "value":
            return self.base
        if self.mode == "tangent":
            table = tangent_table(self.base, self.wrt)
        else:
            table = adjoint_table(self.base, self.wrt, seeds=self.seeds)
        if self.chosen is None:
            return table
        return compact(replace(table, outputs=tuple(table.outputs[i] for i in self.chosen)))

    @property
    def inputs(self) -> tuple[ValueType, ...]:
        """Types of the inputs, captured arrays included."""
        base, count = self.base, self.base.explicit_inputs
        given: tuple[ValueType, ...] = ()
        if self.mode == "tangent":
            given = tuple(base.inputs[i] for i in self.wrt)
        elif self.mode == "adjoint" and self.seeds is None:
            given = base.output_types
        return (*base.inputs[:count], *given, *base.inputs[count:])

    @property
    def sweep_results(self) -> tuple[ValueType, ...]:
        """Types of the results of the sweep, before choosing."""
        own = self.base.output_types
        if self.mode == "value":
            return own
        return (*own, *map(_real, own if self.mode == "tangent" else [self.base.inputs[i] for i in self.wrt]))

    @property
    def results(self) -> tuple[ValueType, ...]:
        """Types of the results."""
        every = self.sweep_results
        return every if self.chosen is None else tuple(every[i] for i in self.chosen)

    @property
    def rows(self) -> int:
        """Number of rows of the table; an estimate as long as it has not been derived."""
        return len(self.table) if "table" in self.__dict__ or self.mode == "value" else _DERIVED * len(self.base)


def _real(kind: ValueType) -> ValueType:
    """Type of a derivative."""
    return kind if kind.dtype in "df" else ValueType(kind.shape, "d")


class Binding:
    """A kernel with buffers of its own. One thread at a time may use it."""

    def __init__(
        self,
        kernel: Kernel,
        inputs: Sequence[ValueType],
        results: Sequence[ValueType],
        chosen: Sequence[int] | None = None,
    ) -> None:
        layout = kernel.layout
        self.chosen, self.result_types = chosen, tuple(results)
        self.kernel = kernel
        self.vector_in, self.vector_out = aligned(layout.in_size), aligned(layout.out_size)
        self.work = aligned(kernel.work_size)
        # An input's buffer (None: by reference) and place; a result's, and its shape and dtype if not float64.
        self.inputs = [
            (_buffer(self.vector_in, slot, kind), slot.offset) for slot, kind in zip(layout.inputs, inputs, strict=True)
        ]
        self.outputs = [
            (_buffer(self.vector_out, slot, kind), slot.offset, kind.shape, _cast(kind))
            for slot, kind in zip(layout.outputs, results, strict=True)
        ]
        self.addresses_in = self.vector_in.view(np.int64)
        self.addresses_out = self.vector_out.view(np.int64)
        self._packet = packet(kernel.address, kernel.context, self.vector_in, self.vector_out, self.work)
        large = bool(kernel.rows.subs) or int(kernel.rows.sizes.sum()) > _HOLD_UP_TO
        self.invoke = caller(self._packet, release=large)

    def call(self, values: Sequence[Any]) -> list[Any]:
        """Results for these inputs, as new arrays."""
        held = []
        for (view, offset), value in zip(self.inputs, values, strict=True):
            if view is not None:
                view[...] = value
            else:
                array = np.ascontiguousarray(value, np.float64)
                held.append(array)
                self.addresses_in[offset] = array.ctypes.data
        out: list[Any] = []
        for view, offset, shape, _ in self.outputs:
            if view is None:
                view = np.empty(shape)
                self.addresses_out[offset] = view.ctypes.data
            out.append(view)
        code = self.invoke()
        if code:
            self.fail(code)
        results = [_finished(a, *o) for a, o in zip(out, self.outputs, strict=True)]
        return results if self.chosen is None else [results[i] for i in self.chosen]

    def run(self) -> None:
        """Run the kernel on the buffers as they are."""
        code = self.invoke()
        if code:
            self.fail(code)

    def fail(self, code: int) -> None:
        """Raise what a return code other than 0 means."""
        if code > 0:
            raise GuardFailed(self.kernel.rows.guards.index(code - 1))
        raise_for(code, self.kernel.rows)


def _buffer(vector: np.ndarray, slot: Slot, kind: ValueType) -> np.ndarray | None:
    """The part of a vector that holds a value inline."""
    return None if slot.by_reference else vector[slot.offset : slot.offset + slot.size].reshape(kind.shape)


def _cast(kind: ValueType) -> np.dtype | None:
    """The dtype that a result is cast to: kernels compute in float64."""
    return None if kind.dtype == "d" else DTYPES[kind.dtype]


def _finished(array: Any, view: Any, offset: int, shape: Any, dtype: np.dtype | None) -> Any:
    """A result of the caller's own: a copy of what lies in the kernel's buffer, in its dtype; scalars unboxed."""
    if not shape:
        return array[()] if dtype is None else dtype.type(array[()])
    if dtype is not None:
        return array.astype(dtype)
    return array if view is None else array.copy()


# What runs programs instead of the kernels while `fad.debug.nans()` is on; it returns None to leave a call to them.
inspector: Callable[[Plan, Sequence[Any]], list[Any] | None] | None = None


@dataclass
class Compiled:
    """A plan, its kernels, and which of them to use. Calls from several threads get bindings of their own."""

    plan: Plan
    tier: str = "auto"
    threads: int | None = None
    interpreted_seconds: float = 0.0
    compile_seconds: float = 0.0
    _kernel: Kernel | None = None
    _free: list[Binding] = field(default_factory=list)
    _native: bool = False

    @property
    def tier_in_use(self) -> str:
        return "native" if self._native else "sweep"

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Results for these inputs (captured arrays included)."""
        if inspector is not None and (results := inspector(self.plan, values)) is not None:
            return results
        if self._native:
            free = self._free
            try:
                binding = free.pop()
            except IndexError:
                binding = self._bind()
            try:
                return binding.call(values)
            finally:
                free.append(binding)
        return self._choose(values)

    def _choose(self, values: Sequence[Any]) -> list[Any]:
        """Interpret until that has cost what compiling costs; then compile."""
        estimate = compile_seconds(self.plan)
        if self._kernel is None:
            if self.tier == "native" or (self.tier == "auto" and self._native_at_once(estimate)):
                self._compile()
                return self(values)
            self._kernel = _sweep_kernel(self.plan)
            _sweeps_loaded.add(self.plan.mode)
        if self.tier == "auto" and self.interpreted_seconds >= estimate:
            self._compile()
            return self(values)
        free = self._free  # not read again below: another thread may compile meanwhile
        try:
            binding = free.pop()
        except IndexError:
            binding = self._bind()
        start = time.perf_counter()
        try:
            return binding.call(values)
        finally:
            self.interpreted_seconds += time.perf_counter() - start
            free.append(binding)

    def _native_at_once(self, estimate: float) -> bool:
        """Whether native code is there already, or takes less time to make than to get the sweeps ready, or than one
        run of the table's loops by them."""
        if interpreting_seconds(self.plan) >= estimate:
            return True
        start = 0.0 if self.plan.mode in _sweeps_loaded else SWEEP_START_SECONDS
        return estimate < start or (estimate < _LOOK_UP_TO and _is_cached(self.plan.table, self.threads))

    @property
    def is_native(self) -> bool:
        return self._native

    def binding(self) -> Binding:
        """A new binding of the kernel for the tier in use; `tier="auto"` compiles."""
        if not self._native and self.tier != "sweep":
            self._compile()
        elif self._kernel is None:
            self._kernel = _sweep_kernel(self.plan)
        return self._bind()

    def _bind(self) -> Binding:
        kernel, plan = self._kernel, self.plan
        assert kernel is not None
        if kernel.rows is plan.base and plan.mode != "value":
            return Binding(kernel, plan.inputs, plan.sweep_results, plan.chosen)
        return Binding(kernel, plan.inputs, plan.results)

    def _compile(self) -> None:
        from fastad.execution.native import NativeKernel

        start = time.perf_counter()
        with _uncollected():
            kernel = NativeKernel(self.plan.table, threads=self.threads or default_threads())
        self.compile_seconds = time.perf_counter() - start
        self._kernel, self._free, self._native = kernel, [], True


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector: it would walk the millions of objects that compiling a long program makes
    again and again, and finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def compile_seconds(plan: Plan) -> float:
    """Estimated time to make native code."""
    arrays = int(np.count_nonzero(plan.base.sizes > 1)) / max(len(plan.base), 1)
    a_row = arrays * COMPILE_SECONDS_AN_ARRAY_ROW + (1 - arrays) * COMPILE_SECONDS_A_ROW
    derived = "table" in vars(plan)
    parts = sum(map(_program_rows, (plan.table if derived else plan.base).subs))
    if not derived and plan.mode != "value":
        parts *= _DERIVED
    return COMPILE_SECONDS + a_row * (plan.rows + parts)


def interpreting_seconds(plan: Plan) -> float:
    """Estimated time that the sweeps take for the composite rows."""
    if not plan.base.subs:
        return 0.0
    from fastad.execution.drivers import row_evaluations

    times = 1 if plan.mode == "value" else _DERIVED
    return times * SECONDS_A_ROW * sum(map(row_evaluations, plan.base.subs))


def _program_rows(sub: Any) -> int:
    """Rows of a sub-program and of all that it calls."""
    own = 0 if sub.table is None else len(sub.table) + sum(map(_program_rows, sub.table.subs))
    return own + sum(map(_program_rows, sub.parts))


def _sweep_kernel(plan: Plan) -> Kernel:
    from fastad.execution.sweeps import SweepKernel

    if plan.base.subs:  # composite rows have no derivative sweeps: their derivatives are composite rows
        return SweepKernel(plan.table)
    return SweepKernel(plan.base, plan.mode, plan.wrt, plan.seeds)


def _is_cached(table: Table, threads: int | None) -> bool:
    from fastad.execution.native import is_cached

    return is_cached(table, threads=threads or default_threads())


def native_work_bytes(table: Table) -> int:
    """Bytes of work memory that native code takes for a table."""
    from fastad.execution.native import work_bytes

    return work_bytes(table)


def default_threads() -> int:
    """Threads for large loops: FASTAD_THREADS, or the processors this process may use."""
    import os

    return int(os.environ.get("FASTAD_THREADS", 0)) or len(getattr(os, "sched_getaffinity", _all)(0))


def _all(process: int) -> range:
    """All processors, on systems that do not tell which of them a process may use."""
    import os

    return range(os.cpu_count() or 1)
