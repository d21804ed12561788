"""Pieces of a sub-program's argument and result, which a kernel may find in several places."""

from dataclasses import dataclass

from fastad.tables.builder import Builder
from fastad.tables.composites.sub import Sub, packed, slices
from fastad.tables.inline import compact, inline
from fastad.tables.table import Table


@dataclass(frozen=True)
class Pieces:
    """Lengths of the pieces, one after another, of an argument and of a result. Empty ones do not count."""

    argument: tuple[int, ...]
    result: tuple[int, ...]

    @property
    def largest(self) -> int:
        return max(self.argument + self.result)

    def of(self, sub: Sub) -> Table:
        """The table of a sub-program whose inputs are the pieces of its argument, and whose outputs those of its
        result."""
        assert sub.table is not None
        b = Builder()
        inputs = [b.input((size,)) for size in self.argument if size]
        out = inline(b, sub.table, [packed(b, inputs)])[sub.table.outputs[0]]
        return compact(b.table(slices(b, out, [size for size in self.result if size])))
