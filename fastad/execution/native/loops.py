"""Loops: the code of one nest, its innermost dimension in SIMD vectors.

Values are computed on demand at index maps (see `maps`). A value that does not vary in the inner dimensions is computed
in the outermost loop it varies in. The innermost dimension runs over `unroll` vectors at a time, then over the
rest, the last vector of which is masked: all elements are computed by the same instructions.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fastad.execution.native.demand import Demand
from fastad.execution.native.function import Function
from fastad.execution.native.maps import Map, compose, dimensions, identity
from fastad.execution.native.memory import Memory
from fastad.execution.native.operations import Block, Module, literal
from fastad.execution.native.steps import VIRTUAL, Loop
from fastad.execution.objects import has_feature
from fastad.primitives import PRIMITIVES

Value = tuple[str, int]  # a register, and the depth of the block it is in


@cache
def lanes() -> int:
    """Doubles of the CPU's widest vectors."""
    if has_feature("avx512f"):
        return 8
    return 4 if has_feature("avx2") else 2


@dataclass
class Variant:
    """The innermost code for one vector: its block, index, and, for the end of a row, its mask."""

    block: Block
    index: str
    unrolled: int = 0
    active: int = 0  # lanes that are inside; 0: all
    memo: dict[Any, Value] = field(default_factory=dict)

    @property
    def mask(self) -> str:
        bits = ", ".join(f"i1 {str(lane < self.active).lower()}" for lane in range(self.block.lanes))
        return f"<{bits}>"


class LoopCode(Function):
    """The function of one loop step."""

    def __init__(self, module: Module, memory: Memory, demand: Demand, loop: Loop) -> None:
        super().__init__(module, memory)
        self.loop, self.width = loop, lanes()
        self.dims = dimensions(loop.size, loop.splits)
        self.own = identity(self.dims)
        self.depth = len(self.dims)
        self.blocks = [self.entry] + [Block(module) for _ in self.dims[1:]]
        self.after: list[Block] = [Block(module) for _ in self.dims]
        self.memos: list[dict[Any, Value]] = [{} for _ in self.dims]
        self.computes = sorted(demand.computes[loop.index])
        self.accumulators: dict[tuple[int, int], str] = {}

    # ── the nest ─────────────────────────────────────────────────────────────────────────────────────────────
    def build(self) -> "LoopCode":
        unroll = self._unrolling()
        for r in self.loop.reductions:
            self._start_reduction(r, unroll)
        inner = self._inner(unroll)
        for r in self.loop.reductions:
            self._end_reduction(r, unroll)
        self._nest(inner)
        return self

    def _unrolling(self) -> int:
        """Vectors at a time: more than one hides the latency of chains of additions in short bodies."""
        vectors = self.dims[-1] // self.width
        body = len(self.computes) + len(self.loop.reductions)
        return 4 if vectors >= 16 and body <= 4 else 2 if vectors >= 4 and body <= 12 else 1

    def _inner(self, unroll: int) -> list[str]:
        """Code of the innermost dimension: a loop, then the rest in line."""
        n, step = self.dims[-1], self.width * unroll
        main = n - n % step
        lines: list[str] = []
        if main:
            name = next(self.module.names)
            variants = [self._variant(f"%i{name}", u) for u in range(unroll)]
            self._body(variants)
            lines += [f"  br label %before{name}", f"before{name}:", f"  br label %loop{name}", f"loop{name}:"]
            lines += [f"  %i{name} = phi i64 [ 0, %before{name} ], [ %next{name}, %loop{name} ]"]
            lines += [line for v in variants for line in v.block.lines]
            lines += [f"  %next{name} = add nuw nsw i64 %i{name}, {step}"]
            lines += [f"  %more{name} = icmp ult i64 %next{name}, {main}"]
            lines += [f"  br i1 %more{name}, label %loop{name}, label %after{name}", f"after{name}:"]
        for start in range(main, n, self.width):
            active = min(n - start, self.width)
            variant = self._variant(str(start), 0, active if active < self.width else 0)
            self._body([variant])
            lines += variant.block.lines
        return lines

    def _variant(self, index: str, unrolled: int, active: int = 0) -> Variant:
        return Variant(Block(self.module, self.width), index, unrolled, active)

    def _body(self, variants: list[Variant]) -> None:
        for v in variants:
            for r in self.computes:
                self.value(r, self.own, v)
            for r in self.loop.stores:
                self._store(r, v)
            for r in self.loop.reductions:
                self._accumulate(r, v)

    def _nest(self, inner: list[str]) -> None:
        """Wrap the innermost code in the outer loops; all code ends up in the entry block's lines."""
        code = inner
        for d in range(self.depth - 2, -1, -1):
            code = self._wrap(d, [*self.blocks[d + 1].lines, *code, *self.after[d + 1].lines])
        self.entry.lines += [*code, *self.after[0].lines]

    def _wrap(self, d: int, body: list[str]) -> list[str]:
        i = f"%d{d}"
        return [
            f"  br label %before.d{d}", f"before.d{d}:", f"  br label %loop.d{d}", f"loop.d{d}:",
            f"  {i} = phi i64 [ 0, %before.d{d} ], [ {i}.next, %latch.d{d} ]", *body,
            f"  br label %latch.d{d}", f"latch.d{d}:", f"  {i}.next = add nuw nsw i64 {i}, 1",
            f"  {i}.more = icmp ult i64 {i}.next, {self.dims[d]}",
            f"  br i1 {i}.more, label %loop.d{d}, label %done.d{d}", f"done.d{d}:",
        ]  # fmt: skip

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
        row = PRIMITIVES[p.op[x]]
        operands = (p.a[x], p.b[x], p.c[x])[: len(row.domain)]  # type: ignore[attr-defined]
        nowhere = (0, (0,) * self.depth)
        values = [self.value(y, where if p.size[y] > 1 else nowhere, v) for y in operands]
        depth = max(d for _, d in values)
        block = self._block(depth, v)
        return block.apply(row.name, *(self.widened(value, depth, v) for value in values)), depth

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

    # ── reductions ───────────────────────────────────────────────────────────────────────────────────────────
    # The result of a reduction varies in some outer dimensions (it is collected in registers while the others run),
    # or in the innermost one (then it is collected in memory).
    def _result_map(self, r: int) -> Map:
        _, n, inner = self.p.table.row(r).statics
        rest, steps = self.loop.size, []
        for size in self.dims:
            rest //= size
            if rest >= n * inner:
                steps.append(rest // n)
            else:
                steps.append(0 if rest >= inner else rest)
        return 0, tuple(steps)

    def _kind(self, r: int) -> str:
        return PRIMITIVES[self.p.op[r]].name

    def _neutral(self, r: int) -> float:
        return {"sum": -0.0, "amax": float("-inf"), "amin": float("inf")}[self._kind(r)]

    def _start_reduction(self, r: int, unroll: int) -> None:
        where = self._result_map(r)
        neutral = literal(self._neutral(r))
        if where[1][-1]:
            self._fill(r, neutral)
            return
        depth = max((d + 1 for d, s in enumerate(where[1]) if s), default=0)
        kind = f"<{self.width} x double>"
        for u in range(unroll):
            self.accumulators[r, u] = at = f"%acc{r}.{u}"
            self.entry.lines.insert(0, f"  {at} = alloca {kind}")
            self.blocks[depth].do(f"store {kind} splat (double {neutral}), ptr {at}")

    def _fill(self, r: int, neutral: str) -> None:
        """Set all elements of a row in memory to a number, before the nest."""
        n, start, name = self.p.size[r], self.pointer(r), next(self.module.names)
        i = f"%i{name}"
        self.entry.lines += [
            f"  br label %before{name}", f"before{name}:", f"  br label %loop{name}", f"loop{name}:",
            f"  {i} = phi i64 [ 0, %before{name} ], [ {i}.next, %loop{name} ]",
            f"  {i}.at = getelementptr double, ptr {start}, i64 {i}", f"  store double {neutral}, ptr {i}.at",
            f"  {i}.next = add nuw nsw i64 {i}, 1", f"  {i}.more = icmp ult i64 {i}.next, {n}",
            f"  br i1 {i}.more, label %loop{name}, label %done{name}", f"done{name}:",
        ]  # fmt: skip

    def _combine(self, r: int, block: Block, a: str, b: str) -> str:
        return block.apply({"sum": "add", "amax": "maximum", "amin": "minimum"}[self._kind(r)], a, b)

    def _accumulate(self, r: int, v: Variant) -> None:
        block, kind = v.block, v.block.type
        value = self._number(self.value(self.p.a[r], self.own, v), v)
        where = self._result_map(r)
        if where[1][-1]:
            at = self.place(r, where, v, self.depth)
            store_vector(v, self._combine(r, block, load_vector(v, at, 1), value), at)
            return
        if v.active:
            neutral = block.constant(self._neutral(r))
            value = block.emit(f"select {block.bits} {v.mask}, {kind} {value}, {kind} {neutral}")
        at = self.accumulators[r, v.unrolled]
        total = block.emit(f"load {kind}, ptr {at}")
        block.do(f"store {kind} {self._combine(r, block, total, value)}, ptr {at}")

    def _end_reduction(self, r: int, unroll: int) -> None:
        where = self._result_map(r)
        if where[1][-1]:
            return
        depth = max((d + 1 for d, s in enumerate(where[1]) if s), default=0)
        after = self.after[depth]
        vector = Block(self.module, self.width)
        vector.lines = after.lines
        totals = [vector.emit(f"load {vector.type}, ptr {self.accumulators[r, u]}") for u in range(unroll)]
        while len(totals) > 1:
            totals = [self._combine(r, vector, *totals[i : i + 2]) for i in range(0, len(totals), 2)]
        total = self._across(r, totals[0], after)
        after.do(f"store double {total}, ptr {self._outer_place(r, where, depth)}")

    def _across(self, r: int, x: str, block: Block) -> str:
        """Combine the lanes of a vector, halves first."""
        width = self.width
        while width > 1:
            half = Block(self.module, width // 2)
            half.lines = block.lines
            kind = f"<{width} x double>"
            low, high = (
                block.emit(f"shufflevector {kind} {x}, {kind} poison, <{width // 2} x i32> <{_range(start, width // 2)}>")
                for start in (0, width // 2)
            )
            width //= 2
            if width == 1:
                low, high = (block.emit(f"extractelement <1 x double> {y}, i32 0") for y in (low, high))
            x = self._combine(r, half, low, high)
        return x


def _range(start: int, n: int) -> str:
    return ", ".join(f"i32 {start + i}" for i in range(n))


def load_vector(v: Variant, at: str, step: int) -> str:
    """The lanes at an address and every `step` elements from it; lanes outside are 1."""
    block = v.block
    count = v.active or block.lanes
    if step == 1 and not v.active:
        return block.emit(f"load {block.type}, ptr {at}, align 8")
    if step == 1:
        suffix = f"v{block.lanes}f64.p0"
        block.module.declare(
            f"llvm.masked.load.{suffix}",
            f"{block.type} @llvm.masked.load.{suffix}(ptr, i32 immarg, {block.bits}, {block.type})",
        )
        return block.emit(
            f"call {block.type} @llvm.masked.load.{suffix}(ptr {at}, i32 8, {block.bits} {v.mask}, {block.type} {block.one})"
        )
    result = block.one if v.active else "poison"
    for lane in range(count):
        place = block.emit(f"getelementptr double, ptr {at}, i64 {lane * step}")
        x = block.emit(f"load double, ptr {place}")
        result = block.emit(f"insertelement {block.type} {result}, double {x}, i32 {lane}")
    return result


def store_vector(v: Variant, value: str, at: str) -> None:
    """Store the lanes that are inside."""
    block = v.block
    if not v.active:
        block.do(f"store {block.type} {value}, ptr {at}, align 8")
        return
    suffix = f"v{block.lanes}f64.p0"
    block.module.declare(
        f"llvm.masked.store.{suffix}", f"void @llvm.masked.store.{suffix}({block.type}, ptr, i32 immarg, {block.bits})"
    )
    block.do(f"call void @llvm.masked.store.{suffix}({block.type} {value}, ptr {at}, i32 8, {block.bits} {v.mask})")

