"""What the operands of repeated rows are from turn to turn: carried, the same, or another one in each turn."""

from dataclasses import dataclass, replace

import numpy as np

from fastad.primitives import PRIMITIVES, STRIDED, Elementwise
from fastad.tables.rolling.sequence import Sequence
from fastad.tables.rolling.starts import FIXED, Turns, first_rows

NEAR, SAME, EACH = 0, FIXED, 2  # kinds of operands: at a constant distance, one row for all turns, one for each turn
# Turns that an operand may lie back; those of few numbers may lie further back, as lags of a series do.
_FARTHEST, _FARTHEST_OF_FEW = 4, 64
_FEW = 256  # numbers of all these turns
_IS_ELEMENTWISE = [isinstance(row, Elementwise) for row in PRIMITIVES]


@dataclass(frozen=True)
class Pattern:
    """A loop in a sequence: `turns` times `period` rows from place `start` on.

    Operands of a turn are numbered in order. `kinds[k]` is the kind of operand k, `distance[k]` how many places before
    its row it stands where it is NEAR, `operands[t, k]` its row in turn t. Rows that are `moved` read another region
    of the same value in each turn. `first[j, back]` is the row that the first turns take for row j of so many turns
    before them.
    """

    start: int
    period: int
    turns: int
    kinds: np.ndarray
    distance: np.ndarray
    operands: np.ndarray
    moved: np.ndarray
    slots: tuple[range, ...]  # the operands of each row
    first: dict[tuple[int, int], int]

    @property
    def end(self) -> int:
        return self.start + self.turns * self.period

    def source(self, row: int, operand: int) -> tuple[int, int]:
        """The row of the turn that a NEAR operand of a row is, and how many turns it lies back."""
        turns, place = divmod(row - int(self.distance[operand]), self.period)
        return place, -turns

    def reach(self) -> dict[int, int]:
        """For each row of the turn that turns read, how many of them it lies back at most."""
        found: dict[int, int] = {}
        for j, slots in enumerate(self.slots):
            for k in slots:
                if self.kinds[k] == NEAR:
                    place, back = self.source(j, k)
                    found[place] = max(found.get(place, 0), back)
        return found

    def results(self, uses: np.ndarray) -> dict[int, int]:
        """For each row of the turn whose values are wanted of more turns than are carried on: the first of these, given
        the places that rows outside of the loop refer to."""
        turns, places = np.divmod(uses - self.start, self.period)
        earliest = np.full(self.period, self.turns, np.int64)
        np.minimum.at(earliest, places, turns)
        first, reach = dict(enumerate(earliest.tolist())), self.reach()
        return {j: t for j, t in first.items() if self.turns - t > reach.get(j, 0)}

    def of_fewer(self, turns: int) -> "Pattern":
        """Its first turns."""
        return replace(self, turns=turns, operands=self.operands[:turns])


def pattern_of(s: Sequence, start: int, end: int, period: int, least: int, follows: bool = False) -> Pattern | None:
    """The longest loop of this period within a range of places; None if it has fewer turns than `least`. Turns of one
    that `follows` another loop start where that one's turns ended."""
    start += 0 if follows else _phase(s, start, end, period)
    turns = (end - start) // period
    if turns < least:
        return None
    rows = s.rows[start : start + turns * period].reshape(turns, period)
    counts = s.counts[rows[0]]
    ends = np.cumsum(counts)
    slots = tuple(range(b - n, b) for n, b in zip(counts.tolist(), ends.tolist(), strict=True))
    owner = np.repeat(np.arange(period), counts)
    inside = np.arange(len(owner)) - np.repeat(ends - counts, counts)
    operands = s.operands[s.starts[rows][:, owner] + inside]
    places = start + np.arange(turns)[:, None] * period + owner
    left = np.array([own.start for own, row in zip(slots, rows[0].tolist(), strict=True) if s.commutes[row]], int)
    _in_one_order(s, left, operands, places)
    at = s.at[operands]
    farthest = _farthest(s.table.sizes[operands[turns // 2]])
    distance = np.where(at >= 0, places - at, -1)
    near = (at[:-1] >= start) & (distance[1:] == distance[:-1]) & (distance[1:] <= farthest * period)
    same = operands[1:] == operands[:-1]
    kinds = np.where(_mostly(near), NEAR, np.where(_mostly(same), SAME, EACH))
    middle = turns // 2
    expected = np.where(kinds == NEAR, distance[middle], -1)
    moved, holds = _moving(s, rows, owner, kinds)
    outside = (at < 0) | (at < start)  # of the first turn: the loop may start later
    alike = s.table.columns["type"][operands] == s.table.columns["type"][operands[middle]]
    own = np.where(kinds == NEAR, distance == expected, alike & (outside | (kinds == SAME)))
    fine = own.all(axis=1) & holds
    steady = np.ones(turns, bool)
    steady[1:] = (same | (kinds != SAME)).all(axis=1)
    first, last = _longest(fine, steady)
    back = np.where(kinds == NEAR, -((owner - expected) // period), 0)  # turns
    if last - first < least - 1 or not back.any():
        return None
    own_turns = Turns(start, period, operands, owner, back, expected, kinds, left, holds, operands[first].copy())
    found = _start(s, own_turns, first)
    if found is None or last - found[0] < least:
        return None
    first, before = found
    start += first * period
    return Pattern(start, period, last - first, kinds, expected, operands[first:last], moved, slots, before)


def _start(s: Sequence, turns: Turns, regular: int) -> tuple[int, dict[tuple[int, int], int]] | None:
    """The first turn of a loop and the rows that it starts with. Turn `regular` and those after it are alike; turns
    before it may take from elsewhere what later ones take from the loop."""
    reach = int(turns.back.max())
    shared = s.at[turns.usual][turns.kinds == SAME]  # may be rows of a first turn, which is left as it is
    least = int(np.max((shared - turns.start) // turns.period + 1, initial=0))
    for t in dict.fromkeys(max(t, least) for t in (regular - reach, regular, max(regular, reach))):
        before = first_rows(s, turns, t)
        if before is not None:
            return t, before
    return None


def _farthest(sizes: np.ndarray) -> np.ndarray:
    """Turns that operands of these sizes may lie back."""
    return np.clip(_FEW // np.maximum(sizes, 1), _FARTHEST, _FARTHEST_OF_FEW)


def _mostly(found: np.ndarray) -> np.ndarray:
    return 2 * found.sum(axis=0) > len(found)


def _phase(s: Sequence, start: int, end: int, period: int) -> int:
    """Where in the period a turn starts best: where the fewest numbers are carried on, and not with a read of them.
    Such a read becomes one of the loop's result where the loop goes on, which then starts behind it."""
    middle = start + ((end - start) // period // 2) * period
    sizes, turn = s.table.sizes, s.rows[middle - period : middle]
    counts = s.counts[turn]
    owner = np.repeat(np.arange(period), counts)
    inside = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = s.at[s.operands[s.starts[turn][owner] + inside]]
    owner, at = owner[at >= 0], at[at >= 0]
    distance = middle - period + owner - at
    near = distance <= _farthest(sizes[s.rows[at]]) * period
    farthest = np.zeros(period, np.int64)
    np.maximum.at(farthest, (at[near] - middle) % period, distance[near])
    # Row j is carried on over so many places from j + 1 on, around the period.
    own, begin = sizes[s.rows[start : start + period]], np.arange(1, period + 1)
    change = np.zeros(2 * period + 1, np.int64)
    np.add.at(change, begin, own)
    np.subtract.at(change, begin + farthest % period, own)
    live = np.cumsum(change)[: 2 * period].reshape(2, period).sum(axis=0)
    best = np.flatnonzero(live == live.min())
    is_read = s.table.columns["op"][s.rows[start + best]] == STRIDED.code
    return int(best[np.argmin(is_read)])


def _in_one_order(s: Sequence, left: np.ndarray, operands: np.ndarray, places: np.ndarray) -> None:
    """Swap operands that may be swapped, the left ones given, so that those of a kind stand in one place: the builder
    sorts them by row."""
    a, b = operands[:, left], operands[:, left + 1]
    rank_a, rank_b = (_rank(s, x, places[:, left]) for x in (a, b))
    swapped = rank_a > rank_b
    operands[:, left], operands[:, left + 1] = np.where(swapped, b, a), np.where(swapped, a, b)


def _rank(s: Sequence, operands: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows of the sequence by their distance, then what is read of inputs, then constants."""
    at = s.at[operands]
    code = s.table.columns["op"].astype(np.int64)[operands]
    return np.where(at >= 0, places - at, len(s.at) + code)


def _moving(s: Sequence, rows: np.ndarray, owner: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows read another region of one value in each turn; and which turns have the static integers of most."""
    op, c = s.table.columns["op"][rows[0]], s.table.columns["c"][rows]
    has_statics = np.array([not _IS_ELEMENTWISE[code] for code in op.tolist()])
    usual = c[len(c) // 2]
    differs = has_statics & ~_mostly(c == usual)
    carried = np.zeros(len(op), bool)
    carried[owner[kinds == NEAR]] = True
    moved = differs & (op == STRIDED.code) & ~carried
    return moved, ((c == usual) | ~has_statics | moved).all(axis=1)


def _longest(fine: np.ndarray, steady: np.ndarray) -> tuple[int, int]:
    """The longest range of turns that are all fine, and each steady to the one before."""
    best, start = (0, 0), 0
    for t in range(len(fine)):
        if not fine[t]:
            start = t + 1
        elif not steady[t]:
            start = t
        if t + 1 - start > best[1] - best[0]:
            best = (start, t + 1)
    return best
