"""What the time to compile a table depends on: its rows by kind (see `fastad.execution.machine.times`)."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastad.execution.machine.times import Counts
from fastad.primitives import PRIMITIVES, Form
from fastad.tables.table import Table

_FEW = 16  # numbers: rows of at most so many are unrolled, if the program is not too long for that
_KINDS = "", "map", "reduction", "region", "function"
_FORMS = {
    Form.INPUT: "", Form.CONSTANT: "", Form.GUARD: "map", Form.VIEW: "region", Form.PIECES: "region",
    Form.REDUCTION: "reduction",
}  # fmt: skip


def row_counts(table: Table) -> Counts:
    """Rows of a table by kind, and of those that are unrolled the numbers; what is in sub-programs does not count."""
    found: Counts | None = table._cache.get("row kinds")
    if found is None:
        found = table._cache["row kinds"] = _counted(table)
    return found


def _counted(table: Table) -> dict[str, float]:
    kinds, sizes = _kinds()[table.columns["op"]], table.sizes
    unrolled = (kinds > 0) & (sizes <= _FEW)
    single = unrolled & (sizes <= 1)
    many = np.bincount(kinds[~unrolled], minlength=len(_KINDS))
    return {
        "table": 1.0, "scalar": float(np.count_nonzero(single)), "few": float(sizes[unrolled & ~single].sum()),
        **dict(zip(_KINDS[1:], map(float, many[1:]), strict=True)),
    }  # fmt: skip


@functools.cache
def _kinds() -> np.ndarray:
    """Kinds by opcode, as numbers; 0 is that of rows that take no time."""
    return np.array([_KINDS.index(_kind(row)) for row in PRIMITIVES])


def _kind(row: Any) -> str:
    return _FORMS.get(row.form, "function") if hasattr(row, "form") else "map"


def program_tables(table: Table) -> Iterator[Table]:
    """The table and those of all the sub-programs that it calls."""
    yield table
    for sub in table.subs:
        yield from tables_of(sub)


def tables_of(sub: Any) -> Iterator[Table]:
    """The tables of a sub-program and of all that it calls."""
    if sub.table is not None:
        yield from program_tables(sub.table)
    for part in sub.parts:
        yield from tables_of(part)
