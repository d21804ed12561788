"""Checkpoints of a loop whose number of steps is not known in advance.

The stored states form a list, ordered by steps. Each has a level.
1. A new state has level 0 and takes a free slot.
2. If there is none, it takes the slot of a dispensable state: one that has a later state of a higher level.
3. If there is none either, the last state is replaced by a later one, at the step at which its level rises by one.

A state of level k at position i of c is then at most C(c − i + 1 + k, k) steps after the one before it, which is what
k + 1 runs reach with the slots that are left there. So at any moment the number of runs of a step is the least possible
(Wang, Moin & Iaccarino 2009). As long as two runs are enough, n ≤ (c + 1)(c + 2)/2, the number of steps is the optimum
of Revolve (Stumm & Walther 2010): all slots are in use, and the last one holds state n − 2 or n − 3.
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
    """Append a state to the list."""
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
    """Remove the last dispensable state from the list. Returns its slot, or −1 if there is none."""
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
    """Replace the last state by that at this step, if its level rises here. Returns its slot, or −1."""
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
    """The slot for the state at `step`, or −1 not to store it.

    Call it for every step in order, when it is known that the step is not the last one. A state that is in the slot is
    no longer needed.
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
    """Whether calls of `choose` in a loop of n steps can have changed `first` into `state`: its list has states of
    different steps, in existing slots. A vector from a file must be checked before it is used for indexing."""
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
    """There are n steps: from now on `plan` writes the rows of the adjoint, with state n − 1 as the current one."""
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
    """Write a row that runs the steps up to this one."""
    done = state[state[OWN] + DONE]
    state[state[OWN] + DONE] = step
    return emit(buffer, written, ADVANCE, done, step, -1) if step > done else written


@helper
def online_rows(state, buffer):
    """Rows of the forward sweep for a known number of steps, chosen as if it were unknown."""
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
