"""Values inside loops, computed on demand at index maps (see `maps`).

A value that does not vary in the inner dimensions is computed in the outermost loop it varies in.
"""

from typing import Any

from fastad.execution.native.code.function import Function
from fastad.execution.native.code.operations import ZERO, Block, Module
from fastad.execution.native.code.vectors import Value, Variant, load_vector, store_vector
from fastad.execution.native.planning.maps import Map
from fastad.execution.native.planning.memory import Memory
from fastad.execution.native.planning.nests import LoopPlan, Nest
from fastad.execution.native.planning.walking import Way, origin, resolved
from fastad.primitives import PRIMITIVES

Placed = tuple[int, Map]  # a row, and places in it


def _depth(where: Map) -> int:
    """The number of outer loops that a value at these places varies in."""
    return max((d + 1 for d, s in enumerate(where[1]) if s), default=0)


class ValueCode(Function):
    """Code of a nest: `blocks[d]` runs in the d outermost loops, before the next loop, `after[d]` behind it."""

    nest: Nest

    def __init__(self, module: Module, memory: Memory, plan: LoopPlan) -> None:
        super().__init__(module, memory)
        self.plan, self.loop, self.width = plan, plan.step, plan.width
        self.memos: list[dict[Any, Value]] = [{}]

    def enter(self, nest: Nest) -> None:
        """Begin a nest."""
        self.nest, self.dims, self.depth, self.own = nest, nest.dims, nest.depth, nest.own
        self.blocks = [self.entry, *(Block(self.module) for _ in nest.dims[1:])]
        self.after = [Block(self.module) for _ in nest.dims]
        self.memos = [self.memos[0], *({} for _ in nest.dims[1:])]

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────
    def value(self, x: int, where: Map, v: Variant) -> Value:
        """A row's value at the places of a map."""
        place = resolved(self.p, x, where)
        return self._memo(place, v).get(place) or self._written(place, v)

    def _written(self, place: Placed, v: Variant) -> Value:
        """The value, after what it is made of: a chain of rows may be longer than Python's stack is deep."""
        pending = [self._origin(place)]
        while True:
            place, way, operands = pending[-1]
            values = []
            for y in operands:
                found = self._memo(y, v).get(y)
                if found is None:
                    pending.append(self._origin(y))
                    break
                values.append(found)
            else:
                made = self._memo(place, v)[place] = self._computed(place, way, values, v)
                pending.pop()
                if not pending:
                    return made

    def _origin(self, place: Placed) -> tuple[Placed, Way, list[Placed]]:
        way, operands = origin(self.p, self.loop.index, self.dims, *place)
        return place, way, [resolved(self.p, *y) for y in operands]

    def _memo(self, place: Placed, v: Variant) -> dict[Any, Value]:
        """Where the value at these places is kept: at the depth that it varies in."""
        depth = _depth(place[1])
        return v.memo if depth == self.depth else self.memos[depth]

    def _computed(self, place: Placed, way: Way, values: list[Value], v: Variant) -> Value:
        x, where = place
        if way is Way.READ:
            depth = _depth(where)
            return self._load(x, where, v, depth), depth
        if way is Way.ZERO:
            return ZERO, 0
        if way is Way.SAME:
            return values[0]
        depth = max(d for _, d in values)
        name = PRIMITIVES[self.p.op[x]].name
        operands = [self.widened(value, depth, v) for value in values]
        return self._block(depth, v).apply(name, *operands), depth

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
