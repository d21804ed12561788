"""What the driver of solves in lanes has at hand: the lanes, and how a trajectory begins and ends in one. See
`solve_lanes`."""

from typing import Any, NamedTuple

from .flags import helper
from .memory import address, doubles, integers, record_at, select, shift, view
from .records import (
    ACCEPTED,
    AT,
    CONTROL,
    COUNTED,
    DONE,
    EVALUATIONS,
    FAILURES,
    MARKS,
    POINT,
    POSITION,
    RUN,
    SOLVE_LANES,
    STATUS,
    STEP,
    TOLERANCES,
    TRIES,
    UNSOLVED,
    WORST,
)  # fmt: skip
from .reversing import Given, clear, copy
from .solve_space import (
    Space,
    control_of,
    ends_of,
    is_behind,
    place_of_cache,
    place_of_dense,
    place_of_errors,
    points_of,
    span_of,
    start,
)
from .solve_steps import check_end, first_fraction, give_place
from .solve_trials import refresh
from .solving import deliver_points, kept_of, n_results
from .stepsize import largest_fraction, time_at

IDLE = -1  # the trajectory of a lane without any

lanes_at = record_at(SOLVE_LANES)


class Ensemble(NamedTuple):
    """All lanes: argument and result of a step, and one value a lane of the others, by pointers. `inputs`, `target`:
    addresses of operands and results of the trajectories, the latter 0 if they are not wanted; `states`, `counts`: for
    stored states of the trajectories from `first` on, 0 if they are not wanted, and their numbers."""

    wide_in: Any
    wide_out: Any
    runs: Any
    places: Any
    trajectories: Any
    steps: Any
    waiting: Any
    accepted: Any
    states: Any
    counts: Any
    inputs: Any
    stride: Any
    target: Any
    first: Any
    last: Any


@helper
def block_of(p, work):
    """The first trajectory of the block whose number stands in the second place of the work, and the first one after
    it."""
    first = integers(work)[1] * p.block
    return first, min(first + p.block, p.count)


@helper
def ensemble_of(p, work, inputs, stride, target, states, first, last):
    at = p.work
    return Ensemble(
        doubles(work + 8 * at.wide_in),
        doubles(work + 8 * at.wide_out),
        doubles(work + 8 * at.runs),
        integers(work + 8 * at.places),
        integers(work + 8 * at.trajectories),
        integers(work + 8 * at.steps),
        doubles(work + 8 * at.waiting),
        doubles(work + 8 * at.accepted),
        doubles(states),
        integers(work + 8 * at.counts),
        inputs,
        stride,
        target,
        first,
        last,
    )


# ── one lane ──────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def lane_space(space, runs, places, lane):
    """The vectors of one solve, with the run and the marks of a lane."""
    return Space(
        space.step_in,
        space.step_out,
        space.bar_in,
        space.bar_out,
        space.shared_bar,
        space.saved,
        space.cursor,
        space.plan,
        space.actions,
        space.sample_in,
        space.sample_out,
        space.sample_bar,
        space.dense_bar,
        shift(runs, lane * (RUN + 2)),
        shift(places, lane * MARKS),
        space.aside,
        space.event_in,
        space.event_out,
        space.event_bar,
        space.before,
        space.after,
        space.roots,
        space.left,
        space.log,
        space.scratch,
    )


@helper
def to_lane(wide, lanes, lane, vector, n):
    """Give a lane the first n components."""
    for i in range(n):
        wide[i * lanes + lane] = vector[i]


@helper
def from_lane(vector, wide, lanes, lane, n):
    """The first n components of a lane."""
    for i in range(n):
        vector[i] = wide[i * lanes + lane]


@helper
def step_size(p):
    """Length of a step's argument."""
    return p.carried + p.ends + p.shared


@helper
def result_size(p):
    """Length of a step's result."""
    return place_of_dense(p) + p.dense


@helper
def longest_of(p, ensemble, lane):
    """The largest step of a lane, as a fraction of the span."""
    return ensemble.wide_in[(step_size(p) + 2 * p.errors) * p.lanes + lane]


@helper
def given_of(p, ensemble, lane):
    """What the solve of a lane is given."""
    i = ensemble.trajectories[lane]
    arguments = doubles(ensemble.inputs + 8 * i * ensemble.stride)
    target = doubles(ensemble.target + 8 * i * p.results if ensemble.target else 0)
    return Given(arguments, shift(arguments, step_size(p)), arguments, target)


@helper
def begin(p, ensemble, lane, space):
    """Start a trajectory in a lane: its first state, its first step size, the derivative there."""
    given, own = given_of(p, ensemble, lane), lane_space(space, ensemble.runs, ensemble.places, lane)
    start(p, given, own)
    control = control_of(p, own)
    ensemble.steps[lane] = 0
    if address(given.target):
        not_reached = shift(given.target, p.carried)
        for i in range(p.points * p.own):
            not_reached[i] = float("nan")
        clear(shift(not_reached, p.points * p.own), p.kept * (p.own + 1 + p.dense))
    code, longest = 0, 1.0
    if not p.adaptive:
        give_place(p, given, 0, control_of(p, own))
    elif control[AT] < 1.0:
        longest = largest_fraction(given.elements, span_of(p, own))
        if control[STEP] == 0.0:
            code = first_fraction(p, given, own)
    if not code and own.run[STATUS] == DONE and control[AT] < 1.0:
        code = refresh(p, own)
    to_lane(ensemble.wide_in, p.lanes, lane, own.step_in, step_size(p))
    if p.adaptive:
        tolerances = shift(ensemble.wide_in, step_size(p) * p.lanes)
        to_lane(tolerances, p.lanes, lane, shift(given.elements, TOLERANCES), 2 * p.errors)
        tolerances[2 * p.errors * p.lanes + lane] = longest
    return code


@helper
def end(p, ensemble, lane, space):
    """Write what has become of the trajectory in a lane."""
    i, k = ensemble.trajectories[lane], ensemble.steps[lane]
    own = lane_space(space, ensemble.runs, ensemble.places, lane)
    from_lane(own.step_in, ensemble.wide_in, p.lanes, lane, p.carried)
    own.run[POSITION] = control_of(p, own)[AT]
    own.run[ACCEPTED] = k
    own.run[EVALUATIONS] += k * p.stages
    if not p.adaptive:
        if own.run[COUNTED + FAILURES] > 0.0:
            own.run[STATUS] = UNSOLVED
        check_end(p, own)
    elif k:
        own.run[WORST] = ensemble.wide_out[(result_size(p) + 2) * p.lanes + lane]
    if address(ensemble.states):
        ensemble.counts[i - ensemble.first] = k if own.run[STATUS] == DONE else -1
    if ensemble.target:
        out = doubles(ensemble.target + 8 * i * p.results)
        copy(out, own.step_in, p.carried)
        copy(shift(out, n_results(p) - RUN), own.run, RUN)


@helper
def keep_state(p, ensemble, lane):
    """Store the state of a lane, before its step, where there is room."""
    k = ensemble.steps[lane]
    if k < p.kept_states:
        size = p.own + p.control
        slot = shift(ensemble.states, ((ensemble.trajectories[lane] - ensemble.first) * p.kept_states + k) * size)
        from_lane(slot, ensemble.wide_in, p.lanes, lane, size)


@helper
def _is_due(p, ensemble, lane, given, after):
    """Whether the step of a lane has reached the next point."""
    j = ensemble.places[lane * MARKS + POINT]
    ends = shift(ensemble.wide_in, p.carried * p.lanes + lane)
    return j < p.points and is_behind(points_of(p, given)[j * p.point], ends[0], ends[p.lanes], after)


@helper
def deliver_lane(p, ensemble, lane, after, space):
    """Results of the step of a lane, which ends at the position `after`, at points, and what is kept of it."""
    given, k = given_of(p, ensemble, lane), ensemble.steps[lane]
    if p.kept:
        kept, places, dense = kept_of(p, given.target)
        from_lane(shift(kept, k * p.own), ensemble.wide_out, p.lanes, lane, p.own)
        places[k] = after
        output = shift(ensemble.wide_out, (result_size(p) - p.dense) * p.lanes)
        from_lane(shift(dense, k * p.dense), output, p.lanes, lane, p.dense)
    if not _is_due(p, ensemble, lane, given, after):
        return 0
    own = lane_space(space, ensemble.runs, ensemble.places, lane)
    from_lane(own.step_in, ensemble.wide_in, p.lanes, lane, step_size(p))
    from_lane(own.step_out, ensemble.wide_out, p.lanes, lane, result_size(p))
    return deliver_points(p, given, time_at(ends_of(p, own), after), own)


@helper
def take(p, ensemble, lane, following):
    """Give a lane the next trajectory, if there is one; returns the one after it."""
    if following >= ensemble.last:
        ensemble.trajectories[lane], ensemble.accepted[lane] = IDLE, 0.0
        return ensemble.last
    ensemble.trajectories[lane] = following
    return following + 1


@helper
def copy_lane(p, ensemble, lane):
    """Let a lane without a trajectory hold what the first one holds."""
    for i in range(step_size(p) + p.adaptive * (2 * p.errors + 1)):
        ensemble.wide_in[i * p.lanes + lane] = ensemble.wide_in[i * p.lanes]


@helper
def move(p, ensemble):
    """Make the states after the accepted steps the current ones. Rejected steps leave their memory."""
    n, accepted = p.lanes, view(ensemble.accepted, p.lanes)
    kept = place_of_cache(p) + p.cache
    for i in range(kept + p.memory):
        to = view(shift(ensemble.wide_in, (i if i < p.own else i + CONTROL) * n), n)
        source = view(shift(ensemble.wide_out, i * n), n)
        for lane in range(n):
            to[lane] = select((accepted[lane] != 0.0) | (i >= kept), source[lane], to[lane])
    if p.counts:
        _add_counts(p, ensemble)
    if p.control > CONTROL:
        tries = view(shift(ensemble.wide_in, (p.own + CONTROL + TRIES) * n), n)
        for lane in range(n):
            tries[lane] = select(accepted[lane] != 0.0, 0.0, tries[lane] + 1.0)


@helper
def _add_counts(p, ensemble):
    """Add what the trial steps of the busy lanes have counted."""
    counts = shift(ensemble.wide_out, (place_of_errors(p) - p.counts) * p.lanes)
    for lane in range(p.lanes):
        if ensemble.trajectories[lane] != IDLE:
            run = shift(ensemble.runs, lane * (RUN + 2) + COUNTED)
            for i in range(p.counts):
                run[i] += counts[i * p.lanes + lane]
