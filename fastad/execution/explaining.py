"""Why a row has failed: kernels return a number, the row's definition says what was wrong with its operands. And what
the user should be told though nothing has failed: kernels count it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from fastad.errors import FastadError
from fastad.kernels import notice_count
from fastad.primitives import PRIMITIVES, ArrayPrimitive
from fastad.recording.source import warn
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


# ── notices ───────────────────────────────────────────────────────────────────────────────────────────────────
def gives_notices(table: Table) -> bool:
    """Whether a program has rows, in sub-programs too, that may have something to tell the user."""
    codes = np.flatnonzero(np.bincount(table.columns["op"])).tolist()
    return any(_has_notice(PRIMITIVES[code]) for code in codes) or any(map(_sub_gives_notices, table.subs))


def _has_notice(primitive: Any) -> bool:
    return isinstance(primitive, ArrayPrimitive) and primitive.notice is not None


def _sub_gives_notices(sub: Sub) -> bool:
    own = sub.table is not None and gives_notices(sub.table)
    return own or any(map(_sub_gives_notices, sub.parts))


_WARNINGS = 8  # of one binding: it takes long to find out what a notice is about


class Warned:
    """Runs a kernel; where it has counted a notice, warns the user of what its rows find."""

    def __init__(self, invoke: Callable[[], int], rows: Table, inputs: Callable[[], Sequence[Any]]) -> None:
        self._invoke, self._rows, self._inputs = invoke, rows, inputs
        self._left = _WARNINGS

    def __call__(self) -> int:
        before = notice_count.count.value
        code = self._invoke()
        if notice_count.count.value != before and self._left:
            self._left -= 1
            for text in dict.fromkeys(_notices(self._rows, self._inputs())):
                warn(text)
        return code


def _notices(rows: Table, inputs: Sequence[Any]) -> Iterator[str]:
    """What the rows tell of these inputs, with the user's lines."""
    try:
        for row, operands, _ in steps(rows, inputs, _runner[0]):
            text = row.primitive.notice(row.statics, *operands) if _has_notice(row.primitive) else None  # type: ignore[attr-defined]
            if text is not None:
                yield f"{text} Recorded at {rows.line_of(row.index)}."
            elif row.sub is not None and _sub_gives_notices(row.sub):
                yield (
                    f"the vectors of equal eigenvalues or singular values are differentiated in {row.sub.name}. Only "
                    f"what does not depend on their choice has a derivative there. Recorded at "
                    f"{rows.line_of(row.index)}."
                )
    except (FastadError, IndexError, Stopped):
        return
