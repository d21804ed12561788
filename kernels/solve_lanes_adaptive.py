"""Adaptive steps of the trajectories of an ensemble in lanes; see `solve_lanes`.

A trial step maps [state | control | cache | memory | ends | shared | tolerances | largest step] to [state | notes |
cache | memory | counts | errors | dense output | error norm | factor for the next step | component with the largest
error | verdict | next control], all of them of all lanes (see `fastad.tables.composites.lane_control`). So most steps
need nothing of the driver but that the new state and control become the current ones. What is rare is done for a lane
alone, as in `solving`: the first step size, rejected steps, tiny errors, results at points, the end of the span.
"""

from .flags import helper
from .memory import address, call_kernel, select, shift, view
from .records import (
    AT,
    CONTROL,
    DONE,
    EVALUATIONS,
    FAILURES,
    FULL,
    KNOWN,
    LAST,
    LEAST_LAST,
    NEXT,
    REJECTED,
    RETRY,
    RUN,
    STATUS,
    STEP,
    TOO_MANY,
    TOO_SMALL,
    UNSOLVED,
    WORST,
)  # fmt: skip
from .reversing import WRONG, call
from .solve_lanes_space import (
    IDLE,
    begin,
    copy_lane,
    deliver_lane,
    end,
    from_lane,
    given_of,
    keep_state,
    lane_space,
    longest_of,
    move,
    result_size,
    step_size,
    take,
)  # fmt: skip
from .solve_space import place_of_errors
from .solve_steps import probe
from .solve_trials import noted_factor
from .stepsize import logarithm, next_factor, retry_factor, rounded, says_nothing, smallest_fraction
from .stopping import stopped

REPEATED = 3.0  # `KNOWN` of a lane whose step is tried again
VERDICT = 3  # after the error norm, the factor and the component: 0 if the driver must judge the step, 1 if it is
# accepted, 2 if so and the driver must see to the lane before the next step; then the next control


@helper
def _is_full(p, steps):
    """Whether there can be no further step after so many."""
    return steps >= p.length or (p.kept and steps >= p.kept)


@helper
def _has_ended(p, ensemble, lane):
    """Whether the trajectory of a lane ends here; its status says why."""
    run, control = shift(ensemble.runs, lane * (RUN + 2)), shift(ensemble.wide_in, p.own * p.lanes + lane)
    if run[STATUS] != DONE or control[AT * p.lanes] >= 1.0:
        return True
    k = ensemble.steps[lane]
    if not _is_full(p, k):
        return False
    run[STATUS] = TOO_MANY if k >= p.length else FULL
    return True


@helper
def _smallest(p, ensemble, lane):
    """The smallest step of a lane, as a fraction of the span."""
    control = shift(ensemble.wide_in, p.own * p.lanes + lane)
    ends = shift(ensemble.wide_in, p.carried * p.lanes + lane)
    t0, t1 = ends[0], ends[p.lanes]
    space = (t0, t1)
    return smallest_fraction(space, control[AT * p.lanes], abs(t1 - t0))


@helper
def _is_unsolved(p, ensemble, lane):
    """Whether equations of the trial step of a lane were not solved."""
    counts = shift(ensemble.wide_out, (place_of_errors(p) - p.counts) * p.lanes + lane)
    return p.counts > 0 and counts[FAILURES * p.lanes] > 0.0


@helper
def _choose_step(p, ensemble, lane):
    """Choose the size of the next trial step of a lane. False where it is too small."""
    n, control = p.lanes, shift(ensemble.wide_in, p.own * p.lanes + lane)
    least, most, rest = _smallest(p, ensemble, lane), longest_of(p, ensemble, lane), 1.0 - control[AT * n]
    fraction = control[STEP * n]
    if control[KNOWN * n] != REPEATED:
        fraction = max(fraction, least)
    fraction = min(fraction, most)
    if rest <= 1.01 * fraction and rest <= most:
        fraction = rest
    elif not fraction >= least:
        unsolved = control[KNOWN * n] == REPEATED and _is_unsolved(p, ensemble, lane)
        shift(ensemble.runs, lane * (RUN + 2))[STATUS] = UNSOLVED if unsolved else TOO_SMALL
        return False
    control[STEP * n] = fraction
    return True


@helper
def _next(p, ensemble, lane, following, space):
    """Make a lane ready for a trial step, of the next trajectory if its own has ended. Returns the next trajectory, or
    an error."""
    while ensemble.trajectories[lane] != IDLE:
        if not _has_ended(p, ensemble, lane) and _choose_step(p, ensemble, lane):
            return following
        end(p, ensemble, lane, space)
        following = take(p, ensemble, lane, following)
        if ensemble.trajectories[lane] != IDLE:
            code = begin(p, ensemble, lane, space)
            if code:
                return code if code < 0 else WRONG
    return following


@helper
def _probed(p, ensemble, lane, space):
    """The error of the step of a lane in a small change of its start; see `solve_steps.probe`."""
    own = lane_space(space, ensemble.runs, ensemble.places, lane)
    from_lane(own.step_in, ensemble.wide_in, p.lanes, lane, step_size(p))
    code = call(p.body, own.step_in, own.step_out, own)
    return -1.0 if code else probe(p, given_of(p, ensemble, lane).elements, own)


@helper
def _is_finite(p, ensemble, lane):
    total = 0.0
    for i in range(p.errors):
        total += ensemble.wide_out[i * p.lanes + lane] * 0.0
    return total == 0.0


@helper
def _verdict_of(p, ensemble):
    """What the trial step says about the errors of the lanes: see `VERDICT`."""
    return shift(ensemble.wide_out, result_size(p) * p.lanes)


@helper
def _record(p, ensemble, lane, space):
    """Store the state before the accepted step of a lane, and its results, where they are wanted. Returns 0 or an
    error."""
    n = p.lanes
    control = shift(ensemble.wide_in, p.own * n + lane)
    control[KNOWN * n] = 2.0 if control[KNOWN * n] >= 2.0 else 1.0
    if address(ensemble.states):
        keep_state(p, ensemble, lane)
    if not ensemble.target or not p.points + p.kept:
        return 0
    after = _verdict_of(p, ensemble)[(VERDICT + 1 + AT) * n + lane]
    return deliver_lane(p, ensemble, lane, after, space)


@helper
def _judge(p, ensemble, lane, space):
    """Accept the trial step of a lane, or have it repeated. Returns 0 or an error."""
    n = p.lanes
    run, control = shift(ensemble.runs, lane * (RUN + 2)), shift(ensemble.wide_in, p.own * n + lane)
    verdict = shift(_verdict_of(p, ensemble), lane)
    norm, factor, run[WORST] = verdict[0], verdict[n], verdict[2 * n]
    notes = shift(ensemble.wide_out, p.own * n + lane)
    at, fraction, known = control[AT * n], control[STEP * n], control[KNOWN * n]
    if says_nothing(norm, control[LAST * n], given_of(p, ensemble, lane).elements, p.errors, p.counts > 0):
        other = _probed(p, ensemble, lane, space)
        if other < 0.0:
            return WRONG
        norm = max(norm, other)
        factor = next_factor(logarithm(norm), control[LAST * n], p.order)
    if norm <= 1.0 and _is_finite(p, ensemble, lane):
        code = _record(p, ensemble, lane, space)
        ensemble.accepted[lane] = 1.0
        control[AT * n] = 1.0 if fraction >= 1.0 - at else at + fraction
        factor = noted_factor(p, notes[NEXT * n], min(factor, 1.0) if known >= 2.0 else factor)
        control[STEP * n] = rounded(fraction * factor)
        control[LAST * n], control[KNOWN * n] = max(logarithm(norm), LEAST_LAST), 0.0
        return code
    run[EVALUATIONS] += p.stages
    if fraction <= _smallest(p, ensemble, lane) and fraction < 1.0 - at:
        run[STATUS] = UNSOLVED if _is_unsolved(p, ensemble, lane) else TOO_SMALL
        return 0
    run[REJECTED] += 1
    control[KNOWN * n] = REPEATED
    control[STEP * n] = rounded(fraction * noted_factor(p, notes[RETRY * n], retry_factor(norm, p.order)))
    return 0


@helper
def _settle(p, ensemble):
    """Take over the verdicts that the trial step has given. Returns how many lanes it leaves to the driver."""
    n, left = p.lanes, 0.0
    verdict = view(shift(_verdict_of(p, ensemble), VERDICT * n), n)
    trajectories, accepted = view(ensemble.trajectories, n), view(ensemble.accepted, n)
    waiting = view(ensemble.waiting, n)
    for lane in range(n):
        busy, given = trajectories[lane] != IDLE, verdict[lane]
        accepted[lane] = select(busy & (given > 0.0), 1.0, 0.0)
        waiting[lane] = select(busy & (given != 1.0), 1.0, 0.0)
        left += select(busy & (given == 0.0), 1.0, 0.0)
    return left


@helper
def _judge_all(p, ensemble, space):
    """Accept the trial steps of all lanes, or have them repeated. Returns 0 or an error."""
    left, code = _settle(p, ensemble), 0
    if address(ensemble.states) or (ensemble.target and p.points + p.kept):
        for lane in range(p.lanes):
            if not code and ensemble.accepted[lane] != 0.0:
                code = _record(p, ensemble, lane, space)
    if left > 0.0:
        verdict = shift(_verdict_of(p, ensemble), VERDICT * p.lanes)
        for lane in range(p.lanes):
            if not code and verdict[lane] == 0.0 and ensemble.trajectories[lane] != IDLE:
                code = _judge(p, ensemble, lane, space)
    return code


@helper
def _go_on(p, ensemble):
    """Give the lanes whose verdict was given their next control, and count the steps. Returns whether there are lanes
    that must be seen to."""
    n, waits = p.lanes, 0.0
    verdict = view(shift(_verdict_of(p, ensemble), VERDICT * n), n)
    for i in range(CONTROL):
        to = view(shift(ensemble.wide_in, (p.own + i) * n), n)
        source = view(shift(_verdict_of(p, ensemble), (VERDICT + 1 + i) * n), n)
        for lane in range(n):
            to[lane] = select(verdict[lane] > 0.0, source[lane], to[lane])
    accepted, waiting, steps = view(ensemble.accepted, n), view(ensemble.waiting, n), view(ensemble.steps, n)
    for lane in range(n):
        steps[lane] += int(accepted[lane])
        waiting[lane] = select(_is_full(p, steps[lane]), 1.0, waiting[lane])
        waits += waiting[lane]
    return waits > 0.0


@helper
def _see_to(p, ensemble, following, space):
    """Make all lanes that wait ready for a trial step. Returns the next trajectory, or an error."""
    for lane in range(p.lanes):
        if ensemble.waiting[lane] != 0.0:
            following = _next(p, ensemble, lane, following, space)
            if following < 0:
                return following
            ensemble.waiting[lane] = 0.0
    return following


@helper
def _is_busy(p, ensemble):
    for lane in range(p.lanes):
        if ensemble.trajectories[lane] != IDLE:
            return True
    return False


@helper
def run_adaptive(p, ensemble, space):
    """All trajectories, with step size control."""
    following = ensemble.first
    for lane in range(p.lanes):
        following = take(p, ensemble, lane, following)
        ensemble.accepted[lane], ensemble.waiting[lane] = 0.0, 1.0
        if ensemble.trajectories[lane] != IDLE:
            code = begin(p, ensemble, lane, space)
            if code:
                return code
        elif lane:  # lanes without a trajectory copy another, so that there are no exceptional numbers
            copy_lane(p, ensemble, lane)
    waits = True
    while True:
        if waits:
            following = _see_to(p, ensemble, following, space)
            if following < 0:
                return following
            if not _is_busy(p, ensemble):
                return 0
        code = stopped() or call_kernel(
            p.wide.address,
            p.wide.context,
            address(ensemble.wide_in),
            address(ensemble.wide_out),
            address(space.scratch),
        )
        code = code or _judge_all(p, ensemble, space)
        if code:
            return code
        move(p, ensemble)
        waits = _go_on(p, ensemble)
