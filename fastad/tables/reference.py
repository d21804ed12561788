"""The reference interpreter: what a table means, one NumPy call a row. Slow; executors are tested against it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastad.errors import FastadError
from fastad.primitives import Elementwise, Form
from fastad.tables.columns import Line
from fastad.tables.table import Row, Table

# What runs a driver (see `composites.driver`): its result for a vector, and for saved states (None: it has none).
Runner = Callable[[Any, np.ndarray, Any], np.ndarray]


class Stopped(Exception):
    """A guard failed; `row` is its number."""

    def __init__(self, row: int) -> None:
        super().__init__(f"the guard in row {row} failed")
        self.row = row


def evaluate(table: Table, inputs: Sequence[Any], run: Runner | None = None) -> list[np.ndarray]:
    """Results of a table for given inputs, as float64 arrays; raises `Stopped` where a guard fails. `run` runs the
    drivers; without it their definitions in Python are."""
    values = evaluate_rows(table, inputs, run)
    return [values[r].copy() for r in table.outputs]


def evaluate_rows(table: Table, inputs: Sequence[Any], run: Runner | None = None) -> list[np.ndarray]:
    """Values of all rows."""
    return [value for _, _, value in steps(table, inputs, run)]


def steps(
    table: Table, inputs: Sequence[Any], run: Runner | None = None
) -> Iterator[tuple[Row, list[np.ndarray], np.ndarray]]:
    """Every row with the values of its operands and its own, as the rows are evaluated."""
    values: list[np.ndarray] = []
    for row in table.rows():
        operands = [values[x] for x in row.operands]
        if row.form is Form.INPUT:
            value = inputs[int(table.columns["a"][row.index])]
        elif row.form is Form.CONSTANT:
            value = table.constant(row.index)
        elif row.form is Form.GUARD:
            value = _guard(row.index, *operands)
        elif row.sub is not None:
            value = _called(table, row, operands, run)
        elif isinstance(row.primitive, Elementwise):
            flat = [np.reshape(x, -1) if x.size != 1 else x.reshape(()) for x in operands]
            with np.errstate(all="ignore"):
                value = np.broadcast_to(row.primitive.numpy(*flat), (row.size,))
        else:
            with np.errstate(all="ignore"):
                value = _evaluated(table, row, operands)
        values.append(np.asarray(value, np.float64).reshape(row.shape))
        yield row, operands, values[-1]


def _evaluated(table: Table, row: Row, operands: list[np.ndarray]) -> Any:
    """The value of an array row; its error names the user's line."""
    try:
        return row.primitive.numpy(row.statics, row.shape, *operands)
    except FastadError as error:
        raise _with_line(error, table.line_of(row.index)) from None


def _with_line(error: FastadError, line: Line) -> FastadError:
    """The error, which names the innermost line of the user's that leads to it. Rows of the library's own have none."""
    if error.names_line or not line.number:
        return error
    found = type(error)(f"{str(error).removesuffix('.')}, recorded at {line}")
    found.names_line = True
    return found


def _called(table: Table, row: Row, operands: list[np.ndarray], run: Runner | None) -> np.ndarray:
    try:
        return row.sub.evaluate(*operands, run)
    except FastadError as error:
        raise _with_line(error, table.line_of(row.index)) from None
    except Stopped:
        raise Stopped(row.index) from None


def _guard(index: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if not np.array_equal(x.reshape(-1), y.reshape(-1), equal_nan=True):
        raise Stopped(index)
    return x
