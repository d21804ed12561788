"""Drivers of a choice among branches, and of one program over several lanes."""

from .flags import kernel
from .loop_fields import BRANCHES, FIRST, LANE, LANE_KEPT, LANES, OPERANDS, RESULT
from .memory import call_kernel, doubles, integers, view


@kernel
def run_branch(context, source, target, work):
    """The branch whose number is the first element of the vector, applied to the others."""
    p = view(integers(context), FIRST)
    count = p[BRANCHES]
    index = view(doubles(source), 1)[0]
    chosen = min(max(index, 0.0), count - 1.0) if index == index else 0.0
    q = view(integers(context + 8 * (FIRST + 2 * int(chosen))), 2)
    return call_kernel(q[0], q[1], source + 8, target, work)


@kernel
def run_lanes(context, source, target, work):
    """One program on each lane, one after another."""
    p = view(integers(context), LANE_KEPT + 1)
    kept = view(integers(work), 1)
    first = kept[0]
    for lane in range(p[LANES]):
        kept[0] = first + 8 * lane * p[LANE_KEPT]
        at_in, at_out = source + 8 * lane * p[OPERANDS], target + 8 * lane * p[RESULT]
        code = call_kernel(p[LANE], p[LANE + 1], at_in, at_out, work)
        if code:
            return code
    return 0
