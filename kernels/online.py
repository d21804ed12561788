"""Checkpoints of a loop whose number of steps is not known in advance.

Some rules need no such number to say which states are stored as the steps are made: PERIODIC, and BINOMIAL without a
slot. Of them, `finish` makes the plan for the steps that there were, which is the same as if they had been known.

The rule ONLINE is for a number of slots. The stored states form a list, ordered by steps. Each has a level.
1. A new state has level 0 and takes a free slot.
2. If there is none, it takes the slot of a dispensable state: one that has a later state of a higher level.
3. If there is none either, the last state is replaced by a later one, at the step at which its level rises by one.

A state of level k at position i of c is then at most C(c − i + 1 + k, k) steps after the one before it, which is what
k + 1 runs reach with the slots that are left there. So at any moment the number of runs of a step is the least possible
(Wang, Moin & Iaccarino 2009). As long as two runs are enough, n ≤ (c + 1)(c + 2)/2, the number of steps is the optimum
of Revolve (Stumm & Walther 2010): all slots are in use, and the last one holds state n − 2 or n − 3.
"""

from typing import Any, NamedTuple

from .flags import helper, inlined, kernel
from .memory import address, record_at, shift
from .plan_fields import (
    ADVANCE,
    BINOMIAL,
    CHOICES,
    DISCARD,
    LISTS,
    MOST_AT_ONCE,
    ONLINE,
    PERIODIC,
    STORE,
)
from .segments import emit, opened, push

ALWAYS = 2**62  # the level of the initial state

_choices_record = record_at(CHOICES)


class Choices(NamedTuple):
    """The list of stored states: its record, and by slot the step, the level and the slot before, by pointers."""

    head: Any
    steps: Any
    levels: Any
    before: Any


@inlined
def _choices(p):
    """The list of a plan's states."""
    lists, size = shift(p.own, LISTS), p.head.size
    return Choices(_choices_record(address(p.own)), lists, shift(lists, size), shift(lists, 2 * size))


@helper
def _put(states, slot, step, level):
    """Append a state to the list."""
    head = states.head
    head.dropped = states.steps[slot] if slot < head.count else -1
    states.steps[slot] = step
    states.levels[slot] = level
    states.before[slot] = head.last
    head.last = slot
    return slot


@helper
def _dispensable(states):
    """Remove the last dispensable state from the list. Returns its slot, or −1 if there is none."""
    raised = states.head.raised
    if raised < 0:
        return -1
    victim = states.before[raised]
    if states.levels[victim] >= states.levels[raised]:
        states.head.raised = -1
        return -1
    states.before[raised] = states.before[victim]
    return victim


@helper
def _move_last(states, step):
    """Replace the last state by that at this step, if its level rises here. Returns its slot, or −1."""
    last = states.head.last
    before, level = states.before[last], states.levels[last] + 1
    if before < 0 or step < states.steps[before] + (level + 1) * (level + 2) // 2:
        return -1
    states.head.last = before
    states.head.raised = last
    return _put(states, last, step, level)


@helper
def _choose(states, size, step):
    """`choose` in the list of a plan."""
    head = states.head
    head.seen = step + 1
    if head.count < size:
        slot = _put(states, head.count, step, 0 if head.count else ALWAYS)
        head.count += 1
        return slot
    slot = _dispensable(states)
    return _put(states, slot, step, 0) if slot >= 0 else _move_last(states, step)


@kernel
def choose(state, step):
    """The slot for the state at `step`, or −1 not to store it.

    Call it for every step in order, when it is known that the step is not the last one. A state that is in the slot is
    no longer needed.
    """
    p = opened(state)
    if p.head.rule == ONLINE:
        return _choose(_choices(p), p.head.size, step)
    return _in_period(step, p.head.size) if p.head.rule == PERIODIC else -1


@helper
def _in_period(step, every):
    """As `segments` takes slots: one for each period before, and the states of this period behind them. Its last state
    is current when it is needed."""
    own = step % every
    return -1 if 0 < own == every - 1 else step // every + own


@kernel
def lead(first):
    """How many numbers of a plan's first state matter. The stack of PERIODIC may be long, and is empty."""
    p = opened(first)
    return p.head.stack + 1 if p.head.rule == PERIODIC else first.shape[0]


@helper
def _is_same(state, first):
    for i in range(lead(first)):
        if state[i] != first[i]:
            return False
    return True


@kernel
def is_possible(state, first, n):
    """Whether calls of `choose` in a loop of n steps can have changed `first` into `state`: its list has states of
    different steps, in existing slots. A vector from a file must be checked before it is used for indexing."""
    p, start = opened(state), opened(first).head
    if p.head.size != start.size or p.head.stack != start.stack:
        return False
    if p.head.slots != start.slots or p.head.own != start.own or p.head.rule != start.rule:
        return False
    if start.rule != ONLINE:
        return _is_same(state, first)
    states, size = _choices(p), start.size
    count = states.head.count
    if count < 0 or count > size or n >= 2**31 or states.head.seen != max(n - 1, 0):
        return False
    slot, stop = states.head.last, n - 1
    for _ in range(count):
        if slot < 0 or slot >= size or states.steps[slot] < 0 or states.steps[slot] >= stop:
            return False
        stop = states.steps[slot]
        slot = states.before[slot]
    return True


@helper
def _finish(p, states, n):
    """`finish` for a plan and its list."""
    head, count = p.head, states.head.count
    head.rule, head.steps, head.depth, head.on_disk = BINOMIAL, n, count, 0
    slot = states.head.last
    for k in range(head.size):
        p.slots[k] = k
    for k in range(count - 1, -1, -1):
        p.stack[k] = states.steps[slot]
        p.slots[k] = slot
        slot = states.before[slot]
    if n > 0:
        push(p, n - 1, n)


@kernel
def finish(state, n):
    """There are n steps: from now on `plan` writes the rows of the adjoint, with state n − 1 as the current one.

    Returns 1 if those of the forward sweep, which was made, come before them, else 0.
    """
    p = opened(state)
    if p.head.rule == ONLINE:
        _finish(p, _choices(p), n)
        return 0
    p.head.steps, p.head.stop = n, n
    p.head.depth = p.head.fresh = 1 if n > 0 else 0
    return 1


@helper
def _advance(states, buffer, written, step):
    """Write a row that runs the steps up to this one."""
    done = states.head.done
    states.head.done = step
    return emit(buffer, written, ADVANCE, done, step, -1) if step > done else written


@helper
def online_rows(p, buffer):
    """Rows of the forward sweep for a known number of steps, chosen as if it were unknown."""
    states, written, last = _choices(p), 0, p.head.steps - 1
    while states.head.seen < last and written + MOST_AT_ONCE <= buffer.shape[0]:
        step = states.head.seen
        slot = _choose(states, p.head.size, step)
        if slot >= 0:
            written = _advance(states, buffer, written, step)
            dropped = states.head.dropped
            if dropped >= 0:
                written = emit(buffer, written, DISCARD, dropped, dropped, slot)
            written = emit(buffer, written, STORE, step, step, slot)
    if states.head.seen >= last and written < buffer.shape[0]:
        written = _advance(states, buffer, written, max(last, 0))
        _finish(p, states, p.head.steps)
    return written
