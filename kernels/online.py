"""Checkpoints of a loop whose number of steps is not known in advance.

The states kept are a list by steps; each has a level. A new one has level 0 and takes a free slot, or, when there
is none, that of a state which a later one of a higher level makes dispensable. Where nothing is dispensable, the
last one is moved forward, at the step from which on that raises its level by one. A state of level k at place i of
c then is C(c − i + 1 + k, k) steps after the one before it, at most: what k + 1 runs reach with the slots that are
left there. So the number of runs of a step is the least possible at any moment (Wang, Moin & Iaccarino 2009), and
as long as two runs are enough, n ≤ (c + 1)(c + 2)/2, the number of steps is the optimum of Revolve (Stumm &
Walther 2010): all slots are in use, and the last one holds state n − 2 or n − 3.
"""

from .flags import helper, kernel
from .plan_fields import (
    ADVANCE,
    BINOMIAL,
    COUNT,
    DEPTH,
    DISCARD,
    DONE,
    DROPPED,
    LAST,
    LISTS,
    MOST_AT_ONCE,
    ON_DISK,
    OWN,
    RAISED,
    RULE,
    SEEN,
    SIZE,
    SLOTS,
    STACK,
    STEPS,
    STORE,
)
from .segments import emit, push

ALWAYS = 2**62  # the level of the initial state


@helper
def _put(state, slot, step, level):
    """A state at the end of the list."""
    own, size = state[OWN], state[SIZE]
    row = own + LISTS + slot
    state[own + DROPPED] = state[row] if slot < state[own + COUNT] else -1
    state[row] = step
    state[row + size] = level
    state[row + 2 * size] = state[own + LAST]
    state[own + LAST] = slot
    return slot


@helper
def _dispensable(state):
    """Take the slot of a dispensable state off the list: the last one; −1: there is none."""
    own, size = state[OWN], state[SIZE]
    raised = state[own + RAISED]
    if raised < 0:
        return -1
    levels, before = own + LISTS + size, own + LISTS + 2 * size
    victim = state[before + raised]
    if state[levels + victim] >= state[levels + raised]:
        state[own + RAISED] = -1
        return -1
    state[before + raised] = state[before + victim]
    return victim


@helper
def _move_last(state, step):
    """Move the last state to this step if that is where its level rises; its slot, or −1."""
    own, size = state[OWN], state[SIZE]
    last = state[own + LAST]
    row = own + LISTS + last
    before = state[row + 2 * size]
    if before < 0:
        return -1
    level = state[row + size] + 1
    if step < state[own + LISTS + before] + (level + 1) * (level + 2) // 2:
        return -1
    state[own + LAST] = before
    state[own + RAISED] = last
    return _put(state, last, step, level)


@kernel
def choose(state, step):
    """The slot for the state at `step`, or −1: to be called once it is known that this step is not the last one.

    For every step in order. The slot may hold another state, which is no longer needed then.
    """
    own = state[OWN]
    count = state[own + COUNT]
    state[own + SEEN] = step + 1
    if count < state[SIZE]:
        slot = _put(state, count, step, 0 if count else ALWAYS)
        state[own + COUNT] += 1
        return slot
    slot = _dispensable(state)
    return _put(state, slot, step, 0) if slot >= 0 else _move_last(state, step)


@kernel
def is_possible(state, first, n):
    """Whether `state` can be what some calls of `choose`, for a loop of n steps, have made of `first`: a list of states
    in different steps, in slots that there are. A vector from elsewhere must be, before it says what to index."""
    own, size = first[OWN], first[SIZE]
    for place in (SIZE, STACK, SLOTS, OWN):
        if state[place] != first[place]:
            return False
    count = state[own + COUNT]
    if count < 0 or count > size or n >= 2**31 or state[own + SEEN] != max(n - 1, 0):
        return False
    slot, stop = state[own + LAST], n - 1
    for _ in range(count):
        if slot < 0 or slot >= size or state[own + LISTS + slot] < 0 or state[own + LISTS + slot] >= stop:
            return False
        stop = state[own + LISTS + slot]
        slot = state[own + LISTS + 2 * size + slot]
    return True


@kernel
def finish(state, n):
    """There are n steps: from here on `plan` gives the adjoint's rows; the current state is that at n − 1."""
    own, size, count = state[OWN], state[SIZE], state[state[OWN] + COUNT]
    state[RULE], state[STEPS], state[DEPTH], state[ON_DISK] = BINOMIAL, n, count, 0
    slot = state[own + LAST]
    for k in range(size):
        state[state[SLOTS] + k] = k
    for k in range(count - 1, -1, -1):
        state[state[STACK] + k] = state[own + LISTS + slot]
        state[state[SLOTS] + k] = slot
        slot = state[own + LISTS + 2 * size + slot]
    if n > 0:
        push(state, n - 1, n)


@helper
def _advance(state, buffer, written, step):
    """Run the steps up to this one."""
    done = state[state[OWN] + DONE]
    state[state[OWN] + DONE] = step
    return emit(buffer, written, ADVANCE, done, step, -1) if step > done else written


@helper
def online_rows(state, buffer):
    """Rows of the forward sweep for a number of steps that is known, chosen as if it were not."""
    written, own = 0, state[OWN]
    while state[own + SEEN] < state[STEPS] - 1 and written + MOST_AT_ONCE <= buffer.shape[0]:
        step = state[own + SEEN]
        slot = choose(state, step)
        if slot >= 0:
            written = _advance(state, buffer, written, step)
            if state[own + DROPPED] >= 0:
                written = emit(buffer, written, DISCARD, state[own + DROPPED], state[own + DROPPED], slot)
            written = emit(buffer, written, STORE, step, step, slot)
    if state[own + SEEN] >= state[STEPS] - 1 and written < buffer.shape[0]:
        written = _advance(state, buffer, written, max(state[STEPS] - 1, 0))
        finish(state, state[STEPS])
    return written
