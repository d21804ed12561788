"""Reductions inside loops: sums and extremes.

The result of a reduction varies in some outer dimensions (it is collected in registers while the others run), or in
the innermost one. Then it is collected in memory, unless the innermost dimension is so short that all of it stays in
registers (`flat`).
"""

from math import prod

from fastad.execution.native.maps import Map
from fastad.execution.native.operations import Block, literal
from fastad.execution.native.values import ValueCode
from fastad.execution.native.vectors import Variant, load_vector, store_vector
from fastad.primitives import PRIMITIVES, ArrayPrimitive

_COLLECTED = 16  # vectors of results that registers hold
_WRITTEN_OUT = 64  # operations on vectors


class ReductionCode(ValueCode):
    """Adds the reductions of a loop to its values."""

    unroll = 1
    flat = False  # the innermost dimension is written out, vector by vector

    def _result_map(self, r: int) -> Map:
        _, n, inner = self.p.table.row(r).statics
        rest, steps = prod(self.dims), []
        for size in self.dims:
            rest //= size
            if rest >= n * inner:
                steps.append(rest // n)
            else:
                steps.append(0 if rest >= inner else rest)
        return self.own[0] if steps[-1] else 0, tuple(steps)

    def _primitive(self, r: int) -> ArrayPrimitive:
        row = PRIMITIVES[self.p.op[r]]
        assert isinstance(row, ArrayPrimitive)
        return row

    def _neutral(self, r: int) -> float:
        return self._primitive(r).neutral

    def _depth(self, r: int) -> int:
        """The number of outer loops that the result varies in."""
        return max((d + 1 for d, s in enumerate(self._result_map(r)[1][: self.depth - self.flat]) if s), default=0)

    def _along(self, r: int) -> bool:
        """Whether the result varies in the innermost dimension."""
        return bool(self._result_map(r)[1][-1])

    def in_registers(self, r: int) -> bool:
        return not self._along(r) or (self.flat and self._is_short(r))

    def _is_short(self, r: int) -> bool:
        """Whether a result that varies in the innermost dimension varies in no other inside those reduced."""
        varies = [bool(s) for s, n in zip(self._result_map(r)[1][:-1], self.dims, strict=False) if n > 1]
        return varies == sorted(varies, reverse=True)

    def flattens(self) -> bool:
        """Whether the innermost dimension is better written out: a result that varies in it then stays in registers."""
        results = sum(self._along(r) and self._is_short(r) for r in self.loop.reductions)
        vectors = -(-self.dims[-1] // self.width)
        body = len(self.computes) + len(self.loop.reductions)
        return self.depth > 1 and 0 < results * vectors <= _COLLECTED and vectors * body <= _WRITTEN_OUT

    def start_reduction(self, r: int) -> None:
        """Set what a reduction is collected in to the neutral element."""
        neutral = literal(self._neutral(r))
        if not self.in_registers(r):
            self._fill(r, neutral)
            return
        kind = f"<{self.width} x double>"
        for u in self._collectors(r):
            at = f"%acc{r}.{u}"
            self.entry.lines.insert(0, f"  {at} = alloca {kind}")
            self.blocks[self._depth(r)].do(f"store {kind} splat (double {neutral}), ptr {at}")

    def _collectors(self, r: int) -> range:
        """One for each vector of the unrolled body, or of the result."""
        return range(-(-self.dims[-1] // self.width) if self.flat and self._along(r) else self.unroll)

    def _fill(self, r: int, neutral: str) -> None:
        """Set all elements of a row in memory to a number, before the nest."""
        n, start, name = self.p.size[r], self.pointer(r), next(self.module.names)
        i = f"%i{name}"
        self.body += [
            f"  br label %before{name}", f"before{name}:", f"  br label %loop{name}", f"loop{name}:",
            f"  {i} = phi i64 [ 0, %before{name} ], [ {i}.next, %loop{name} ]",
            f"  {i}.at = getelementptr double, ptr {start}, i64 {i}", f"  store double {neutral}, ptr {i}.at",
            f"  {i}.next = add nuw nsw i64 {i}, 1", f"  {i}.more = icmp ult i64 {i}.next, {n}",
            f"  br i1 {i}.more, label %loop{name}, label %done{name}", f"done{name}:",
        ]  # fmt: skip

    def combine(self, r: int, block: Block, a: str, b: str) -> str:
        return block.apply(self._primitive(r).combine, a, b)

    def accumulate(self, r: int, v: Variant) -> None:
        """Take one vector of the operand into a reduction."""
        block, kind = v.block, v.block.type
        value = self._number(self.value(self.p.a[r], self.own, v), v)
        if not self.in_registers(r):
            at = self.place(r, self._result_map(r), v, self.depth)
            store_vector(v, self.combine(r, block, load_vector(v, at, 1), value), at)
            return
        along = self._along(r)
        if v.active and not along:
            neutral = block.constant(self._neutral(r))
            value = block.emit(f"select {block.bits} {v.mask}, {kind} {value}, {kind} {neutral}")
        at = f"%acc{r}.{int(v.index) // self.width if along else v.unrolled}"
        total = block.emit(f"load {kind}, ptr {at}")
        block.do(f"store {kind} {self.combine(r, block, total, value)}, ptr {at}")

    def end_reduction(self, r: int, partial: str | None) -> None:
        """Write the result of a reduction in registers; `partial` is the address for a block's share of it."""
        depth = self._depth(r)
        after = self.after[depth]
        if self._along(r):
            return self._end_along(r, depth)
        vector = Block(self.module, self.width)
        vector.lines = after.lines
        totals = [vector.emit(f"load {vector.type}, ptr %acc{r}.{u}") for u in range(self.unroll)]
        while len(totals) > 1:
            totals = [self.combine(r, vector, *totals[i : i + 2]) for i in range(0, len(totals), 2)]
        total = self._across(r, totals[0], after)
        at = partial if partial and depth == 0 else self._outer_place(r, self._result_map(r), depth)
        after.do(f"store double {total}, ptr {at}")

    def _end_along(self, r: int, depth: int) -> None:
        """Write the vectors of a result that varies in the innermost dimension."""
        after, n = self.after[depth], self.dims[-1]
        start = self._outer_place(r, self._result_map(r), depth)
        for u in self._collectors(r):
            block, first = Block(self.module, self.width), u * self.width
            block.lines = after.lines
            total = block.emit(f"load {block.type}, ptr %acc{r}.{u}")
            at = block.emit(f"getelementptr double, ptr {start}, i64 {first}")
            store_vector(Variant(block, str(first), 0, n - first if n - first < self.width else 0), total, at)

    def _across(self, r: int, x: str, block: Block) -> str:
        """Combine the lanes of a vector, halves first."""
        width = self.width
        while width > 1:
            half = Block(self.module, width // 2)
            half.lines = block.lines
            kind = f"<{width} x double>"
            low, high = (
                block.emit(
                    f"shufflevector {kind} {x}, {kind} poison, <{width // 2} x i32> <{_range(start, width // 2)}>"
                )
                for start in (0, width // 2)
            )
            width //= 2
            if width == 1:
                low, high = (block.emit(f"extractelement <1 x double> {y}, i32 0") for y in (low, high))
            x = self.combine(r, half, low, high)
        return x


def _range(start: int, n: int) -> str:
    return ", ".join(f"i32 {start + i}" for i in range(n))
