"""Driver of the solves of an ensemble: as many trajectories at once as there are lanes, each with steps of its own.

What the lanes hold is stored component by component, so that one call makes a trial step of every lane in SIMD
registers. A step that is rejected is repeated in its lane only. A lane that has finished is given the next trajectory.
No number of a trajectory depends on what is in other lanes. Adaptive steps are in `solve_lanes_adaptive`; fixed steps,
here, map [state | control | ends | shared] to [state | dense output].
"""

from .flags import helper, kernel
from .memory import address, call_kernel, doubles, shift
from .records import AT, DONE, RUN, STATUS, STEP
from .reversing import WRONG, copy
from .solve_lanes_adaptive import run_adaptive
from .solve_lanes_space import (
    IDLE,
    begin,
    block_of,
    copy_lane,
    deliver_lane,
    end,
    ensemble_of,
    given_of,
    lanes_at,
    move,
    take,
)  # fmt: skip
from .solve_space import space_of
from .solve_steps import grid_place
from .solving import FAILED
from .stopping import ended_at, stopped


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
            copy_lane(p, ensemble, lane)
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
        code = stopped() or call_kernel(
            p.wide.address,
            p.wide.context,
            address(ensemble.wide_in),
            address(ensemble.wide_out),
            address(space.scratch),
        )
        if address(ensemble.states):
            size = (p.own + p.control) * p.lanes
            copy(shift(ensemble.states, k * size), ensemble.wide_in, size)
        if ensemble.target and p.points + p.kept:
            code = code or _deliver_all(p, ensemble, k, equal, space)
        if code:
            return ended_at(k, code)
        move(p, ensemble)
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
                ensemble.steps[lane] = p.length
                end(p, ensemble, lane, space)
    return 0


@helper
def _all_done(p, target, first, last):
    """Whether all these trajectories have reached the end of their spans."""
    for i in range(first, last):
        run = doubles(target + 8 * ((i + 1) * p.results - RUN))
        if run[STATUS] != DONE:
            return False
    return True


# ── the driver ────────────────────────────────────────────────────────────────────────────────────────────────
@kernel
def run_solve_lanes(context, source, target, work):
    """Solves of the trajectories of a block; operands and results of all stand one after another."""
    p = lanes_at(context)
    first, last = block_of(p, work)
    space = space_of(p, work)
    ensemble = ensemble_of(p, work, source, p.operands, target, 0, first, last)
    code = run_adaptive(p, ensemble, space) if p.adaptive else run_fixed(p, ensemble, space)
    return FAILED if p.strict and not code and not _all_done(p, target, first, last) else code
