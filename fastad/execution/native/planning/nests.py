"""Nests: how a loop step runs over its domain, decided before any code is written.

The innermost dimension runs in SIMD vectors, `unroll` of them at a time, then over the rest. A long loop is cut into
blocks of fixed size, which threads may share.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fastad.execution.native.code.operations import cost_of
from fastad.execution.native.code.vectors import lanes
from fastad.execution.native.planning.demand import Demand
from fastad.execution.native.planning.maps import Map, contiguous, dimensions, segments
from fastad.execution.native.planning.planner import Planner
from fastad.execution.native.planning.steps import COLLECTED, LoopStep
from fastad.execution.native.planning.walking import walk
from fastad.execution.native.target import target
from fastad.once import lazy

_WRITTEN_OUT = 64  # operations on vectors
_PARALLEL_FROM, _BLOCK = 100_000.0, 40_000.0  # ns of work: starting and joining a thread takes some 25,000
_MOST_BLOCKS = 64
_TRAFFIC = 0.2  # ns an element and array that is read or written


@dataclass(frozen=True)
class LoopPlan:
    """A loop step: the rows that it computes at its own places, how many arrays it reads or writes, and how wide the
    vectors are."""

    p: Planner
    step: LoopStep
    computes: tuple[int, ...]
    arrays: int
    width: int

    @staticmethod
    def of(p: Planner, demand: Demand, step: LoopStep) -> "LoopPlan":
        """The plan of a step; raises Incompatible if it cannot walk through all its values."""
        arrays = len(demand.reads[step.index]) + len(step.stores)
        plan = LoopPlan(p, step, tuple(sorted(demand.computes[step.index])), arrays, lanes())
        wanted = (*plan.computes, *step.stores, *(p.a[r] for r in step.reductions))
        for nest in plan.nests:
            walk(p, step.index, nest.dims, wanted, nest.own)
        return plan

    @lazy
    def nests(self) -> "tuple[Nest, ...]":
        """All nests, the main one first: it is the part of the domain that is unrolled, and shared by threads."""
        return tuple(self._nests())

    def _nests(self) -> "Iterator[Nest]":
        pieces = segments(self.step.size, self.step.splits)
        low, high = main = max(pieces, key=lambda piece: piece[1] - piece[0])
        whole = len(pieces) == 1
        first = Nest(self, dimensions(self.step.size, self.step.splits) if whole else (high - low,), low)
        yield first
        for low, high in pieces:
            if (low, high) != main:
                yield Nest(self, (high - low,), low, first.unroll)

    @property
    def body(self) -> int:
        """Operations on vectors of the innermost code."""
        return len(self.computes) + len(self.step.reductions)


class Nest:
    """A nest of loops over dimensions, whose first point is element `start` of the step's domain.

    `flat`: the innermost dimension is written out, vector by vector. `count` blocks of `block` points along the
    outermost dimension may run at once; 0 if the nest is short. `unroll` is given for what follows a main nest.
    """

    def __init__(self, plan: LoopPlan, dims: tuple[int, ...], start: int, unroll: int = 0) -> None:
        self.plan, self.depth = plan, len(dims)
        self.dims, steps = self._ordered(dims)
        self.own: Map = (start, steps)
        self.flat = False
        self.flat = self._flattens()
        self.unroll = 1 if self.flat else unroll or self._unrolling(self.dims[-1])
        self.count, self.block = (0, 0) if unroll else self._blocks()

    def whole_steps(self) -> int:
        """Elements of the innermost dimension that whole steps of its loop cover."""
        n = self.dims[-1]
        return 0 if self.flat else n - n % (self.plan.width * self.unroll)

    def _ordered(self, dims: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The dimensions, and the steps of elements along them, in the order of the loops. A last dimension that fills
        less than half a vector, as that of positions in space, runs outside the one before it; but not where results
        that vary in it are sums over dimensions further outside: they are collected in one run of the loops inside."""
        steps, width = contiguous(dims), self.plan.width
        if self.depth < 2 or self.plan.step.stores or 2 * dims[-1] > width or dims[-2] < width:
            return dims, steps
        if self.depth == 2 and dims[-2] > COLLECTED * width:  # many places are better taken once than twice
            return dims, steps
        ordered, walked = (*dims[:-2], dims[-1], dims[-2]), (*steps[:-2], steps[-1], steps[-2])
        varying = [self._result_steps(r, walked) for r in self.plan.step.reductions]
        if not all(_outside_only(of_result[:-1], ordered) for of_result in varying):
            return dims, steps
        return ordered, walked

    def _unrolling(self, n: int) -> int:
        """Vectors at a time: more than one hides the latency of chains of additions in short bodies."""
        vectors, body = n // self.plan.width, self.plan.body
        return 4 if vectors >= 16 and body <= 4 else 2 if vectors >= 4 and body <= 12 else 1

    def _flattens(self) -> bool:
        """Whether the innermost dimension is better written out: a result that varies in it then stays in registers."""
        results = sum(self.along(r) and self._is_short(r) for r in self.plan.step.reductions)
        vectors = -(-self.dims[-1] // self.plan.width)
        is_short = vectors == 1 or vectors * self.plan.body <= _WRITTEN_OUT
        return self.depth > 1 and 0 < results * vectors <= COLLECTED and is_short

    def _blocks(self) -> tuple[int, int]:
        """Number and size (along the outermost dimension) of the blocks of a long loop; (0, 0) for a short one."""
        p, plan, dims = self.plan.p, self.plan, self.dims
        if not target().threads:
            return 0, 0
        own = sum(cost_of(p.op[r]) for r in plan.computes) + _TRAFFIC * plan.arrays
        work = own * plan.step.size
        if work < _PARALLEL_FROM or not all(map(self._shares, plan.step.reductions)):
            return 0, 0
        step = plan.width * self.unroll if len(dims) == 1 else 1
        most = min(int(work / _BLOCK), _MOST_BLOCKS)
        size = -(-dims[0] // (most * step)) * step
        count = -(-(dims[0] // step * step) // size)
        return (count, size) if count > 1 else (0, 0)

    # ── reductions ───────────────────────────────────────────────────────────────────────────────────────────
    def result_map(self, r: int) -> Map:
        """Places of a reduction's result."""
        steps = self._result_steps(r, self.own[1])
        return self.own[0] if steps[-1] else 0, steps

    def _result_steps(self, r: int, steps: tuple[int, ...]) -> tuple[int, ...]:
        """Steps of a reduction's result along the dimensions of its operand; 0 along those that it sums over."""
        _, n, inner = self.plan.p.table.row(r).statics
        return tuple(s // n if s >= n * inner else 0 if s >= inner else s for s in steps)

    def depth_of(self, r: int) -> int:
        """The number of outer loops that the result varies in."""
        return max((d + 1 for d, s in enumerate(self.result_map(r)[1][: self.depth - self.flat]) if s), default=0)

    def along(self, r: int) -> bool:
        """Whether the result varies in the innermost dimension."""
        return bool(self.result_map(r)[1][-1])

    def in_registers(self, r: int) -> bool:
        """Whether the result is collected in registers."""
        return not self.along(r) or (self.flat and self._is_short(r))

    def _is_short(self, r: int) -> bool:
        """Whether a result that varies in the innermost dimension is contiguous there, and varies in no other inside
        those reduced."""
        steps = self.result_map(r)[1]
        return steps[-1] == 1 and _outside_only(steps[:-1], self.dims)

    def _shares(self, r: int) -> bool:
        """Whether blocks can work on a reduction: on other results, or on a number each, added in the end."""
        return self.in_registers(r) and (self.depth_of(r) > 0 or not self.along(r))


def _outside_only(steps: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    """Whether a result with these steps varies in no dimension inside one that it does not vary in."""
    varies = [bool(s) for s, n in zip(steps, dims, strict=False) if n > 1]
    return varies == sorted(varies, reverse=True)
