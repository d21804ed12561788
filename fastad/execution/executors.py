"""Executors: the ways to run a table, by name; and which of them a `tier` stands for.

An executor is three functions over one request: `estimate`, `is_cached` and `kernel`. A new one is an entry of
`EXECUTORS`; `tier="its name"` then chooses it everywhere.
"""

import itertools
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fastad.execution.collecting import uncollected
from fastad.execution.kernel import Kernel
from fastad.execution.machine import background, cache, shipped
from fastad.execution.machine.times import TIMES, Counts
from fastad.execution.request import DERIVED, Request
from fastad.execution.row_kinds import program_tables, row_counts, tables_of
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

    def part(self, table: Table, threads: int = 1, threshold: int | None = None) -> Kernel:
        """The kernel of a sub-program, its operands and results inline if there is no `threshold`."""
        return self.kernel(Request(table), threads, threshold)


# ── sweeps ────────────────────────────────────────────────────────────────────────────────────────────────────
_loaded: set[str] = set()  # modes whose sweeps were used in this process


def _sweep_estimate(request: Request) -> float:
    mode = "value" if request.base.subs else request.mode
    return 0.0 if mode in _loaded else TIMES.expected(_sweep_counts(mode))


def _sweep_counts(mode: str) -> Counts:
    is_there = cache.is_noted("sweeps", mode) or shipped.is_for_this_processor()
    return {"sweeps" if is_there else "new sweeps": 1.0}


def _sweep_kernel(request: Request, threads: int, threshold: int | None) -> Kernel:
    from fastad.execution.sweeps.kernel import SweepKernel, is_swept

    if not is_swept(request.base):
        _load_sweeps("value")
        with uncollected():
            table = request.table
        return SweepKernel(table, threshold=threshold, part=SWEEP.part, threads=threads)
    _load_sweeps(request.mode)
    return SweepKernel(
        request.base, request.mode, request.wrt, request.seeds, chosen=request.chosen, threshold=threshold
    )


def _load_sweeps(mode: str) -> None:
    if mode in _loaded:
        return
    from fastad.execution.sweeps.kernel import load

    counts, start = _sweep_counts(mode), time.thread_time()
    load(mode)
    if not _loaded:  # later ones share much with the first
        TIMES.measured(counts, time.thread_time() - start)
    _loaded.add(mode)


SWEEP = Executor(
    "sweep", _sweep_estimate, lambda request, threads: True, _sweep_kernel,
    "compiling the sweeps, once for all (`python -m fastad warmup` does it beforehand),",
)  # fmt: skip

# ── native code ───────────────────────────────────────────────────────────────────────────────────────────────
MOST_ROWS = 200_000  # of programs that are compiled without being told to: LLVM takes some 6 kB of memory for a row


def compile_seconds(request: Request) -> float:
    """Estimated time to make native code."""
    tables = list(program_tables(request.table if request.is_derived else request.base))
    times = 1.0 if request.is_derived else _DERIVED
    if times * sum(map(len, tables)) > MOST_ROWS:
        return math.inf
    return _made_in(tables, times)


def _made_in(tables: Sequence[Table], times: float = 1.0) -> float:
    """Seconds to make native code of these tables."""
    start = 0.0 if _NATIVE in sys.modules else TIMES.expected(_IMPORT)
    return start + times * sum(TIMES.expected(row_counts(table)) for table in tables)


_DERIVED = 2.2  # time for a derivative, about, for the time for its value
_NATIVE, _IMPORT = "fastad.execution.native", {"native import": 1.0}


def _is_native_cached(request: Request, threads: int) -> bool:
    if not cache.is_noted(*_made_key(request, threads)):
        return False  # without importing the compiler, and deriving the table that its code is kept by
    from fastad.execution.native import is_cached

    return is_cached(request.table, threads=threads)


def _native_kernel(request: Request, threads: int, threshold: int | None) -> Kernel:
    from fastad.execution.native import NativeKernel

    with uncollected():
        table = request.table
    kernel = NativeKernel(table, threads, threshold, part=NATIVE.part)
    request.base.free_lists()
    cache.note(*_made_key(request, threads))
    if not kernel.from_cache:
        for part in itertools.islice(program_tables(table), 1, None):
            cache.note(*_part_key(part, threads))
    return kernel


def _made_key(request: Request, threads: int) -> tuple[str, ...]:
    """What tells that native code has been made for a request."""
    return "native", request.base.hash, repr((request.mode, request.wrt, request.seeds, request.chosen, threads))


def _part_key(table: Table, threads: int) -> tuple[str, ...]:
    """What tells that native code has been made for a table that a driver of a program calls."""
    return "native part", table.hash, str(threads)


def _are_noted(parts: Sequence[Table], threads: int) -> bool:
    return all(cache.is_noted(*_part_key(part, threads)) for part in parts)


NATIVE = Executor("native", compile_seconds, _is_native_cached, _native_kernel, "compiling native code")

# ── the choice ────────────────────────────────────────────────────────────────────────────────────────────────
EXECUTORS: dict[str, Executor] = {executor.name: executor for executor in (SWEEP, NATIVE)}
AUTO = "auto"

SECONDS_A_ROW = 12e-9  # that the sweeps take for a scalar row, about
_EAGER = 0.5  # part of the compile time after which the background compiles, while the first executor goes on
_IN_ADVANCE = 0.5  # part of the time that the first executor needs to be ready which may be spent on doing without it


@dataclass(frozen=True)
class Policy:
    """Which executors run a request: `first` until that has taken as long as `then` takes to be ready, as in the
    ski-rental problem. Where the tier is forced, both are the same."""

    first: Executor
    then: Executor

    def start(self, request: Request, threads: int) -> Executor:
        """The executor to begin with: `then` if it is ready; or sooner than the table's loops have run once by `first`;
        or sooner than `first`, all that this process has compiled so far counted too: a program of many tables would
        else wait for each of them, and never for the sweeps that serve them all."""
        first, then = self.first, self.then
        if first is then or then.is_cached(request, threads):
            return then
        estimate = then.estimate(request)
        if interpreting_seconds(request) >= estimate:
            return then
        return then if TIMES.spent + estimate < _IN_ADVANCE * first.estimate(request) else first

    def pays_from(self, request: Request) -> float:
        """Seconds that `first` has to take until `then` is made."""
        return self.then.estimate(request) * (_EAGER if background.is_on() else 1.0)

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

    def once(self, sub: Sub, threads: int) -> Executor:
        """The executor for a single run of a driver: `then` if the code of its parts is there, or takes less time to
        make than `first` takes to run them. A loop of unknown length is taken for a long one: it cannot be stopped."""
        tables = list(tables_of(sub))
        if _are_noted(tables, threads):
            return self.then
        return self.then if SECONDS_A_ROW * row_evaluations(sub, _UNSTOPPED) >= _made_in(tables) else self.first


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
_MANY, _UNSTOPPED = 100_000, 1_000_000  # repetitions where their number is not known


def row_evaluations(sub: Sub, unknown: int = _MANY) -> int:
    """How many rows a run evaluates, about; `unknown` stands for a number of repetitions that is not known."""
    own = sum(row_evaluations(part, unknown) for part in sub.parts)
    if sub.table is not None:
        own += len(sub.table) + sum(row_evaluations(inner, unknown) for inner in sub.table.subs)
    return (unknown if sub.repetitions is None else sub.repetitions) * own
