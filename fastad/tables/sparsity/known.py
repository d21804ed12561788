"""Values of a table that are the same in every run: those of constants and of captured arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.primitives import Elementwise, Form
from fastad.tables.table import Row, Table


class Known:
    """Values of rows that depend on nothing but constants and captured arrays, found when they are asked for."""

    def __init__(self, table: Table, captured: Sequence[Any] = ()) -> None:
        self._table, self._captured = table, captured
        self._values: dict[int, np.ndarray | None] = {}
        self._used: set[int] = set()

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
        with np.errstate(all="ignore"):
            if isinstance(row.primitive, Elementwise):
                flat = [np.reshape(x, -1) if np.size(x) != 1 else np.reshape(x, ()) for x in operands]  # type: ignore[arg-type]
                value = np.broadcast_to(row.primitive.numpy(*flat), (row.size,))
            else:
                value = row.primitive.numpy(row.statics, row.shape, *operands)
        return np.asarray(value, np.float64).reshape(row.shape)


def _may_be_known(row: Row) -> bool:
    return row.form not in (Form.GUARD, Form.COMPOSITE)
