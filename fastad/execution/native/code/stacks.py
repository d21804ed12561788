"""Many small problems of one row: loops whose bodies are the straight-line code of as many as a vector has lanes, and
of a single one for the rest."""

from dataclasses import replace
from itertools import product
from typing import Any

from fastad.execution.native.code.function import Function
from fastad.execution.native.code.operations import Block, Module
from fastad.execution.native.code.unrolled import UNROLLED
from fastad.execution.native.code.vectors import Variant, lanes, load_vector, store_vector, transposed
from fastad.execution.native.planning.memory import Memory


def stack_code(module: Module, memory: Memory, row: Any) -> Function | None:
    """The function of a row over a stack of problems so small that one is unrolled; None for other rows."""
    sizes = [memory.p.size[x] for x in row.operands]
    if row.name not in UNROLLED or row.primitive.statics[:1] != ("batch",) or not all([*sizes, row.size]):
        return None
    batch, many = row.statics[0], row.primitive.stacks(row.statics, row.size)
    single = replace(row, statics=(1, *row.statics[1:]), shape=(row.size // batch,))
    if not many and (batch < 2 or not single.primitive.unrolls(single.statics, single.size)):
        return None
    width = lanes() if many and batch >= lanes() else 1
    return StackCode(module, memory).build(single, batch, _parts(single, batch, sizes), width)


def _parts(single: Any, batch: int, sizes: list[int]) -> list[int]:
    """How much of every operand one problem reads: a part, or all where the problems share it. The row's own check
    tells, which knows the sizes by the static integers."""
    choices = product(*(sorted({n // batch, n}) for n in sizes))
    return next(list(own) for own in choices if single.primitive.check(single.statics, single.size, list(own)) is None)


class StackCode(Function):
    """The function of a stack. What the unrolled code asks of its function stands here as in `ScalarCode`."""

    shared = True

    def build(self, single: Any, batch: int, parts: list[int], width: int) -> "StackCode":
        """`width` problems at once, as long as there are so many, then one by one. Operands of which a problem reads
        all are shared."""
        starts = {x: self.pointer(x) for x in (single.index, *single.operands)}
        sizes = dict(zip(single.operands, parts, strict=True))
        whole = batch - batch % width
        self._loop(single, starts, sizes, range(0, whole, width))
        if whole < batch:
            self._loop(single, starts, sizes, range(whole, batch))
        return self

    def _loop(self, single: Any, starts: dict[int, str], sizes: dict[int, int], problems: range) -> None:
        """The code of these problems, so many at once as the range's step says."""
        first, lines = self.entry, self.entry.lines
        own, p = next(self.module.names), f"%problem{problems.start}"
        block = self.entry = Block(self.module, problems.step)
        block.lines = lines
        block.do(f"br label %before{own}")
        lines += [f"before{own}:", f"  br label %loop{own}", f"loop{own}:"]
        block.do(f"{p} = phi i64 [ {problems.start}, %before{own} ], [ {p}.next, %next{own} ]")
        v = Variant(block, p)
        self.elements = {x: self._elements(v, starts[x], 0 if n == self.p.size[x] else n, n) for x, n in sizes.items()}
        results = [block.number(value) for value in UNROLLED[single.name](self, single)]
        self._store(v, results, starts[single.index])
        block.do(f"br label %next{own}")
        lines.append(f"next{own}:")
        block.do(f"{p}.next = add nuw nsw i64 {p}, {problems.step}")
        block.do(f"{p}.more = icmp ult i64 {p}.next, {problems.stop}")
        block.do(f"br i1 {p}.more, label %loop{own}, label %end{own}")
        lines.append(f"end{own}:")
        self.entry = first

    def all(self, x: int) -> list[str]:
        """The elements of an operand that the problems read."""
        return self.elements[x]

    def stop_if(self, condition: str, code: int) -> None:
        """Return `code` from the program if the condition holds for one of the problems."""
        block = self.entry
        if block.lanes > 1:
            name = f"llvm.vector.reduce.or.v{block.lanes}i1"
            block.module.declare(name, f"i1 @{name}({block.bits})")
            condition = block.emit(f"call i1 @{name}({block.bits} {condition})")
        super().stop_if(condition, code)

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────
    # The numbers of a problem stand together, and a vector is to hold the same number of several problems. As many
    # numbers as there are problems are moved at once, as a square that is transposed in registers: LLVM takes long over
    # code that moves number by number.
    def _elements(self, v: Variant, start: str, step: int, count: int) -> list[str]:
        """The numbers of the problems at hand; step 0: the same for all."""
        block = v.block
        if not step:
            scalar = Block(block.module)
            scalar.lines = block.lines
            places = [self._place(v, start, 0, k) for k in range(count)]
            return [scalar.widen(block.emit(f"load double, ptr {at}"), block) for at in places]
        found = [""] * count
        for low in _squares(count, block.lanes):
            rows = [load_vector(v, self._place(v, start, step, q * step + low), 1) for q in range(block.lanes)]
            found[low : low + block.lanes] = transposed(block, rows)
        apart = step if block.lanes > 1 else 1
        return [x or load_vector(v, self._place(v, start, step, k), apart) for k, x in enumerate(found)]

    def _store(self, v: Variant, values: list[str], start: str) -> None:
        size, n, rest = len(values), v.block.lanes, set(range(len(values)))
        for low in _squares(size, n):
            for q, row in enumerate(transposed(v.block, values[low : low + n])):
                store_vector(v, row, self._place(v, start, size, q * size + low))
            rest -= set(range(low, low + n))
        for k in rest:
            store_vector(v, values[k], self._place(v, start, size, k), size if n > 1 else 1)

    def _place(self, v: Variant, start: str, step: int, k: int) -> str:
        """Address of a number, counted from those of the first problem at hand."""
        block = v.block
        offset = block.emit(f"mul nuw nsw i64 {v.index}, {step}")
        own = block.emit(f"getelementptr double, ptr {start}, i64 {offset}")
        return block.emit(f"getelementptr double, ptr {own}, i64 {k}")


def _squares(count: int, n: int) -> list[int]:
    """Where squares begin that cover so many numbers, the last of which may overlap; none if that takes fewer, or if a
    vector has one lane."""
    return [min(low, count - n) for low in range(0, count, n)] if count >= n > 1 else []
