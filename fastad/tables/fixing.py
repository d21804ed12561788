"""A finished recording with some of its inputs turned into constants.

Most rows stay what they are, and are copied in blocks. Rows are emitted anew where a constant may simplify them, and
where one of their operands has become simpler.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.primitives import PRIMITIVES, Elementwise
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.primitives.rewrites import REWRITES
from fastad.tables.builder import CONSTANT, EMPTY, SPECIAL, SPREAD, Builder, Ref
from fastad.tables.columns import CALL, CONST, INPUT
from fastad.tables.operands import operands_of

_FEW = 8  # rows that are copied one by one in the time that a block takes


def with_constants(old: Builder, order: Sequence[Ref], constants: dict[Ref, Any]) -> tuple[Builder, list[Ref]]:
    """A builder with the rows of another, whose inputs are those of `order`, the others being these constants; and
    where each row is in it. The other builder is used up."""
    return _Fixing(old, order, constants).all_rows()


class _Fixing:
    """`refs` says where each row is in the new builder, and `numbers` the same for elementwise rows: they take the one
    number of an array of equal ones. `marks` tells the rows that are emitted anew."""

    def __init__(self, old: Builder, order: Sequence[Ref], constants: dict[Ref, Any]) -> None:
        self.old, self.b = old, Builder().going_on_from(old)
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
        self._copy(known)
        self.b.know_constants(old, self.refs)
        for ref, value in constants.items():
            self.refs[ref] = self.b.const(value)
        self.numbers = self.refs.copy()
        self.marks = bytearray(len(op))
        self.users, self.bounds = np.zeros(0, np.int64), np.zeros(len(op) + 1, np.int64)  # of marked rows
        if constants:
            self._mark(np.array([*constants], np.int64))

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
        b.extend(values, self.flags[rows])

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
            for user in self.users[self.bounds[row] : self.bounds[row + 1]].tolist():
                self.marks[user] = 1


_IS_ELEMENTWISE = np.array([isinstance(row, Elementwise) for row in PRIMITIVES])
# Rows that may be simplified whatever constant they get.
_IS_LOOKED_AT = np.array([
    (row.name in REWRITES and (not isinstance(row, Elementwise) or REWRITES[row.name].always))
    for row in PRIMITIVES
])  # fmt: skip
