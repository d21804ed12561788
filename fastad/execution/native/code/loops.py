"""Loops: the code of one loop step, a nest whose innermost dimension runs in SIMD vectors.

How it runs is planned (see `nests`). The last vector of a dimension is masked: all elements are computed by the same
instructions. Every block of a loop that threads share adds up its part of a sum, and the parts are added in order, so
results do not depend on the threads.
"""

from fastad.execution.native.code.function import PARAMETERS
from fastad.execution.native.code.operations import Block, Module
from fastad.execution.native.code.reductions import ReductionCode
from fastad.execution.native.code.vectors import Variant, store_vector
from fastad.execution.native.planning.memory import Memory
from fastad.execution.native.planning.nests import LoopPlan


class LoopCode(ReductionCode):
    """The function of one loop step."""

    def __init__(self, module: Module, memory: Memory, plan: LoopPlan, threads: int) -> None:
        super().__init__(module, memory, plan)
        self.threads = threads
        self.main, *self.rest = plan.nests
        self.count, self.block = self.main.count, self.main.block
        self.shared = not self.count
        self._build()

    def _build(self) -> None:
        main = self.main
        self.enter(main)
        for r in self.loop.reductions:
            self.start_reduction(r)
        self.body += self._nest()
        self._rest()
        for k, r in enumerate(self.loop.reductions):
            if main.in_registers(r) and not (main.depth > 1 and main.depth_of(r)):
                self.end_reduction(r, f"%partial{k}" if self.count else None)
        self.body += self.after[0].lines

    # ── the nest ─────────────────────────────────────────────────────────────────────────────────────────────
    def _nest(self) -> list[str]:
        """The nest over the main part, without the end of a single dimension; inner reductions end inside."""
        if self.depth == 1:
            return self._loop()
        lines = self._inner()
        for r in self.loop.reductions:
            if self.nest.depth_of(r) and self.nest.in_registers(r):
                self.end_reduction(r, None)
        for d in range(self.depth - 2, -1, -1):
            lines = self._wrap(d, [*self.blocks[d + 1].lines, *lines, *self.after[d + 1].lines])
        return lines

    def _rest(self) -> None:
        """What follows the main part of a loop in one dimension; the last block does it."""
        if self.depth > 1:
            return
        lines = self._vectors(self.main.whole_steps(), self.dims[0])
        after, count, self.count = self.after, self.count, 0
        for nest in self.rest:
            self.enter(nest)
            lines += self._inner()
        self.after, self.count, self.nest = after, count, self.main
        if self.count and lines:
            lines = ["  br i1 %last, label %rest, label %finish", "rest:", *lines, "  br label %finish", "finish:"]
        self.body += lines

    def _inner(self) -> list[str]:
        """Code of the innermost dimension."""
        return [*self._loop(), *self._vectors(self.nest.whole_steps(), self.dims[-1])]

    def _loop(self) -> list[str]:
        """The loop over whole steps; in one dimension blocks share it."""
        n = self.nest.whole_steps()
        if not n:
            return []
        name, shared = next(self.module.names), self.depth == 1 and self.count > 0
        i, first, end = f"%i{name}", "%from" if shared else "0", "%to" if shared else str(n)
        variants = [self._variant(i, u) for u in range(self.nest.unroll)]
        self._body(variants)
        return [
            f"  br label %before{name}", f"before{name}:", f"  br label %loop{name}", f"loop{name}:",
            f"  {i} = phi i64 [ {first}, %before{name} ], [ {i}.next, %loop{name} ]",
            *(line for v in variants for line in v.block.lines),
            f"  {i}.next = add nuw nsw i64 {i}, {self.width * self.nest.unroll}",
            f"  {i}.more = icmp ult i64 {i}.next, {end}",
            f"  br i1 {i}.more, label %loop{name}, label %after{name}", f"after{name}:",
        ]  # fmt: skip

    def _vectors(self, start: int, end: int) -> list[str]:
        """Vectors one after another, the last one masked."""
        lines: list[str] = []
        for at in range(start, end, self.width):
            active = min(end - at, self.width)
            variant = self._variant(str(at), 0, active if active < self.width else 0)
            self._body([variant])
            lines += variant.block.lines
        return lines

    def _variant(self, index: str, unrolled: int, active: int = 0) -> Variant:
        return Variant(Block(self.module, self.width), index, unrolled, active)

    def _body(self, variants: list[Variant]) -> None:
        for v in variants:
            for r in self.plan.computes:
                self.value(r, self.own, v)
            for r in self.loop.stores:
                value = self._number(self.value(r, self.own, v), v)
                store_vector(v, value, self.place(r, self.own, v, self.depth))
            for r in self.loop.reductions:
                self.accumulate(r, v)

    def _wrap(self, d: int, body: list[str]) -> list[str]:
        i = f"%d{d}"
        first, end = ("%from", "%to") if d == 0 and self.count else ("0", str(self.dims[d]))
        return [
            f"  br label %before.d{d}", f"before.d{d}:", f"  br label %loop.d{d}", f"loop.d{d}:",
            f"  {i} = phi i64 [ {first}, %before.d{d} ], [ {i}.next, %latch.d{d} ]", *body,
            f"  br label %latch.d{d}", f"latch.d{d}:", f"  {i}.next = add nuw nsw i64 {i}, 1",
            f"  {i}.more = icmp ult i64 {i}.next, {end}",
            f"  br i1 {i}.more, label %loop.d{d}, label %done.d{d}", f"done.d{d}:",
        ]  # fmt: skip

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────────────────
    def text(self, name: str, linkage: str = "internal ") -> str:
        if not self.count:
            return super().text(name, linkage)
        self.module.needs_parallel_for = True
        return self._block_text(name) + "\n" + self._caller_text(name, linkage)

    def _block_text(self, name: str) -> str:
        """`void name.block(ptr ctx, i64 block)`: one block; ctx holds in, out, work, partial results."""
        end = self.main.dims[0] if self.main.depth > 1 else self.main.whole_steps()
        parts = len(self.loop.reductions)
        lines = [f"define internal void @{name}.block(ptr noalias %ctx, i64 %block) nounwind {{", "entry:"]
        for k, what in enumerate(("in", "out", "work", "partials")):
            lines += [f"  %{what}.at = getelementptr ptr, ptr %ctx, i64 {k}", f"  %{what} = load ptr, ptr %{what}.at"]
        lines += [
            f"  %from = mul nuw nsw i64 %block, {self.block}", f"  %full = add nuw nsw i64 %from, {self.block}",
            f"  %short = icmp ult i64 %full, {end}", f"  %to = select i1 %short, i64 %full, i64 {end}",
            f"  %last = icmp eq i64 %block, {self.count - 1}", f"  %share = mul nuw nsw i64 %block, {max(parts, 1)}",
        ]  # fmt: skip
        for k in range(parts):
            lines += [f"  %share{k} = add i64 %share, {k}"]
            lines += [f"  %partial{k} = getelementptr double, ptr %partials, i64 %share{k}"]
        return "\n".join([*lines, *self.entry.lines, *self.body, "  ret void", "}"])

    def _caller_text(self, name: str, linkage: str) -> str:
        """The step: runs all blocks, then combines their partial results in order."""
        parts = len(self.loop.reductions)
        caller = ReductionCode(self.module, self.memory, self.plan)
        block = caller.entry
        ctx = block.emit("alloca [4 x ptr]")
        partials = block.emit(f"alloca [{self.count * max(parts, 1)} x double]")
        for k, what in enumerate(("%in", "%out", "%work", partials)):
            block.do(f"store ptr {what}, ptr {block.emit(f'getelementptr ptr, ptr {ctx}, i64 {k}')}")
        block.do(
            f"call void @fastad_parallel_for(ptr @{name}.block, ptr {ctx}, i64 {self.loop.size}, i64 {self.count}, "
            f"i64 {self.threads})"
        )
        for k, r in enumerate(self.loop.reductions):
            if self.main.depth_of(r) == 0:
                shares = [
                    block.emit(
                        f"load double, ptr {block.emit(f'getelementptr double, ptr {partials}, i64 {b * parts + k}')}"
                    )
                    for b in range(self.count)
                ]
                while len(shares) > 1:
                    odd = shares[len(shares) & ~1 :]
                    shares = [caller.combine(r, block, *shares[i : i + 2]) for i in range(0, len(shares) - 1, 2)] + odd
                block.do(f"store double {shares[0]}, ptr {caller.pointer(r)}")
        return "\n".join(
            [f"define {linkage}i64 @{name}({PARAMETERS}) nounwind {{", "entry:", *block.lines, "  ret i64 0", "}"]
        )
