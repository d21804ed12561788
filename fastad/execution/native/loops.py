"""Loops: the code of one loop step, a nest whose innermost dimension runs in SIMD vectors.

The innermost dimension runs over `unroll` vectors at a time, then over the rest, the last vector of which is
masked: all elements are computed by the same instructions. A long loop is cut into blocks of fixed size, which
threads may share: every block adds up its part of a sum, and the parts are added in order, so results do not
depend on the threads.
"""

from fastad.execution.native.demand import Demand
from fastad.execution.native.function import PARAMETERS
from fastad.execution.native.maps import dimensions, segments
from fastad.execution.native.memory import Memory
from fastad.execution.native.operations import Block, Module, cost_of
from fastad.execution.native.reductions import ReductionCode
from fastad.execution.native.steps import Loop
from fastad.execution.native.vectors import Variant, store_vector

_PARALLEL_FROM, _BLOCK = 100_000.0, 40_000.0  # ns of work: starting and joining a thread takes some 25,000
_MOST_BLOCKS = 64
_TRAFFIC = 0.2  # ns an element and array that is read or written


class LoopCode(ReductionCode):
    """The function of one loop step."""

    def __init__(self, module: Module, memory: Memory, demand: Demand, loop: Loop, threads: int) -> None:
        super().__init__(module, memory, demand, loop)
        self.threads = threads
        self.arrays = len(demand.reads[loop.index]) + len(loop.stores)

    def build(self) -> "LoopCode":
        parts = segments(self.loop.size, self.loop.splits)
        low, high = max(parts, key=lambda p: p[1] - p[0])  # the part that is unrolled, and shared by threads
        dims = dimensions(self.loop.size, self.loop.splits) if len(parts) == 1 else (high - low,)
        self.unroll = self._unrolling(dims[-1])
        self.enter(dims, low)
        if self.flattens():
            self.flat, self.unroll = True, 1
        self.dims_main, (self.count, self.block) = dims, self._blocks(dims)
        for r in self.loop.reductions:
            self.start_reduction(r)
        self.body += self._nest()
        self._rest([p for p in parts if p != (low, high)])
        for k, r in enumerate(self.loop.reductions):
            if self.in_registers(r) and not (len(dims) > 1 and self._depth(r)):
                self.end_reduction(r, f"%partial{k}" if self.count else None)
        self.body += self.after[0].lines
        return self

    def _unrolling(self, n: int) -> int:
        """Vectors at a time: more than one hides the latency of chains of additions in short bodies."""
        vectors = n // self.width
        body = len(self.computes) + len(self.loop.reductions)
        return 4 if vectors >= 16 and body <= 4 else 2 if vectors >= 4 and body <= 12 else 1

    def _blocks(self, dims: tuple[int, ...]) -> tuple[int, int]:
        """Number and size (along the outermost dimension) of the blocks of a long loop; (0, 0) for a short one."""
        own = sum(cost_of(self.p.op[r]) for r in self.computes) + _TRAFFIC * self.arrays
        work = own * self.loop.size
        if work < _PARALLEL_FROM or not all(map(self._shares, self.loop.reductions)):
            return 0, 0
        step = self.width * self.unroll if len(dims) == 1 else 1
        most = min(int(work / _BLOCK), _MOST_BLOCKS)
        size = -(-dims[0] // (most * step)) * step
        count = -(-(dims[0] // step * step) // size)
        return (count, size) if count > 1 else (0, 0)

    def _shares(self, r: int) -> bool:
        """Whether blocks can work on a reduction: on other results, or on a number each, added in the end."""
        return self.in_registers(r) and (self._depth(r) > 0 or not self._along(r))

    # ── the nest ─────────────────────────────────────────────────────────────────────────────────────────────
    def _nest(self) -> list[str]:
        """The nest over the main part, without the end of a single dimension; inner reductions end inside."""
        if self.depth == 1:
            return self._loop(self.dims[0])
        lines = self._inner(self.dims[-1])
        for r in self.loop.reductions:
            if self._depth(r) and self.in_registers(r):
                self.end_reduction(r, None)
        for d in range(self.depth - 2, -1, -1):
            lines = self._wrap(d, [*self.blocks[d + 1].lines, *lines, *self.after[d + 1].lines])
        return lines

    def _rest(self, parts: list[tuple[int, int]]) -> None:
        """What follows the main part of a loop in one dimension; the last block does it."""
        if self.depth > 1:
            return
        lines = self._vectors(self._main(self.dims[0]), self.dims[0])
        after, count, self.count = self.after, self.count, 0
        for low, high in parts:
            self.enter((high - low,), low)
            lines += self._inner(high - low)
        self.after, self.count = after, count
        if self.count and lines:
            lines = ["  br i1 %last, label %rest, label %finish", "rest:", *lines, "  br label %finish", "finish:"]
        self.body += lines

    def _main(self, n: int) -> int:
        """Elements of n that whole steps of the loop cover."""
        return 0 if self.flat else n - n % (self.width * self.unroll)

    def _inner(self, n: int) -> list[str]:
        """Code of the innermost dimension."""
        return [*self._loop(n), *self._vectors(self._main(n), n)]

    def _loop(self, n: int) -> list[str]:
        """The loop over whole steps; in one dimension blocks share it."""
        if not self._main(n):
            return []
        name, shared = next(self.module.names), self.depth == 1 and self.count > 0
        i, first, end = f"%i{name}", "%from" if shared else "0", "%to" if shared else str(self._main(n))
        variants = [self._variant(i, u) for u in range(self.unroll)]
        self._body(variants)
        return [
            f"  br label %before{name}", f"before{name}:", f"  br label %loop{name}", f"loop{name}:",
            f"  {i} = phi i64 [ {first}, %before{name} ], [ {i}.next, %loop{name} ]",
            *(line for v in variants for line in v.block.lines),
            f"  {i}.next = add nuw nsw i64 {i}, {self.width * self.unroll}",
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
            for r in self.computes:
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
        return self._block_text(name) + "\n" + self._caller_text(name)

    def _block_text(self, name: str) -> str:
        """`void name.block(ptr ctx, i64 block)`: one block; ctx holds in, out, work, partial results."""
        end = self.dims_main[0]
        if len(self.dims_main) == 1:
            end = self._main(end)
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

    def _caller_text(self, name: str) -> str:
        """The step: runs all blocks, then combines their partial results in order."""
        parts = len(self.loop.reductions)
        caller = ReductionCode(self.module, self.memory, Demand(self.p), self.loop)
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
            if self._depth(r) == 0:
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
            [f"define internal i64 @{name}({PARAMETERS}) nounwind {{", "entry:", *block.lines, "  ret i64 0", "}"]
        )
