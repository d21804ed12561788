"""Patterns of loops and of their adjoints.

A loop of a known number of steps is followed step by step. Where its data ends it, any number of steps may be made, so
what the state may depend on is the union over all of them: the least fixed point of one step, from the first state on.
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.tables.sparsity.sets import Ids, Sets


class Trail(NamedTuple):
    """The state before each step, the results of each step, the last state."""

    states: list[Ids]
    results: list[Ids]
    last: Ids


def loop_dependencies(sets: Sets, loop: Any, x: Ids) -> Ids:
    """The sets of the result of a loop: [state | results]; saved states have no derivatives."""
    trail, s = _trail(sets, loop, x), loop.sizes
    results = np.zeros((max(loop.length, 0), s.result), np.int32)
    if s.result:
        for k in range(len(results)):
            results[loop._place(k)] = trail.results[k if len(trail.results) > k else -1]
    saved = np.zeros(loop.n_out - loop.n_results, np.int32)
    return np.concatenate([trail.last, results.reshape(-1), saved])


def adjoint_dependencies(sets: Sets, loop: Any, x: Ids) -> Ids:
    """The sets of the adjoints of [state | shared | elements], for [argument of the loop | adjoints of its results]."""
    s, n, u = loop.sizes, loop.sizes.state, x[loop.n_in :]
    trail, structure = _trail(sets, loop, x[: loop.n_in]), loop.step.adjoint.structure
    steps, bar, shared = len(trail.states), u[:n], np.zeros(s.shared, np.int32)
    elements = np.zeros((max(loop.length, 0), s.element), np.int32)
    for k in range(steps - 1, -1, -1):
        while True:
            places = [loop._place(k)] if not loop.ends_early else _every(loop)
            seed = np.concatenate([bar, _either_of(sets, u[n:], places, s.result)])
            argument = np.concatenate([_argument(sets, loop, x, trail.states[k], places), seed])
            out = sets.through(structure, argument)
            shared = sets.either(shared, out[n + s.element + s.indexed :])
            if s.element:
                for place in places:
                    elements[place] = sets.either(elements[place], out[n : n + s.element])
            if not loop.ends_early:
                bar = out[:n]
                break
            before, bar = bar, sets.either(bar, out[:n])
            if np.array_equal(before, bar):
                break
    return np.concatenate([bar, shared, elements.reshape(-1)])


def _trail(sets: Sets, loop: Any, x: Ids) -> Trail:
    """The steps of a loop; those of one that its data ends are one, which stands for all."""
    n, structure, state = loop.sizes.state, loop.step.structure, x[: loop.sizes.state]
    if not loop.ends_early:
        states, results = [], []
        for k in range(loop.length):
            out = sets.through(structure, _argument(sets, loop, x, state, [loop._place(k)]))
            states.append(state)
            results.append(out[n:])
            state = out[:n]
        return Trail(states, results, state)
    while True:
        out = sets.through(structure, _argument(sets, loop, x, state, _every(loop)))
        before, state = state, sets.either(state, out[:n])
        if np.array_equal(before, state):
            return Trail([state], [out[n:]], state)


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
