"""Op tables as users get them: they print, draw, save, and predict their cost, that of native code included."""

import os
from collections.abc import Sequence

from fastad.execution.compiled import native_work_bytes, sweep_work_bytes
from fastad.execution.composites.evaluating import run
from fastad.tables.passes import cost
from fastad.tables.shown.listing import listing
from fastad.tables.table import Table


class TracedTable(Table):
    """An op table; `print(table)` lists its rows, and a notebook shows its graph."""

    def __str__(self) -> str:
        return listing(self)

    def _repr_svg_(self) -> str:
        from fastad.tables.shown import drawing

        return drawing.to_svg(self)

    def to_dot(self, values: Sequence[object] | None = None) -> str:
        """The graph in the language of Graphviz. With `values` (the inputs) it shows every value and adjoint."""
        from fastad.tables.shown import drawing

        return drawing.to_dot(self, values, run=run)

    def cost(self, wrt: Sequence[int] | None = None) -> cost.Cost:
        """Predicted operations and bytes of the table and of its derivatives with respect to the inputs `wrt` (default:
        all floating-point arguments); see `fastad.tables.passes.cost.Cost`."""
        return cost.cost(self, wrt, native_work_bytes, sweep_work_bytes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to an `.npz` file (plain arrays, no pickles). Captured arrays are saved by value."""
        from fastad.tables.files import store

        store.save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "TracedTable":
        """Read a table from a file written by `save`. Raises `TableError` if the file is not a valid table."""
        from fastad.tables.files import store

        return traced(store.load(path))


def traced(table: Table) -> TracedTable:
    """The table, with what it was found to be."""
    found = object.__new__(TracedTable)
    vars(found).update(vars(table))
    return found
