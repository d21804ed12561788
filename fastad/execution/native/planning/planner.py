"""Planning: which rows are unrolled, fused into which loops, or steps of their own.

Rows are taken in order, each to the earliest legal step. A row of many elements is *virtual*: loops compute it
wherever it is used, at shifted or repeated places too, unless that costs more than storing it once (see `demand`).
For a virtual row, `fuse` is the first step that may compute it for equal places, `leaf` for other places.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import product
from operator import attrgetter
from typing import Any

from fastad.execution.native.code.vectors import lanes
from fastad.execution.native.planning.costs import Costs
from fastad.execution.native.planning.maps import (
    Incompatible,
    Map,
    Splits,
    compose,
    dimensions,
    identity,
    is_chain,
    useful,
)
from fastad.execution.native.planning.runs import runs_of
from fastad.execution.native.planning.steps import (
    COLLECTED,
    MEMORY,
    SCALAR,
    VIRTUAL,
    CallStep,
    LoopStep,
    ScalarStep,
    Step,
)
from fastad.execution.native.planning.updates import Updates
from fastad.primitives import PRIMITIVES, Elementwise, Form
from fastad.primitives.regions import Region, is_contiguous, parts, region
from fastad.tables.table import Table

MEMBERS = 150  # rows of one loop: the time to optimise a loop grows faster than its length
_DEEPEST = 60  # rows on the way from what a view sees to memory, which is followed for every view
_FORK = 15  # what a row of runs counts for: ways multiply at it
_index = attrgetter("index")


class Planner:
    """The forward pass over a table."""

    def __init__(self, table: Table, unroll: int, safe: bool = False) -> None:
        self.table, self.unroll, self.safe = table, unroll, safe
        col = table._lists
        self.op, self.a, self.b, self.c = (col[name] for name in ("op", "a", "b", "c"))
        self.size = table.sizes.tolist()
        self.steps: list[Step] = []
        self.realm = bytearray([MEMORY]) * len(table)
        self.made = [-1] * len(table)
        self.alias: dict[int, tuple[int, int]] = {}
        self.picks: dict[int, list[tuple[int, int] | None]] = {}
        self.copied: dict[int, list[tuple[int, int] | None]] = {}  # picks that are taken before they are written over
        self.regions: dict[int, tuple[int, Region]] = {}  # views: (source, region)
        # Runs side by side: (start, place in the source, source; -1: zeros).
        self.joined: dict[int, list[tuple[int, int, int]]] = {}
        self.costs = Costs(table)
        self.fuse: dict[int, int] = {}
        self.leaf: dict[int, int] = {}
        self.depth: dict[int, int] = {}  # virtual rows: how many are computed one after another for it
        self.home: dict[int, int] = {}
        self.splits: dict[int, Splits] = {}
        self.solid: set[int] = set()
        self.stored: set[int] = set()
        self._scalar_steps: list[int] = []
        self._loops: dict[int, list[LoopStep]] = {}  # those of a size that may take more rows
        self._checked = 0
        self.updates = Updates(table, unroll)
        self._readers: dict[int, list[int]] = {}  # virtual rows that see an array which is updated later

    def run(self) -> "Planner":
        op, size, unroll = self.op, self.size, self.unroll
        arity = [len(p.domain) if isinstance(p, Elementwise) else -1 for p in PRIMITIVES]
        for r in range(len(op)):
            n = arity[op[r]]
            if n < 0:
                self._array_row(r)
            elif size[r] and size[r] <= unroll:
                self._scalar(r, (self.a[r], self.b[r], self.c[r])[:n])
            elif size[r]:
                self._virtual(r, (self.a[r], self.b[r], self.c[r])[:n])
        for r in self.table.outputs:
            self.in_memory(r)
        return self

    # ── unrolled rows ────────────────────────────────────────────────────────────────────────────────────────
    def _scalar(self, r: int, operands: tuple[int, ...], bound: int = 0) -> None:
        made, realm = self.made, self.realm
        for x in operands:
            if realm[x] == VIRTUAL:
                self.in_memory(x)
                first = self.home[self.base(x)[0]] + 1
            else:
                first = made[x] + (realm[x] != SCALAR)
            if first > bound:
                bound = first
        at = bisect_left(self._scalar_steps, bound)
        if at == len(self._scalar_steps):
            self._scalar_steps.append(len(self.steps))
            self.steps.append(ScalarStep(len(self.steps)))
        step: Any = self.steps[self._scalar_steps[at]]
        step.rows.append(r)
        realm[r], made[r] = SCALAR, step.index

    def base(self, x: int) -> tuple[int, int]:
        return self.alias.get(x, (x, 0))

    def _alias(self, r: int, x: int, offset: int) -> None:
        source, shift = self.base(x)
        self.alias[r] = (source, shift + offset)
        self.realm[r], self.made[r] = self.realm[x], self.made[x]

    def in_memory(self, x: int) -> int:
        """Make sure that a row gets a place in memory; returns the first step that may read it."""
        x = self.base(x)[0]
        if self.realm[x] != VIRTUAL:
            return self.made[x] + 1
        self.stored.add(x)
        if x not in self.home:
            self.home[x] = self._join(self.size[x], self.fuse[x], self.splits[x]).index
        return self.home[x] + 1

    # ── rows inside loops ────────────────────────────────────────────────────────────────────────────────────
    def cheap(self, x: int) -> bool:
        """Whether a virtual row is better computed again than stored and loaded."""
        return x not in self.solid and not self.safe and self.costs.cheap(x)

    def _virtual(self, r: int, operands: tuple[int, ...]) -> None:
        fuse = leaf = loads = 0
        splits, inside = frozenset[int](), []
        for x in operands:
            x = self.base(x)[0]
            self._note_reader(r, x)
            if self.realm[x] != VIRTUAL:
                first = last = self.made[x] + 1
                loads += self.size[x] > 1
            elif not is_chain(self.size[r], splits | self.splits[x]):
                first = last = self.in_memory(x)
                loads += 1
            else:
                first, last = self._inside(x)
                splits |= self.splits[x]
                inside.append(x)
            fuse, leaf = max(fuse, first), max(leaf, last)
        self.costs.elementwise(r, inside, loads)
        self._deepen(r, inside)
        self.realm[r] = VIRTUAL
        self.fuse[r], self.leaf[r], self.splits[r] = fuse, leaf, splits
        self.home[r] = self._join(self.size[r], fuse, splits).index

    def _inside(self, x: int) -> tuple[int, int]:
        """The first steps that may use a virtual row, for equal places and for others."""
        if x in self.regions or self.cheap(x):
            return self.fuse[x], self.leaf[x]
        if x in self.joined:
            return self.in_memory(x), self.in_memory(x)
        return self.home[x], self.home[x] + 1

    def _join(self, size: int, bound: int, splits: Splits, vectors: int = 0) -> LoopStep:
        """The earliest loop over `size` elements that may hold a row, and so many vectors of results in registers."""
        loops = self._loops.setdefault(size, [])
        for at in range(bisect_left(loops, bound, key=_index), len(loops)):
            loop = loops[at]
            fits = not vectors or loop.collected + vectors <= COLLECTED
            if fits and is_chain(size, loop.splits | splits):
                break
        else:
            loop = LoopStep(len(self.steps), size)
            loops.append(loop)
            self.steps.append(loop)
        loop.splits |= splits
        loop.members += 1
        loop.collected += vectors
        if loop.members == MEMBERS:
            loops.remove(loop)
        return loop

    def _strided(self, r: int, x: int, own: Region) -> None:
        contiguous = is_contiguous(own)
        if contiguous and own[0] == 0 and self.size[r] == self.size[x]:
            return self._alias(r, x, 0)
        if self.realm[x] == MEMORY and contiguous and not self.updates.outlives(r, self.base(x)[0]):
            return self._alias(r, x, own[0])
        if self.size[r] <= self.unroll:
            return self._pick(r, x, own)
        return self._view(r, x, own)

    def _pick(self, r: int, x: int, own: Region) -> None:
        offset, shape, strides = parts(own)
        where = [sum(i * s for i, s in zip(index, strides)) + offset for index in product(*map(range, shape))]
        self._take_picks(r, [self.element(x, i) for i in where])
        self._scalar(r, (x,))

    def _take_picks(self, r: int, elements: list[tuple[int, int] | None]) -> None:
        """Elements of other rows, which are read where they are used unless they are written over before."""
        outlives = any(e is not None and self.updates.outlives(r, e[0]) for e in elements)
        (self.copied if outlives else self.picks)[r] = elements

    def element(self, x: int, i: int) -> tuple[int, int] | None:
        """The row and place in it of an element of an unrolled row; None for zero."""
        source, shift = self.base(x)
        if source in self.picks:
            return self.picks[source][shift + i]
        return source, shift + i

    def _view(self, r: int, x: int, own: Region) -> None:
        source, shift = self.base(x)
        self.regions[r] = (source, (own[0] + shift, *own[1:]))
        self.realm[r] = VIRTUAL
        self._note_reader(r, source)
        self._place_view(r, source)
        splits = self._splits_of(r)
        if splits is None:  # no loop can walk through the source's operands in this order: store the source
            self.solid.add(source)
            self._place_view(r, source)
            splits = self._splits_of(r)
        self.splits[r] = splits or frozenset()
        if self.updates.outlives(r, source):
            self.in_memory(r)

    def _note_reader(self, r: int, source: int) -> None:
        if source in self.updates.of:
            self._readers.setdefault(source, []).append(r)

    def _place_view(self, r: int, source: int) -> None:
        repeats = self.size[r] > self.size[source]
        self.fuse[r] = self.leaf[r] = self._reach(source, repeats)
        self.costs.view(r, source if self.realm[source] == VIRTUAL and source not in self.stored else None)
        self._deepen(r, [source])

    def _deepen(self, r: int, inside: Sequence[int], steps: int = 1) -> None:
        below = max((self.depth.get(x, 0) for x in inside if x not in self.stored), default=0)
        self.depth[r] = steps + below if self.cheap(r) else 0

    def _reach(self, source: int, repeats: bool) -> int:
        """The first step that can have a row's elements at other places; expensive ones are stored for it."""
        if self.realm[source] != VIRTUAL:
            return self.made[source] + 1
        if source in self.stored or self.depth[source] >= _DEEPEST:
            return self.in_memory(source)
        if (not repeats or self.costs.repeatable(source)) and self.cheap(source):
            return self.leaf[source]
        return self.in_memory(source)

    def _splits_of(self, r: int) -> Splits | None:
        """Where a domain must be split or cut so that a row can be computed in it; None if that does not help."""
        size, splits = self.size[r], frozenset[int]()
        while True:
            cuts: set[int] = set()
            dims = dimensions(size, splits)
            try:
                self._trace(r, dims, identity(dims), cuts)
                return splits | cuts if is_chain(size, splits | cuts) else None
            except Incompatible as problem:
                more = splits | useful(size, (problem.split,))
                if more == splits or not is_chain(size, more):
                    return None
                splits = more

    def _trace(self, x: int, dims: tuple[int, ...], where: Map, cuts: set[int]) -> None:
        """Raise Incompatible unless x can be computed at these places; collects the cuts it needs."""
        todo = [(x, dims, where, 0)]
        while todo:
            x, dims, where, origin = todo.pop()
            x = self.base(x)[0]
            if self.realm[x] != VIRTUAL or self.size[x] == 1 or x in self.stored:
                continue
            if x in self.regions:
                source, own = self.regions[x]
                todo.append((source, dims, compose(dims, where, own), origin))
            elif x in self.joined:
                for source, offset, low, high in self.runs(x, dims, where):
                    cuts |= {-c for c in (origin + low, origin + high) if 0 < c < origin + dims[0]}
                    if source >= 0:
                        todo.append((source, (high - low,), (offset, (1,)), origin + low))
            elif self.cheap(x):
                operands = (self.a[x], self.b[x], self.c[x])[: len(PRIMITIVES[self.op[x]].domain)]  # type: ignore[attr-defined]
                todo += [(y, dims, where, origin) for y in operands if self.size[y] > 1]

    def runs(self, x: int, dims: tuple[int, ...], where: Map) -> Iterator[tuple[int, int, int, int]]:
        """The runs of a row of runs that a domain of one dimension meets: (source, first element, and the part of
        the domain, low to high); raises Incompatible for other domains."""
        if len(dims) != 1 or (where[1] != (1,) and dims != (1,)):
            raise Incompatible
        starts = self.joined[x]
        ends = [start for start, _, _ in starts[1:]] + [self.size[x]]
        for (start, place, source), end in zip(starts, ends, strict=True):
            low, high = max(start - where[0], 0), min(end - where[0], dims[0])
            if low < high:
                yield source, where[0] + low - start + place, low, high

    # ── array rows ───────────────────────────────────────────────────────────────────────────────────────────
    def _array_row(self, r: int) -> None:
        primitive: Any = PRIMITIVES[self.op[r]]
        if primitive.form in (Form.INPUT, Form.CONSTANT):
            return
        row = self.table.row(r)
        if not row.size:
            return
        if primitive.form is Form.VIEW:
            self._strided(r, row.operands[0], region(*parts(row.statics)))
        elif primitive.form is Form.PIECES:
            self._assemble(r, row)
        elif primitive.form is Form.REDUCTION and self.size[row.operands[0]]:
            self._scalar(r, row.operands) if self._is_small(row) else self._reduction(r, row)
        elif self._is_small(row) and primitive.unrolls(row.statics, row.size):
            self._unrolled(r, row)
        else:
            self._call(r, row)

    def _is_small(self, row: Any) -> bool:
        """Whether a row and what it reads element by element may be unrolled."""
        read = [x for k, x in enumerate(row.operands) if k not in row.primitive.addressed]
        return row.size <= self.unroll and all(0 < self.size[x] <= self.unroll for x in read)

    def _unrolled(self, r: int, row: Any) -> None:
        """Rows that may stop the program do so in their order."""
        if not row.primitive.stops:
            return self._scalar(r, row.operands)
        self._scalar(r, row.operands, self._checked)
        self._checked = self.made[r]
        return None

    def _assemble(self, r: int, row: Any) -> None:
        if all(self.realm[x] != VIRTUAL and 0 < self.size[x] <= self.unroll for x in row.operands):
            if row.size <= self.unroll:
                self._take_picks(r, self._assembled(row))
                self._scalar(r, row.operands)
            else:
                self._scalar(r, row.operands)
                self.realm[r] = MEMORY
        elif row.size > self.unroll and (runs := runs_of(row)) is not None:
            self._join_runs(r, runs)
        else:
            self._call(r, row)

    def _join_runs(self, r: int, runs: list[tuple[int, int]]) -> None:
        """Contiguous pieces side by side, computed where they are used."""
        sources = [self.base(x)[0] for _, x in runs if x >= 0]
        if len(runs) == 1:
            return self._alias(r, runs[0][1], 0)
        self.joined[r] = [(start, *((self.base(x)[1], self.base(x)[0]) if x >= 0 else (0, -1))) for start, x in runs]
        self.realm[r] = VIRTUAL
        for x in sources:
            self._note_reader(r, x)
        for _ in range(2):
            self.fuse[r] = self.leaf[r] = max(self._reach(x, False) for x in sources)
            virtual = [x for x in sources if self.realm[x] == VIRTUAL and x not in self.stored]
            self.costs.runs(r, virtual)
            self._deepen(r, virtual, _FORK)
            splits = self._splits_of(r)
            if splits is not None:
                break
            for x in virtual:
                self.in_memory(x)
        self.splits[r] = splits or frozenset()
        return None

    def _assembled(self, row: Any) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = [None] * row.size
        for x, own in zip(row.operands, row.regions, strict=True):
            offset, shape, strides = parts(own)
            for i, index in enumerate(product(*map(range, shape))):
                found[offset + sum(k * s for k, s in zip(index, strides))] = self.element(x, i)
        return found

    def _reduction(self, r: int, row: Any) -> None:
        x = self.base(row.operands[0])[0]
        size = self.size[x]
        _, n, inner = row.statics
        splits = useful(size, (inner, n * inner))
        if self.realm[x] != VIRTUAL:
            bound = self.made[x] + 1
        elif is_chain(size, splits | self.splits[x]):
            bound, splits = self._inside(x)[0], splits | self.splits[x]
        else:
            bound = self.in_memory(x)
        vectors = -(-inner // lanes()) if 1 < inner <= COLLECTED * lanes() else 0
        loop = self._join(self.size[row.operands[0]], bound, splits, vectors)
        loop.reductions.append(r)
        self.made[r] = loop.index

    def _call(self, r: int, row: Any) -> None:
        if row.form.updates and self.updates.of.get(self.base(row.operands[0])[0]) == r:
            for x in self._readers.pop(self.base(row.operands[0])[0], []):
                if self.updates.reach[x] > r:  # it may be computed after the update, but has to read before
                    self.in_memory(x)
        for x in row.operands:
            self.in_memory(x)
        self.made[r] = len(self.steps)
        self.steps.append(CallStep(len(self.steps), r))
        if row.primitive.stops:
            self._checked = self.made[r] + 1
