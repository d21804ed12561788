"""Patterns of loops and of their adjoints.

A loop of a known number of steps is followed step by step, until nothing changes any more. Where its data ends it, any
number of steps may be made, so what the state may depend on is the union over all of them: the least fixed point of one
step, from the first state on.
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.tables.sparsity.sets import Ids, Sets


class Trail(NamedTuple):
    """The state before each step and the results of each step, the last of which stand for all that follow; the last
    state."""

    states: list[Ids]
    results: list[Ids]
    last: Ids


def loop_dependencies(sets: Sets, loop: Any, x: Ids) -> Ids:
    """The sets of the result of a loop: [state | results]; saved states have no derivatives."""
    trail, s = _trail(sets, loop, x), loop.sizes
    results = np.zeros((max(loop.length, 0), s.result), np.int32)
    if s.result:
        for k in range(len(results)):
            results[loop._place(k)] = trail.results[min(k, len(trail.results) - 1)]
    saved = np.zeros(loop.n_out - loop.n_results, np.int32)
    return np.concatenate([trail.last, results.reshape(-1), saved])


def adjoint_dependencies(sets: Sets, adjoint: Any, x: Ids) -> Ids:
    """The sets of what the adjoint of a loop finds, for [argument of the loop | adjoints of its results]."""
    loop, found, at = adjoint.loop, adjoint.parts_found, adjoint.shared_place
    if loop.ends_early:
        return _adjoint_of_any_number(sets, adjoint, x)
    s, n, u = loop.sizes, loop.sizes.state, x[loop.n_in :]
    trail, structure = _trail(sets, loop, x[: loop.n_in]), adjoint.step.structure
    bar, shared = u[:n], np.zeros(found.shared_size, np.int32)
    elements = np.zeros((loop.length, found.element_size), np.int32)
    repeats = _are_alike(x[n + s.shared : loop.n_in], s.element) and _are_alike(u[n:], s.result)
    k = loop.length - 1
    while k >= 0:
        place = loop._place(k)
        argument = _argument(sets, loop, x, trail.states[min(k, len(trail.states) - 1)], [place])
        out = sets.through(structure, np.concatenate([argument, bar, u[n + place * s.result :][: s.result]]))
        shared = sets.either(shared, out[at:])
        elements[place] = out[n : n + found.element_size]
        is_steady = repeats and k >= len(trail.states) and np.array_equal(bar, out[:n])
        bar = out[:n]
        while is_steady and k >= len(trail.states):  # all these steps are like this one
            k -= 1
            elements[loop._place(k)] = out[n : n + found.element_size]
        k -= 1
    return np.concatenate([bar, shared, elements.reshape(-1)])


def _adjoint_of_any_number(sets: Sets, adjoint: Any, x: Ids) -> Ids:
    """That of a loop which its data ends: the least fixed point, with the union of all elements and seeds."""
    loop = adjoint.loop
    s, n, u = loop.sizes, loop.sizes.state, x[loop.n_in :]
    trail, structure = _trail(sets, loop, x[: loop.n_in]), adjoint.step.structure
    argument = _argument(sets, loop, x, trail.states[0], _every(loop))
    bar, seed = u[:n], _either_of(sets, u[n:], _every(loop), s.result)
    while True:
        out = sets.through(structure, np.concatenate([argument, bar, seed]))
        before, bar = bar, sets.either(bar, out[:n])
        if np.array_equal(before, bar):
            element, shared = out[n : n + adjoint.parts_found.element_size], out[adjoint.shared_place :]
            return np.concatenate([bar, shared, np.tile(element, max(loop.length, 0))])


def _trail(sets: Sets, loop: Any, x: Ids) -> Trail:
    """The steps of a loop; those of one that its data ends are one, which stands for all."""
    n, s, structure, state = loop.sizes.state, loop.sizes, loop.step.structure, x[: loop.sizes.state]
    if loop.ends_early:
        while True:
            out = sets.through(structure, _argument(sets, loop, x, state, _every(loop)))
            before, state = state, sets.either(state, out[:n])
            if np.array_equal(before, state):
                return Trail([state], [out[n:]], state)
    repeats = _are_alike(x[n + s.shared : loop.n_in], s.element)
    states, results = [], []
    for k in range(loop.length):
        out = sets.through(structure, _argument(sets, loop, x, state, [loop._place(k)]))
        states.append(state)
        results.append(out[n:])
        if repeats and np.array_equal(state, out[:n]):
            break
        state = out[:n]
    return Trail(states, results, state)


def _are_alike(x: Ids, width: int) -> bool:
    """Whether all elements of this width are the same."""
    return not width or bool((x.reshape(-1, width) == x[:width]).all())


def _every(loop: Any) -> list[int]:
    return list(range(max(loop.length, 0)))


def _argument(sets: Sets, loop: Any, x: Ids, state: Ids, places: list[int]) -> Ids:
    """What the body gets: [state | element | index | shared]; the element may be any of these places."""
    s, n = loop.sizes, loop.sizes.state
    element = _either_of(sets, x[n + s.shared :], places, s.element)
    return np.concatenate([state, element, np.zeros(int(s.indexed), np.int32), x[n : n + s.shared]])


def _either_of(sets: Sets, x: Ids, places: list[int], width: int) -> Ids:
    """The union over some elements of a vector of elements of this width."""
    if len(places) == 1:
        return x[places[0] * width :][:width]
    chosen = np.ascontiguousarray(x[: len(places) * width])
    return sets.together(chosen, np.tile(np.arange(width), len(places)), width)
