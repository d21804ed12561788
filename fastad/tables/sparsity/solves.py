"""Patterns of ODE solves and of their adjoints.

A state may depend on what any number of steps (and events) makes it depend on: the least fixed point of one step, from
the first state on, or what so many steps of a fixed grid reach. The control of the step size has no derivatives.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastad.tables.sparsity.sets import Ids, Sets


def _split(x: Ids, spans: Any) -> list[Ids]:
    return np.split(x, np.cumsum([span.size for span in spans])[:-1])


def _zeros(size: int) -> Ids:
    return np.zeros(size, np.int32)


class Reached:
    """What the states of a solve depend on (`own`), and its dense output."""

    def __init__(self, sets: Sets, solve: Any, x: Ids) -> None:
        self.sets, self.solve, s = sets, solve, solve.sizes
        self.own, self._control, self.cache, memory, self.ends, self.shared, _, points = _split(x, s.operands)
        self.points = points.reshape(s.points, s.point)
        self._control, self.memory = _zeros(len(self._control)), _zeros(len(memory))
        for _ in range(solve.length):
            before, self.own = self.own, self._after_step()
            if np.array_equal(before, self.own):
                break

    def _after_step(self) -> Ids:
        if self.solve.sizes.events:  # positions are relative to the rest of the span, from the clock on
            clock = self.own[self.solve.clock : self.solve.clock + 1]
            self.ends = np.concatenate([self.sets.either(self.ends[:1], clock), self.ends[1:]])
        after = self.sets.either(self.own, self.through(self.solve.step, self.plain_in))
        if self.solve.event is not None:
            after = self.sets.either(after, self.through(self.solve.event, self.plain_in))
        return after

    def through(self, part: Any, *argument: Ids) -> Ids:
        """The sets of a part's result."""
        return part.dependencies(self.sets, np.concatenate(argument))

    @property
    def plain_in(self) -> Ids:
        """[state | control | ends | shared]."""
        return np.concatenate([self.own, self._control, self.ends, self.shared])

    @property
    def dense(self) -> Ids:
        """The dense output of a step."""
        if not self.solve.sizes.dense:
            return _zeros(0)
        return self.through(self.solve.dense, self.plain_in)[len(self.own) :]

    def sample_in(self, dense: Ids, point: Ids) -> Ids:
        """[state | control | dense output | point | ends]."""
        return np.concatenate([self.own, self._control, dense, point, self.ends])

    def located_in(self, dense: Ids) -> Ids:
        """[state | control | dense output | ends | shared]."""
        return np.concatenate([self.own, self._control, dense, self.ends, self.shared])

    @property
    def at_points(self) -> Ids:
        """The solution at all points."""
        if self.solve.sample is None:
            return np.tile(self.own, len(self.points))
        dense, either = self.dense, self.sets.either
        rows = [either(self.own, self.through(self.solve.sample, self.sample_in(dense, p))) for p in self._different()]
        return np.concatenate([_zeros(0), *(rows * len(self.points) if len(rows) < len(self.points) else rows)])

    def _different(self) -> Iterator[Ids]:
        """The points, or one of them if all have the same sets."""
        alike = len(self.points) > 0 and (self.points == self.points[0]).all()
        return iter(self.points[:1] if alike else self.points)


def solve_dependencies(sets: Sets, solve: Any, x: Ids) -> Ids:
    """The sets of the results of a solve (see `SolveSizes.results`); saved states have no derivatives."""
    s, at = solve.sizes, Reached(sets, solve, x)
    cache = _zeros(s.cache)
    if s.cache:
        step_in = np.concatenate([at.own, at._control, cache, at.memory, at.ends, at.shared])
        cache = sets.either(at.cache, at.through(solve.rhs, step_in))
    dense = at.dense
    located = at.own if solve.located is None else sets.either(at.own, at.through(solve.located, at.located_in(dense)))
    own = [at.own, at._control, cache, at.memory, at.at_points]
    kept = [np.tile(at.own, s.kept), _zeros(s.kept), np.tile(dense, s.kept)]
    found = np.concatenate([*own, *kept, np.tile(located, s.room)])
    return np.concatenate([found, _zeros(solve.n_out - len(found))])


def solve_adjoint_dependencies(sets: Sets, solve: Any, x: Ids) -> Ids:
    """The sets of the adjoints of a solve's operands, for [operands | adjoints of the results]."""
    s, at, either = solve.sizes, Reached(sets, solve, x[: solve.n_in]), sets.either
    bar, _, _, _, points, kept, _, kept_dense, events, *_ = _split(x[solve.n_in :], solve.spans_results)
    dense, dense_bar = at.dense, _any(sets, kept_dense, s.dense)
    ends, shared = _zeros(s.ends), _zeros(s.shared)
    bar = either(bar, either(_any(sets, kept, s.own), _any(sets, points, s.own)))
    point_bars = _zeros(s.points * s.point)
    if solve.sample is not None and s.points:
        inside, dense_more, ends, point_bars = _samples(at, dense, points.reshape(s.points, s.own))
        bar, dense_bar = either(bar, inside), either(dense_bar, dense_more)
    if solve.located is not None:
        out = at.through(solve.located.adjoint, at.located_in(dense), _any(sets, events, s.own))
        own, _, more, e, sh = np.split(out, np.cumsum([s.own, len(at._control), s.dense, s.ends]))
        bar, dense_bar, ends, shared = either(bar, own), either(dense_bar, more), either(ends, e), either(shared, sh)
    step, seed = (solve.dense, [dense_bar]) if s.dense else (solve.step, [])
    parts = [(step, seed)] + ([(solve.event, [])] if solve.event is not None else [])
    cuts = np.cumsum([s.own, len(at._control), s.ends])
    for _ in range(max(solve.length, 1)):
        before = bar
        for part, more_seeds in parts:
            own, _, e, sh = np.split(at.through(part.adjoint, at.plain_in, bar, *more_seeds), cuts)
            bar, ends, shared = either(bar, own), either(ends, e), either(shared, sh)
        if np.array_equal(before, bar):
            break
    if s.events:  # a span that starts at the clock
        clock = sets.joined(np.append(ends, bar[solve.clock]))
        bar = np.concatenate([bar[: solve.clock], clock, bar[solve.clock + 1 :]])
    still = _zeros(s.controls)
    return np.concatenate([bar, at._control, _zeros(s.cache), at.memory, ends, shared, still, point_bars])


def _samples(at: Reached, dense: Ids, seeds: np.ndarray) -> tuple[Ids, Ids, Ids, Ids]:
    """The adjoints of samples: of the state, the dense output and the ends, from all points; of each point."""
    s, sets = at.solve.sizes, at.sets
    own, more, ends, found = _zeros(s.own), _zeros(s.dense), _zeros(s.ends), []
    for point, seed in zip(at.points, seeds, strict=True):
        out = at.through(at.solve.sample.adjoint, at.sample_in(dense, point), np.ascontiguousarray(seed))
        a, _, d, p, e = np.split(out, np.cumsum([s.own, len(at._control), s.dense, s.point]))
        own, more, ends = sets.either(own, a), sets.either(more, d), sets.either(ends, e)
        found.append(p)
    return own, more, ends, np.concatenate(found)


def _any(sets: Sets, x: Ids, width: int) -> Ids:
    """The union of vectors of this width that stand one after another."""
    if not width:
        return _zeros(0)
    return sets.together(np.ascontiguousarray(x), np.tile(np.arange(width), len(x) // width), width)
