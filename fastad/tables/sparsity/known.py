"""Values of a table that are the same in every run, those of constants and of captured arrays, and bounds of others."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from fastad.primitives import Elementwise, Form
from fastad.tables.table import Row, Table

Pair = tuple[np.ndarray, np.ndarray]


class Known:
    """Values of rows that depend on nothing but constants and captured arrays, found when they are asked for."""

    def __init__(self, table: Table, captured: Sequence[Any] = ()) -> None:
        self._table, self._captured = table, captured
        self._values: dict[int, np.ndarray | None] = {}
        self._used: set[int] = set()
        self.bounds = Bounds(table, self)

    @property
    def used(self) -> tuple[int, ...]:
        """Numbers of the captured arrays that were read."""
        return tuple(sorted(self._used))

    def value(self, index: int) -> np.ndarray | None:
        """The value of a row; None if it is not known."""
        todo = [index]
        while todo:
            i = todo[-1]
            row = self._table.row(i)
            open_rows = [k for k in row.operands if k not in self._values] if i not in self._values else []
            if open_rows and _may_be_known(row):
                todo += open_rows
                continue
            if i not in self._values:
                self._values[i] = self._evaluated(row)
            todo.pop()
        return self._values[index]

    def _evaluated(self, row: Row) -> np.ndarray | None:
        if row.form is Form.INPUT:
            number = int(self._table.columns["a"][row.index]) - self._table.explicit_inputs
            if not 0 <= number < len(self._captured):
                return None
            self._used.add(number)
            return np.asarray(self._captured[number], np.float64)
        if row.form is Form.CONSTANT:
            return self._table.constant(row.index)
        operands = [self._values[k] for k in row.operands] if _may_be_known(row) else [None]
        if any(x is None for x in operands):
            return None
        return _applied(row, operands)


class Bounds:
    """The least and largest values that rows may have in any run, where that follows from the rows themselves."""

    def __init__(self, table: Table, known: Known) -> None:
        self._table, self._known = table, known
        self._found: dict[int, Pair | None] = {}

    def of(self, index: int) -> Pair | None:
        """(least, largest) for each element of a row; None if there are no bounds."""
        todo = [index]
        while todo:
            i = todo[-1]
            operands = [] if i in self._found else self._needed(i)
            missing = [k for k in operands if k not in self._found]
            if missing:
                todo += missing
                continue
            if i not in self._found:
                self._found[i] = self._evaluated(self._table.row(i))
            todo.pop()
        return self._found[index]

    def _needed(self, index: int) -> tuple[int, ...]:
        """Operands whose bounds give those of a row."""
        row = self._table.row(index)
        if self._known.value(index) is not None or getattr(row.primitive, "bounds", None) is not None:
            return ()
        moves = row.form in (Form.VIEW, Form.PIECES)
        return row.operands if moves or getattr(row.primitive, "monotone", False) else ()

    def _evaluated(self, row: Row) -> Pair | None:
        value, own = self._known.value(row.index), getattr(row.primitive, "bounds", None)
        if value is not None:
            return value, value
        if own is not None:
            low, high = own(row.statics, row.size, [int(self._table.sizes[k]) for k in row.operands])
            return np.full(row.shape, float(low)), np.full(row.shape, float(high))
        found = [self._found[k] for k in self._needed(row.index)]
        if not found or any(x is None for x in found):
            return None
        corners = [_applied(row, operands) for operands in product(*found)]  # type: ignore[arg-type]
        return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _applied(row: Row, operands: Sequence[Any]) -> np.ndarray:
    """A row's value for values of its operands."""
    with np.errstate(all="ignore"):
        if isinstance(row.primitive, Elementwise):
            flat = [np.reshape(x, -1) if np.size(x) != 1 else np.reshape(x, ()) for x in operands]
            value: Any = np.broadcast_to(row.primitive.numpy(*flat), (row.size,))
        else:
            value = row.primitive.numpy(row.statics, row.shape, *operands)
    return np.asarray(value, np.float64).reshape(row.shape)


def _may_be_known(row: Row) -> bool:
    return row.form not in (Form.GUARD, Form.COMPOSITE)


class Facts:
    """What a sparsity rule may ask of a row's operands."""

    def __init__(self, known: Known, row: Row) -> None:
        self._known, self._row = known, row

    def __call__(self, k: int) -> np.ndarray | None:
        """The value of operand k, where it is the same in every run."""
        return self._known.value(self._row.operands[k])

    def bounds(self, k: int) -> Pair | None:
        """The least and the largest value that operand k may have, element by element."""
        return self._known.bounds.of(self._row.operands[k])
