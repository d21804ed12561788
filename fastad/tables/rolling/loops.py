"""The rolled loops of a table that is being copied, and what is read of them. A loop that goes on becomes a longer one:
results of its turns stay where they are, its last state is another one."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from fastad.primitives.regions import Region
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.rolling.body import Body
from fastad.tables.rolling.joined import loop_at
from fastad.tables.rolling.pattern import Pattern
from fastad.tables.rolling.sequence import Sequence as Rows
from fastad.tables.rolling.summed import Sum
from fastad.tables.rolling.turns import TurnValue
from fastad.tables.table import Row


class _Made(NamedTuple):
    """What a loop was made of: a row of the old table, or a pattern in it."""

    row: int
    pattern: Pattern | None = None
    body: Body | None = None


class Loops:
    """`rows` are those of the loops in the new table, by their numbers in this list, `states` the sizes of their
    states. `is_read` says which rows of the old table are reads of one piece of a loop. Of the loops in the old rows
    `held`, results of turns are wanted elsewhere."""

    def __init__(self, s: Rows, held: Collection[int]) -> None:
        self.s, self.old, self._held = s, s.table, held
        self.is_read = s.is_loop_read
        self.rows: list[Ref] = []
        self.joins = False  # whether a loop has become a part of another
        self._made: list[_Made] = []
        self.states: list[int] = []  # numbers of their states
        self._used: set[int] = set()  # that rows of the new table read

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────
    def read_of(self, row: int) -> tuple[int, Region]:
        """The loop that a read is of, and its place there."""
        col = self.old._lists
        at = col["c"][row]
        return col["a"][row], tuple(self.old._pool_lists["statics"][at + 1 : at + 4])

    def places_of(self, reads: np.ndarray) -> np.ndarray:
        """Where reads begin in their loops."""
        return self.old.pools["statics"][self.old.columns["c"][reads] + 1]

    def read(self, b: Builder, value: TurnValue, count: int = 1, step: int = 0) -> Ref:
        """The row of a value, or of so many: see `TurnValue.read`."""
        self._used.add(value.loop)
        return value.read(b, self.rows[value.loop], count, step)

    def is_of_a_turn(self, value: TurnValue) -> bool:
        """Whether a value is a result of a turn, not of the last state."""
        return value.at >= self.states[value.loop]

    def turns(self, b: Builder, number: int) -> int:
        """How many turns a loop has."""
        loop = loop_at(b, self.rows[number])
        assert loop is not None
        return loop.length

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────────────
    def copied(self, ref: Ref, row: Row) -> TurnValue:
        """The loop in a row of the old table, whose copy is row `ref`."""
        return TurnValue(self._add(ref, _Made(row.index), row.sub.sizes.state), 0, ValueType(row.shape, row.dtype))

    def begin(self, ref: Ref, body: Body, pattern: Pattern) -> int:
        """The number of a new loop."""
        return self._add(ref, _Made(-1, pattern, body), body.state_size)

    def go_on(self, number: int, ref: Ref, body: Body, pattern: Pattern) -> None:
        """A loop has become a longer one."""
        self.rows[number], self._made[number], self.joins = ref, _Made(-1, pattern, body), True

    def _add(self, ref: Ref, made: _Made, state: int) -> int:
        self.rows.append(ref)
        self._made.append(made)
        self.states.append(state)
        return len(self.rows) - 1

    # ── a loop that goes on ──────────────────────────────────────────────────────────────────────────────────
    def ended_by(self, b: Builder, p: Pattern, body: Body, starts: Sequence[Ref | TurnValue]) -> int | None:
        """The loop whose last state these values are, and then the sums of a body, and nothing else reads that state;
        None if there is none."""
        first = starts[0] if starts else None
        if not isinstance(first, TurnValue) or first.loop in self._used:
            return None
        own, loop = first.loop, loop_at(b, self.rows[first.loop])
        if loop is None or loop.length < 0 or loop.sizes.state != body.state_size:
            return None
        at, results = 0, _results_of(body)
        for (j, back), x in zip(body.carried, starts, strict=True):
            kind = body.kind(body.rows[0, j])
            last = loop.sizes.state + (loop.length - back) * loop.sizes.result + results.get(j, 0)
            if x != (own, at, kind) and (j not in results or back > loop.length or x != (own, last, kind)):
                return None
            at += kind.size
        return own if self._has_sums(b, own, at, body.sums) and self._is_apart(own, p) else None

    def _has_sums(self, b: Builder, own: int, at: int, sums: Sequence[Sum]) -> bool:
        loop, x = loop_at(b, self.rows[own]), b.definition(self.rows[own])[1]
        assert loop is not None
        for k, one in enumerate(sums):
            start = b.scalar(b.region(x, (at + k, 1, 1), (), "d"))
            if start is None or Sum(start, one.step).after(loop.length) != one.first:
                return False
        return True

    def _is_apart(self, own: int, p: Pattern) -> bool:
        """Whether only rows of a pattern read the last state of a loop."""
        s, made, old = self.s, self._made[own], self.old
        owner = np.repeat(np.arange(len(old)), s.counts)
        inside = np.zeros(len(old), bool)
        inside[s.rows[p.start : p.end]] = True
        if made.pattern is None or made.body is None:
            users = owner[s.operands == made.row]
            if not self.is_read[users].all() or (made.row in old.outputs and made.row not in self._held):
                return False
            states = users[[self.read_of(row)[1][0] < self.states[own] for row in users.tolist()]]
        else:
            body, turns = made.body, len(made.body.rows)
            ends = [body.rows[turns - back, j] for j, back in body.carried if back <= turns and j not in body.results]
            states = np.array(ends, np.int64)
            inside[s.rows[made.pattern.start : made.pattern.end]] = True
        wanted = np.isin(s.operands, states)
        return bool(inside[owner[wanted]].all()) and not np.isin(np.array(old.outputs), states).any()


def _results_of(body: Body) -> dict[int, int]:
    """Where each row's value is among the results of a turn."""
    found, at = {}, 0
    for j in body.results:
        found[j] = at
        at += body.kind(body.rows[0, j]).size
    return found
