"""Activity: what depends, by derivatives, on the inputs that a table is differentiated by.

Griewank & Walther (2008), Evaluating Derivatives, section 6.2: adjoints of other values need not be computed.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from fastad.primitives import ASSEMBLE, STRIDED
from fastad.primitives.regions import elements_of
from fastad.tables.columns import INPUT
from fastad.tables.passes.contributions import rules
from fastad.tables.table import Table

_DEPTH = 16  # of moves of data, one after another, that are followed back


def active_rows(table: Table, wrt: Sequence[int]) -> list[bool]:
    """Whether each row depends differentiably on an input of `wrt`."""
    active: list[bool] = []
    chosen = set(wrt)
    floating = [kind.dtype in "df" for kind in table.types]
    columns = [table._lists[name] for name in ("op", "type", "a", "b", "c")]
    for index, (op, kind, *operands) in enumerate(zip(*columns, strict=True)):
        places = _differentiable(op)
        if not floating[kind]:
            active.append(False)
        elif places is not None:
            active.append(any(active[operands[k]] for k in places))
        elif op == INPUT:
            active.append(operands[0] in chosen)
        else:
            row = table.row(index)
            differentiable = row.primitive.is_differentiable  # type: ignore[attr-defined]
            active.append(any(active[i] and differentiable(k) for k, i in enumerate(row.operands)))
    return active


@cache
def _differentiable(op: int) -> tuple[int, ...] | None:
    """Operands of an elementwise primitive with derivatives; None for array primitives."""
    found = rules(op)
    return None if found is None else tuple(k for k, rule in enumerate(found) if rule is not None)


def active_elements(table: Table, index: int, active: Sequence[bool]) -> np.ndarray:
    """Whether each element of a row may be active, given that of the rows: where data are only moved, into assemblies
    and out of them, it is known for each element by itself."""
    return _Elements(table, active).of(index, _DEPTH)


class _Elements:
    """What `active_elements` knows."""

    def __init__(self, table: Table, active: Sequence[bool]) -> None:
        self._table, self._active = table, active
        self._op = table._lists["op"]
        self._found: dict[tuple[int, int], np.ndarray] = {}

    def of(self, index: int, depth: int) -> np.ndarray:
        key = index, depth
        if key not in self._found:
            self._found[key] = self._new(index, depth)
        return self._found[key]

    def _new(self, index: int, depth: int) -> np.ndarray:
        row, op = self._table.row(index), self._op
        moves = depth > 0 and self._active[index]
        if moves and op[index] == STRIDED.code and op[row.operands[0]] in (STRIDED.code, ASSEMBLE.code):
            return elements_of(self.of(row.operands[0], depth - 1), row.statics).reshape(-1)
        found = np.full(row.size, self._active[index])
        if moves and op[index] == ASSEMBLE.code:
            found[:] = False
            for operand, place in zip(row.operands, row.regions, strict=True):
                into = elements_of(found, place)
                into[...] = self.of(operand, depth - 1).reshape(into.shape)
        return found
