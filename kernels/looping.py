"""Drivers of loops: every step is one call of the body's kernel by its address.

A loop maps [state | shared | elements] to [state | results]. The body maps [state | element | index | shared] to
[state | result]; the step's index is there if the loop is indexed. Large pieces of these are not copied: kernels find
their addresses, and read and write them where they lie (see `records.LOOP`).

The adjoint of a loop finds states as the policy says, and recomputes the others (Griewank & Walther, 2000, Algorithm
799). The states that the forward pass saves for it follow the results: [steps made | state before the last step | slots
| state of an online planner].

A loop with a condition may end before all its elements are used: the results of the other steps are zeros.
"""

from typing import Any, NamedTuple

from .flags import helper, kernel
from .memory import address, doubles, integers, record_at, shift, view
from .records import INVERTED, LOOP, UNREAD
from .reversing import Given, be_at, call, clear, copy, count, forward, is_apart, kind_of_loop, reverse, state_of

loop_at = record_at(LOOP)


class Space(NamedTuple):
    """The vectors of a driver in its work, by pointers: see `records.LOOP_WORK`."""

    step_in: Any
    step_out: Any
    bar_in: Any
    bar_out: Any
    shared_bar: Any
    room: Any
    saved: Any
    cursor: Any
    plan: Any
    actions: Any
    scratch: Any


@helper
def _space(loop, work, step_in):
    """The vectors; `step_in` is that of a step's argument."""
    at = loop.work
    return Space(
        step_in,
        doubles(work + 8 * at.step_out),
        doubles(work + 8 * at.bar_in),
        doubles(work + 8 * at.bar_out),
        doubles(work + 8 * at.shared_bar),
        doubles(work + 8 * at.room),
        doubles(work + 8 * at.saved),
        integers(work + 8 * at.cursor),
        integers(work + 8 * at.plan),
        integers(work + 8 * at.actions),
        doubles(work + 8 * at.scratch),
    )


# ── pieces of a step's argument and result ────────────────────────────────────────────────────────────────────
@helper
def _width(loop, n):
    """Length of a piece of n numbers in its vector."""
    return 1 if is_apart(loop, n) else n


@helper
def _shared_place(loop):
    """Where a step's argument has what is shared."""
    return _width(loop, loop.state) + _width(loop, loop.element) + loop.indexed


@helper
def _step_size(loop):
    """Length of a step's argument."""
    return _shared_place(loop) + _width(loop, loop.shared)


@helper
def _give(loop, place, piece, n):
    """Have a piece of n numbers at its place."""
    if is_apart(loop, n):
        integers(address(place))[0] = address(piece)
    else:
        copy(place, piece, n)


@helper
def _take(loop, place, target, n):
    """Copy a piece of n numbers of a result to where it is wanted, if it was not written there (see `_give`)."""
    if not is_apart(loop, n):
        copy(target, place, n)


@helper
def _free(loop, current, first):
    """Address of the first of two vectors like a state, or of the second if the current one is in the first."""
    return address(first) + 8 * loop.state * (current == address(first))


@helper
def _exchange(loop, source, target, first):
    """A result that starts with a piece like a state is the next argument, and the next result goes elsewhere."""
    if is_apart(loop, loop.state):
        places = integers(address(source)), integers(address(target))
        places[0][0] = places[1][0]
        places[1][0] = _free(loop, places[0][0], first)
    else:
        copy(source, target, loop.state)


# Vectors of pieces that lie apart: two states, two adjoints of states, a result that nobody wants, a step's adjoint of
# what is shared.
@helper
def _bars(loop, space):
    return shift(space.room, 2 * loop.state)


@helper
def _unwanted(loop, space):
    return shift(space.room, 4 * loop.state)


@helper
def _shared_bar(loop, space):
    return shift(_unwanted(loop, space), loop.result)


@helper
def _place(loop, k):
    """Where step k finds its element: a backward loop starts at the end."""
    return loop.length - 1 - k if loop.backward else k


@helper
def _load(loop, elements, k, space):
    """Give step k its element and its index; its state is there already."""
    place, at = _place(loop, k), _width(loop, loop.state)
    _give(loop, shift(space.step_in, at), shift(elements, place * loop.element), loop.element)
    if loop.indexed:
        space.step_in[at + _width(loop, loop.element)] = place


@helper
def _start(loop, source, space):
    """The first state, and what the steps share."""
    be_at(loop, source, space)
    _give(loop, shift(space.step_in, _shared_place(loop)), shift(source, loop.state), loop.shared)
    if is_apart(loop, loop.state):
        integers(address(space.step_out))[0] = address(space.room)


# ── a step ────────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _goes_on(loop, given, k, space):
    if loop.length >= 0 and k >= loop.length:
        return 0
    if not loop.condition.address:
        return 1
    _load(loop, given.elements, k, space)
    holds = shift(space.step_out, _width(loop, loop.state) + _width(loop, loop.result))
    code = call(loop.condition, space.step_in, holds, space)
    if code:
        return code if code < 0 else code + 1
    return 1 if holds[0] != 0.0 else 0


@helper
def _attempt(loop, given, k, space):
    count(loop)
    _load(loop, given.elements, k, space)
    if is_apart(loop, loop.result):
        wanted = _result(loop, given, k) if address(given.target) else _unwanted(loop, space)
        _give(loop, shift(space.step_out, _width(loop, loop.state)), wanted, loop.result)
    return call(loop.body, space.step_in, space.step_out, space)


@helper
def _result(loop, given, k):
    """Where the result of step k belongs."""
    return shift(given.target, loop.state + _place(loop, k) * loop.result)


@helper
def _deliver(loop, given, k, space):
    if address(given.target):
        _take(loop, shift(space.step_out, _width(loop, loop.state)), _result(loop, given, k), loop.result)
    return 0


@helper
def _accept(loop, given, k, space):
    _exchange(loop, space.step_in, space.step_out, space.room)
    return 0


@helper
def _enter(loop, given, k, space):
    return 0


@helper
def _trace(loop, given, k, space):
    return space.step_in


@helper
def _undo(loop, given, k, space):
    _load(loop, given.elements, k, space)
    code = call(loop.inverse, space.step_in, space.step_out, space)
    _accept(loop, given, k, space)
    return code


@helper
def _pull_back(loop, given, k, space):
    """Adjoints of the step's element and, added up, of what is shared."""
    count(loop)
    n, place, at = loop.state, _place(loop, k), _width(loop, loop.state)
    _load(loop, given.elements, k, space)
    state_bar = shift(space.bar_in, _step_size(loop))
    _give(loop, shift(state_bar, at), shift(given.seeds, n + place * loop.result), loop.result)
    bar, found = shift(given.target, n + loop.shared_found + place * loop.element_found), loop.element_found
    if is_apart(loop, found):
        _give(loop, shift(space.bar_out, at), bar, found)
    code = call(loop.adjoint, space.bar_in, space.bar_out, space)
    _exchange(loop, state_bar, space.bar_out, _bars(loop, space))
    _take(loop, shift(space.bar_out, at), bar, found)
    _add_shared(loop, space)
    return code


@helper
def _shared_found(loop):
    """Where the result of a step's adjoint has that of what is shared, behind the element's and the index's."""
    index = loop.shared_place - loop.state - loop.element_found
    return _width(loop, loop.state) + _width(loop, loop.element_found) + index


@helper
def _add_shared(loop, space):
    place = shift(space.bar_out, _shared_found(loop))
    own = _shared_bar(loop, space) if is_apart(loop, loop.shared_found) else place
    added, total = view(own, loop.shared_found), view(space.shared_bar, loop.shared_found)
    for i in range(loop.shared_found):
        total[i] += added[i]


kind_of_loop("indexed", _goes_on, _attempt, _deliver, _accept, _enter, _trace, _undo, _pull_back)


# ── the drivers ───────────────────────────────────────────────────────────────────────────────────────────────
@kernel
def run_loop(context, source, target, work):
    """A loop. If it saves states for the adjoint, they follow its results."""
    loop = loop_at(context)
    at = loop.work
    space = _space(loop, work, doubles(work + 8 * at.step_in))
    results = loop.state + (loop.result * loop.length if loop.result else 0)
    saved = target + 8 * results if loop.saves and loop.policy != INVERTED else 0
    arguments = doubles(source)
    elements = shift(arguments, loop.state + loop.shared)
    if loop.condition.address:
        clear(shift(doubles(target), loop.state), max(loop.length, 0) * loop.result)
    _start(loop, arguments, space)
    code = forward(loop, Given(arguments, elements, arguments, doubles(target)), saved, space)
    copy(doubles(target), state_of(loop, space), loop.state)
    return code


@helper
def _seed(loop, given, space):
    """Before the last step's adjoint: the adjoint of the last state, no adjoint of what is shared."""
    _give(loop, shift(space.bar_in, _step_size(loop)), given.seeds, loop.state)
    if is_apart(loop, loop.state):
        integers(address(space.bar_out))[0] = address(_bars(loop, space))
    if is_apart(loop, loop.shared_found):
        _give(loop, shift(space.bar_out, _shared_found(loop)), _shared_bar(loop, space), loop.shared_found)
    clear(space.shared_bar, loop.shared_found)


@kernel
def reverse_loop(context, source, target, work):
    """The adjoint of a loop: [arguments | adjoints of state and results] to adjoints of arguments, or of parts of them.

    If the loop saves states, the first place of `work` has the address of its whole result, which ends with them.
    """
    loop = loop_at(context)
    at = loop.work
    space = _space(loop, work, doubles(work + 8 * at.bar_in))  # the adjoint of a step takes its argument first
    n, length = loop.state, max(loop.length, 0)
    elements = shift(doubles(source), n + loop.shared)
    seeds = shift(elements, length * loop.element)
    given = Given(doubles(source), elements, seeds, doubles(target))
    saved = integers(work)[0] + 8 * (n + length * loop.result)
    _start(loop, given.arguments, space)
    if loop.saves:
        be_at(loop, doubles(integers(work)[0]), space)
    elif loop.policy != UNREAD:
        saved = address(space.saved)
        unwanted = Given(given.arguments, elements, seeds, doubles(0))
        code = forward(loop, unwanted, saved if loop.policy != INVERTED else 0, space)
        if code:
            return code
    if loop.condition.address:
        clear(shift(given.target, n + loop.shared_found), length * loop.element_found)
    _seed(loop, given, space)
    code = reverse(loop, saved, given, space)
    bar = shift(space.bar_in, _step_size(loop))
    copy(given.target, doubles(integers(address(bar))[0]) if is_apart(loop, n) else bar, n)
    copy(shift(given.target, n), space.shared_bar, loop.shared_found)
    return code
