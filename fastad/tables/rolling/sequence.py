"""The rows of a table as a sequence in which a loop repeats itself, and the periods with which it may."""

from collections.abc import Iterator

import numpy as np

from fastad.once import lazy
from fastad.primitives import CALL as CALL_ROW
from fastad.primitives import GATHER, GUARD, PRIMITIVES, STRIDED, Elementwise
from fastad.primitives.distinct import numbered
from fastad.primitives.operands import OPERAND_COUNT
from fastad.tables.columns import CONST, INPUT
from fastad.tables.operands import operands_of
from fastad.tables.rolling.joined import is_rolled
from fastad.tables.table import Table

_READS = (STRIDED.code, GATHER.code)
_READ_DEPTH = 3  # reads of reads of inputs that are told from the rows of a loop
_REPEATS = 4  # rows of a period that may be of one kind
_MOST_PERIODS = 64  # that are tried
_COMMUTES = np.array([isinstance(row, Elementwise) and row.commutes for row in PRIMITIVES])
# Rows that no loop may hold: a guard tells which other recording is to be run, and a loop does not pass that on. Rows
# that stop the program by an error may be in a loop, which stops at them, too.
_BARRED = np.zeros(len(PRIMITIVES), bool)
_BARRED[GUARD.code] = True


class Sequence:
    """The rows of a table but for inputs, constants and reads of these, which the turns of a loop may share.

    `rows` are their numbers, `at[row]` their places (-1: none). Reads of loops, of which a recording that is rolled
    while it goes on has many, are left out, too (`is_loop_read`); they are where their loop is. `signs` are what the
    rows of two turns must agree in: primitive, type, line and number of operands. The operands of a row are
    `operands[starts[row]:][:counts[row]]`.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        col = table.columns
        self.counts, self.starts, self.operands = operands_of(table)
        self.is_free = self._free()
        self.is_loop_read = self._reads_of_loops()
        self.rows = np.flatnonzero(~self.is_free & ~self.is_loop_read)
        self.at = np.full(len(table), -1, np.int64)
        self.at[self.rows] = np.arange(len(self.rows))
        self.at[self.is_loop_read] = self.at[col["a"][self.is_loop_read]]  # where the loop is
        kinds = np.stack([col["op"], col["type"], col["line"], self.counts], axis=1)[self.rows]
        self.signs = _numbered(kinds)
        self.is_barred = self._barred()[self.rows]

    def _reads_of_loops(self) -> np.ndarray:
        """Reads of one piece of the result of a rolled loop which is called once, so that no loop can hold it."""
        table = self.table
        op, statics = table.columns["op"], table.pools["statics"]
        calls = np.flatnonzero(op == CALL_ROW.code)
        numbers = statics[table.columns["c"][calls] + 1]
        alone = np.array([is_rolled(sub) for sub in table.subs], bool) & (
            np.bincount(numbers, minlength=len(table.subs)) == 1
        )
        is_loop, found = np.zeros((2, len(table)), bool)
        is_loop[calls] = alone[numbers]
        reads = np.flatnonzero(op == STRIDED.code)
        reads = reads[is_loop[table.columns["a"][reads]]]
        at = table.columns["c"][reads].astype(np.int64)
        found[reads] = (statics[at] == 3) & (statics[np.minimum(at + 3, len(statics) - 1)] == 1)
        return found

    def _free(self) -> np.ndarray:
        """Inputs, constants, and what is read of them."""
        col = self.table.columns
        free = (col["op"] == INPUT) | (col["op"] == CONST)
        for code in _READS * _READ_DEPTH:
            rows = np.flatnonzero((col["op"] == code) & ~free)
            known = np.ones(len(rows), bool)
            for place in range(int(OPERAND_COUNT[code])):
                known &= free[self.operands[self.starts[rows] + place]]
            free[rows[known]] = True
        return free

    def _barred(self) -> np.ndarray:
        """Rows that no loop may hold."""
        op, table = self.table.columns["op"], self.table
        barred = _BARRED[op]
        for row in np.flatnonzero(op == CALL_ROW.code).tolist():
            sub = table.row(row).sub
            barred[row] = sub.has_guards or sub.calls_python or bool(sub.n_saved) or sub.result_is_overwritten
        return barred

    def follows_loop(self, place: int) -> bool:
        """Whether there are only reads of a loop's results between the call of a loop and this place."""
        op = self.table.columns["op"]
        while place > 0:
            place -= 1
            code = op[self.rows[place]]
            if code != STRIDED.code:
                return bool(code == CALL_ROW.code)
        return False

    @lazy
    def commutes(self) -> np.ndarray:
        """Whether the two operands of a row may be swapped."""
        return _COMMUTES[self.table.columns["op"]]

    def periods(self, turns: int) -> list[int]:
        """Distances at which rows of one sign follow each other so often that there may be so many turns; the short
        ones first, so that inner loops are found before outer ones."""
        order = np.argsort(self.signs, kind="stable")
        sign = self.signs[order]
        found: dict[int, int] = {}
        for k in range(1, min(_REPEATS, len(order) - 1) + 1):
            distance = (order[k:] - order[:-k])[sign[k:] == sign[:-k]]
            counts = np.bincount(distance) if len(distance) else np.zeros(0, int)
            for period in np.flatnonzero(counts >= turns - 1).tolist():
                found[period] = max(found.get(period, 0), int(counts[period]) * period)
        best = sorted(found, key=lambda period: -found[period])[:_MOST_PERIODS]
        return sorted(best)

    def runs(self, period: int, turns: int) -> Iterator[tuple[int, int]]:
        """Ranges of places where rows have the signs of those a period before, for so many turns."""
        same = (self.signs[period:] == self.signs[:-period]) & ~self.is_barred[period:] & ~self.is_barred[:-period]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if end - start >= (turns - 1) * period:
                yield start, end + period


def _numbered(rows: np.ndarray) -> np.ndarray:
    """A number for each row of a matrix of integers: equal rows have equal ones."""
    number = np.zeros(len(rows), np.int64)
    for column in rows.T:
        place = numbered(column)[1]
        number = numbered(number * (int(place.max(initial=0)) + 1) + place)[1]
    return number
