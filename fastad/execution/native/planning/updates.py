"""Updates: assemblies that write pieces over an array which nobody reads later, and so may write in place.

Whoever sees the array's elements and is used later has to have them by then. That is planned here, from the table;
`memory` then finds that the array's life ends with the update, and gives both one place.
"""

import numpy as np

from fastad.primitives import CONST, INPUT, PRIMITIVES, STRIDED, Elementwise, Form
from fastad.primitives.regions import whole
from fastad.tables.passes.arena import IS_UPDATE, last_uses
from fastad.tables.table import Table

_OUTSIDE = (INPUT.code, CONST.code)


class Updates:
    """By the row that has an array's elements: the update of it (`of`). `last` are the last rows that use each row,
    `reach` those that use it or what may be computed from it as late."""

    def __init__(self, table: Table, smallest: int) -> None:
        self.table = table
        self.of: dict[int, int] = {}
        self.last: list[int] = []
        self.reach: list[int] = []
        candidates = {r: x for r, x in self._candidates().items() if table.sizes[r] > smallest}
        if candidates:
            self.last = last_uses(table).tolist()
            roots = self._see_through()
            self.of = {x: r for r, first in candidates.items() if self.last[x := roots.get(first, first)] == r}
            self.reach = self._reach() if self.of else []

    def outlives(self, v: int, x: int) -> bool:
        """Whether a row that sees the elements of x is used by x's update, or later."""
        update = self.of.get(x)
        return update is not None and self.last[v] >= update

    def _candidates(self) -> dict[int, int]:
        """Assemblies over a whole array that is no input and no constant."""
        table, op = self.table, self.table._lists["op"]
        rows = np.flatnonzero(IS_UPDATE[table.columns["op"]]).tolist()
        found = {r: table.row(r).written_over(table.sizes) for r in rows}  # type: ignore[arg-type]
        return {r: x for r, x in found.items() if x is not None and op[x] not in _OUTSIDE}

    def _see_through(self) -> dict[int, int]:
        """Arrays in another shape, by row: the row that has the elements. Its uses are theirs."""
        table, roots = self.table, dict[int, int]()
        op, a = table._lists["op"], table._lists["a"]
        for v in (table.columns["op"] == STRIDED.code).nonzero()[0].tolist():
            if table.sizes[v] == table.sizes[a[v]] and table.row(v).statics == whole(int(table.sizes[v])):
                roots[v] = roots.get(a[v], a[v])
        for v, x in roots.items():
            self.last[x] = max(self.last[x], self.last[v])
        return {v: x for v, x in roots.items() if op[x] not in _OUTSIDE}

    def _reach(self) -> list[int]:
        reach = list(self.last)
        for v in range(len(reach) - 1, -1, -1):
            row = PRIMITIVES[self.table._lists["op"][v]]
            if isinstance(row, Elementwise) or row.form in (Form.VIEW, Form.PIECES):  # type: ignore[attr-defined]
                for x in self.table.row(v).operands:
                    reach[x] = max(reach[x], reach[v])
        return reach
