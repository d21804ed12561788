"""Many small problems of one row: a loop whose body is the straight-line code of a single one."""

from dataclasses import replace
from itertools import product
from typing import Any

from fastad.execution.native.code.function import Function
from fastad.execution.native.code.operations import Module
from fastad.execution.native.code.unrolled import UNROLLED
from fastad.execution.native.planning.memory import Memory


def stack_code(module: Module, memory: Memory, row: Any) -> Function | None:
    """The function of a row over a stack of problems so small that one is unrolled; None for other rows."""
    sizes = [memory.p.size[x] for x in row.operands]
    if row.name not in UNROLLED or row.primitive.statics[:1] != ("batch",) or not all([*sizes, row.size]):
        return None
    batch = row.statics[0]
    single = replace(row, statics=(1, *row.statics[1:]), shape=(row.size // batch,))
    if batch < 2 or not single.primitive.unrolls(single.statics, single.size):
        return None
    return StackCode(module, memory).build(single, batch, _parts(single, batch, sizes))


def _parts(single: Any, batch: int, sizes: list[int]) -> list[int]:
    """How much of every operand one problem reads: a part, or all where the problems share it. The row's own check
    tells, which knows the sizes by the static integers."""
    choices = product(*(sorted({n // batch, n}) for n in sizes))
    return next(list(own) for own in choices if single.primitive.check(single.statics, single.size, list(own)) is None)


class StackCode(Function):
    """The function of a stack. What the unrolled code asks of its function stands here as in `ScalarCode`."""

    def build(self, single: Any, batch: int, parts: list[int]) -> "StackCode":
        block, sizes = self.entry, self.p.size
        starts = {x: self.pointer(x) for x in (single.index, *single.operands)}
        block.do("br label %before")
        block.lines += ["before:", "  br label %loop", "loop:"]
        p = "%problem"
        block.do(f"{p} = phi i64 [ 0, %before ], [ {p}.next, %next ]")
        self.elements = {
            x: self._elements(starts[x], p, 0 if part == sizes[x] else part, part)
            for x, part in zip(single.operands, parts, strict=True)
        }
        results = UNROLLED[single.name](self, single)
        for at, value in zip(self._places(starts[single.index], p, single.size, single.size), results, strict=True):
            block.do(f"store double {block.number(value)}, ptr {at}")
        block.do("br label %next")
        block.lines.append("next:")
        block.do(f"{p}.next = add nuw nsw i64 {p}, 1")
        block.do(f"%more = icmp ult i64 {p}.next, {batch}")
        block.do("br i1 %more, label %loop, label %end")
        block.lines.append("end:")
        return self

    def all(self, x: int) -> list[str]:
        """The elements of an operand that the problem reads."""
        return self.elements[x]

    def _elements(self, start: str, p: str, step: int, count: int) -> list[str]:
        return [self.entry.emit(f"load double, ptr {at}") for at in self._places(start, p, step, count)]

    def _places(self, start: str, p: str, step: int, count: int) -> list[str]:
        """Addresses of the numbers of one problem."""
        block = self.entry
        offset = block.emit(f"mul nuw nsw i64 {p}, {step}")
        own = block.emit(f"getelementptr double, ptr {start}, i64 {offset}")
        return [block.emit(f"getelementptr double, ptr {own}, i64 {i}") for i in range(count)]
