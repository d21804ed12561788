"""Why a row has failed: kernels return a number, the row's definition says what was wrong with its operands."""

from collections.abc import Sequence
from typing import Any

from fastad.errors import FastadError
from fastad.execution.executors import row_evaluations
from fastad.tables.reference import Stopped, steps
from fastad.tables.table import Table

_MOST = 1_000_000  # row evaluations: a row takes some microseconds here
_UNKNOWN = 1000  # repetitions where their number is not known


def explanation(rows: Table, index: int, inputs: Sequence[Any]) -> FastadError | None:
    """The error that a row's definition raises for these inputs of its table, with the user's line; None where that
    would take long, or the definition finds nothing wrong."""
    if sum(row_evaluations(sub, unknown=_UNKNOWN) for sub in rows.subs) > _MOST:
        return None
    try:
        for row, _, _ in steps(rows, inputs):
            if row.index >= index:
                break
    except FastadError as error:
        return error
    except (IndexError, Stopped):
        pass
    return None
