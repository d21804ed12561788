"""Drivers of loops: every step is one call of the body's kernel by its address.

A loop maps [state | shared | elements] to [state | results]. The body maps [state | element | index | shared] to
[state | result]; the step's index is there if the loop is indexed. The adjoint of a loop finds states as the policy
says, and recomputes the others (Griewank & Walther, 2000, Algorithm 799). The states that the forward pass saves for it
follow the results: [steps made | state before the last step | slots | state of an online planner].

A loop with a condition may end before all its elements are used: the results of the other steps are zeros.
"""

from typing import Any, NamedTuple

from .flags import helper, kernel
from .memory import address, call_kernel, doubles, integers, matrix, record_at, shift, view
from .online import choose, finish, is_possible
from .plan_fields import ADVANCE, DISCARD, LOAD, RESTART, REVERSE, STORE
from .planning import plan
from .records import ACTION, CHUNK, EVERY, INVERTED, LOOP, NOTHING, ONLINE, SCHEDULED

WRONG = -1  # a schedule, or saved states of a table from elsewhere, do not fit

loop_at = record_at(LOOP)


class Space(NamedTuple):
    """The vectors of a driver in its work, by pointers: see `records.LOOP_WORK`."""

    step_in: Any
    step_out: Any
    bar_in: Any
    bar_out: Any
    shared_bar: Any
    saved: Any
    cursor: Any
    plan: Any
    actions: Any
    scratch: Any


class Reversal(NamedTuple):
    """What the adjoint of a loop is given, and where its result goes, by pointers."""

    arguments: Any
    elements: Any
    seeds: Any
    target: Any


@helper
def _space(loop, work):
    at = loop.work
    return Space(
        doubles(work + 8 * at.step_in),
        doubles(work + 8 * at.step_out),
        doubles(work + 8 * at.bar_in),
        doubles(work + 8 * at.bar_out),
        doubles(work + 8 * at.shared_bar),
        doubles(work + 8 * at.saved),
        integers(work + 8 * at.cursor),
        integers(work + 8 * at.plan),
        integers(work + 8 * at.actions),
        doubles(work + 8 * at.scratch),
    )


@helper
def _copy(target, source, n):
    """Copy n doubles."""
    a, b = view(target, n), view(source, n)
    for i in range(n):
        a[i] = b[i]


@helper
def _clear(target, n):
    """Make n doubles zero."""
    view(target, n)[:] = 0.0


@helper
def _call(part, source, target, space):
    return call_kernel(part.address, part.context, address(source), address(target), address(space.scratch))


@helper
def _shared_place(loop):
    """Where a step's argument has what is shared."""
    return loop.state + loop.element + loop.indexed


@helper
def _step_size(loop):
    """Length of a step's argument."""
    return _shared_place(loop) + loop.shared


@helper
def _place(loop, k):
    """Where step k finds its element: a backward loop starts at the end."""
    return loop.length - 1 - k if loop.backward else k


@helper
def _load(loop, elements, k, space):
    """Give step k its element and its index; its state is there already."""
    place = _place(loop, k)
    _copy(shift(space.step_in, loop.state), shift(elements, place * loop.element), loop.element)
    if loop.indexed:
        space.step_in[loop.state + loop.element] = place


@helper
def _start(loop, source, space):
    """The first state, and what the steps share."""
    _copy(space.step_in, source, loop.state)
    _copy(shift(space.step_in, _shared_place(loop)), shift(source, loop.state), loop.shared)


@helper
def _count(loop):
    """One more step for the progress bar."""
    if loop.progress:
        view(integers(loop.progress), 1)[0] += 1


@helper
def _step(loop, elements, k, space):
    """Make step k; its result lies behind the new state."""
    _count(loop)
    _load(loop, elements, k, space)
    code = _call(loop.body, space.step_in, space.step_out, space)
    _copy(space.step_in, space.step_out, loop.state)
    return code


@helper
def _goes_on(loop, elements, k, space):
    """Returns 1 to run step k, 0 to stop, a negative value for an error, and guard + 1 where a guard of the condition
    fails."""
    if loop.length >= 0 and k >= loop.length:
        return 0
    if not loop.condition.address:
        return 1
    _load(loop, elements, k, space)
    code = _call(loop.condition, space.step_in, space.step_out, space)
    if code:
        return code if code < 0 else code + 1
    return 1 if space.step_out[0] != 0.0 else 0


@helper
def _slot(loop, saved, slot):
    """Address of a slot, 0 if there is no such slot."""
    if slot < 0 or slot >= loop.slots:
        return 0
    if slot < loop.memory_slots:
        return address(saved) + 8 * slot * loop.state
    return loop.disk + 8 * (slot - loop.memory_slots) * loop.state


@helper
def _store(loop, saved, slot, state):
    """Copy a state into a slot."""
    at = _slot(loop, saved, slot)
    if not at:
        return WRONG
    _copy(doubles(at), state, loop.state)
    return 0


# ── the schedule ──────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _rewind(loop, space):
    """Start the schedule: nothing is planned yet."""
    space.cursor[0], space.cursor[1] = 0, 0
    first = view(integers(loop.initial_plan), loop.plan_size)
    for i in range(loop.plan_size):
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
def _store_before(loop, saved, k, space):
    """In the forward pass, before step k: store the state as the schedule says."""
    while True:
        at = _action(loop, space)
        if not at:
            return 0
        action = view(integers(at), ACTION)
        code, start, stop, slot = action[0], action[1], action[2], action[3]
        if code == ADVANCE and k < stop:
            return _store(loop, saved, slot + k - start, space.step_in) if slot >= 0 else 0
        if code == REVERSE or (code == STORE and start > k):
            return 0
        if code == STORE:
            failed = _store(loop, saved, slot, space.step_in)
            if failed:
                return failed
        space.cursor[0] += 1


# ── forward ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _forward(loop, source, target, saved, space):
    """Make all steps, saving states from the address `saved` on, if it is not 0. Results go behind the state at the
    address `target`, if that is not 0."""
    n = loop.state
    elements, results = shift(source, n + loop.shared), shift(doubles(target), n)
    current, slots = shift(doubles(saved), 1), shift(doubles(saved), 1 + n)
    policy = loop.policy if saved else NOTHING
    if policy == SCHEDULED or policy == ONLINE:
        _rewind(loop, space)
    _start(loop, source, space)
    if target and loop.condition.address:
        _clear(results, max(loop.length, 0) * loop.result)
    k, code = 0, 0
    while True:
        more = _goes_on(loop, elements, k, space)
        if more != 1:
            code = more if more < 0 else max(more - 1, 0)
            break
        if policy == EVERY:
            code = _store(loop, slots, k, space.step_in)
        elif policy == SCHEDULED:
            code = _store_before(loop, slots, k, space)
        elif policy == ONLINE and k > 0:  # the step before was not the last one
            slot = choose(view(space.plan, loop.plan_size), k - 1)
            code = _store(loop, slots, slot, current) if slot >= 0 else 0
        if policy != NOTHING:
            _copy(current, space.step_in, n)
        code = code or _step(loop, elements, k, space)
        if code:
            break
        if target:
            _copy(shift(results, _place(loop, k) * loop.result), shift(space.step_out, n), loop.result)
        k += 1
    if saved:
        doubles(saved)[0] = k
    if policy == ONLINE:  # as numbers: the bits of an integer may be those of a NaN
        chosen = shift(slots, loop.memory_slots * n)
        for i in range(loop.plan_size):
            chosen[i] = space.plan[i]
    return code


@kernel
def run_loop(context, source, target, work):
    """A loop. If it saves states for the adjoint, they follow its results."""
    loop = loop_at(context)
    space = _space(loop, work)
    results = loop.state + (loop.result * loop.length if loop.result else 0)
    saved = target + 8 * results if loop.saves and loop.policy != INVERTED else 0
    code = _forward(loop, doubles(source), target, saved, space)
    _copy(doubles(target), space.step_in, loop.state)
    return code


# ── reverse ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _pull_back(loop, given, k, space):
    """The adjoint of step k at the current state: adjoints of its element and, added up, of what is shared."""
    _count(loop)
    n, inside, place = loop.state, _step_size(loop), _place(loop, k)
    _load(loop, given.elements, k, space)
    _copy(space.bar_in, space.step_in, _shared_place(loop))
    _copy(shift(space.bar_in, inside + n), shift(given.seeds, n + place * loop.result), loop.result)
    code = _call(loop.adjoint, space.bar_in, space.bar_out, space)
    _copy(shift(space.bar_in, inside), space.bar_out, n)
    bar = shift(given.target, n + loop.shared + place * loop.element)
    _copy(bar, shift(space.bar_out, n), loop.element)
    own = shift(space.bar_out, _shared_place(loop))
    total = space.shared_bar
    for i in range(loop.shared):
        total[i] += own[i]
    return code


@helper
def _seed(loop, given, space):
    """Before the last step's adjoint: what is shared, the adjoint of the last state, no adjoint of what is shared."""
    _copy(shift(space.bar_in, _shared_place(loop)), shift(given.arguments, loop.state), loop.shared)
    _copy(shift(space.bar_in, _step_size(loop)), given.seeds, loop.state)
    _clear(space.shared_bar, loop.shared)


@helper
def _execute(loop, at, saved, given, space):
    """One action of the adjoint pass."""
    action = view(integers(at), ACTION)
    code, start, stop, slot = action[0], action[1], action[2], action[3]
    if code == RESTART:
        _copy(space.step_in, given.arguments, loop.state)
    elif code == STORE:
        return _store(loop, saved, slot, space.step_in)
    elif code == LOAD:
        place = _slot(loop, saved, slot)
        if not place:
            return WRONG
        _copy(space.step_in, doubles(place), loop.state)
    elif code == ADVANCE:
        for k in range(start, stop):
            failed = _store(loop, saved, slot + k - start, space.step_in) if slot >= 0 else 0
            failed = failed or _step(loop, given.elements, k, space)
            if failed:
                return failed
    elif code == REVERSE:
        for k in range(stop - 1, start - 1, -1):
            place = _slot(loop, saved, slot + k - start)
            if slot >= 0 and not place:
                return WRONG
            if slot >= 0:
                _copy(space.step_in, doubles(place), loop.state)
            failed = _pull_back(loop, given, k, space)
            if failed:
                return failed
    elif code != DISCARD:
        return WRONG
    return 0


@helper
def _resume(loop, steps, saved, space):
    """Go on with the choices that the forward pass has made. False where they cannot be such."""
    space.cursor[0], space.cursor[1] = 0, 0
    chosen = shift(saved, loop.memory_slots * loop.state)
    for i in range(loop.plan_size):
        space.plan[i] = int(chosen[i])
    state = view(space.plan, loop.plan_size)
    if not is_possible(state, view(integers(loop.initial_plan), loop.plan_size), steps):
        return False
    finish(state, steps)
    return True


@helper
def _run_schedule(loop, steps, saved, given, space):
    """The schedule from its first adjoint on."""
    reversing = loop.policy == ONLINE
    if reversing:
        if not _resume(loop, steps, saved, space):
            return WRONG
    else:
        _rewind(loop, space)
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
def _every_step(loop, steps, saved, given, space):
    """Adjoints of all steps, whose states were all stored."""
    for k in range(steps - 1, -1, -1):
        _copy(space.step_in, shift(saved, k * loop.state), loop.state)
        code = _pull_back(loop, given, k, space)
        if code:
            return code
    return 0


@helper
def _invert(loop, steps, given, space):
    """Adjoints of all steps, each state from the one after it."""
    for k in range(steps - 1, -1, -1):
        _load(loop, given.elements, k, space)
        code = _call(loop.inverse, space.step_in, space.step_out, space)
        _copy(space.step_in, space.step_out, loop.state)
        code = code or _pull_back(loop, given, k, space)
        if code:
            return code
    return 0


@helper
def _reverse(loop, steps, saved, given, space):
    """Adjoints of all steps, by the loop's policy. `saved` starts at the state before the last step."""
    slots = shift(saved, loop.state)
    if loop.policy == INVERTED:
        return _invert(loop, steps, given, space)
    if loop.policy == EVERY:
        return _every_step(loop, steps, slots, given, space) if steps <= loop.slots else WRONG
    _copy(space.step_in, saved, loop.state)
    return _run_schedule(loop, steps, slots, given, space)


@kernel
def reverse_loop(context, source, target, work):
    """The adjoint of a loop: [arguments | adjoints of state and results] to adjoints of arguments.

    If the loop saves states, the first place of `work` has the address of its whole result, which ends with them.
    """
    loop = loop_at(context)
    space = _space(loop, work)
    n, length = loop.state, max(loop.length, 0)
    elements = shift(doubles(source), n + loop.shared)
    given = Reversal(doubles(source), elements, shift(elements, length * loop.element), doubles(target))
    saved = integers(work)[0] + 8 * (n + length * loop.result)
    if loop.saves:
        _start(loop, given.arguments, space)
        _copy(space.step_in, doubles(integers(work)[0]), n)
    else:
        saved = address(space.saved)
        code = _forward(loop, given.arguments, 0, saved if loop.policy != INVERTED else 0, space)
        if code:
            return code
    steps = loop.length
    if loop.policy != INVERTED:
        steps = int(doubles(saved)[0])
    if steps < 0 or (loop.length >= 0 and steps > loop.length):
        return WRONG
    if loop.condition.address:
        _clear(shift(given.target, n + loop.shared), length * loop.element)
    _seed(loop, given, space)
    code = _reverse(loop, steps, shift(doubles(saved), 1), given, space)
    _copy(given.target, shift(space.bar_in, _step_size(loop)), n)
    _copy(shift(given.target, n), space.shared_bar, loop.shared)
    return code
