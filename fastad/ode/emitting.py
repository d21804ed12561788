"""A solve as a row of a recording, or run at once on numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.control.parts import Part, Shared, any_recorded, branch_error, emit, operand_refs
from fastad.control.paths import Recordings, known, parts_of
from fastad.errors import ScheduleError
from fastad.execution.composites.evaluating import run
from fastad.ode.adjoints import with_adjoint
from fastad.ode.consistent import consistent
from fastad.ode.events import EventTables, numbers_of
from fastad.ode.grids import AHEAD
from fastad.ode.iteration import Iteration, iteration_of, with_further
from fastad.ode.jacobians import check_jacobian
from fastad.ode.krylov import Krylov
from fastad.ode.mass import Mass
from fastad.ode.moving_mass import with_slopes
from fastad.ode.problem import Options, Problem
from fastad.ode.stages import FIXED
from fastad.ode.steps import StepTables, Wanted
from fastad.ode.user_functions import (
    EventParts,
    as_vector,
    event_parts,
    right_hand_side,
    warn_of_kept_values,
    with_mass,
)
from fastad.recording.operands import as_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.schedules.nested import Revolve, StoreAll
from fastad.schedules.online import Online
from fastad.tables.columns import ValueType
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solves import Solve
from fastad.tables.composites.sub import Sub, packed, slices
from fastad.tables.reference import Stopped

_STORE_ALL_UP_TO = 10_000_000  # numbers in states that are stored by default; memory is touched as steps are made
_SNAPSHOTS = 10_000  # the most that the default schedule of an adaptive solve stores


@dataclass(frozen=True)
class Extent:
    """What a solve returns: results at points (None: none), at most `kept` steps with their dense output if `dense`.
    `moving`: times may have derivatives. `grid`: the pieces of a fixed grid and its number of steps. `resumed`: the
    method's state, control, cache and memory of the solve that this one goes on with. At most `room` times that events
    happen are logged; `limits`: how often each may still happen."""

    points: Any = None
    kept: int = 0
    dense: bool = False
    moving: bool = False
    grid: tuple[Any, int] | None = None
    resumed: tuple[list[Any], Any, Any, Any] | None = None
    room: int = 0
    limits: Any = ()


@dataclass(frozen=True)
class Raw:
    """What a solve returns: the last y with control, cache and memory, results at the points, kept steps with positions
    and dense output, states at events and their log, numbers about the run; the method's last state; the schedule by
    which a gradient stores states, and their size. With events, clocks have the times at which the last state and the
    kept ones have started, and the times of the events; a position of a kept step that is not positive says that an
    event has ended the step, and is its size with the opposite sign."""

    y: Any
    control: Any
    cache: Any
    memory: Any
    at_points: Any
    kept: Any
    places: Any
    dense: Any
    at_events: Any
    log: Any
    run: Any
    state: Any = None
    storage: Any = None
    clock: Any = None
    clocks: Any = None
    times: Any = None
    first: Any = None

    def without_further(self, n: int, clocked: bool) -> "Raw":
        """The same with n components of the states; what the method has besides, and the clock, stand apart."""
        y, at_points, kept = self.y[:n], self.at_points[:, :n], self.kept[:, :n]
        own = replace(self, y=y, at_points=at_points, kept=kept, state=self.y)
        if not clocked:
            return own
        clock, clocks, times = self.y[-1:], self.kept[:, -1], self.at_events[:, -1]
        return replace(own, at_events=self.at_events[:, :n], clock=clock, clocks=clocks, times=times)


def solved(problem: Problem, options: Options, extent: Extent) -> Raw:
    """Record the right-hand side, and emit the solve."""
    return Functions.of(problem, options, starts=extent.resumed is None).solved(extent)


@dataclass(frozen=True)
class Functions:
    """The functions of a solve, recorded: what is emitted of them later is what they were, whatever the names that they
    use stand for by then."""

    problem: Problem
    options: Options
    user_n: int
    recordings: list[Recordings]
    events: list[EventParts]
    nearly: Recordings | None

    @staticmethod
    def of(problem: Problem, options: Options, starts: bool = True) -> "Functions":
        """Those of a problem; if the solve starts, initial values are made consistent."""
        user_n = np.shape(problem.y0)[0]
        problem, options = with_slopes(problem, options)
        n = np.shape(problem.y0)[0]
        recorders: list[Any] = []
        rhs = right_hand_side(problem, options, n, recorders)
        if starts:
            problem = replace(problem, y0=consistent(options.mass, rhs, problem.t0, problem.y0, is_start=True))
        start = (_value(problem.t0), _value(problem.y0).astype(float))
        name = f"fun of {options.method.name}"
        recordings = Recordings(with_mass(rhs, problem, options.mass), start, name, problem.fun)
        if any(recorder() is not None for recorder in recorders):
            warn_of_kept_values(problem.fun)
        mass = options.mass
        events = [event_parts(event, problem, start, number, mass, rhs) for number, event in enumerate(options.events)]
        nearly = _preconditioner(problem, options, start)
        own = [own for pair in [*events, (nearly, None)] for own in pair if own is not None]
        return Functions(problem, options, user_n, [recordings, *own], events, nearly)

    def checking_adjoints(self) -> "Functions":
        """The same, for steps that look at the residuals of their adjoint systems."""
        return replace(self, options=replace(self.options, checks_adjoints=True))

    def solved(self, extent: Extent) -> Raw:
        """Emit the solve; functions are recorded again where it takes another path through them."""
        problem, options, n = self.problem, self.options, np.shape(self.problem.y0)[0]
        while True:
            solve, operands = _solve(problem, options, extent, self.recordings, self.events, self.nearly)
            if known(solve, operands, self.recordings):
                break
        raw = Raw(*_emitted(solve, operands, parts_of(self.recordings)))
        raw = raw.without_further(self.user_n, bool(self.events))
        vectors = len(options.method.output.polynomials)
        dense = raw.dense if self.user_n == n else _of_first(raw.dense, vectors, n, self.user_n)
        storage = solve.resolved or StoreAll(), solve.stored_size
        return replace(raw, storage=storage, first=problem.y0[: self.user_n], dense=dense)


def _of_first(dense: Any, vectors: int, n: int, user_n: int) -> Any:
    """The dense output of the first components."""
    count = np.shape(dense)[0]
    if not np.size(dense):
        return dense
    return np.reshape(np.reshape(dense, (count, vectors, n))[:, :, :user_n], (count, vectors * user_n))


def _solve(
    problem: Problem,
    options: Options,
    extent: Extent,
    functions: list[Recordings],
    events: Sequence[EventParts],
    nearly: Recordings | None,
) -> tuple[Solve, list[Any]]:
    """The solve with the paths of the right-hand side that are known, and its operands."""
    n, clocked = np.shape(problem.y0)[0], bool(events)
    shared = Shared(parts_of(functions))
    number, state = ValueType((), "d"), ValueType((n,), "d")
    mass, moves = options.mass, options.mass is not None and options.mass.function is not None
    result = ValueType((n + mass.count,), "d") if mass is not None and moves else state
    f = functions[0].sub(shared, [number, state], [result])
    if mass is not None and moves:
        f, mass = mass.split(f)
    options.method.check(_slope(f, shared.values), _value(problem.t0), _value(problem.y0).astype(float))
    iteration, given = _iteration(problem, options, f, mass, shared, nearly)
    further = [*_scales(problem, options), *_spare(problem, options)]
    f = with_further(f if iteration is None else iteration.f, sum(np.size(x) for x in further))
    needs_dense = extent.dense or clocked or (extent.points is not None and not _lands(problem, extent))
    wanted = Wanted(options.adaptive, needs_dense, extent.moving or clocked, clocked, options.checks_adjoints)
    tables = StepTables(options.method, f, n, wanted, iteration)
    controls, length = _controls(problem, options, extent)
    m = 0 if extent.points is None else np.shape(extent.points)[0]
    solve = tables.solve(m, extent.kept, np.shape(controls)[0], length, progress=options.progress)
    if events:
        conditions = [condition.sub(shared, [number, state], [number]) for condition, _ in events]
        jumps = [None if jump is None else jump.sub(shared, [number, state], [state]) for _, jump in events]
        solve = EventTables(tables, conditions, jumps).added_to(solve, extent.room)
    solve = solve.scheduled(_schedule(solve, options), progress=options.progress)
    solve = with_adjoint(solve, tables, options.adjoint, lambda: _pieces(problem, extent))
    states = [problem.y0] * options.method.copies + [problem.t0] * clocked
    carried: tuple[Any, ...] = tuple(np.zeros(span.size) for span in solve.sizes.carried[1:])
    if extent.resumed is not None:
        states, *carried = extent.resumed  # type: ignore[assignment]
    points = () if extent.points is None else (extent.points,)
    return solve, [*states, *carried, problem.t0, problem.t1, *shared.values, *given, *further, controls, *points]


def _preconditioner(problem: Problem, options: Options, start: Any) -> Recordings | None:
    """The user's preconditioner, recorded."""
    if not (options.method.has_jacobian and isinstance(options.jac, Krylov)):
        return None
    vector = lambda found, what: as_vector(found, np.shape(problem.y0)[0], what)
    return options.jac.recorded(vector, start, problem.args)


def _iteration(
    problem: Problem, options: Options, f: Sub, mass: Mass | None, shared: Shared, nearly: Recordings | None
) -> tuple[Iteration | None, list[Any]]:
    """The linear systems of an implicit method, and what its steps share behind the values that a right-hand side
    refers to."""
    if not options.method.has_jacobian:
        return None, []
    t, y = _value(problem.t0), _value(problem.y0).astype(float)
    own = np.concatenate([np.zeros(0), *(np.ravel(_value(x)) for x in shared.values)])
    given = [] if problem.mass is None else [problem.mass]
    numbers = np.concatenate([np.zeros(0), *(_value(x) for x in given)])
    if isinstance(jac := options.jac, Krylov):
        return jac.iteration(Iteration(f, np.size(y), mass), nearly, shared), given
    iteration, plan = iteration_of(f, mass, t, y, own, numbers)
    iteration, plan = options.method.prepared(iteration, plan, (t, y, own, numbers))
    check_jacobian(iteration, options, problem, (t, y, own))
    return iteration, [*given, plan]


def _scales(problem: Problem, options: Options) -> list[Any]:
    """Tolerances for the equations of implicit stages."""
    if not options.method.has_stages:
        return []
    n = np.shape(problem.y0)[0]
    return [problem.atol, problem.rtol] if options.adaptive else [np.full(n, x) for x in FIXED]


def _spare(problem: Problem, options: Options) -> list[Any]:
    """Tolerances that the adjoints of steps need."""
    if options.adjoint != "interpolating" or not options.adaptive or not np.size(problem.y0):
        return []
    return [np.mean(problem.atol), np.mean(problem.rtol)]


def _pieces(problem: Problem, extent: Extent) -> tuple[int, ...] | None:
    """The steps of a fixed grid between the ends of the span and what lies in it: points, or else kept steps. Those
    between points that may have derivatives are all as many, which is held by a guard."""
    if extent.grid is None:
        return None
    if extent.points is None:
        return (1,) * extent.kept + (1,) if extent.kept else (extent.grid[1],)
    marks = np.concatenate([np.ravel(x) for x in (problem.t0, extent.points, problem.t1)])
    found = np.ceil(np.abs(marks[1:] - marks[:-1]) / problem.step - AHEAD)
    if isinstance(found, Recorded):
        return (max(int(np.max(found)), 1),) * np.shape(found)[0]
    return tuple(np.maximum(found, 1).astype(int).tolist())


def _slope(f: Any, values: Sequence[Any]) -> Callable[[Any, Any], Any]:
    """The right-hand side at numbers."""
    shared = [np.ravel(_value(x)) for x in values]
    return lambda t, y: f.evaluate(np.concatenate([np.ravel(t), y, *shared]))


def _value(x: Any) -> Any:
    return np.asarray(x.value if isinstance(x, Recorded) else x, float)


# ── the grid and the controls ─────────────────────────────────────────────────────────────────────────────────
def _lands(problem: Problem, extent: Extent) -> bool:
    """Whether the ends of steps are the points, so that no dense output is needed. The start is the end of no step."""
    if extent.grid is None or extent.moving:
        return False
    return not (np.shape(extent.points)[0] and bool(extent.points[0] == problem.t0))


def _controls(problem: Problem, options: Options, extent: Extent) -> tuple[Any, int]:
    """What the driver reads to choose its steps, and how many it may make."""
    if extent.grid is not None:
        return extent.grid
    tolerances = [*problem.atol, *problem.rtol] if options.adaptive else []
    numbers = [problem.max_step, problem.first_step, *tolerances, *numbers_of(options.events, extent.limits)]
    if any_recorded(numbers):
        return as_recorded([x if isinstance(x, Recorded) else np.float64(x) for x in numbers]), options.max_steps
    return np.array(numbers, float), options.max_steps


def _schedule(solve: Solve, options: Options) -> Any:
    """The user's schedule, or the default: all states where they are few, else some thousands."""
    given = options.schedule
    if given is not None:
        try:
            _ = solve.scheduled(given).storage
        except ScheduleError as error:
            raise ScheduleError(f"{error}{at_line()}") from None
        return given
    if solve.length * solve.stored_size <= _STORE_ALL_UP_TO:
        return StoreAll() if solve.ends_early else None
    slots = int(np.clip(_STORE_ALL_UP_TO // solve.stored_size, 16, _SNAPSHOTS))
    return Online(slots) if solve.ends_early else Revolve(slots)


# ── the row ───────────────────────────────────────────────────────────────────────────────────────────────────
def _emitted(solve: Solve, values: Sequence[Any], parts: Sequence[Part]) -> list[Any]:
    """The results of the solve, by the spans of its results."""
    shapes = [(span.times, span.width) if span.times > 1 or i in (4, 5, 7, 8, 9) else (span.width,)
              for i, span in enumerate(solve.spans_results)]  # fmt: skip
    sizes = [span.size for span in solve.spans_results]
    if not any_recorded(values):
        flat = np.concatenate([np.ravel(np.asarray(x, float)) for x in values])
        try:
            out = run(solve, flat)
        except Stopped:
            raise branch_error(parts) from None
        cut = np.split(out[: total_of(solve.spans_results)], np.cumsum(sizes)[:-1])
        return [x.reshape(shape) for x, shape in zip(cut, shapes, strict=True)]
    recorder, refs = operand_refs(values)

    def rows(b: Any) -> list[int]:
        found = slices(b, b.call(solve, packed(b, refs)), sizes)
        return [b.reshape(x, shape) for x, shape in zip(found, shapes, strict=True)]

    return list(emit(recorder, rows, parts))
