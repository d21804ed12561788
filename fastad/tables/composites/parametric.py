"""Functions of n numbers x and of parameters θ, given as sub-programs of [x | θ], and their rows over lanes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import Sub, packed
from fastad.tables.inline import compact, inline
from fastad.tables.passes.batch import batch_rows
from fastad.tables.passes.kinks import with_limits
from fastad.tables.table import Table


@dataclass(frozen=True, eq=False)
class Parametric:
    """A function of x, n numbers, and θ; `make_sub` gives the sub-program of [x | θ]."""

    n: int
    make_sub: Callable[[], Sub]

    @classmethod
    def of(cls, n: int, sub: Sub) -> Self:
        """That of a sub-program which is there already."""
        found = cls(n, lambda: sub)
        vars(found)["sub"] = sub
        return found

    @lazy
    def sub(self) -> Sub:
        return self.make_sub()

    @property
    def p(self) -> int:
        """The number of parameters."""
        return self.sub.n_in - self.n

    @lazy
    def table(self) -> Table:
        """(x, θ) to the result."""
        b = Builder()
        whole = packed(b, [b.input((self.n,)), b.input((self.p,))])
        if self.sub.table is None:  # a choice among paths, which takes limits of each
            return b.table([b.call(self.sub, whole)])
        table = with_limits(self.sub.table)
        return compact(b.table([inline(b, table, [whole])[table.outputs[0]]]))


def emitted(b: Any, table: Table, operands: Sequence[Ref], lanes: int, shape: tuple[int, ...], result: int = -1) -> Ref:
    """A result of a table, the last one if no other is chosen, in every lane if there are some."""
    output, line = table.outputs[result], b.line
    if not lanes:
        found = inline(b, table, operands)[output]
        b.at_line(line)  # what follows belongs to the row that is derived
        return b.reshape(found, shape)
    refs, flags = batch_rows(b, table, operands, [True] * len(operands), lanes)
    b.at_line(line)
    full = refs[output] if flags[output] else b.broadcast(refs[output], (lanes, *b.shape(refs[output])))
    return b.reshape(full, (lanes, *shape))


class Layout:
    """How vectors of several lanes lie in one: lane after lane, or in blocks of so many lanes, each component after
    component. No lanes: one vector."""

    def __init__(self, lanes: int, block: int = 0) -> None:
        self.lanes, self.block = lanes, block

    def _region(self, start: int, size: int, whole: int) -> Any:
        if not self.lanes:
            return region(start, (size,), (1,))
        if self.block:
            shape = (self.lanes // self.block, self.block, size)
            return region(start * self.block, shape, (whole * self.block, 1, self.block))
        return region(start, (self.lanes, size), (whole, 1))

    def cut(self, b: Any, v: Ref, start: int, size: int, whole: int) -> Ref:
        """`size` elements, from `start` on, of a vector of `whole` elements, in every lane."""
        return b.region(v, self._region(start, size, whole), (self.lanes, size) if self.lanes else (size,))

    def placed(self, b: Any, pieces: Sequence[tuple[Ref, int, int]], whole: int) -> Ref:
        """A vector of `whole` elements, in every lane, of zeros and of pieces (value, start, size)."""
        regions = [self._region(start, size, whole) for _, start, size in pieces]
        return b.assemble([ref for ref, _, _ in pieces], regions, (max(self.lanes, 1) * whole,))
