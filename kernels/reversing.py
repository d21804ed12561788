"""What all drivers of loops share: states in slots, and the adjoint pass under a schedule.

The adjoint of a loop finds states as the policy says, and recomputes the others (Griewank & Walther, 2000, Algorithm
799). A kind of loop says how a step is made (`advance`) and pulled back (`pull_back`), for its own record. Its `space`
has at least the vectors that are used here. The state is the first piece of a step's argument and result, or lies apart
from them (see `is_apart`).
"""

from typing import Any, NamedTuple

from .flags import choose_by_field, helper
from .memory import address, call_kernel, doubles, integers, matrix, shift, view
from .online import choose, finish, is_possible, lead
from .plan_fields import ADVANCE, DISCARD, LOAD, RESTART, REVERSE, STORE
from .planning import plan
from .records import ACTION, CHUNK, EVERY, INVERTED, NOTHING, ONLINE, RETRACED, SCHEDULED, UNREAD
from .stopping import ended_at, stopped

WRONG = -1  # a schedule, or saved states of a table from elsewhere, do not fit


# ── what a kind of loop says ──────────────────────────────────────────────────────────────────────────────────
# All of them take (loop, given, k, space): the loop's record, a `Given`, the number of the step, the vectors.
class Given(NamedTuple):
    """What a pass is given, and where its result goes, by pointers. `elements`: what follows what the steps share."""

    arguments: Any
    elements: Any
    seeds: Any
    target: Any


def goes_on(loop, given, k, space):
    """1 to run step k, 0 to stop, a negative value for an error, and guard + 1 where a guard fails."""
    raise NotImplementedError


def attempt(loop, given, k, space):
    """Compute step k from the state in space.step_in, to space.step_out. Returns 0, or an error as `goes_on` does."""
    raise NotImplementedError


def deliver(loop, given, k, space):
    """Write the results of step k, which was computed. Returns 0 or an error."""
    raise NotImplementedError


def accept(loop, given, k, space):
    """Make the state after step k, which was computed, the current one. Returns 0."""
    raise NotImplementedError


def enter(loop, given, k, space):
    """Take note that space.step_in has a state that does not come from the step before. Returns 0."""
    raise NotImplementedError


def trace(loop, given, k, space):
    """Where `undo` finds what it needs to know of step k, of the size of a stored state, under the policy RETRACED."""
    raise NotImplementedError


def undo(loop, given, k, space):
    """Make the state before step k, which is computed from the one after it, the current one. Returns 0 or an error."""
    raise NotImplementedError


def pull_back(loop, given, k, space):
    """The adjoint of step k at the state in space.step_in. Returns 0 or an error."""
    raise NotImplementedError


def kind_of_loop(marker, *functions):
    """Say these functions for the loops whose record has a field `marker`."""
    for own in functions:
        choose_by_field(_HOOKS[own.py_func.__name__.lstrip("_")], marker, own)


_HOOKS = {hook.__name__: hook for hook in (goes_on, attempt, deliver, accept, enter, trace, undo, pull_back)}


# ── vectors and slots ─────────────────────────────────────────────────────────────────────────────────────────
@helper
def copy(target, source, n):
    """Copy n doubles."""
    a, b = view(target, n), view(source, n)
    for i in range(n):
        a[i] = b[i]


@helper
def clear(target, n):
    """Make n doubles zero."""
    view(target, n)[:] = 0.0


@helper
def is_apart(loop, n):
    """Whether a piece of n numbers of a step's argument or result lies elsewhere: its place has the address."""
    return loop.apart > 0 and n >= loop.apart


@helper
def state_of(loop, space):
    """Where the current state is."""
    return doubles(integers(address(space.step_in))[0]) if is_apart(loop, loop.state) else space.step_in


@helper
def be_at(loop, state, space):
    """Make a state the current one. It must stay what it is until the next step is made."""
    if is_apart(loop, loop.state):
        integers(address(space.step_in))[0] = address(state)
    else:
        copy(space.step_in, state, loop.state)


@helper
def aim(loop, saved, slot, space):
    """Let the state after the next step be written where it is to be stored, if states lie apart."""
    if is_apart(loop, loop.state) and slot < loop.memory_slots:
        integers(address(space.step_out))[0] = address(saved) + 8 * slot * loop.state


@helper
def call(part, source, target, space):
    return call_kernel(part.address, part.context, address(source), address(target), address(space.scratch))


@helper
def count(loop):
    """One more step for the progress bar."""
    if loop.progress:
        view(integers(loop.progress), 1)[0] += 1


@helper
def show_part(loop, part):
    """The part that was done for the progress bar. Steps that are made again do not count."""
    done = view(doubles(loop.progress), 2)
    if part > done[1]:
        done[1] = part


@helper
def _slot(loop, saved, slot):
    """Address of a slot, 0 if there is no such slot."""
    if slot < 0 or slot >= loop.slots:
        return 0
    if slot < loop.memory_slots:
        return address(saved) + 8 * slot * loop.state
    return loop.disk + 8 * (slot - loop.memory_slots) * loop.state


@helper
def store(loop, saved, slot, state):
    """Copy a state into a slot, unless it is there."""
    at = _slot(loop, saved, slot)
    if not at:
        return WRONG
    if at != address(state):
        copy(doubles(at), state, loop.state)
    return 0


# ── the schedule ──────────────────────────────────────────────────────────────────────────────────────────────
@helper
def rewind(loop, space):
    """Start the schedule: nothing is planned yet."""
    space.cursor[0], space.cursor[1] = 0, 0
    first = view(integers(loop.initial_plan), loop.plan_size)
    for i in range(lead(first)):
        space.plan[i] = first[i]


@helper
def _action(loop, space):
    """Address of the current action, 0 at the end; plans further ones where they are used up."""
    cursor = space.cursor
    if cursor[0] == cursor[1]:
        count = plan(view(space.plan, loop.plan_size), matrix(space.actions, CHUNK, ACTION))
        cursor[0], cursor[1] = 0, count
    return address(space.actions) + 8 * ACTION * cursor[0] if cursor[1] else 0


@helper
def store_before(loop, saved, k, space):
    """In the forward pass, before step k: store the state as the schedule says."""
    while True:
        at = _action(loop, space)
        if not at:
            return 0
        action = view(integers(at), ACTION)
        code, start, stop, slot = action[0], action[1], action[2], action[3]
        if code == ADVANCE and k < stop:
            return store(loop, saved, slot + k - start, state_of(loop, space)) if slot >= 0 else 0
        if code == REVERSE or (code == STORE and start > k):
            return 0
        if code == STORE:
            failed = store(loop, saved, slot, state_of(loop, space))
            if failed:
                return failed
        space.cursor[0] += 1


@helper
def _execute(loop, at, saved, given, space):
    """One action of the adjoint pass."""
    action = view(integers(at), ACTION)
    code, start, stop, slot = action[0], action[1], action[2], action[3]
    if code == RESTART:
        be_at(loop, given.arguments, space)
        enter(loop, given, 0, space)
    elif code == STORE:
        return store(loop, saved, slot, state_of(loop, space))
    elif code == LOAD:
        place = _slot(loop, saved, slot)
        if not place:
            return WRONG
        be_at(loop, doubles(place), space)
        enter(loop, given, 0, space)
    elif code == ADVANCE:  # the forward pass has delivered the results
        again = Given(given.arguments, given.elements, given.seeds, doubles(0))
        for k in range(start, stop):
            failed = stopped() or attempt(loop, again, k, space)
            if not failed and slot >= 0:  # with what was found out about the step, such as its size
                failed = store(loop, saved, slot + k - start, state_of(loop, space))
            failed = failed or accept(loop, again, k, space)
            if failed:
                return ended_at(k, failed)
    elif code == REVERSE:
        for k in range(stop - 1, start - 1, -1):
            place = _slot(loop, saved, slot + k - start)
            if slot >= 0 and not place:
                return WRONG
            if slot >= 0:
                be_at(loop, doubles(place), space)
                enter(loop, given, k, space)
            failed = stopped() or pull_back(loop, given, k, space)
            if failed:
                return ended_at(k, failed)
    elif code != DISCARD:
        return WRONG
    return 0


@helper
def _resume(loop, steps, saved, space):
    """Go on with the choices that the forward pass has made. Returns what `finish` does, or −1 where they cannot be
    such."""
    space.cursor[0], space.cursor[1] = 0, 0
    chosen, first = shift(saved, loop.memory_slots * loop.state), view(integers(loop.initial_plan), loop.plan_size)
    for i in range(lead(first)):
        space.plan[i] = int(chosen[i])
    state = view(space.plan, loop.plan_size)
    if not is_possible(state, first, steps):
        return WRONG
    return finish(state, steps)


@helper
def run_schedule(loop, steps, saved, given, space):
    """The schedule from its first adjoint on."""
    begins = 1
    if loop.policy == ONLINE:
        begins = _resume(loop, steps, saved, space)
        if begins < 0:
            return WRONG
    else:
        rewind(loop, space)
    reversing = begins == 0
    while True:
        at = _action(loop, space)
        if not at:
            return 0
        action = view(integers(at), ACTION)
        if action[1] < 0 or action[2] > steps or action[1] > action[2]:
            return WRONG
        reversing = reversing or action[0] == REVERSE
        code = _execute(loop, at, saved, given, space) if reversing else 0
        if code:
            return code
        space.cursor[0] += 1


@helper
def every_step(loop, steps, saved, given, space):
    """Adjoints of all steps, whose states were all stored."""
    for k in range(steps - 1, -1, -1):
        be_at(loop, shift(saved, k * loop.state), space)
        enter(loop, given, k, space)
        code = stopped() or pull_back(loop, given, k, space)
        if code:
            return ended_at(k, code)
    return 0


@helper
def without_states(loop, given, space):
    """Adjoints of all steps, which read no state."""
    for k in range(loop.length - 1, -1, -1):
        code = stopped() or pull_back(loop, given, k, space)
        if code:
            return ended_at(k, code)
    return 0


@helper
def invert(loop, steps, slots, given, space):
    """Adjoints of all steps, each state from the one after it."""
    for k in range(steps - 1, -1, -1):
        if loop.policy == RETRACED:
            copy(trace(loop, given, k, space), shift(slots, k * loop.state), loop.state)
        code = stopped() or undo(loop, given, k, space) or pull_back(loop, given, k, space)
        if code:
            return ended_at(k, code)
    return 0


# ── whole passes ──────────────────────────────────────────────────────────────────────────────────────────────
@helper
def forward(loop, given, saved, space):
    """Make all steps from the state in space.step_in, saving states from the address `saved` on, if it is not 0:
    [steps made | state before the last step | slots | state of an online planner]."""
    n = loop.state
    current, slots = shift(doubles(saved), 1), shift(doubles(saved), 1 + n)
    policy = loop.policy if saved else NOTHING
    if policy == SCHEDULED or policy == ONLINE:
        rewind(loop, space)
    k, code = 0, 0
    while True:
        more = goes_on(loop, given, k, space)
        if more != 1:
            code = more if more < 0 else max(more - 1, 0)
            break
        if policy == SCHEDULED:
            code = store_before(loop, slots, k, space)
        elif policy == ONLINE and k > 0:  # the step before was not the last one
            slot = choose(view(space.plan, loop.plan_size), k - 1)
            code = store(loop, slots, slot, current) if slot >= 0 else 0
        if policy == EVERY:
            aim(loop, slots, k + 1, space)
        code = code or stopped() or attempt(loop, given, k, space)
        if policy == SCHEDULED or policy == ONLINE:
            copy(current, state_of(loop, space), n)
        elif not code and policy == EVERY:
            code = store(loop, slots, k, state_of(loop, space))
        elif not code and policy == RETRACED:
            code = store(loop, slots, k, trace(loop, given, k, space))
        code = code or deliver(loop, given, k, space)
        if code:
            break
        accept(loop, given, k, space)
        k += 1
    if saved:
        doubles(saved)[0] = k
    if policy == ONLINE:  # as numbers: the bits of an integer may be those of a NaN
        chosen = shift(slots, loop.memory_slots * n)
        for i in range(lead(view(integers(loop.initial_plan), loop.plan_size))):
            chosen[i] = space.plan[i]
    return ended_at(k, code)


@helper
def reverse(loop, saved, given, space):
    """Adjoints of all steps, by the loop's policy, of what a forward pass saved at the address `saved`."""
    if loop.policy == INVERTED:
        return invert(loop, loop.length, space.step_in, given, space)
    if loop.policy == UNREAD:
        return without_states(loop, given, space)
    steps = int(doubles(saved)[0])
    if steps < 0 or (loop.length >= 0 and steps > loop.length):
        return WRONG
    before = shift(doubles(saved), 1)
    slots = shift(before, loop.state)
    if loop.policy == EVERY or loop.policy == RETRACED:
        if steps > loop.slots:
            return WRONG
        if loop.policy == RETRACED:
            return invert(loop, steps, slots, given, space)
        return every_step(loop, steps, slots, given, space)
    be_at(loop, before, space)
    enter(loop, given, steps, space)
    return run_schedule(loop, steps, slots, given, space)
