"""One step of a solve as it is called: its memory, what it counts and notes. See `solving`."""

from .flags import helper
from .memory import shift
from .records import CONTROL, COUNTED, EVALUATIONS, FAILURES, FRESH, STEP
from .reversing import call, copy
from .solve_space import (
    cache_of,
    control_of,
    ends_of,
    memory_of,
    place_of_cache,
    place_of_dense,
    place_of_errors,
)


@helper
def evaluate(solve, space):
    """The right-hand side at the state in space.step_in, to space.step_out."""
    space.run[EVALUATIONS] += 1
    return call(solve.rhs, space.step_in, space.step_out, space)


@helper
def refresh(solve, space):
    """Compute the cache if it does not belong to the state."""
    if space.marks[FRESH] or not solve.cache:
        return 0
    code = evaluate(solve, space)
    copy(cache_of(solve, space), space.step_out, solve.cache)
    space.marks[FRESH] = 1
    return code


@helper
def counts_of(solve, space):
    """What the last trial step has counted."""
    return shift(space.step_out, place_of_errors(solve) - solve.counts)


@helper
def make_step(solve, space):
    """The step whose argument is there."""
    space.run[EVALUATIONS] += solve.stages
    code = call(solve.body, space.step_in, space.step_out, space)
    counts, run = counts_of(solve, space), shift(space.run, COUNTED)
    for i in range(solve.counts):
        run[i] += counts[i]
    return code


@helper
def try_step(solve, space, fraction):
    """One trial step of this size."""
    control_of(solve, space)[STEP] = fraction
    return make_step(solve, space)


@helper
def is_unsolved(solve, space):
    """Whether equations of the last trial step were not solved."""
    return solve.counts > 0 and counts_of(solve, space)[FAILURES] > 0.0


@helper
def recompute(solve, space):
    """Make a step whose size is known."""
    code = refresh(solve, space)
    return code or call(solve.body, space.step_in, space.step_out, space)


@helper
def recompute_dense(solve, space):
    """The dense output of an accepted step, for its adjoint. The memory that the step had is not there any more, so it
    is that of the step without."""
    if not solve.memory:
        return recompute(solve, space)
    inside = solve.own + solve.control
    copy(space.bar_in, space.step_in, inside)
    copy(shift(space.bar_in, inside), ends_of(solve, space), solve.ends + solve.shared)
    return call(solve.with_dense, space.bar_in, shift(space.step_out, place_of_dense(solve) - solve.own), space)


@helper
def keep_memory(solve, space):
    """The memory after a trial step, for the next one."""
    copy(memory_of(solve, space), shift(space.step_out, place_of_cache(solve) + solve.cache), solve.memory)


@helper
def noted_factor(solve, own, factor):
    """A factor for the step size that a step has noted, if it has, or this one."""
    return own if solve.control > CONTROL and own > 0.0 else factor


@helper
def factor_of(solve, i, factor, space):
    """Factor i for the step size that the last trial step has noted, or this one."""
    return noted_factor(solve, shift(space.step_out, solve.own)[i], factor)
