"""The rows of a loop as the sub-program of one turn, and where its parts come from."""

from dataclasses import replace

import numpy as np

from fastad.primitives import CONST
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.sub import Sub, made, packed, unpacked
from fastad.tables.rolling.packing import packed_at_once
from fastad.tables.rolling.pattern import EACH, NEAR, SAME, Pattern
from fastad.tables.rolling.rules import Rules
from fastad.tables.rolling.sequence import Sequence
from fastad.tables.rolling.summed import Sum
from fastad.tables.table import Row

_INDEX = NUMBER = ValueType((), "d")


class Body:
    """A loop's rows as a sub-program of [state | element | shared], and where its parts come from.

    `carried` are (row, turns back); `results` the rows whose
    values are wanted of every turn; `each` and `shared` the operands that are EACH and SAME, by the number of the first
    of them. Of those that are EACH, the numbers that follow `rules` are computed; `sums` are carried behind the others.
    """

    def __init__(self, s: Sequence, pattern: Pattern, uses: np.ndarray) -> None:
        self.s, self.pattern = s, pattern
        self.rows = s.rows[pattern.start : pattern.end].reshape(pattern.turns, pattern.period)
        self.carried = [(j, back) for j, depth in sorted(pattern.reach().items()) for back in range(1, depth + 1)]
        self.results = list(pattern.results(uses))
        self.each: dict[bytes, int] = {}
        self.rules = Rules(s.table)
        self.shared: dict[int, int] = {}
        self._look_outside()

    def _look_outside(self) -> None:
        p, op = self.pattern, self.s.table.columns["op"]
        for j, slots in enumerate(p.slots):
            for k in slots:
                if p.kinds[k] == EACH:
                    self._look_at_each(k)
                elif p.kinds[k] == SAME and not p.moved[j] and op[p.operands[0, k]] != CONST.code:
                    self.shared.setdefault(int(p.operands[0, k]), len(self.shared))

    def _look_at_each(self, k: int) -> None:
        rows = self.pattern.operands[:, k]
        key = rows.tobytes()
        if key not in self.rules.counted and key not in self.rules.summed and key not in self.each:
            values, dtype = self._constants(rows)
            if values is None or not self.rules.find(key, values, dtype):
                self.each[key] = k

    def _constants(self, rows: np.ndarray) -> tuple[np.ndarray | None, str]:
        """The numbers in these rows, if they are constants without axes."""
        table, kind = self.s.table, self.kind(rows[0])
        if kind.shape or not (table.columns["op"][rows] == CONST.code).all():
            return None, kind.dtype
        return table.pools["constants"][table.columns["a"][rows]], kind.dtype

    @property
    def is_indexed(self) -> bool:
        """Whether the turn's index is needed."""
        return bool(self.rules.counted)

    @property
    def state_size(self) -> int:
        """Numbers that are carried on."""
        return sum(self.kind(self.rows[0, j]).size for j, _ in self.carried) + len(self.sums)

    @property
    def sums(self) -> list[Sum]:
        """What is carried for numbers that come from repeated additions."""
        return self.rules.sums.own

    def element_rows(self) -> list[np.ndarray]:
        """For each element, its row in every turn."""
        moved = [self.rows[:, j] for j in np.flatnonzero(self.pattern.moved)]
        return [*(self.pattern.operands[:, k] for k in self.each.values()), *moved]

    def first_row(self, j: int, back: int) -> int:
        """The row that the first turn takes for row j of so many turns back."""
        return self.pattern.first[j, back]

    def kind(self, row: int) -> ValueType:
        return self.s.table.type_of(row)

    def sub(self, before: int = 0) -> Sub:
        """The sub-program of one turn, for a loop with so many turns `before` these."""
        kinds = [self.kind(self.rows[0, j]) for j, _ in self.carried] + [NUMBER] * len(self.sums)
        kinds += [self.kind(own[0]) for own in self.element_rows()]
        kinds += [_INDEX] * self.is_indexed
        kinds += [self.kind(row) for row in self.shared]
        size = sum(kind.size for kind in kinds)
        turn = made("turn", size, lambda b, x: self._emit(b, unpacked(b, x, kinds), before))
        assert turn.table is not None
        table = packed_at_once(turn.table)
        self.rules.keep_with(table)
        return replace(turn, table=table)

    def _emit(self, b: Builder, given: list[Ref], before: int) -> Ref:
        p, table, n = self.pattern, self.s.table, len(self.carried)
        state = dict(zip(self.carried, given, strict=False))
        sums = [b.emit("stop_gradient", (x,)) for x in given[n : n + len(self.sums)]]
        n += len(sums)
        elements = given[n : n + len(self.each) + int(p.moved.sum())]
        each = dict(zip(self.each, elements, strict=False))
        moved = dict(zip(np.flatnonzero(p.moved).tolist(), elements[len(each) :], strict=True))
        at = n + len(elements)
        each |= {key: rule.emit(b, given[at], before) for key, rule in self.rules.counted.items()}
        each |= {key: rule.emit(b, sums) for key, rule in self.rules.summed.items()}
        shared = dict(zip(self.shared, given[at + self.is_indexed :], strict=True))
        values: list[Ref] = []

        def operand(j: int, k: int) -> Ref:
            if p.kinds[k] == NEAR:
                place, back = p.source(j, k)
                return state[place, back] if back else values[place]
            if p.kinds[k] == EACH:
                return each[p.operands[:, k].tobytes()]
            row = int(p.operands[0, k])
            return shared[row] if row in shared else b.const(table.constant(row), self.kind(row).dtype)

        for j, slots in enumerate(p.slots):
            row = table.row(int(self.rows[len(self.rows) // 2, j]))
            b.at_line(b.line_number(table.line_of(row.index)))
            values.append(moved[j] if j in moved else _emit(b, row, [operand(j, k) for k in slots]))
        after = [values[j] if back == 1 else state[j, back - 1] for j, back in self.carried]
        after += [b.emit("add", (x, b.const(own.step))) for x, own in zip(sums, self.sums, strict=True)]
        return packed(b, [*after, *(values[j] for j in self.results)])


def _emit(b: Builder, row: Row, operands: list[Ref]) -> Ref:
    if row.sub is not None:
        return b.call(row.sub, operands[0])
    return b.emit(row.name, operands, row.statics, row.shape, row.dtype)
