"""Driver of the adjoints of an ensemble's solves: a block of trajectories is solved in lanes, its states are stored,
and its steps are pulled back in lanes, each trajectory from its own last step on.

The adjoint of a step maps [state | control | ends | shared | adjoints of the state after it and, where that is wanted,
of its dense output] to adjoints of the first four, all of them of all lanes. A trajectory of more steps than can be
stored is pulled back alone, with states as the schedule says.
"""

from typing import Any, NamedTuple

from .flags import helper, kernel
from .memory import address, call_kernel, doubles, shift, view
from .records import AT, MARKS, POINT
from .reversing import Given, clear, copy
from .solve_lanes import run_fixed
from .solve_lanes_adaptive import run_adaptive
from .solve_lanes_space import IDLE, block_of, ensemble_of, from_lane, lane_space, lanes_at, step_size, to_lane
from .solve_space import ends_of, inside_size, is_behind, points_of, set_fresh, space_of
from .solve_trials import recompute_dense
from .solving import FAILED, kept_of, sample_adjoints
from .stopping import stopped


class Back(NamedTuple):
    """The backward pass: argument and result of the adjoint step and sums of what is shared, of all lanes; `inner`:
    adjoints of the states from within the steps; operands of all trajectories, and where their adjoints go."""

    wide_in: Any
    wide_out: Any
    sums: Any
    inner: Any
    inputs: Any
    target: Any


@helper
def _back_of(p, work, inputs, target):
    at = p.work
    return Back(
        doubles(work + 8 * at.wide_bar_in),
        doubles(work + 8 * at.wide_bar_out),
        doubles(work + 8 * at.sums),
        doubles(work + 8 * at.inner),
        inputs,
        target,
    )


@helper
def _given_of(p, ensemble, back, lane):
    """What the adjoint of a lane is given."""
    i = ensemble.trajectories[lane]
    arguments = doubles(back.inputs + 8 * i * p.operands)
    elements = shift(arguments, step_size(p))
    seeds = shift(elements, p.controls + p.points * p.point)
    return Given(arguments, elements, seeds, doubles(back.target + 8 * i * p.results))


@helper
def _begin(p, ensemble, back, lane, space):
    """Start the backward pass of a trajectory in a lane: what is shared, and the adjoint of its last state."""
    given, n = _given_of(p, ensemble, back, lane), p.lanes
    to_lane(shift(back.wide_in, (p.own + p.control) * n), n, lane, shift(given.arguments, p.carried), p.ends + p.shared)
    to_lane(shift(back.wide_in, inside_size(p) * n), n, lane, given.seeds, p.own)
    for i in range(p.ends + p.shared):
        back.sums[i * n + lane] = 0.0
    clear(given.target, p.results)
    own = lane_space(space, ensemble.runs, ensemble.places, lane)
    own.marks[POINT] = p.points


@helper
def _end(p, ensemble, back, lane):
    """Write the adjoints of a trajectory."""
    target, n = _given_of(p, ensemble, back, lane).target, p.lanes
    from_lane(target, shift(back.wide_in, inside_size(p) * n), n, lane, p.own)
    from_lane(shift(target, p.carried), back.sums, n, lane, p.ends + p.shared)


@helper
def _take(p, ensemble, back, following, space):
    """The next trajectory from `following` on whose states are stored; others are pulled back alone. Returns it, or the
    end of the block, or an error."""
    while following < ensemble.last:
        steps = ensemble.counts[following - ensemble.first]
        if steps < 0:
            return FAILED
        if steps <= p.kept_states:
            return following
        source, target = back.inputs + 8 * following * p.operands, back.target + 8 * following * p.results
        code = call_kernel(p.single.address, p.single.context, source, target, address(space.scratch))
        if code:
            return code if code < 0 else FAILED
        following += 1
    return following


@helper
def _next(p, ensemble, back, lane, following, space):
    """Make a lane ready for a step back, of the next trajectory if it is at the start of its own. Returns the next
    trajectory, or an error."""
    while ensemble.trajectories[lane] == IDLE or ensemble.steps[lane] == 0:
        if ensemble.trajectories[lane] != IDLE:
            _end(p, ensemble, back, lane)
        following = _take(p, ensemble, back, following, space)
        if following < 0:
            return following
        if following == ensemble.last:
            ensemble.trajectories[lane], ensemble.steps[lane] = IDLE, 0
            return following
        ensemble.trajectories[lane] = following
        ensemble.steps[lane] = ensemble.counts[following - ensemble.first]
        _begin(p, ensemble, back, lane, space)
        following += 1
    return following


@helper
def _load(p, ensemble, back, lane):
    """Give a lane the state before the step that is pulled back."""
    size = p.own + p.control
    place = (ensemble.trajectories[lane] - ensemble.first) * p.kept_states + ensemble.steps[lane]
    to_lane(back.wide_in, p.lanes, lane, shift(ensemble.states, place * size), size)


# ── results in the step ───────────────────────────────────────────────────────────────────────────────────────
@helper
def _add_to_lane(wide, lanes, lane, vector, n):
    for i in range(n):
        wide[i * lanes + lane] += vector[i]


@helper
def _dense_output(p, ensemble, back, lane, own):
    """The state of a lane for `sample_adjoints`, and its dense output if that is needed."""
    n = p.lanes
    from_lane(own.step_in, back.wide_in, n, lane, p.own + p.control)
    from_lane(ends_of(p, own), shift(back.wide_in, (p.own + p.control) * n), n, lane, p.ends + p.shared)
    if not p.moving or not p.points:
        return 0
    set_fresh(p, p.own + p.control, own)
    return recompute_dense(p, own)


@helper
def _kept_adjoints(p, ensemble, back, lane, given):
    """Add the adjoints of what is kept of the step of a lane."""
    k, n = ensemble.steps[lane], p.lanes
    bars = shift(back.wide_in, inside_size(p) * n)
    kept, _, dense = kept_of(p, given.seeds)
    if k < p.kept:
        _add_to_lane(bars, n, lane, shift(kept, k * p.own), p.own)
        if p.dense_bars:
            _add_to_lane(shift(bars, p.own * n), n, lane, shift(dense, k * p.dense), p.dense)


@helper
def _has_points(p, ensemble, back, lane, given):
    """Whether there are points in the step of a lane."""
    j, n = ensemble.places[lane * MARKS + POINT], p.lanes
    at = back.wide_in[(p.own + AT) * n + lane]
    ends = shift(back.wide_in, (p.own + p.control) * n + lane)
    return j > 0 and not (at > 0.0 and is_behind(points_of(p, given)[(j - 1) * p.point], ends[0], ends[n], at))


@helper
def _point_adjoints(p, ensemble, back, lane, given, space):
    """Add the adjoints of results at points in the step of a lane. What they add to the adjoint of the state before the
    step is put aside in `inner`, since the step's own adjoint follows. Returns 0 or an error."""
    n, inside = p.lanes, inside_size(p)
    own = lane_space(space, ensemble.runs, ensemble.places, lane)
    code = _dense_output(p, ensemble, back, lane, own)
    if code:
        return code
    clear(shift(own.bar_in, inside), p.own)
    clear(own.shared_bar, p.ends + p.shared)
    clear(own.dense_bar, p.own + p.control + p.dense)
    sampled = sample_adjoints(p, given, ensemble.steps[lane], own)
    if sampled < 0:
        return sampled
    bars = shift(back.wide_in, inside * n)
    _add_to_lane(bars, n, lane, shift(own.bar_in, inside), p.own)
    _add_to_lane(back.sums, n, lane, own.shared_bar, p.ends)
    if p.dense_bars:
        to_lane(shift(bars, p.own * n), n, lane, shift(own.dense_bar, p.own + p.control), p.dense)
    to_lane(back.inner, n, lane, own.dense_bar, p.own)
    return 0


@helper
def _inner_adjoints(p, ensemble, back, space):
    """Add the adjoints of all results of the steps of all lanes but the states after them. Returns 0 or an error."""
    n = p.lanes
    clear(back.inner, p.own * n)
    if p.dense_bars:
        clear(shift(back.wide_in, (inside_size(p) + p.own) * n), p.dense * n)
    for lane in range(n):
        if ensemble.trajectories[lane] == IDLE:
            continue
        given = _given_of(p, ensemble, back, lane)
        if _has_points(p, ensemble, back, lane, given):
            code = _point_adjoints(p, ensemble, back, lane, given, space)
            if code:
                return code
        if p.kept:
            _kept_adjoints(p, ensemble, back, lane, given)
    return 0


@helper
def _move(p, back):
    """Make the adjoints before the steps the current ones."""
    n = p.lanes
    bars, inner = shift(back.wide_in, inside_size(p) * n), view(back.inner, p.own * n)
    to, source = view(bars, p.own * n), view(back.wide_out, p.own * n)
    for i in range(p.own * n):
        to[i] = source[i] + inner[i]
    size = (p.ends + p.shared) * n
    sums, more = view(back.sums, size), view(shift(back.wide_out, (p.own + p.control) * n), size)
    for i in range(size):
        sums[i] += more[i]


@helper
def _load_all(p, ensemble, back):
    """Give all lanes the states before the steps that are pulled back."""
    for lane in range(p.lanes):
        if ensemble.trajectories[lane] != IDLE:
            ensemble.steps[lane] -= 1
            if p.adaptive:
                _load(p, ensemble, back, lane)
    if not p.adaptive:  # the same step in all lanes
        size = (p.own + p.control) * p.lanes
        copy(back.wide_in, shift(ensemble.states, ensemble.steps[0] * size), size)


@helper
def _pull_back(p, ensemble, back, space):
    """Pull back all trajectories of a block."""
    following = ensemble.first
    for lane in range(p.lanes):
        ensemble.trajectories[lane], ensemble.steps[lane] = IDLE, 0
    while True:
        active = 0
        for lane in range(p.lanes):
            following = _next(p, ensemble, back, lane, following, space)
            if following < 0:
                return following
            active += ensemble.trajectories[lane] != IDLE
        if not active:
            return 0
        _load_all(p, ensemble, back)
        code = stopped()
        if not code and p.points + p.kept:
            code = _inner_adjoints(p, ensemble, back, space)
        code = code or call_kernel(
            p.wide_adjoint.address,
            p.wide_adjoint.context,
            address(back.wide_in),
            address(back.wide_out),
            address(space.scratch),
        )
        if code:
            return code
        _move(p, back)


@kernel
def reverse_solve_lanes(context, source, target, work):
    """The adjoints of the trajectories of a block: [arguments | adjoints of the results] of each to adjoints of its
    arguments."""
    p = lanes_at(context)
    first, last = block_of(p, work)
    space = space_of(p, work)
    back, states = _back_of(p, work, source, target), work + 8 * p.work.states
    clear(back.wide_in, (inside_size(p) + p.own + p.dense_bars * p.dense) * p.lanes)
    clear(back.inner, p.own * p.lanes)
    ensemble = ensemble_of(p, work, source, p.operands, 0, states, first, last)
    code = run_adaptive(p, ensemble, space) if p.adaptive else run_fixed(p, ensemble, space)
    return code or _pull_back(p, ensemble, back, space)
