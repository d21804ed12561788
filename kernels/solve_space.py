"""What the driver of a solve has at hand: its vectors, and where things stand in them. See `solving`."""

from typing import Any, NamedTuple

from .flags import helper
from .memory import doubles, integers, record_at, shift
from .records import AT, CONTROL, EFFECT, FRESH, LOGGING, POINT, RUN, SOLVE
from .reversing import clear, copy
from .stepsize import EPSILON, time_at

solve_at = record_at(SOLVE)


class Space(NamedTuple):
    """The vectors of a driver in its work, by pointers: see `records.SOLVE_WORK`."""

    step_in: Any
    step_out: Any
    bar_in: Any
    bar_out: Any
    shared_bar: Any
    saved: Any
    cursor: Any
    plan: Any
    actions: Any
    sample_in: Any
    sample_out: Any
    sample_bar: Any
    dense_bar: Any
    run: Any
    marks: Any
    aside: Any
    event_in: Any
    event_out: Any
    event_bar: Any
    before: Any
    after: Any
    roots: Any
    left: Any
    log: Any
    scratch: Any


@helper
def space_of(solve, work):
    at = solve.work
    return Space(
        doubles(work + 8 * at.step_in),
        doubles(work + 8 * at.step_out),
        doubles(work + 8 * at.bar_in),
        doubles(work + 8 * at.bar_out),
        doubles(work + 8 * at.shared_bar),
        doubles(work + 8 * at.saved),
        integers(work + 8 * at.cursor),
        integers(work + 8 * at.plan),
        integers(work + 8 * at.actions),
        doubles(work + 8 * at.sample_in),
        doubles(work + 8 * at.sample_out),
        doubles(work + 8 * at.sample_bar),
        doubles(work + 8 * at.dense_bar),
        doubles(work + 8 * at.run),
        integers(work + 8 * at.marks),
        doubles(work + 8 * at.aside),
        doubles(work + 8 * at.event_in),
        doubles(work + 8 * at.event_out),
        doubles(work + 8 * at.event_bar),
        doubles(work + 8 * at.before),
        doubles(work + 8 * at.after),
        doubles(work + 8 * at.roots),
        doubles(work + 8 * at.left),
        doubles(work + 8 * at.log),
        doubles(work + 8 * at.scratch),
    )


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def control_of(solve, space):
    """The control in a step's argument."""
    return shift(space.step_in, solve.own)


@helper
def ends_of(solve, space):
    """The ends of the span in a step's argument."""
    return shift(space.step_in, solve.carried)


@helper
def inside_size(solve):
    """Length of the argument of a step's adjoint, without the adjoints of its results: there is no cache, nor
    memory."""
    return solve.own + solve.control + solve.ends + solve.shared


@helper
def cache_of(solve, space):
    """The cached derivative in a step's argument."""
    return shift(space.step_in, solve.own + solve.control)


@helper
def notes_of(solve, space):
    """The notes in a step's argument."""
    return shift(space.step_in, solve.own + CONTROL)


@helper
def memory_of(solve, space):
    """The memory in a step's argument."""
    return shift(space.step_in, solve.own + solve.control + solve.cache)


@helper
def place_of_cache(solve):
    """Where the cached derivative stands in a step's result; the memory follows, and what was counted."""
    return solve.own + solve.control - CONTROL


@helper
def place_of_errors(solve):
    """Where the error estimates stand in a step's result."""
    return place_of_cache(solve) + solve.cache + solve.memory + solve.counts


@helper
def place_of_dense(solve):
    """Where the dense output stands in a step's result."""
    return place_of_errors(solve) + solve.estimates * solve.errors


@helper
def dense_of(solve, space):
    """The dense output in a step's result."""
    return shift(space.step_out, place_of_dense(solve))


@helper
def points_of(solve, given):
    return shift(given.elements, solve.controls)


@helper
def span_of(solve, space):
    ends = ends_of(solve, space)
    return abs(ends[1] - ends[0])


@helper
def _slack(t, t0):
    """Rounding errors of a time in a span that starts at t0. Its other end may be very far away."""
    return 4.0 * EPSILON * max(abs(t0), abs(t))


@helper
def _is_passed(point, t, t0, t1):
    ahead, slack = point - t, _slack(t, t0)
    return ahead <= slack if t1 >= t0 else -ahead <= slack


@helper
def is_behind(point, t0, t1, position):
    """Whether a point is not after a position of the span, but for rounding errors of the time."""
    return _is_passed(point, time_at((t0, t1), position), t0, t1)


@helper
def is_reached(solve, point, t, space):
    """Whether the solve has reached a point where it is at time t, but for rounding errors of the time."""
    ends = ends_of(solve, space)
    return _is_passed(point, t, ends[0], ends[1])


@helper
def is_end(solve, point, t, space):
    """Whether a point that was reached is at time t. Points that have derivatives are no ends of steps."""
    return not solve.moving and abs(point - t) <= _slack(t, ends_of(solve, space)[0])


@helper
def set_fresh(solve, size, space):
    """The cache belongs to a state of this size, unless it has none. At the start of the span it is never known. So do
    the factors; those of another state say that they are none."""
    known = size >= solve.own + solve.control + solve.cache and control_of(solve, space)[AT] > 0.0
    space.marks[FRESH] = 1 if known else 0
    if solve.memory > solve.linear and size < solve.carried:
        memory_of(solve, space)[solve.linear] = 0.0


@helper
def start(solve, given, space):
    """The first state, and what the steps share."""
    copy(space.step_in, given.arguments, solve.carried)
    copy(ends_of(solve, space), shift(given.arguments, solve.carried), solve.ends + solve.shared)
    clear(space.run, RUN)
    set_fresh(solve, solve.carried, space)
    at, j = control_of(solve, space)[AT], 0
    ends = ends_of(solve, space)
    first = space.step_in[solve.clock] if solve.events else ends[0]
    t = (1.0 - at) * first + at * ends[1]
    if at > 0.0 or first != ends[0]:  # a solve that goes on has been at the first points
        while j < solve.points and is_reached(solve, points_of(solve, given)[j * solve.point], t, space):
            j += 1
    space.marks[POINT], space.marks[LOGGING], space.marks[EFFECT] = j, 0, 0
