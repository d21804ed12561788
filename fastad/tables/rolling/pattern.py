"""What the operands of repeated rows are from turn to turn: carried, the same, or another one in each turn."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from fastad.primitives import PRIMITIVES, STRIDED, Elementwise
from fastad.tables.rolling.sequence import Sequence

NEAR, SAME, EACH = range(3)  # kinds of operands: at a constant distance, one row for all turns, one for each turn
_FARTHEST = 4  # turns that an operand may lie back
_IS_ELEMENTWISE = [isinstance(row, Elementwise) for row in PRIMITIVES]


@dataclass(frozen=True)
class Pattern:
    """A loop in a sequence: `turns` times `period` rows from place `start` on.

    Operands of a turn are numbered in order. `kinds[k]` is the kind of operand k, `distance[k]` how many places before
    its row it stands where it is NEAR, `operands[t, k]` its row in turn t. Rows that are `moved` read another region
    of the same value in each turn.
    """

    start: int
    period: int
    turns: int
    kinds: np.ndarray
    distance: np.ndarray
    operands: np.ndarray
    moved: np.ndarray
    slots: tuple[range, ...]  # the operands of each row

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
        first = {j: int(turns[places == j].min()) for j in np.unique(places).tolist()}
        reach = self.reach()
        return {j: t for j, t in first.items() if self.turns - t > reach.get(j, 0)}

    def of_fewer(self, turns: int) -> "Pattern":
        """Its first turns."""
        return replace(self, turns=turns, operands=self.operands[:turns])


def pattern_of(s: Sequence, start: int, end: int, period: int, least: int) -> Pattern | None:
    """The longest loop of this period within a range of places; None if it has fewer turns than `least`."""
    start += _phase(s, start, end, period)
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
    distance = np.where(at >= 0, places - at, -1)
    near = (at[1:] >= 0) & (at[:-1] >= 0) & (distance[1:] == distance[:-1]) & (distance[1:] <= _FARTHEST * period)
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
    reach = int(np.max(back, initial=0))
    if reach == 1:
        t = max(first - 1, 0)
        _swap_first(s, operands[t], operands[middle], left, back)
        at_first = s.at[operands[t]]
        types = s.table.columns["type"]
        before = (types[operands[t]] == types[operands[middle]]) & (at_first < start + t * period)
        local = (kinds == NEAR) & (places[t] - at_first == expected) & (at_first >= 0)
        outer = (kinds != NEAR) & before & ((kinds == EACH) | (operands[t] == operands[middle]))
        starts = np.where(back == 1, before, local | outer)
        sources = zip((owner - expected)[back == 1].tolist(), operands[t, back == 1].tolist(), strict=True)
        if holds[t] and starts.all() and _is_function(sources):
            first, reach = t, 0
    shared = s.at[operands[min(first, turns - 1)]][kinds == SAME]  # may be rows of a first turn, which is left as it is
    first = max(first, reach, int(np.max((shared - start) // period + 1, initial=0)))
    if last - first < least or not back.any():
        return None
    return Pattern(start + first * period, period, last - first, kinds, expected, operands[first:last], moved, slots)


def _is_function(pairs: Iterable[tuple[int, int]]) -> bool:
    """Whether the second of a pair follows from the first."""
    known: dict[int, int] = {}
    return all(known.setdefault(a, b) == b for a, b in pairs)


def _mostly(found: np.ndarray) -> np.ndarray:
    return 2 * found.sum(axis=0) > len(found)


def _phase(s: Sequence, start: int, end: int, period: int) -> int:
    """Where in the period a turn starts best: where the fewest numbers are carried on."""
    middle = start + ((end - start) // period // 2) * period
    live = np.zeros(period, np.int64)
    sizes = s.table.sizes
    farthest = np.zeros(period, np.int64)
    for j in range(period):
        row = int(s.rows[middle - period + j])
        own = s.at[s.operands[s.starts[row] :][: s.counts[row]]]
        distance = middle - period + j - own[own >= 0]
        for d in distance[distance <= _FARTHEST * period].tolist():
            farthest[(j - d) % period] = max(farthest[(j - d) % period], d)
    for j, d in enumerate(farthest.tolist()):
        size = int(sizes[s.rows[start + j]])
        live += size * (d // period)
        live[(j + 1 + np.arange(d % period)) % period] += size
    return int(np.argmin(live))


def _in_one_order(s: Sequence, left: np.ndarray, operands: np.ndarray, places: np.ndarray) -> None:
    """Swap operands that may be swapped, the left ones given, so that those of a kind stand in one place: the builder
    sorts them by row."""
    a, b = operands[:, left], operands[:, left + 1]
    rank_a, rank_b = (_rank(s, x, places[:, left]) for x in (a, b))
    swapped = rank_a > rank_b
    operands[:, left], operands[:, left + 1] = np.where(swapped, b, a), np.where(swapped, a, b)


def _swap_first(s: Sequence, first: np.ndarray, usual: np.ndarray, left: np.ndarray, back: np.ndarray) -> None:
    """The same in the first turn, where what is carried may be of any kind."""
    op = s.table.columns["op"]
    for a in left.tolist():
        carried, other = (a, a + 1) if back[a] else (a + 1, a)
        if not back[carried] or back[other]:
            continue
        equal = first[[carried, other]] == usual[other]
        alike = op[first[[carried, other]]] == op[usual[other]]
        if (equal[0] and not equal[1]) or (alike[0] and not alike[1]):
            first[[carried, other]] = first[[other, carried]]


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
