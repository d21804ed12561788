"""Driver of the solves of an ensemble: as many trajectories at once as there are lanes, each with steps of its own.

What the lanes hold is stored component by component, so that one call makes a trial step of every lane in SIMD
registers. A step that is rejected is repeated in its lane only. A lane that has finished is given the next trajectory.
No number of a trajectory depends on what is in other lanes.

A trial step maps [state | control | cache | ends | shared | tolerances] to [state | cache | errors | dense output |
error norm | factor for the next step | component with the largest error], all of them of all lanes; without step size
control there are no tolerances, and nothing follows the dense output. What is rare is done for a lane alone, as in
`solving`: the first step size, tiny errors, results at points.
"""

from .flags import helper, kernel
from .memory import address, call_kernel, doubles, select, shift, view
from .records import (
    ACCEPTED,
    AT,
    CONTROL,
    DONE,
    EVALUATIONS,
    FULL,
    KNOWN,
    LAST,
    LEAST_LAST,
    REJECTED,
    RUN,
    STATUS,
    STEP,
    TOO_MANY,
    TOO_SMALL,
    WORST,
)  # fmt: skip
from .reversing import WRONG, copy
from .solve_lanes_space import (
    IDLE,
    begin,
    deliver_lane,
    end,
    ensemble_of,
    from_lane,
    given_of,
    keep_state,
    lane_space,
    lanes_at,
    result_size,
    step_size,
    take,
)  # fmt: skip
from .solve_space import control_of, space_of
from .solve_steps import grid_place, probe, try_step
from .solving import FAILED
from .stepsize import next_factor, retry_factor, rounded, says_nothing, smallest_fraction

REPEATED = 3.0  # `KNOWN` of a lane whose step is tried again


# ── adaptive steps ────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _has_ended(p, ensemble, lane):
    """Whether the trajectory of a lane ends here; its status says why."""
    run, control = shift(ensemble.runs, lane * (RUN + 2)), shift(ensemble.wide_in, p.own * p.lanes + lane)
    if run[STATUS] != DONE or control[AT * p.lanes] >= 1.0:
        return True
    k = ensemble.steps[lane]
    if k < p.length and (not p.kept or k < p.kept):
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
def _choose_step(p, ensemble, lane):
    """Choose the size of the next trial step of a lane. False where it is too small."""
    n, control = p.lanes, shift(ensemble.wide_in, p.own * p.lanes + lane)
    least, most, rest = _smallest(p, ensemble, lane), ensemble.longest[lane], 1.0 - control[AT * n]
    fraction = control[STEP * n]
    if control[KNOWN * n] != REPEATED:
        fraction = max(fraction, least)
    fraction = min(fraction, most)
    if rest <= 1.01 * fraction and rest <= most:
        fraction = rest
    elif not fraction >= least:
        shift(ensemble.runs, lane * (RUN + 2))[STATUS] = TOO_SMALL
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
    before = own.run[EVALUATIONS]
    code = try_step(p, own, control_of(p, own)[STEP])
    own.run[EVALUATIONS] = before
    return -1.0 if code else probe(p, given_of(p, ensemble, lane).elements, own)


@helper
def _is_finite(p, ensemble, lane):
    total = 0.0
    for i in range(p.errors):
        total += ensemble.wide_out[i * p.lanes + lane] * 0.0
    return total == 0.0


@helper
def _judge(p, ensemble, lane, space):
    """Accept the trial step of a lane, or have it repeated. Returns 0 or an error."""
    n = p.lanes
    run, control = shift(ensemble.runs, lane * (RUN + 2)), shift(ensemble.wide_in, p.own * n + lane)
    verdict = shift(ensemble.wide_out, result_size(p) * n + lane)
    norm, factor, run[WORST] = verdict[0], verdict[n], verdict[2 * n]
    at, fraction, known = control[AT * n], control[STEP * n], control[KNOWN * n]
    run[EVALUATIONS] += p.stages
    if says_nothing(norm, control[LAST * n], given_of(p, ensemble, lane).elements, p.errors):
        other = _probed(p, ensemble, lane, space)
        if other < 0.0:
            return WRONG
        norm = max(norm, other)
        factor = next_factor(norm, control[LAST * n], p.order)
    if norm <= 1.0 and _is_finite(p, ensemble, lane):
        control[KNOWN * n] = 2.0 if known >= 2.0 else 1.0
        after = 1.0 if fraction >= 1.0 - at else at + fraction
        if address(ensemble.states):
            keep_state(p, ensemble, lane)
        code = deliver_lane(p, ensemble, lane, after, space) if ensemble.target and p.points + p.kept else 0
        ensemble.steps[lane] += 1
        run[ACCEPTED] += 1
        control[AT * n] = after
        control[STEP * n] = rounded(fraction * (min(factor, 1.0) if known >= 2.0 else factor))
        control[LAST * n], control[KNOWN * n] = max(norm, LEAST_LAST), 0.0
        ensemble.accepted[lane] = 1.0
        return code
    ensemble.accepted[lane] = 0.0
    if fraction <= _smallest(p, ensemble, lane) and fraction < 1.0 - at:
        run[STATUS] = TOO_SMALL
        return 0
    run[REJECTED] += 1
    control[KNOWN * n] = REPEATED
    control[STEP * n] = rounded(fraction * retry_factor(norm, p.order))
    return 0


@helper
def _move(p, ensemble):
    """Make the states after the accepted steps the current ones."""
    n, accepted = p.lanes, view(ensemble.accepted, p.lanes)
    for i in range(p.own + p.cache):
        to = view(shift(ensemble.wide_in, (i if i < p.own else i + CONTROL) * n), n)
        source = view(shift(ensemble.wide_out, i * n), n)
        for lane in range(n):
            to[lane] = select(accepted[lane] != 0.0, source[lane], to[lane])


@helper
def run_adaptive(p, ensemble, space):
    """All trajectories, with step size control."""
    following = ensemble.first
    for lane in range(p.lanes):
        following = take(p, ensemble, lane, following)
        ensemble.accepted[lane] = 0.0
        if ensemble.trajectories[lane] != IDLE:
            code = begin(p, ensemble, lane, space)
            if code:
                return code
        elif lane:  # lanes without a trajectory copy another, so that there are no exceptional numbers
            _copy_lane(p, ensemble, lane)
    while True:
        active = 0
        for lane in range(p.lanes):
            following = _next(p, ensemble, lane, following, space)
            if following < 0:
                return following
            active += ensemble.trajectories[lane] != IDLE
        if not active:
            return 0
        code = call_kernel(
            p.wide.address,
            p.wide.context,
            address(ensemble.wide_in),
            address(ensemble.wide_out),
            address(space.scratch),
        )
        for lane in range(p.lanes):
            if not code and ensemble.trajectories[lane] != IDLE:
                code = _judge(p, ensemble, lane, space)
        if code:
            return code
        _move(p, ensemble)


@helper
def _copy_lane(p, ensemble, lane):
    for i in range(step_size(p) + p.adaptive * 2 * p.errors):
        ensemble.wide_in[i * p.lanes + lane] = ensemble.wide_in[i * p.lanes]


# ── fixed steps ───────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _are_equal(p, ensemble):
    """Whether all lanes have the same grid."""
    first = given_of(p, ensemble, 0).elements
    for lane in range(1, p.lanes):
        if ensemble.trajectories[lane] != IDLE:
            own = given_of(p, ensemble, lane).elements
            for i in range(p.controls):
                if own[i] != first[i]:
                    return False
    return True


@helper
def _place(p, ensemble, k, equal):
    """Give step k of every lane its place in the lane's grid."""
    control = shift(ensemble.wide_in, p.own * p.lanes)
    at, step = 0.0, 0.0
    for lane in range(p.lanes):
        if lane == 0 or not equal:
            chosen = lane if ensemble.trajectories[lane] != IDLE else 0
            controls = given_of(p, ensemble, chosen).elements
            at, step = grid_place(p, controls, k)
        control[AT * p.lanes + lane], control[STEP * p.lanes + lane] = at, step


@helper
def _after(p, ensemble, lane, k):
    """The position of a lane after step k."""
    last = k + 1 == p.length
    return 1.0 if last else grid_place(p, given_of(p, ensemble, lane).elements, k + 1)[0]


@helper
def _deliver_all(p, ensemble, k, equal, space):
    """Results of step k of all lanes. Returns 0 or an error."""
    after = _after(p, ensemble, 0, k)
    for lane in range(p.lanes):
        if ensemble.trajectories[lane] != IDLE:
            ensemble.steps[lane] = k
            own = after if equal else _after(p, ensemble, lane, k)
            code = deliver_lane(p, ensemble, lane, own, space)
            if code:
                return code
    return 0


@helper
def _start_fixed(p, ensemble, following, space):
    """Give trajectories to the lanes; returns the next one, or an error."""
    for lane in range(p.lanes):
        following = take(p, ensemble, lane, following)
        ensemble.accepted[lane] = 1.0
        if ensemble.trajectories[lane] == IDLE:
            _copy_lane(p, ensemble, lane)
            continue
        code = begin(p, ensemble, lane, space)
        if code:
            return code if code < 0 else WRONG
    return following


@helper
def _steps_fixed(p, ensemble, space):
    """All steps of the trajectories in the lanes."""
    equal = _are_equal(p, ensemble)
    for k in range(p.length):
        _place(p, ensemble, k, equal)
        code = call_kernel(
            p.wide.address,
            p.wide.context,
            address(ensemble.wide_in),
            address(ensemble.wide_out),
            address(space.scratch),
        )
        if address(ensemble.states):
            size = (p.own + CONTROL) * p.lanes
            copy(shift(ensemble.states, k * size), ensemble.wide_in, size)
        if ensemble.target and p.points + p.kept:
            code = code or _deliver_all(p, ensemble, k, equal, space)
        if code:
            return code
        _move(p, ensemble)
    return 0


@helper
def run_fixed(p, ensemble, space):
    """All trajectories, on fixed grids, as many at a time as there are lanes."""
    following = ensemble.first
    while following < ensemble.last:
        following = _start_fixed(p, ensemble, following, space)
        if following < 0:
            return following
        code = _steps_fixed(p, ensemble, space)
        if code:
            return code
        for lane in range(p.lanes):
            if ensemble.trajectories[lane] != IDLE:
                shift(ensemble.wide_in, (p.own + AT) * p.lanes)[lane] = 1.0
                ensemble.runs[lane * (RUN + 2) + ACCEPTED] = ensemble.steps[lane] = p.length
                end(p, ensemble, lane, space)
    return 0


@helper
def _all_done(p, target):
    """Whether all trajectories have reached the end of their spans."""
    for i in range(p.count):
        run = doubles(target + 8 * ((i + 1) * p.results - RUN))
        if run[STATUS] != DONE:
            return False
    return True


# ── the driver ────────────────────────────────────────────────────────────────────────────────────────────────
@kernel
def run_solve_lanes(context, source, target, work):
    """Solves of all trajectories, whose operands and results stand one after another."""
    p = lanes_at(context)
    space = space_of(p, work)
    ensemble = ensemble_of(p, work, source, p.operands, target, 0, 0, p.count)
    code = run_adaptive(p, ensemble, space) if p.adaptive else run_fixed(p, ensemble, space)
    return FAILED if p.strict and not code and not _all_done(p, target) else code
