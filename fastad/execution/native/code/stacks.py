"""Many small problems of one row: loops whose bodies are the straight-line code of as many as a vector has lanes, and
of a single one for the rest."""

from dataclasses import replace
from itertools import product
from typing import Any

from fastad.execution.native.code.function import Function
from fastad.execution.native.code.operations import Block, Module
from fastad.execution.native.code.unrolled import UNROLLED
from fastad.execution.native.code.vectors import Variant, lanes, load_vector, store_vector
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
        results = UNROLLED[single.name](self, single)
        for at, value in zip(self._places(v, starts[single.index], single.size, single.size), results, strict=True):
            store_vector(v, block.number(value), at, single.size if block.lanes > 1 else 1)
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

    def _elements(self, v: Variant, start: str, step: int, count: int) -> list[str]:
        places, block = self._places(v, start, step, count), v.block
        if step and block.lanes > 1:
            return [load_vector(v, at, step) for at in places]
        scalar = Block(block.module)
        scalar.lines = block.lines
        return [scalar.widen(block.emit(f"load double, ptr {at}"), block) for at in places]

    def _places(self, v: Variant, start: str, step: int, count: int) -> list[str]:
        """Addresses of the numbers of the first problem."""
        offset = v.block.emit(f"mul nuw nsw i64 {v.index}, {step}")
        own = v.block.emit(f"getelementptr double, ptr {start}, i64 {offset}")
        return [v.block.emit(f"getelementptr double, ptr {own}, i64 {i}") for i in range(count)]
