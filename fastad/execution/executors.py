"""Executors: the ways to run a table, by name; and which of them a `tier` stands for.

An executor is three functions over one request: `estimate`, `is_cached` and `kernel`. A new one is an entry of
`EXECUTORS`; `tier="its name"` then chooses it everywhere.
"""

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fastad.execution.kernel import Kernel
from fastad.execution.request import DERIVED, Request
from fastad.recording.source import at_line, user_line
from fastad.tables.composites.sub import Sub
from fastad.tables.table import Table

T = TypeVar("T")


@dataclass(frozen=True)
class Executor:
    """A way to run tables.

    `estimate(request)` is about how many seconds its kernel takes to make. `is_cached(request, threads)` says whether
    it is there already. `kernel(request, threads, threshold)` makes it; values of `threshold` elements or more go by
    reference (None: none do). `work` says to the user what that is.
    """

    name: str
    estimate: Callable[[Request], float]
    is_cached: Callable[[Request, int], bool]
    kernel: Callable[[Request, int, int | None], Kernel]
    work: str = "compiling"

    def part(self, table: Table, threads: int = 1) -> Kernel:
        """The kernel of a sub-program, its operands and results inline."""
        return self.kernel(Request(table), threads, None)


# ── sweeps ────────────────────────────────────────────────────────────────────────────────────────────────────
# Time to load the sweeps of a mode, where they were not used yet in this process.
SWEEP_START_SECONDS = 0.3
_modes_loaded: set[str] = set()


def _sweep_estimate(request: Request) -> float:
    return 0.0 if request.mode in _modes_loaded else SWEEP_START_SECONDS


def _sweep_kernel(request: Request, threads: int, threshold: int | None) -> Kernel:
    from fastad.execution.sweeps.kernel import SweepKernel, is_swept

    _modes_loaded.add(request.mode)
    if not is_swept(request.base):
        return SweepKernel(request.table, threshold=threshold, part=SWEEP.part, threads=threads)
    return SweepKernel(
        request.base, request.mode, request.wrt, request.seeds, chosen=request.chosen, threshold=threshold
    )


SWEEP = Executor(
    "sweep", _sweep_estimate, lambda request, threads: True, _sweep_kernel,
    "compiling the sweeps, once for all (`python -m fastad warmup` does it beforehand),",
)  # fmt: skip

# ── native code ───────────────────────────────────────────────────────────────────────────────────────────────
# Estimates of compile time in seconds: for any table, a scalar row, an array row.
COMPILE_SECONDS, COMPILE_SECONDS_A_ROW, COMPILE_SECONDS_AN_ARRAY_ROW = 0.02, 6e-5, 2e-3


def compile_seconds(request: Request) -> float:
    """Estimated time to make native code."""
    arrays = int(np.count_nonzero(request.base.sizes > 1)) / max(len(request.base), 1)
    a_row = arrays * COMPILE_SECONDS_AN_ARRAY_ROW + (1 - arrays) * COMPILE_SECONDS_A_ROW
    parts = sum(map(_program_rows, (request.table if request.is_derived else request.base).subs))
    if not request.is_derived:
        parts *= DERIVED
    return COMPILE_SECONDS + a_row * (request.rows + parts)


def _program_rows(sub: Any) -> int:
    """Rows of a sub-program and of all that it calls."""
    own = 0 if sub.table is None else len(sub.table) + sum(map(_program_rows, sub.table.subs))
    return own + sum(map(_program_rows, sub.parts))


def _is_native_cached(request: Request, threads: int) -> bool:
    from fastad.execution.native import is_cached

    return is_cached(request.table, threads=threads)


def _native_kernel(request: Request, threads: int, threshold: int | None) -> Kernel:
    from fastad.execution.native import NativeKernel

    with _uncollected():
        return NativeKernel(request.table, threads, threshold, part=NATIVE.part)


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


NATIVE = Executor("native", compile_seconds, _is_native_cached, _native_kernel, "compiling native code")

# ── the choice ────────────────────────────────────────────────────────────────────────────────────────────────
EXECUTORS: dict[str, Executor] = {executor.name: executor for executor in (SWEEP, NATIVE)}
AUTO = "auto"

SECONDS_A_ROW = 12e-9  # that the sweeps take for a scalar row, about
# Estimates up to which it is worth deriving a table just to look for its code in the disk cache.
_LOOK_UP_TO = 2.0
_PAYS_FROM = 100_000  # row evaluations of a single run from which native code pays


@dataclass(frozen=True)
class Policy:
    """Which executors run a request: `first` until that has taken as long as `then` takes to be ready, as in the
    ski-rental problem. Where the tier is forced, both are the same."""

    first: Executor
    then: Executor

    def start(self, request: Request, threads: int) -> Executor:
        """The executor to begin with: `then` if it is ready sooner than `first`, or than the table's loops have run
        once by it."""
        first, then = self.first, self.then
        if first is then:
            return then
        estimate = then.estimate(request)
        if interpreting_seconds(request) >= estimate or estimate < first.estimate(request):
            return then
        return then if estimate < _LOOK_UP_TO and then.is_cached(request, threads) else first

    def make(self, executor: Executor, kernel: Callable[[Executor], T]) -> tuple[Executor, T]:
        """A kernel, and the executor that made it: this one, or after a warning `first` if it fails, whatever the
        reason is. A tier that the user has forced fails."""
        try:
            return executor, kernel(executor)
        except Exception as error:
            if executor is self.first:
                raise
            made = self.first, kernel(self.first)  # raises, if the fault is the program's
            _warn(executor, error)
            return made

    def once(self, evaluations: int) -> Executor:
        """The executor for a single run of so many row evaluations."""
        return self.then if evaluations >= _PAYS_FROM else self.first


def _warn(executor: Executor, error: Exception) -> None:
    line = user_line()
    warnings.warn_explicit(
        f"fastad has a fault: {executor.name} code cannot be made ({type(error).__name__}: {error}). The sweeps run "
        "this program instead, with the same results, but slower. Please report it.",
        RuntimeWarning,
        line.file,
        line.number,
    )


def policy(tier: str) -> Policy:
    """What a `tier` stands for: an executor by name, or "auto" for the sweeps, and native code once that pays.

    Raises ValueError for a name that is not known.
    """
    if tier == AUTO:
        return Policy(EXECUTORS["sweep"], EXECUTORS["native"])
    return Policy(executor(tier), executor(tier))


def executor(name: str) -> Executor:
    """The executor of this name. Raises ValueError if there is none."""
    found = EXECUTORS.get(name)
    if found is None:
        known = ", ".join(repr(known) for known in (AUTO, *EXECUTORS))
        raise ValueError(f"tier must be one of {known}, not {name!r}{at_line()}")
    return found


def interpreting_seconds(request: Request) -> float:
    """Estimated time that the sweeps take for the composite rows."""
    if not request.base.subs:
        return 0.0
    times = 1 if request.mode == "value" else DERIVED
    return times * SECONDS_A_ROW * sum(map(row_evaluations, request.base.subs))


# ── how long a run takes ──────────────────────────────────────────────────────────────────────────────────────
_MANY = 100_000  # repetitions where their number is not known


def row_evaluations(sub: Sub, unknown: int = _MANY) -> int:
    """How many rows a run evaluates, about; `unknown` stands for a number of repetitions that is not known."""
    own = sum(row_evaluations(part, unknown) for part in sub.parts)
    if sub.table is not None:
        own += len(sub.table) + sum(row_evaluations(inner, unknown) for inner in sub.table.subs)
    return (unknown if sub.repetitions is None else sub.repetitions) * own
