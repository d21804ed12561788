"""Drivers of a choice among branches, of one program over several lanes, and of what only passes numbers on."""

from .flags import kernel
from .memory import call_kernel, doubles, integers, record_at, view
from .records import BRANCH, KERNEL, LANES, NOTICE
from .stopping import stopped

branch_at, kernel_at, lanes_at = record_at(BRANCH), record_at(KERNEL), record_at(LANES)
notice_at = record_at(NOTICE)
FIRST, NEXT = BRANCH.itemsize, KERNEL.itemsize  # bytes


@kernel
def run_branch(context, source, target, work):
    """The branch whose number is the first element of the vector, applied to the others."""
    count, index = branch_at(context).count, view(doubles(source), 1)[0]
    chosen = min(max(index, 0.0), count - 1.0) if index == index else 0.0
    branch = kernel_at(context + FIRST + NEXT * int(chosen))
    return call_kernel(branch.address, branch.context, source + 8, target, work)


@kernel
def run_lanes(context, source, target, work):
    """One program on each lane of a block, one after another. The first place of `work` has the address of what was
    saved, the second one the number of the block."""
    p = lanes_at(context)
    saved = view(integers(work), 2)
    first, block = saved[0], saved[1]
    for k in range(block * p.block, min((block + 1) * p.block, p.count)):
        saved[0] = first + 8 * k * p.saved
        at_in, at_out = source + 8 * k * p.operands, target + 8 * k * p.results
        code = stopped() or call_kernel(p.lane.address, p.lane.context, at_in, at_out, work)
        if code:
            return code
    return 0


@kernel
def run_notice(context, source, target, work):
    """The numbers as they are: Python has told the user something by now."""
    n = notice_at(context).size
    x, out = view(doubles(source), n), view(doubles(target), n)
    for i in range(n):
        out[i] = x[i]
    return 0
