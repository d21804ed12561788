"""Drivers of ODE solves: every trial step is one call of the method's table for this right-hand side.

A solve maps [state | control | cache | memory | ends | shared | controls | points] to [state | control | cache | memory
| results at the points | kept steps | their positions | their dense output | run]. A step maps [state | control | cache
| memory | ends | shared] to [state | notes | cache | memory | counts | error | dense output]. The cache is the
derivative at the state, which the step before has computed; it follows from the state, so the adjoint of a step knows
nothing of it. A sample maps [state | control | dense output | point | ends] to the solution at a point within the step.
Without step size control and cache, the state stands alone. Behind the dense output come the states at events, and the
log of these: see `solve_events`.

The notes are what a method must know of the steps before besides their states. They stand behind the numbers of the
control, and go wherever it goes. The memory holds what spares a method work, in two parts: a point at which it has
linearised, and the factors there. The factors are lost where a state is taken from a store: their first number is 0
then, and the step computes them from the point again, so steps that are made again are the same ones. A trial step
that is rejected leaves its memory, but not its notes.

Steps are those of a loop (`reversing`) whose state carries the control: where it is in the span, the step size, the
last error. The adjoint takes these as constants, so it is exact for the steps that were accepted. A stored state says
whether its step size is the accepted one; then nothing needs to be tried again.
"""

from .flags import helper, kernel
from .memory import address, doubles, integers, shift
from .records import (
    AT,
    DONE,
    EFFECT,
    ENDED,
    ENTRY,
    FULL,
    HAPPENED,
    INVERTED,
    KNOWN,
    POINT,
    POSITION,
    REACHED,
    RUN,
    STATUS,
    STEP,
)
from .reversing import WRONG, Given, call, clear, copy, count, forward, kind_of_loop, reverse
from .solve_events import (
    change_in,
    deliver_events,
    event_adjoints,
    happens_in,
    mark_change,
    start_events,
    start_reading,
)
from .solve_space import (
    control_of,
    dense_of,
    ends_of,
    inside_size,
    is_end,
    is_reached,
    points_of,
    solve_at,
    space_of,
    start,
)
from .solve_steps import (
    accept,
    adapt,
    attempt,
    attempt_with_events,
    check_end,
    enter,
    give_place,
    goes_on,
    position_after,
    show_progress,
    trace,
    undo,
)
from .solve_trials import recompute_dense
from .stepsize import time_at

FAILED = -2  # the solve has ended before the end of its span, so there is nothing to differentiate


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def fill_sample(solve, point, space):
    """The argument of a sample at a point in the current step."""
    x, n = space.sample_in, solve.own
    copy(x, space.step_in, n + solve.control)
    copy(shift(x, n + solve.control), dense_of(solve, space), solve.dense)
    copy(shift(x, n + solve.control + solve.dense), point, solve.point)
    copy(shift(x, n + solve.control + solve.dense + solve.point), ends_of(solve, space), solve.ends)


@helper
def deliver_points(solve, given, t, space):
    """Results at the points that the step has reached, which ends at time t."""
    n, points, j = solve.own, points_of(solve, given), space.marks[POINT]
    while j < solve.points:
        point = shift(points, j * solve.point)
        if not is_reached(solve, point[0], t, space):
            break
        row = shift(given.target, solve.carried + j * n)
        if is_end(solve, point[0], t, space):
            copy(row, space.step_out, n)
        elif not solve.sample.address:
            return WRONG
        else:
            fill_sample(solve, point, space)
            code = call(solve.sample, space.sample_in, row, space)
            if code:
                return code
        j += 1
    space.marks[POINT] = j
    space.run[REACHED] = j
    return 0


@helper
def kept_of(solve, target):
    """Where the kept steps of a solve's results start, their positions and their dense output."""
    kept = shift(target, solve.carried + solve.points * solve.own)
    places = shift(kept, solve.kept * solve.own)
    return kept, places, shift(places, solve.kept)


@helper
def deliver(solve, given, k, space):
    """Results at the points that the step has reached, what is kept of it, and its events."""
    wanted = address(given.target) != 0 and (space.marks[POINT] < solve.points or solve.kept > 0 or solve.events > 0)
    if not wanted or space.run[STATUS] != DONE:
        return 0
    after, changed = position_after(solve, given, k, space), space.marks[EFFECT]
    t = space.event_out[solve.clock] if changed else time_at(ends_of(solve, space), after)
    code = deliver_points(solve, given, t, space)
    if solve.kept and not code:
        kept, places, dense = kept_of(solve, given.target)
        copy(shift(kept, k * solve.own), space.event_out if changed else space.step_out, solve.own)
        places[k] = -control_of(solve, space)[STEP] if changed else after
        copy(shift(dense, k * solve.dense), dense_of(solve, space), solve.dense)
    if solve.events and not code:
        return deliver_events(solve, k, shift(given.target, before_events(solve)), space)
    return code


@helper
def before_events(solve):
    """Length of the results before those of events."""
    return solve.carried + solve.points * solve.own + solve.kept * (solve.own + 1 + solve.dense)


@helper
def n_results(solve):
    """Length of the results."""
    return before_events(solve) + solve.room * (solve.own + ENTRY) + RUN


@helper
def has_failed(space):
    """Whether a solve has ended neither at the end of its span nor by an event."""
    return space.run[STATUS] != DONE and space.run[STATUS] != ENDED


@kernel
def run_solve(context, source, target, work):
    """A solve. If it saves states for the adjoint, they follow its results."""
    solve = solve_at(context)
    space = space_of(solve, work)
    out, results = doubles(target), n_results(solve)
    saved = target + 8 * results if solve.saves and solve.policy != INVERTED else 0
    arguments = doubles(source)
    elements = shift(arguments, solve.carried + solve.ends + solve.shared)
    given = Given(arguments, elements, arguments, out)
    start(solve, given, space)
    not_reached = shift(out, solve.carried)
    for i in range(solve.points * solve.own):
        not_reached[i] = float("nan")
    rest = solve.carried + solve.points * solve.own
    clear(shift(out, rest), results - rest)
    if solve.events:
        start_events(solve, given, space)
    code = forward(solve, given, saved, space)
    space.run[POSITION] = control_of(solve, space)[AT]
    if not solve.errors:
        check_end(solve, space)
    copy(out, space.step_in, solve.carried)
    copy(shift(out, results - RUN), space.run, RUN)
    copy(shift(out, results - RUN - solve.room * ENTRY), space.log, int(space.run[HAPPENED]) * ENTRY)
    if saved and has_failed(space):
        doubles(saved)[0] = -1.0
    return FAILED if solve.strict and not code and has_failed(space) and space.run[STATUS] != FULL else code


# ── the adjoint ───────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _add(target, source, n):
    for i in range(n):
        target[i] += source[i]


@helper
def sample_adjoints(solve, given, k, space):
    """Adjoints of the results at points in step k. Returns 1 if dense output has any, 0, or an error."""
    n, inside, before = solve.own, inside_size(solve), control_of(solve, space)[AT]
    ends, points = ends_of(solve, space), points_of(solve, given)
    t, after = time_at(ends, before), time_at(ends, position_after(solve, given, k, space))
    state_bar, seeds = shift(space.bar_in, inside), shift(given.seeds, solve.carried)
    found = 0
    while space.marks[POINT] > 0:
        j = space.marks[POINT] - 1
        point = shift(points, j * solve.point)
        if (k > 0 or before > 0.0) and is_reached(solve, point[0], t, space):
            break
        space.marks[POINT] = j
        seed = shift(seeds, j * n)
        if is_end(solve, point[0], after, space):
            _add(state_bar, seed, n)
            continue
        if not solve.sample.address:
            return WRONG
        fill_sample(solve, point, space)
        size = n + solve.control + solve.dense + solve.point + solve.ends
        copy(shift(space.sample_in, size), seed, n)
        code = call(solve.sample_adjoint, space.sample_in, space.sample_bar, space)
        if code:
            return code
        bar = space.sample_bar
        _add(space.dense_bar, bar, n + solve.control + solve.dense)
        own = shift(bar, n + solve.control + solve.dense)
        target = shift(given.target, solve.carried + solve.ends + solve.shared + solve.controls + j * solve.point)
        copy(target, own, solve.point)
        _add(space.shared_bar, shift(own, solve.point), solve.ends)
        found = 1
    return found


@helper
def kept_adjoints(solve, given, k, space):
    """Adjoints of what is kept of step k. Returns whether that is dense output too."""
    n = solve.own
    kept = shift(given.seeds, solve.carried + solve.points * n)
    _add(shift(space.bar_in, inside_size(solve)), shift(kept, k * n), n)
    dense = shift(kept, solve.kept * (n + 1) + k * solve.dense)
    _add(shift(space.dense_bar, n + solve.control), dense, solve.dense)
    return 1 if solve.dense else 0


@helper
def _recompute(solve, given, k, space):
    """The control of step k, and its dense output if the adjoints need it."""
    if not solve.adaptive:
        if solve.points or solve.kept:
            give_place(solve, given, k, control_of(solve, space))
    elif control_of(solve, space)[KNOWN] == 0.0:
        if solve.events:
            return attempt_with_events(solve, given, k, space)
        return adapt(solve, given, space)
    if solve.events:
        mark_change(solve, change_in(k, space), space)
    if (solve.moving and solve.points) or (solve.events and happens_in(k, space)):
        return recompute_dense(solve, space)
    return 0


@helper
def _pull_back_change(solve, space):
    """The adjoint of the event that ends a step: of the state before the step to space.event_out. What remains is the
    adjoint of the dense output."""
    n = solve.own
    code = call(solve.event_adjoint, space.bar_in, space.bar_out, space)
    copy(space.event_out, space.bar_out, n)
    _add(space.shared_bar, shift(space.bar_out, n + solve.control), solve.ends + solve.shared)
    clear(shift(space.bar_in, inside_size(solve)), n)
    return code


@helper
def pull_back(solve, given, k, space):
    """Adjoints of the points in the step and, added up, of the ends and what is shared."""
    count(solve)
    show_progress(solve, given, space, 1)
    n, inside = solve.own, inside_size(solve)
    code = _recompute(solve, given, k, space)
    if code:
        return code
    sampled = sample_adjoints(solve, given, k, space) if space.marks[POINT] else 0
    if sampled < 0:
        return sampled
    if solve.events:
        happened = event_adjoints(solve, k, shift(given.seeds, before_events(solve)), space)
        if happened < 0:
            return happened
        sampled += happened
    dense = (kept_adjoints(solve, given, k, space) if k < solve.kept else 0) + sampled
    copy(space.bar_in, space.step_in, n + solve.control)
    if not solve.adaptive:
        give_place(solve, given, k, shift(space.bar_in, n))
    if space.marks[EFFECT]:
        code = _pull_back_change(solve, space)
        if code:
            return code
    if dense:
        copy(shift(space.bar_in, inside + n), shift(space.dense_bar, n + solve.control), solve.dense)
        code = call(solve.adjoint_dense, space.bar_in, space.bar_out, space)
    elif space.marks[EFFECT]:
        clear(space.bar_out, inside)
    else:
        code = call(solve.adjoint, space.bar_in, space.bar_out, space)
    bar = shift(space.bar_in, inside)
    copy(bar, space.bar_out, n)
    if space.marks[EFFECT]:
        _add(bar, space.event_out, n)
    if sampled:
        _add(bar, space.dense_bar, n)
    if dense:
        clear(space.dense_bar, n + solve.control + solve.dense)
    _add(space.shared_bar, shift(space.bar_out, n + solve.control), solve.ends + solve.shared)
    return code


kind_of_loop("adaptive", goes_on, attempt, deliver, accept, enter, trace, undo, pull_back)


@helper
def _seed(solve, given, space):
    """Before the last step's adjoint: what is shared, the adjoint of the last state, nothing of what is shared."""
    n = solve.own
    copy(shift(space.bar_in, n + solve.control), shift(given.arguments, solve.carried), solve.ends + solve.shared)
    copy(shift(space.bar_in, inside_size(solve)), given.seeds, n)
    clear(space.shared_bar, solve.ends + solve.shared)
    clear(given.target, solve.carried + solve.ends + solve.shared + solve.controls + solve.points * solve.point)
    clear(space.dense_bar, n + solve.control + solve.dense)
    space.marks[POINT] = solve.points


@helper
def _start_reading(solve, saved, space):
    """The log of this pass, or that of the solve which has saved its states for it."""
    log, count = space.log, space.run[HAPPENED]
    if solve.saves:
        end = shift(doubles(saved), -RUN)
        log, count = shift(end, -solve.room * ENTRY), end[HAPPENED]
    return start_reading(solve, log, count, space)


@kernel
def reverse_solve(context, source, target, work):
    """The adjoint of a solve: [arguments | adjoints of the results] to adjoints of arguments.

    If the solve saves states, the first place of `work` has the address of its whole result, which ends with them.
    """
    solve = solve_at(context)
    space = space_of(solve, work)
    arguments = doubles(source)
    elements = shift(arguments, solve.carried + solve.ends + solve.shared)
    seeds = shift(elements, solve.controls + solve.points * solve.point)
    given = Given(arguments, elements, seeds, doubles(target))
    start(solve, given, space)
    saved = integers(work)[0] + 8 * n_results(solve)
    if solve.saves:
        copy(space.step_in, doubles(integers(work)[0]), solve.own)
    else:
        saved = address(space.saved)
        unwanted = Given(arguments, elements, seeds, doubles(0))
        if solve.events:
            start_events(solve, unwanted, space)
        code = forward(solve, unwanted, saved if solve.policy != INVERTED else 0, space)
        if code:
            return code
        if not solve.errors:
            check_end(solve, space)
        if has_failed(space):
            return FAILED
    space.run[STATUS] = DONE
    if solve.policy != INVERTED and doubles(saved)[0] < 0.0:
        return FAILED
    if solve.events and _start_reading(solve, saved, space):
        return WRONG
    _seed(solve, given, space)
    code = reverse(solve, saved, given, space)
    copy(given.target, shift(space.bar_in, inside_size(solve)), solve.own)
    copy(shift(given.target, solve.carried), space.shared_bar, solve.ends + solve.shared)
    return code
