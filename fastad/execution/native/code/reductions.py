"""Reductions inside loops: sums and extremes.

The result of a reduction varies in some outer dimensions (it is collected in registers while the others run), or in
the innermost one. Then it is collected in memory, unless the innermost dimension is so short that all of it stays in
registers (`flat`).
"""

from fastad.execution.native.code.operations import Block, literal
from fastad.execution.native.code.values import ValueCode
from fastad.execution.native.code.vectors import Variant, load_vector, store_vector
from fastad.primitives import PRIMITIVES, ArrayPrimitive


class ReductionCode(ValueCode):
    """Adds the reductions of a loop to its values."""

    def _primitive(self, r: int) -> ArrayPrimitive:
        row = PRIMITIVES[self.p.op[r]]
        assert isinstance(row, ArrayPrimitive)
        return row

    def _neutral(self, r: int) -> float:
        return self._primitive(r).neutral

    def start_reduction(self, r: int) -> None:
        """Set what a reduction is collected in to the neutral element."""
        neutral = literal(self._neutral(r))
        if not self.nest.in_registers(r):
            self._fill(r, neutral)
            return
        kind = f"<{self.width} x double>"
        for u in self._collectors(r):
            at = f"{self._collector(r)}.{u}"
            self.entry.lines.insert(0, f"  {at} = alloca {kind}")
            self.blocks[self.nest.depth_of(r)].do(f"store {kind} splat (double {neutral}), ptr {at}")

    def _collector(self, r: int) -> str:
        """The start of the names of what a reduction is collected in."""
        return f"%acc{self.loop.reductions.index(r)}"

    def _collectors(self, r: int) -> range:
        """One for each vector of the unrolled body, or of the result."""
        return range(-(-self.dims[-1] // self.width) if self.nest.flat and self.nest.along(r) else self.nest.unroll)

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
        if not self.nest.in_registers(r):
            where = self.nest.result_map(r)
            at, step = self.place(r, where, v, self.depth), where[1][-1]
            store_vector(v, self.combine(r, block, load_vector(v, at, step), value), at, step)
            return
        along = self.nest.along(r)
        if v.active and not along:
            neutral = block.constant(self._neutral(r))
            value = block.emit(f"select {block.bits} {v.mask}, {kind} {value}, {kind} {neutral}")
        at = f"{self._collector(r)}.{int(v.index) // self.width if along else v.unrolled}"
        total = block.emit(f"load {kind}, ptr {at}")
        block.do(f"store {kind} {self.combine(r, block, total, value)}, ptr {at}")

    def end_reduction(self, r: int, partial: str | None) -> None:
        """Write the result of a reduction in registers; `partial` is the address for a block's share of it."""
        depth = self.nest.depth_of(r)
        after = self.after[depth]
        if self.nest.along(r):
            return self._end_along(r, depth)
        vector = Block(self.module, self.width)
        vector.lines = after.lines
        totals = [vector.emit(f"load {vector.type}, ptr {self._collector(r)}.{u}") for u in range(self.nest.unroll)]
        while len(totals) > 1:
            totals = [self.combine(r, vector, *totals[i : i + 2]) for i in range(0, len(totals), 2)]
        total = self._across(r, totals[0], after)
        at = partial if partial and depth == 0 else self._outer_place(r, self.nest.result_map(r), depth)
        after.do(f"store double {total}, ptr {at}")

    def _end_along(self, r: int, depth: int) -> None:
        """Write the vectors of a result that varies in the innermost dimension."""
        after, n = self.after[depth], self.dims[-1]
        start = self._outer_place(r, self.nest.result_map(r), depth)
        for u in self._collectors(r):
            block, first = Block(self.module, self.width), u * self.width
            block.lines = after.lines
            total = block.emit(f"load {block.type}, ptr {self._collector(r)}.{u}")
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
