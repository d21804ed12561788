"""What computing a virtual row again costs, beside storing and loading it: estimates in ns an element.

The cone of a row is the rows that are computed for it, itself included. A row with a single use is computed once
wherever that is, so it counts as extra work only for the rows that have other uses as well.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from fastad.execution.native.code.operations import cost_of
from fastad.tables.inline import used_rows
from fastad.tables.table import Table

Cone = frozenset[int]

LOAD = 0.05
CACHED, UNCACHED = 0.25, 1.2  # to store and load again, from cache or from memory
_CACHE = 32_768  # elements
_MOST = 40  # rows of a cone: larger ones are never computed again
_EMPTY: Cone = frozenset()


class Costs:
    """Costs of rows, in the order they are planned."""

    def __init__(self, table: Table) -> None:
        self.op, self.size = table._lists["op"], table.sizes
        self.uses = _count_uses(table)
        self.own: dict[int, float] = {}
        self.cone: dict[int, Cone] = {}
        self.extra: dict[int, Cone] = {}

    def elementwise(self, r: int, inside: Sequence[int], loads: int) -> None:
        """A row that computes these rows and loads so many others."""
        self.own[r] = cost_of(self.op[r]) + LOAD * loads
        self.cone[r] = self._joined((self.cone[x] for x in inside), r)
        extra = self._joined(self.extra[x] for x in inside)
        self.extra[r] = self.cone[r] if self.uses[r] > 1 else extra

    def view(self, r: int, source: int | None) -> None:
        """A row that sees another one at other places (None: in memory)."""
        self.cone[r] = _EMPTY if source is None else self.cone[source]
        self.extra[r] = _EMPTY if source is None else self.extra[source]

    def runs(self, r: int, inside: Iterable[int]) -> None:
        """A row of which every element is one of another row's."""
        inside = list(inside)
        self.cone[r] = max((self.cone[x] for x in inside), key=self._sum, default=_EMPTY)
        extra = max((self.extra[x] for x in inside), key=self._sum, default=_EMPTY)
        self.extra[r] = self.cone[r] if self.uses[r] > 1 else extra

    def cheap(self, x: int) -> bool:
        """Whether computing a row for one more use costs less than storing and loading it."""
        return self._sum(self.extra[x]) <= (CACHED if self.size[x] <= _CACHE else UNCACHED)

    def repeatable(self, x: int) -> bool:
        """Whether a row may be computed many times over."""
        return self._sum(self.cone[x]) <= CACHED

    def _sum(self, cone: Cone) -> float:
        return sum(self.own[x] for x in cone) if len(cone) <= _MOST else float("inf")

    def _joined(self, cones: Iterable[Cone], *more: int) -> Cone:
        found = frozenset(more).union(*cones)
        return found if len(found) <= _MOST else frozenset(list(found)[: _MOST + 1])


def _count_uses(table: Table) -> list[int]:
    """How often each row is an operand or a result."""
    return np.bincount(used_rows(table), minlength=len(table) + 1).tolist()
