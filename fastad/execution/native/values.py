"""Values inside loops, computed on demand at index maps (see `maps`).

A value that does not vary in the inner dimensions is computed in the outermost loop it varies in.
"""

from typing import Any

from fastad.execution.native.demand import Demand
from fastad.execution.native.function import Function
from fastad.execution.native.maps import Incompatible, Map, compose, contiguous
from fastad.execution.native.memory import Memory
from fastad.execution.native.operations import ZERO, Block, Module
from fastad.execution.native.steps import VIRTUAL, Loop
from fastad.execution.native.vectors import Value, Variant, lanes, load_vector, store_vector
from fastad.primitives import PRIMITIVES


class ValueCode(Function):
    """Code of a nest: `blocks[d]` runs in the d outermost loops, before the next loop, `after[d]` behind it."""

    def __init__(self, module: Module, memory: Memory, demand: Demand, loop: Loop) -> None:
        super().__init__(module, memory)
        self.loop, self.width = loop, lanes()
        self.computes = sorted(demand.computes[loop.index])
        self.memos: list[dict[Any, Value]] = [{}]

    def enter(self, dims: tuple[int, ...], start: int) -> None:
        """Begin a nest over these dimensions, whose first point is element `start` of the loop's domain."""
        self.dims, self.depth = dims, len(dims)
        self.own: Map = (start, contiguous(dims))
        self.blocks = [self.entry, *(Block(self.module) for _ in dims[1:])]
        self.after = [Block(self.module) for _ in dims]
        self.memos = [self.memos[0], *({} for _ in dims[1:])]

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────
    def value(self, x: int, where: Map, v: Variant) -> Value:
        """A row's value at the places of a map."""
        p = self.p
        x, shift = p.base(x)
        if shift:
            where = (where[0] + shift, where[1])
        depth = max((d + 1 for d, s in enumerate(where[1]) if s), default=0)
        memo = v.memo if depth == self.depth else self.memos[depth]
        key = (x, where)
        found = memo.get(key)
        if found is None:
            found = memo[key] = self._compute(x, where, v, depth)
        return found

    def _compute(self, x: int, where: Map, v: Variant, depth: int) -> Value:
        p = self.p
        if p.realm[x] != VIRTUAL or (x in p.stored and p.home[x] < self.loop.index):
            return self._load(x, where, v, depth), depth
        if x in p.regions:
            source, own = p.regions[x]
            return self.value(source, compose(self.dims, where, own), v)
        if x in p.joined:
            return self._run(x, where, v)
        row = PRIMITIVES[p.op[x]]
        operands = (p.a[x], p.b[x], p.c[x])[: len(row.domain)]  # type: ignore[attr-defined]
        nowhere = (0, (0,) * self.depth)
        values = [self.value(y, where if p.size[y] > 1 else nowhere, v) for y in operands]
        depth = max(d for _, d in values)
        block = self._block(depth, v)
        return block.apply(row.name, *(self.widened(value, depth, v) for value in values)), depth

    def _run(self, x: int, where: Map, v: Variant) -> Value:
        """A row of runs: the domain's segment lies in one of them."""
        found = list(self.p.runs(x, self.dims, where))
        if len(found) != 1:
            raise Incompatible
        source, offset, _, _ = found[0]
        if source < 0:
            return ZERO, 0
        return self.value(source, (offset, (1,)), v)

    def _block(self, depth: int, v: Variant) -> Block:
        return v.block if depth == self.depth else self.blocks[depth]

    def widened(self, value: Value, depth: int, v: Variant) -> str:
        """A value in a form for use at a depth: spread over lanes if it comes from an outer loop."""
        text, own = value
        if own == depth or depth < self.depth:
            return text
        memo = self.memos[own]
        found = memo.get(("wide", text))
        if found is None:
            found = memo["wide", text] = self.blocks[own].widen(text, v.block), own
        return found[0]

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────
    def place(self, x: int, where: Map, v: Variant, depth: int) -> str:
        """Address of a row's element at a map, at the vector's first lane."""
        at = self._outer_place(x, where, min(depth, self.depth - 1))
        step = where[1][-1]
        if depth < self.depth or not step:
            return at
        return self._advance(v.block, at, v.index, step, step * v.unrolled * self.width)

    def _outer_place(self, x: int, where: Map, depth: int) -> str:
        """Address after the terms of the outer `depth` dimensions."""
        steps = where[1][:depth]
        key = ("place", x, where[0], steps)
        found = self.memos[depth].get(key)
        if found is None:
            if depth == 0:
                text = self.pointer(x, where[0])
            else:
                before = self._outer_place(x, where, depth - 1)
                step = steps[-1]
                text = self._advance(self.blocks[depth], before, f"%d{depth - 1}", step, 0) if step else before
            found = self.memos[depth][key] = text, depth
        return found[0]

    def _advance(self, block: Block, at: str, index: str, step: int, more: int) -> str:
        if step != 1:
            index = str(int(index) * step) if index.isdigit() else block.emit(f"mul nsw i64 {index}, {step}")
        at = block.emit(f"getelementptr double, ptr {at}, i64 {index}")
        return block.emit(f"getelementptr double, ptr {at}, i64 {more}") if more else at

    def _load(self, x: int, where: Map, v: Variant, depth: int) -> str:
        if depth == 0 and (known := self.p.element(x, where[0])) is not None:
            constant = self.constant(*known)
            if constant is not None:
                return constant
        at = self.place(x, where, v, depth)
        if depth < self.depth:
            return self.blocks[depth].emit(f"load double, ptr {at}")
        return load_vector(v, at, where[1][-1])

    def _store(self, r: int, v: Variant) -> None:
        value = self._number(self.value(r, self.own, v), v)
        store_vector(v, value, self.place(r, self.own, v, self.depth))

    def _number(self, value: Value, v: Variant) -> str:
        return v.block.number(self.widened(value, self.depth, v))
