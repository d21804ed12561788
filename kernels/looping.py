"""Drivers of loops: every step is one call of the body's kernel by its address.

A loop maps [state | shared | elements] to [state | results]. The body maps [state | element | index | shared] to
[state | result]; the step's index is there if the loop is indexed. The adjoint of a loop finds states as the policy
says, and recomputes the others (Griewank & Walther, 2000, Algorithm 799). The states that the forward pass saves for it
follow the results: [steps made | state before the last step | slots | state of an online planner].

A loop with a condition may end before all its elements are used: the results of the other steps are zeros.
"""

from typing import Any, NamedTuple

from .flags import helper, kernel
from .memory import address, doubles, integers, record_at, shift
from .records import INVERTED, LOOP
from .reversing import Given, call, clear, copy, count, forward, kind_of_loop, reverse

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
        doubles(work + 8 * at.saved),
        integers(work + 8 * at.cursor),
        integers(work + 8 * at.plan),
        integers(work + 8 * at.actions),
        doubles(work + 8 * at.scratch),
    )


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
    copy(shift(space.step_in, loop.state), shift(elements, place * loop.element), loop.element)
    if loop.indexed:
        space.step_in[loop.state + loop.element] = place


@helper
def _start(loop, source, space):
    """The first state, and what the steps share."""
    copy(space.step_in, source, loop.state)
    copy(shift(space.step_in, _shared_place(loop)), shift(source, loop.state), loop.shared)


# ── a step ────────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _goes_on(loop, given, k, space):
    if loop.length >= 0 and k >= loop.length:
        return 0
    if not loop.condition.address:
        return 1
    _load(loop, given.elements, k, space)
    code = call(loop.condition, space.step_in, space.step_out, space)
    if code:
        return code if code < 0 else code + 1
    return 1 if space.step_out[0] != 0.0 else 0


@helper
def _attempt(loop, given, k, space):
    count(loop)
    _load(loop, given.elements, k, space)
    return call(loop.body, space.step_in, space.step_out, space)


@helper
def _deliver(loop, given, k, space):
    if address(given.target):
        results = shift(given.target, loop.state)
        copy(shift(results, _place(loop, k) * loop.result), shift(space.step_out, loop.state), loop.result)
    return 0


@helper
def _accept(loop, given, k, space):
    copy(space.step_in, space.step_out, loop.state)
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
    copy(space.step_in, space.step_out, loop.state)
    return code


@helper
def _pull_back(loop, given, k, space):
    """Adjoints of the step's element and, added up, of what is shared."""
    count(loop)
    n, inside, place = loop.state, _step_size(loop), _place(loop, k)
    _load(loop, given.elements, k, space)
    copy(shift(space.bar_in, inside + n), shift(given.seeds, n + place * loop.result), loop.result)
    code = call(loop.adjoint, space.bar_in, space.bar_out, space)
    copy(shift(space.bar_in, inside), space.bar_out, n)
    bar = shift(given.target, n + loop.shared_found + place * loop.element_found)
    copy(bar, shift(space.bar_out, n), loop.element_found)
    own = shift(space.bar_out, loop.shared_place)
    total = space.shared_bar
    for i in range(loop.shared_found):
        total[i] += own[i]
    return code


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
    copy(doubles(target), space.step_in, loop.state)
    return code


@helper
def _seed(loop, given, space):
    """Before the last step's adjoint: the adjoint of the last state, no adjoint of what is shared."""
    copy(shift(space.bar_in, _step_size(loop)), given.seeds, loop.state)
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
        copy(space.step_in, doubles(integers(work)[0]), n)
    else:
        saved = address(space.saved)
        unwanted = Given(given.arguments, elements, seeds, doubles(0))
        code = forward(loop, unwanted, saved if loop.policy != INVERTED else 0, space)
        if code:
            return code
    if loop.condition.address:
        clear(shift(given.target, n + loop.shared_found), length * loop.element_found)
    _seed(loop, given, space)
    code = reverse(loop, saved, given, space)
    copy(given.target, shift(space.bar_in, _step_size(loop)), n)
    copy(shift(given.target, n), space.shared_bar, loop.shared_found)
    return code
