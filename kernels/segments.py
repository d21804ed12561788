"""Segments: which states a loop of n steps stores and which it recomputes, as rows of four integers.

A row is (code, start, stop, slot); step k leads from state k to state k + 1:

- ADVANCE  run the steps start..stop−1 from the current state; slot ≥ 0: before step k, store its state in
           slot + (k − start)
- STORE    copy the current state, which is that at `start`, into the slot
- LOAD     make the slot's state, which is that at `start`, the current one
- DISCARD  the slot's state is no longer needed (a state also dies with the adjoint of its step)
- REVERSE  adjoints of the steps stop−1, …, start; slot ≥ 0: the state of step k is in slot + (k − start);
           slot = −1: one step, whose state is the current one
- RESTART  make the initial state, which the caller keeps, the current one

Schedules differ in the rule by which they split a segment of steps. The segments that wait for their adjoint form a
stack. The first state of each is in its slot, and together they need no more slots than there are. After the split of
[a, b) at a + m: advance to a + m, do [a + m, b), load state a, do [a, a + m).

Segments whose first state is on disk are below all others on the stack. While the stack has such segments, or may get
one, a list says at which step to split (0: do not split, continue in memory). OWN holds the number of entries read so
far, and then the list.
"""

from typing import Any, NamedTuple

from .flags import helper, inlined, kernel
from .memory import integers, record_at, shift
from .plan_fields import ADVANCE, LOAD, MOST_AT_ONCE, PERIODIC, PLAN, RESTART, REVERSE, STORE, TIERED

_plan_record = record_at(PLAN)


class Plan(NamedTuple):
    """The state of a plan: its record, and its parts of varying length by pointers."""

    head: Any
    stack: Any
    slots: Any
    own: Any


@inlined
def opened(state):
    """The state of a plan, which is in a vector, by its parts."""
    start = state.ctypes.data
    head, numbers = _plan_record(start), integers(start)
    return Plan(head, shift(numbers, head.stack), shift(numbers, head.slots), shift(numbers, head.own))


@helper
def emit(buffer, written, code, start, stop, slot):
    buffer[written, 0] = code
    buffer[written, 1] = start
    buffer[written, 2] = stop
    buffer[written, 3] = slot
    return written + 1


@helper
def repetitions(length, slots):
    """(r, C(slots + r, r)) for the least r with length ≤ C(slots + r, r): no step must be run more than r times."""
    r, reach = 0, 1
    while reach < length:
        r += 1
        reach = reach * (slots + r) // r
    return r, reach


@kernel
def fewest_steps(length, slots):
    """t(l, c) = r l − C(c + r, r − 1): the fewest steps to run for the adjoints of l steps with c ≥ 1 slots."""
    r, reach = repetitions(length, slots)
    return r * length - reach * r // (slots + 1)


@helper
def _binomial(length, slots):
    """Where to split so that both parts need the fewest steps (Griewank & Walther 2000); 0: store all states."""
    if length <= slots + 1:
        return 0
    if slots <= 1:
        return length - 1
    r, reach = repetitions(length, slots)
    left = reach * r // (slots + r)  # C(c + r − 1, r − 1): what r − 1 runs and c slots reach
    right = left * slots // (slots + r - 1)  # C(c + r − 2, r − 1): what the right part must have at least
    return min(left, length - right)


@helper
def _split(p, length, free):
    """Where to split a segment with `free` memory slots, that of its first state included; 0: store all states."""
    if p.head.rule != PERIODIC:
        return _binomial(length, free)
    return 0 if length <= p.head.size else p.head.size


@helper
def _slot(p, taken):
    """The memory slot of a new segment when `taken` others have one."""
    return taken if p.head.slots < 0 else p.slots[taken]


@helper
def _ascending(p, taken, count):
    """Whether the `count` slots from that of segment number `taken` on are consecutive."""
    if p.head.slots >= 0:
        for k in range(1, count):
            if _slot(p, taken + k) != _slot(p, taken) + k:
                return False
    return True


@helper
def push(p, start, stop):
    """Push a segment onto the stack. The current state is its first."""
    p.stack[p.head.depth] = start
    p.head.stop = stop
    p.head.depth += 1
    p.head.fresh = 1


@helper
def _pop(p):
    p.head.depth -= 1
    p.head.stop = p.stack[p.head.depth]  # a segment ends where the one above it began
    p.head.on_disk = min(p.head.on_disk, p.head.depth)
    p.head.fresh = 0


@helper
def _first_slot(p):
    """The slot of the first state of the segment on top; −1: none."""
    place = p.head.depth - 1
    if p.head.fresh != 0 and p.head.stop - p.stack[place] == 1:  # its adjoint is next, so it is not stored
        return -1
    return p.head.size + place if place < p.head.on_disk else _slot(p, place - p.head.on_disk)


@helper
def _to_start(p, buffer, written, start, slot):
    """Make the first state of the segment on top the current one, and store it in the segment's slot."""
    if p.head.fresh == 0:
        return emit(buffer, written, RESTART if slot < 0 else LOAD, start, start, slot)
    return written if slot < 0 else emit(buffer, written, STORE, start, start, slot)


@helper
def _one_step(p, buffer, written, start, slot):
    """Write the adjoint of the segment on top, which has one step."""
    if p.head.fresh == 0 and slot < 0:
        written = _to_start(p, buffer, written, start, slot)
    _pop(p)
    return emit(buffer, written, REVERSE, start, start + 1, slot)


@helper
def _store_all(p, buffer, written, start, last, slot):
    """Write the adjoints of the segment on top: run it once, with all states stored but the last, which is current."""
    if p.head.fresh != 0:
        written = emit(buffer, written, ADVANCE, start, last, slot)
    else:  # the first state is stored already
        written = emit(buffer, written, LOAD, start, start, slot)
        written = emit(buffer, written, ADVANCE, start, start + 1, -1)
        if last > start + 1:
            written = emit(buffer, written, ADVANCE, start + 1, last, slot + 1)
    written = emit(buffer, written, REVERSE, last, last + 1, -1)
    written = emit(buffer, written, REVERSE, start, last, slot)
    _pop(p)
    return written


@helper
def _divide(p, buffer, written, start, m):
    """Split the segment on top. The right part is done first; its first state is the current one then."""
    written = _to_start(p, buffer, written, start, _first_slot(p))
    written = emit(buffer, written, ADVANCE, start, start + m, -1)
    push(p, start + m, p.head.stop)
    return written


@helper
def _listed_split(p):
    """The next split in the list of the rule TIERED."""
    p.own[0] += 1
    return p.own[p.own[0]]


@helper
def _fetch(p, buffer, written, start):
    """Move the segment on top, whose first state is on disk, into memory."""
    slot = _first_slot(p)
    p.head.on_disk -= 1
    p.head.fresh = 1
    return emit(buffer, written, LOAD, start, start, slot)


@helper
def _in_memory(p, buffer, written, start):
    """Do the next part of the segment on top, whose first state is, or will be, in memory."""
    stop, taken = p.head.stop, p.head.depth - 1 - p.head.on_disk
    m = _split(p, stop - start, p.head.size - taken)
    if m == 0 and _ascending(p, taken, stop - start - 1):
        return _store_all(p, buffer, written, start, stop - 1, _first_slot(p))
    return _divide(p, buffer, written, start, max(m, 1))


@helper
def _next(p, buffer, written):
    """Do the next part of the segment on top."""
    start = p.stack[p.head.depth - 1]
    if p.head.stop - start == 1:
        return _one_step(p, buffer, written, start, _first_slot(p))
    on_disk = p.head.depth == p.head.on_disk
    undecided = p.head.depth == p.head.on_disk + 1 and p.head.fresh != 0
    if p.head.rule == TIERED and (on_disk or undecided):
        m = _listed_split(p)
        if m > 0 and undecided:  # its first state goes to disk
            p.head.on_disk += 1
        if m > 0:
            return _divide(p, buffer, written, start, m)
        if on_disk:
            written = _fetch(p, buffer, written, start)
    return _in_memory(p, buffer, written, start)


@helper
def next_rows(p, buffer, written):
    """Append rows to `buffer` until it is nearly full or no segment waits. Returns the number of rows in it."""
    while p.head.depth > 0 and written + MOST_AT_ONCE <= buffer.shape[0]:
        written = _next(p, buffer, written)
    return written
