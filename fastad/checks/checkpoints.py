"""Profiles of checkpoint schedules: what the gradient of a loop takes under each, predicted beside measured."""

import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from statistics import median
from typing import Any

from fastad.checks.profile import Measurement, aligned, html_table, time_text
from fastad.checks.profiling import TIERS, measure, measure_on_device
from fastad.errors import CompileError, ScheduleError
from fastad.execution.compiled import Compiled
from fastad.execution.composites.callbacks import counted_steps
from fastad.execution.request import Request
from fastad.schedules.base import WORK_STATES, Schedule
from fastad.schedules.nested import Periodic, Revolve, StoreAll, optimal_steps
from fastad.schedules.online import Online
from fastad.tables.shown.listing import count_text, size_text
from fastad.tables.table import Table
from fastad.transforms.call import make_call
from fastad.transforms.derivatives import Gradient


@dataclass(frozen=True)
class LoopSize:
    """A loop of a profiled function: its name, number of steps, and bytes of a state; whether the number of steps is
    known only after they were made."""

    name: str
    steps: int
    state_bytes: int
    is_open: bool = False


@dataclass(frozen=True)
class ScheduleProfile:
    """A gradient under one schedule; figures are sums over all loops.

    `predicted_steps` are those of the schedule, and `steps` those that were run, without each loop's last one, which
    only the value needs; `predicted_bytes` of states in memory, `disk_bytes` of states on disk; `predicted_seconds`
    from the times of a step and an adjoint step. `steps` and `measured` are None where it was not run.
    """

    schedule: Schedule
    predicted_steps: int
    predicted_bytes: int
    disk_bytes: int
    predicted_seconds: float = 0.0
    steps: int | None = None
    measured: Measurement | None = None


@dataclass(frozen=True)
class CheckpointProfile:
    """The gradient of a function with loops under several schedules; see `fastad.checkpoint.profile`.

    `value` is the function itself, measured, and `step_seconds` its time for a step; `adjoint_seconds` is the median
    over all schedules of what is left of their time for an adjoint step. So the predicted times test whether steps
    run explain the differences between schedules. Times are those of the fastest call: other load only adds to them.
    """

    name: str
    loops: tuple[LoopSize, ...]
    schedules: tuple[ScheduleProfile, ...]
    value: Measurement
    step_seconds: float
    adjoint_seconds: float

    def __getitem__(self, number: int) -> ScheduleProfile:
        return self.schedules[number]

    def memory(self, found: ScheduleProfile) -> int | None:
        """Measured: peak bytes of the gradient beyond those of the value."""
        return None if found.measured is None else max(found.measured.bytes - self.value.bytes, 0)

    def optimum(self) -> list[tuple[int, int]]:
        """(bytes of states in memory, fewest steps) for rising numbers of stored states: the bound of all schedules.

        The first is that of no stored state, where every state is made anew from the loop's input.
        """
        most = max(loop.steps for loop in self.loops)
        counts = sorted({0, *(max(1, round(most ** (k / 60))) for k in range(61))})
        return [
            (
                sum((min(c, max(x.steps - 1, 0)) + WORK_STATES) * x.state_bytes for x in self.loops),
                sum(optimal_steps(x.steps, max(c, 1)) for x in self.loops),
            )
            for c in counts
        ]

    def plot(self, path: Any = None) -> Any:
        """Steps and seconds against memory, with the optimum as bound; saved to `path` if given. Returns the figure."""
        from fastad.plots.schedules import plot_checkpoints

        return plot_checkpoints(self, path)

    # ── as text ──────────────────────────────────────────────────────────────────────────────────────────────
    def summary(self) -> str:
        """What was profiled, and the times of its steps."""
        loops = ", ".join(
            f"{x.name} of {count_text(x.steps, 'step')} with states of {size_text(x.state_bytes)}" for x in self.loops
        )
        return (
            f"gradient of {self.name}: {loops}; a step takes {time_text(self.step_seconds)}, its adjoint "
            f"{time_text(self.adjoint_seconds)}; the value takes {time_text(self.value.fastest)}"
        )

    def table(self) -> list[tuple[str, ...]]:
        """The schedules as cells of text; the first two rows are the heading."""
        upper = ("", "steps:", "", "memory:", "", "disk", "time:", "", "")
        lower = ("schedule", "predicted", "measured", "predicted", "measured", "", "predicted", "measured", "× value")
        return [upper, lower, *map(self._cells, self.schedules)]

    def _cells(self, x: ScheduleProfile) -> tuple[str, ...]:
        memory = self.memory(x)
        return (
            repr(x.schedule), f"{x.predicted_steps:,}", "—" if x.steps is None else f"{x.steps:,}",
            size_text(x.predicted_bytes),
            "—" if memory is None else size_text(memory), size_text(x.disk_bytes) if x.disk_bytes else "—",
            time_text(x.predicted_seconds), "—" if x.measured is None else time_text(x.measured.fastest),
            "—" if x.measured is None else f"{x.measured.fastest / self.value.fastest:.1f}",
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.summary()}\n\n{aligned(self.table(), {0})}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.summary())}</p>{html_table(self.table(), 2)}"


def profile(
    fun: Callable[..., Any], *args: Any, schedules: Iterable[Schedule] | None = None,
    argnums: int | Sequence[int] = 0, tier: str = "native", seconds: float = 0.2, max_seconds: float = 20.0,
    device: str | None = None, lanes: int = 10_000,
) -> CheckpointProfile:  # fmt: skip
    """The gradient of a function with loops under each of the schedules: time and memory, predicted and measured.

    The loops (`fad.scan`, `fad.fori_loop`, `fad.solve_ivp`) that fun itself runs get each schedule in turn, whatever
    theirs is; loops inside of their steps, invertible loops, and loops that end by a condition keep their own. An
    adaptive solve is taken with the number of steps that it makes as its `max_steps`; what `Revolve` and `Multistage`
    are there is `Online`.

    Parameters
    ----------
    fun, args
        A function with a scalar result, and its arguments.
    schedules
        `fad.checkpoint.Revolve(100)`, …; by default all states, three times Revolve, Periodic and Online; all states,
        Periodic and three times Online where there is an adaptive solve.
    argnums
        Which arguments to differentiate by, as in `fad.grad`.
    tier
        "native" or "sweep": which executor runs it.
    seconds
        How long each schedule is measured; at least five calls.
    max_seconds
        A schedule whose steps alone take longer than that is predicted only.
    device, lanes
        With device="cuda" so many lanes of a GPU compute the gradient at once, by compiled kernels: bytes are those of
        all lanes, and steps, which a GPU does not count, are predicted only. What a lane has no memory for is predicted
        only, too.

    Returns
    -------
    CheckpointProfile
        `print(profile)` shows the table; `.table()` gives its cells, `.plot(path)` draws memory against time with the
        optimum as bound; `.schedules` holds the numbers.

    Raises ScheduleError if fun runs no such loop, DerivativeError if its result is no scalar.

    >>> import numpy as np, fastad as fad
    >>> def fall(x):
    ...     return np.sum(fad.fori_loop(0, 100, lambda k, y: y + 0.01 * np.sin(y), x))
    >>> p = fad.checkpoint.profile(fall, np.ones(4), schedules=[fad.checkpoint.Revolve(5)], tier="sweep", seconds=0.01)
    >>> p[0].predicted_steps, p[0].predicted_bytes
    (316, 224)
    """
    if device not in (None, "cpu", "cuda"):
        raise ValueError(f'device must be "cpu" or "cuda", not {device!r}')
    if tier not in TIERS:
        raise ValueError(f"tiers are {TIERS}, not {tier!r}")
    gradient = Gradient(fun, argnums)
    given, _ = gradient.normalise(args, {})
    call = make_call(given, {})
    program = gradient.table_program(call)
    request, values = program.request, [*program.gather(call.inputs), *program.captured]
    request = replace(request, base=_limited(request.base, values, tier))
    loops = tuple(size for x in request.base.subs if (size := _loop_size(x)) is not None)
    if not loops:
        raise ScheduleError(
            f"{gradient.__name__} runs no loop whose schedule can be chosen; write it with fad.scan or fad.solve_ivp"
        )
    on = _Where(tier, None if device in (None, "cpu") else lanes, seconds)
    value = on.measure(Request(request.base), values)
    run = _Gradient(request, values, loops, on, value.fastest / sum(x.steps for x in loops))
    chosen = list(default_schedules(loops) if schedules is None else schedules)
    for schedule in chosen:
        if not isinstance(schedule, Schedule):
            raise ScheduleError(f"schedules must hold schedules, such as fad.checkpoint.Revolve(100), not {schedule!r}")
    rows = [_predicted(s, request.base.subs, on.lanes or 1) for s in chosen]
    rows = [run.measured(x) if run.seconds(x) <= max_seconds else x for x in rows]
    adjoint = run.adjoint(rows)
    rows = [replace(x, predicted_seconds=run.seconds(x, adjoint)) for x in rows]
    return CheckpointProfile(gradient.__name__, loops, tuple(rows), value, run.step, adjoint)


def _loop_size(x: Any) -> LoopSize | None:
    """The size of a loop whose schedule can be chosen; None: it is none."""
    if x.open_size is not None:
        return LoopSize(x.name, x.length, x.open_size, is_open=True)
    return None if x.loop_size is None else LoopSize(x.name, *x.loop_size)


def _limited(table: Table, values: Sequence[Any], tier: str) -> Table:
    """The table with the numbers of steps that its loops make where these are known only after they were made."""
    subs = list(table.subs)
    for i, x in enumerate(subs):
        if x.open_size is not None:
            shown = replace(table, subs=(*subs[:i], x.scheduled(x.schedule, progress=True), *subs[i + 1 :]))
            with counted_steps() as count:
                Compiled(Request(shown), tier).binding().call(values)
            subs[i] = x.limited(max(int(count[0]), 1))
    return replace(table, subs=tuple(subs))


@dataclass(frozen=True)
class _Where:
    """Where programs are measured, and how long: by a tier of the processor, or by so many lanes of a GPU."""

    tier: str
    lanes: int | None
    seconds: float

    def measure(self, request: Request, values: Sequence[Any]) -> Measurement:
        if self.lanes is None:
            return measure(request, values, self.tier, self.seconds)
        return measure_on_device(request, values, self.lanes, self.seconds)


@dataclass(frozen=True)
class _Gradient:
    """A gradient to be measured under schedules, and what a step takes."""

    request: Request
    values: Sequence[Any]
    loops: Sequence[LoopSize]
    on: _Where
    step: float

    @property
    def n(self) -> int:
        return sum(x.steps for x in self.loops)

    def seconds(self, x: ScheduleProfile, adjoint: float = 0.0) -> float:
        """Predicted from the steps run, each loop's last one included, and the time of an adjoint step."""
        return (x.predicted_steps + len(self.loops)) * self.step + self.n * adjoint

    def adjoint(self, rows: Sequence[ScheduleProfile]) -> float:
        """Seconds of an adjoint step: the median of what the steps leave of the measured times."""
        left = [x.measured.fastest - self.seconds(x) for x in rows if x.measured is not None]
        return max(median(left), 0.0) / self.n if left else 0.0

    def measured(self, x: ScheduleProfile) -> ScheduleProfile:
        """With the figures of runs."""
        if self.on.lanes is None:
            found = self.on.measure(self._scheduled(x.schedule), self.values)
            return replace(x, steps=self._steps(x.schedule), measured=found)
        try:
            return replace(x, measured=self.on.measure(self._scheduled(x.schedule), self.values))
        except CompileError:  # a lane has no memory for it
            return x

    def _steps(self, schedule: Schedule) -> int:
        """Steps of one run, without each loop's last one."""
        binding = Compiled(self._scheduled(schedule, progress=True), self.on.tier).binding()
        with counted_steps() as count:
            binding.call(self.values)
        return int(count[0]) - self.n - len(self.loops)

    def _scheduled(self, schedule: Schedule, **options: Any) -> Request:
        return replace(self.request, base=scheduled(self.request.base, schedule=schedule, **options))


def scheduled(table: Table, **options: Any) -> Table:
    """The table with these options (schedule, progress) for its loops."""
    return replace(table, subs=tuple(x.scheduled(**options) if _loop_size(x) else x for x in table.subs))


def default_schedules(loops: Sequence[LoopSize]) -> Iterator[Schedule]:
    """Schedules that show the range from all states to few."""
    n = max(x.steps for x in loops)
    root = max(isqrt(n), 1)
    yield StoreAll()
    if any(x.is_open for x in loops):
        yield Periodic(root)
        yield from (Online(c) for c in sorted({4 * root, root, max(isqrt(root), 2)}, reverse=True))
        return
    yield Periodic(root)
    yield Online(root)
    yield from (Revolve(c) for c in sorted({min(4 * root, max(n - 1, 1)), root, max(isqrt(root), 2)}, reverse=True))


def _predicted(schedule: Schedule, subs: Iterable[Any], lanes: int) -> ScheduleProfile:
    """Of all loops whose schedule can be chosen; bytes are those of all lanes. What is stored of a state depends on the
    schedule."""
    loops = [size for x in subs if _loop_size(x) and (size := _loop_size(x.scheduled(schedule)))]
    own = [(schedule.resolve(None if x.is_open else x.steps, x.state_bytes), x) for x in loops]
    return ScheduleProfile(
        schedule,
        sum(s.predicted_steps(x.steps) for s, x in own),
        lanes * sum(s.predicted_bytes(x.steps, x.state_bytes) for s, x in own),
        lanes * sum(s.disk_bytes(x.steps, x.state_bytes) for s, x in own),
    )
