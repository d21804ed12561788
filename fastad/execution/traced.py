"""Tables as users get them: their cost and their pictures know the executors."""

from collections.abc import Sequence
from typing import Any

from fastad.execution.compiled import native_work_bytes
from fastad.execution.evaluating import run
from fastad.tables.cost import Cost, cost
from fastad.tables.store import load
from fastad.tables.table import Table


class TracedTable(Table):
    """A table whose cost includes the memory of native code, and whose loops are run by their drivers when it is drawn
    with values."""

    def cost(self, wrt: Sequence[int] | None = None) -> Cost:
        """Predicted operations and bytes of running the table and of differentiating it by the inputs `wrt` (default:
        all floating-point arguments); see `fastad.tables.cost.Cost`."""
        return cost(self, wrt, native_work_bytes)

    def to_dot(self, values: Sequence[Any] | None = None) -> str:
        """The graph in Graphviz' language; with `values` (the inputs), every value and adjoint is written in."""
        from fastad.tables.drawing import to_dot

        return to_dot(self, values, run=run)

    @staticmethod
    def load(path: Any) -> "TracedTable":
        """Read a table from a file written by `save`; raises `TableError` if the file is not a valid table."""
        return traced(load(path))


def traced(table: Table) -> TracedTable:
    """The table, with what it was found to be."""
    found = object.__new__(TracedTable)
    vars(found).update(vars(table))
    return found
