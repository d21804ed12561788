"""A finished recording with some of its inputs turned into constants.

Most rows stay what they are, and are copied in blocks. Rows are emitted anew where a constant may simplify them, and
where one of their operands has become simpler, or equal to another row. What uses that other row is made known to the
builder, so that rows which become equal are one row.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.primitives import PRIMITIVES, STRIDED, Elementwise
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.primitives.rewrites import REWRITES
from fastad.tables.builder import CONSTANT, EMPTY, SPECIAL, SPREAD, Builder, Ref
from fastad.tables.columns import CALL, CONST, INPUT
from fastad.tables.continued import Continued
from fastad.tables.operands import operands_of

_STRIDED = STRIDED.code
_ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads bits
_FEW = 8  # rows that are copied one by one in the time that a block takes


def with_constants(old: Builder, order: Sequence[Ref], constants: dict[Ref, Any]) -> tuple[Builder, list[Ref]]:
    """A builder with the rows of another, whose inputs are those of `order`, the others being these constants; and
    where each row is in it. The other builder is used up."""
    return _Fixing(old, order, constants).all_rows()


class _Fixing:
    """`refs` says where each row is in the new builder, and `numbers` the same for elementwise rows: they take the one
    number of an array of equal ones. `marks` tells the rows that are emitted anew, `awaited` copied ones that rows may
    become equal to. `blocks` are copied rows by their first place, `origins` the emitted ones by their place."""

    def __init__(self, old: Builder, order: Sequence[Ref], constants: dict[Ref, Any]) -> None:
        self.old, self.b = old, Continued(old)
        self.columns = {name: np.array(column) for name, column in old.columns.items()}
        self.pools = {"operands": np.array(old.operands)}
        self.flags = np.array(old._flags, np.uint8)
        op = self.columns["op"]
        self.others = np.flatnonzero((op != INPUT) & (op != CONST))
        self.refs = self.numbers = np.full(len(op), -1, np.int64)
        for ref in order:
            self.refs[ref] = self.b.input(*old.type(ref))
        known = np.flatnonzero(op == CONST)
        self.refs[known] = np.arange(len(self.b), len(self.b) + len(known))
        self.awaited = bytearray(len(op))
        self.blocks: list[tuple[int, np.ndarray]] = []
        self._copy(known)
        self.b.know_constants(old, self.refs)
        for ref, value in constants.items():
            self.refs[ref] = self.b.const(value)
        self.numbers = self.refs.copy()
        self.marks = bytearray(len(op))
        self.origins: dict[Ref, list[int]] = {}
        self.is_followed: set[int] = set()
        self.users, self.bounds = np.zeros(0, np.int64), np.zeros(len(op) + 1, np.int64)  # of marked rows
        if constants:
            self._mark(np.array([*constants], np.int64))
            self._mark_equal(np.array([*constants], np.int64), known)

    def _mark(self, constants: np.ndarray) -> None:
        """Mark the rows that these constants may simplify."""
        b, op = self.b, self.columns["op"]
        found = operands_of(self)
        owners, order = found.owners, np.argsort(found.rows, kind="stable")
        self.users = owners[order]
        self.bounds = np.searchsorted(found.rows[order], np.arange(len(op) + 1))
        is_new, is_special, is_spread = np.zeros((3, len(op)), bool)
        is_number = (op == CONST) & (self.flags & CONSTANT != 0)
        for ref in constants.tolist():
            new = int(self.refs[ref])
            if b._flags[new] & SPREAD:
                is_spread[ref], new = True, b.definition(new)[1]
                self.numbers[ref] = new
            is_new[ref], is_number[ref] = True, b.scalar(new) is not None
            is_special[ref] = b._flags[new] & (SPECIAL | EMPTY) != 0
        sizes = np.array(b._sizes)[self.columns["type"]]

        def for_all(mask: np.ndarray) -> np.ndarray:
            return (np.bincount(owners[mask], minlength=len(op)) == found.counts)[owners]

        new, spread = is_new[found.rows], is_spread[found.rows]
        look = _IS_LOOKED_AT[op[owners]] | is_special[found.rows] | (spread & ~_IS_ELEMENTWISE[op[owners]])
        look |= for_all(is_number[found.rows]) | (spread & for_all(spread | (sizes[found.rows] == 1)))
        np.frombuffer(self.marks, np.uint8)[owners[new & look]] = 1

    def _mark_equal(self, constants: np.ndarray, known: np.ndarray) -> None:
        """Mark the rows that become equal since constants are: those that spread the number of an array of equal ones,
        and those that use equal constants, as far as sums over them tell; some may turn out to differ."""
        old = np.concatenate([known, constants])
        new = self.refs[old]
        _, group, count = np.unique(new, return_inverse=True, return_counts=True)
        is_number = np.isin(new, self.numbers[constants]) & ~np.isin(new, self.refs[constants])
        op, marks = self.columns["op"], np.frombuffer(self.marks, np.uint8)
        spread = self._users_of(old[is_number])
        marks[spread[op[spread] == _STRIDED]] = 1
        rows = np.unique(self._users_of(old[count[group] > 1]))
        if not len(rows):
            return
        found = operands_of(self, ~np.isin(np.arange(len(op)), rows))
        own = np.where(self.refs[found.rows] < 0, -2 - found.rows, self.refs[found.rows]).astype(np.uint64)
        own = (own * _ODD) ^ (own * _ODD >> np.uint64(29))
        before = np.concatenate([np.zeros(1, np.uint64), np.cumsum(own)])  # in any order: operands may be swapped
        sums = before[found.starts + found.counts] - before[found.starts]
        statics = np.where(_IS_ELEMENTWISE[op] | (op == CONST), -1, self.columns["c"])
        for part in (op, self.columns["type"], statics):
            sums = sums * _ODD + part.astype(np.uint64)
        _, group, count = np.unique(sums[rows], return_inverse=True, return_counts=True)
        marks[rows[count[group] > 1]] = 1

    def _users_of(self, rows: np.ndarray) -> np.ndarray:
        """The rows that use any of these."""
        start, count = self.bounds[rows], self.bounds[rows + 1] - self.bounds[rows]
        inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return self.users[np.repeat(start, count) + inside]

    def _users(self, row: int) -> list[int]:
        found: list[int] = self.users[self.bounds[row] : self.bounds[row + 1]].tolist()
        return found

    def _follow(self, row: int, at: int) -> None:
        """Rows may become equal to those that use this one: up to row `at` they are there already."""
        if row in self.is_followed:
            return
        self.is_followed.add(row)
        for user in self._users(row):
            if user < at:
                self.b.know(int(self.refs[user]))
            else:
                self.awaited[user] = 1

    def all_rows(self) -> tuple[Builder, list[Ref]]:
        b, marks, at = self.b, self.marks, 0
        while at < len(self.refs):
            mark = marks.find(1, at)
            end = len(self.refs) if mark < 0 else mark
            low, high = np.searchsorted(self.others, (at, end))
            rows = self.others[low:high]
            if len(rows) > _FEW:
                self.refs[rows] = self.numbers[rows] = np.arange(len(b), len(b) + len(rows))
                self._copy(rows)
            else:
                for row in rows.tolist():
                    self._emit(row)
            if mark >= 0:
                self._emit(mark)
            at = end + 1
        return b, self.refs.tolist()

    def _copy(self, rows: np.ndarray) -> None:
        """Append these rows, their operands replaced."""
        col, b = self.columns, self.b
        op = col["op"][rows]
        values = {name: col[name][rows] for name in col}
        counts, pooled = OPERAND_COUNT[op], POOLED[op]
        takes_numbers = _IS_ELEMENTWISE[op]
        for place, name in enumerate("abc"):
            own = np.flatnonzero(~pooled & (counts > place))
            x = values[name][own]
            values[name][own] = np.where(takes_numbers[own], self.numbers[x], self.refs[x])
        own = np.flatnonzero(pooled)
        if len(own):
            lengths = values["b"][own].astype(np.int64)
            inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            at = np.repeat(values["a"][own].astype(np.int64), lengths) + inside
            values["a"][own] = len(b.operands) + np.cumsum(lengths) - lengths
            b.operands.frombytes(self.refs[self.pools["operands"][at]].astype(np.int32).tobytes())
        self.blocks.append((len(b), rows))
        b.extend(values, self.flags[rows])
        for row in rows[np.frombuffer(self.awaited, np.uint8)[rows] != 0].tolist():
            b.know(int(self.refs[row]))

    def _emit(self, row: int) -> None:
        """Emit a row anew; the rows that use it as well, if it became another one."""
        b, old, refs = self.b, self.old, self.refs
        op, a, n, c = old.definition(row)
        own: Any = PRIMITIVES[op]
        given = old.operands[a : a + n] if POOLED[op] else (a, n, c)[: OPERAND_COUNT[op]]
        operands = tuple([int(refs[x]) for x in given])
        b.at_line(old.columns["line"][row])
        size = len(b)
        if isinstance(own, Elementwise):
            new = b.emit_elementwise(own.name, operands, old.columns["type"][row])
        elif op == CALL:
            new = b.call(old.subs[old.statics_at(c)[0]], *operands)
        else:
            new = b.emit_array(own, operands, old.statics_at(c) if c >= 0 else (), old.type(row))
        refs[row] = self.numbers[row] = new
        is_the_same = new == size == len(b) - 1 and b.definition(new)[0] == op and b._flags[new] == old._flags[row]
        if not is_the_same:
            for user in self._users(row):
                self.marks[user] = 1
            for equal in self._rows_at(new) if new < size else []:
                self._follow(equal, row)
        self.origins.setdefault(new, []).append(row)

    def _rows_at(self, new: Ref) -> list[int]:
        """The rows, but for constants, that are this one of the new builder."""
        at = bisect_right(self.blocks, new, key=lambda block: block[0]) - 1
        first, rows = self.blocks[at] if at > 0 else (0, self.others[:0])  # the first block has constants
        copied = [int(rows[new - first])] if new - first < len(rows) else []
        return copied + self.origins.get(new, [])


_IS_ELEMENTWISE = np.array([isinstance(row, Elementwise) for row in PRIMITIVES])
# Rows that may be simplified whatever constant they get.
_IS_LOOKED_AT = np.array([
    (row.name in REWRITES and (not isinstance(row, Elementwise) or REWRITES[row.name].always))
    for row in PRIMITIVES
])  # fmt: skip
