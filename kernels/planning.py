"""The planner: writes the rows of any schedule in pieces, so that a million steps need no long list.

The state of a plan is a vector of integers (see `plan_fields`). `segments` describes the rows and the nesting of
segments; `online` chooses states while the number of steps is not known.
"""

from .flags import helper, kernel
from .online import online_rows
from .plan_fields import ADVANCE, DISCARD, LISTED, ONLINE, STORE
from .segments import next_rows, opened


@helper
def _copy(p, buffer):
    """Copy the next rows of the list that is in the state."""
    first = 4 * p.head.depth
    count = min(buffer.shape[0], p.head.steps - p.head.depth)
    for k in range(4 * count):
        buffer[k // 4, k % 4] = p.own[first + k]
    p.head.depth += count
    return count


@kernel
def plan(state, buffer):
    """Write the next rows into `buffer`, which has room for at least MOST_AT_ONCE. Returns their number; 0: the end."""
    p = opened(state)
    if p.head.rule == LISTED:
        return _copy(p, buffer)
    written = online_rows(p, buffer) if p.head.rule == ONLINE else 0
    return next_rows(p, buffer, written)


@kernel
def survey(totals, state, buffer, memory):
    """Run the whole plan. Totals are: steps run, slots, writes to and reads from slots ≥ memory."""
    steps, slots, writes, reads = 0, 0, 0, 0
    while True:
        count = plan(state, buffer)
        if count == 0:
            totals[0], totals[1], totals[2], totals[3] = steps, slots, writes, reads
            return 0
        for k in range(count):
            code, slot = buffer[k, 0], buffer[k, 3]
            length = max(buffer[k, 2] - buffer[k, 1], 1)
            if code == ADVANCE:
                steps += length
            if slot < 0 or code == DISCARD:
                continue
            slots = max(slots, slot + length)
            beyond = max(0, min(length, slot + length - memory))
            if code == ADVANCE or code == STORE:
                writes += beyond
            else:
                reads += beyond
