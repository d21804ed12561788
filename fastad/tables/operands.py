"""The operands of all rows of a table, one after the other."""

from typing import Any, NamedTuple

import numpy as np

from fastad.primitives.operands import OPERAND_COUNT, POOLED


class Operands(NamedTuple):
    """`rows[starts[i]:][:counts[i]]` are the operands of row i."""

    counts: np.ndarray
    starts: np.ndarray
    rows: np.ndarray

    @property
    def owners(self) -> np.ndarray:
        """For each operand, the row that it is an operand of."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def operands_of(table: Any, without: np.ndarray | None = None) -> Operands:
    """The operands of all rows; none of those of a mask `without`, whose columns are not read."""
    col = table.columns
    pooled = POOLED[col["op"]]
    counts = np.where(pooled, col["b"], OPERAND_COUNT[col["op"]]).astype(np.int64)
    if without is not None:
        counts[without] = 0
    starts = np.cumsum(counts) - counts
    found = np.zeros(int(counts.sum()), np.int64)
    for place, name in enumerate("abc"):
        rows = np.flatnonzero(~pooled & (counts > place))
        found[starts[rows] + place] = col[name][rows]
    rows = np.flatnonzero(pooled & (counts > 0))
    if len(rows):
        own = counts[rows]
        inside = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        at = np.repeat(col["a"][rows].astype(np.int64), own) + inside
        found[np.repeat(starts[rows], own) + inside] = table.pools["operands"][at]
    return Operands(counts, starts, found)
