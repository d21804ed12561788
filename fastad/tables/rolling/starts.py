"""The first turns of a loop: they take from the rows before it what later turns take from the turns before them."""

from typing import NamedTuple

import numpy as np

from fastad.tables.rolling.sequence import Sequence

FIXED = 1  # of the kinds of operands in `pattern`: one row for all turns


class Turns(NamedTuple):
    """The operands of all turns of a range of rows, one line for each turn, before it is known where the loop starts.

    Operand k belongs to row `owner[k]` of its turn and lies `back[k]` turns back (0: it does not, or in no earlier
    turn), `distance[k]` rows before its own one where that is not -1. `kinds` are those of `Pattern`, `left` the left
    ones of operands that may be swapped, `holds` says in which turns the rest is as in the others, `usual` are the
    operands of a turn that is.
    """

    start: int
    period: int
    operands: np.ndarray
    owner: np.ndarray
    back: np.ndarray
    distance: np.ndarray
    kinds: np.ndarray
    left: np.ndarray
    holds: np.ndarray
    usual: np.ndarray


def first_rows(s: Sequence, turns: Turns, t0: int) -> dict[tuple[int, int], int] | None:
    """For row j of so many turns before turn `t0`, the row that a loop from there on starts with; None if the loop
    cannot start there. Operands that may be swapped are, where that helps."""
    found: dict[tuple[int, int], int] = {}
    reach = int(turns.back.max())
    if t0 + reach > len(turns.operands) or not turns.holds[t0 : t0 + reach].all():
        return None
    for t in range(t0 + reach - 1, t0 - 1, -1):
        if not _Start(s, turns, t0, t, found).add():
            return None
    return found


class _Start:
    """Turn `t` of a loop that starts with turn `t0`; `found` is what later turns start with."""

    def __init__(self, s: Sequence, turns: Turns, t0: int, t: int, found: dict[tuple[int, int], int]) -> None:
        self.s, self.turns, self.found, self.depth = s, turns, found, t - t0
        self.own = turns.operands[t]
        self.begin = turns.start + t0 * turns.period
        self.expected = turns.start + t * turns.period + turns.owner - turns.distance
        self.is_carried = turns.back > self.depth

    def add(self) -> bool:
        """Note the rows that this turn starts with; False if it does not fit."""
        self._swap()
        own, turns, type_of = self.own, self.turns, self.s.table.columns["type"]
        at = self.s.at[own]
        before = (type_of[own] == type_of[turns.usual]) & (at < self.begin)
        local = (turns.distance >= 0) & ~self.is_carried & (at == self.expected)
        outer = (turns.distance < 0) & before & ((turns.kinds != FIXED) | (own == turns.usual))
        if not np.where(self.is_carried, before, local | outer).all():
            return False
        carried = np.flatnonzero(self.is_carried).tolist()
        return all(self.found.setdefault(self._slot(k), int(own[k])) == own[k] for k in carried)

    def _slot(self, k: int) -> tuple[int, int]:
        turns = self.turns
        return int((turns.owner[k] - turns.distance[k]) % turns.period), int(turns.back[k]) - self.depth

    def _swap(self) -> None:
        """What is carried may be of any kind here, so the two were put into another order than in other turns. Where
        both are carried, the other operands may tell which is which."""
        left = self.turns.left.tolist()
        alone = np.setdiff1d(np.flatnonzero(self.is_carried), [*left, *(a + 1 for a in left)])
        for k in alone.tolist():
            self.found.setdefault(self._slot(k), int(self.own[k]))
        carried = [int(self.is_carried[a]) + int(self.is_carried[a + 1]) for a in left]
        for a, count in sorted(zip(left, carried, strict=True), key=lambda pair: pair[1]):
            if count and self._fit(a, a + 1) < self._fit(a + 1, a):
                self.own[[a, a + 1]] = self.own[[a + 1, a]]
            if count == 1:
                k = a if self.is_carried[a] else a + 1
                self.found.setdefault(self._slot(k), int(self.own[k]))

    def _fit(self, x: int, y: int) -> int:
        """How well the rows at x and y are the operands a and a + 1, where a is the lesser of the two."""
        a = min(x, y)
        return self._fits(x, a) + self._fits(y, a + 1)

    def _fits(self, x: int, k: int) -> int:
        row, turns, op = int(self.own[x]), self.turns, self.s.table.columns["op"]
        if self.is_carried[k]:
            known = self.found.get(self._slot(k))
            return 0 if known is None else 4 if known == row else -4
        if turns.distance[k] >= 0:
            return 4 if self.s.at[row] == self.expected[k] else -4
        return 2 * bool(row == turns.usual[k]) + bool(op[row] == op[turns.usual[k]])
