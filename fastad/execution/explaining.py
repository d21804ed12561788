"""Why a row has failed: kernels return a number, the row's definition says what was wrong with its operands."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from fastad.errors import FastadError
from fastad.tables.composites.sub import Sub
from fastad.tables.reference import Stopped, steps
from fastad.tables.table import Table

_MOST = 1_000_000  # rows in Python, of some microseconds each
_UNKNOWN = 1000  # repetitions where their number is not known
_runner: list[Any] = []
R = TypeVar("R", bound=Callable[..., Any])


def runs_drivers(run: R) -> R:
    """Say that this function runs the drivers of composite rows."""
    _runner[:] = [run]
    return run


def explanation(rows: Table, index: int, inputs: Sequence[Any]) -> BaseException | None:
    """The error that a row's definition raises for these inputs of its table, with the user's line; None where the
    definition finds nothing wrong. Composite rows are run by their kernels."""
    try:
        for row, _, _ in steps(rows, inputs, _runner[0]):
            if row.index >= index:
                break
    except FastadError as error:
        sub = rows.row(index).sub  # what a loop says of itself, without where it was recorded, explains nothing
        generic = sub is not None and not sub.failures and str(error).startswith(f"{sub.name}: ")
        return None if generic else error
    except (IndexError, Stopped):
        pass
    return None


def part_explanation(sub: Sub, x: np.ndarray) -> BaseException | None:
    """The error that a run of a sub-program for this vector ends in, as its parts tell it; None where asking them would
    take long."""
    rows = sum(len(part.table) for part in sub.parts if part.table is not None)
    repetitions = _UNKNOWN if sub.repetitions is None else sub.repetitions
    if repetitions * rows > _MOST and not sub.failures:
        return None
    try:
        return sub.failure(x, _runner[0])
    except (IndexError, Stopped):
        return None
