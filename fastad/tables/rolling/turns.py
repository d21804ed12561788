"""Values of the turns of loops, which stand in the loops' results: read where they are wanted, many at once where they
follow each other."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fastad.primitives.distinct import numbered
from fastad.primitives.regions import Region, batched, region
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType

_MOST_STREAMS = 16  # that values of an assembly may come from in turns
_FEWEST = 3  # values of a stream


class TurnValue(NamedTuple):
    """A value in the result of a loop, `at` numbers from its start. `loop` is the loop's place in a list: its row may
    become another one."""

    loop: int
    at: int
    kind: ValueType

    def part(self, own: Region, kind: ValueType) -> "TurnValue | None":
        """What a read of this value is, if that is one piece."""
        if kind.dtype != self.kind.dtype and self.kind.dtype != "d":
            return None
        offset, size, stride = own if len(own) == 3 else (0, 0, 0)
        return TurnValue(self.loop, self.at + offset, kind) if stride == 1 and size == kind.size else None

    def read(self, b: Builder, out: Ref, count: int = 1, step: int = 0) -> Ref:
        """This value, given the row of the loop; or so many, each `step` numbers behind the one before it, along a new
        axis."""
        place = region(self.at, (count, self.kind.size), (step, 1))
        shape = self.kind.shape if count == 1 else (count, *self.kind.shape)
        return b.region(out, place, shape, self.kind.dtype)


def step_of(values: Sequence[object]) -> int | None:
    """How far each value is behind the one before it, where that is the same for all of them."""
    first = values[0]
    if not isinstance(first, TurnValue):
        return None
    if not all(isinstance(x, TurnValue) and x.loop == first.loop and x.kind == first.kind for x in values):
        return None
    steps = np.diff([x.at for x in values])  # type: ignore[attr-defined]
    return int(steps[0]) if len(steps) and steps[0] and (steps == steps[0]).all() else None


def streams(sort: np.ndarray, at: np.ndarray, regions: Sequence[Region]) -> Iterator[tuple[slice, Region]]:
    """The pieces of an assembly as few: those that are to be taken together, and the place of all of them. `sort`
    numbers the loops and types that values come from (negative: no loop), `at` are their places in the loops. The
    values of several rows of a loop may follow each other in turns."""
    n = len(sort)
    starts, forms = _starts_and_forms(regions)
    sort = np.where(sort < 0, -1 - np.arange(n), numbered(sort * (int(forms.max(initial=0)) + 1) + forms)[1])
    table = np.stack([sort, at, starts])
    ends = [_ends(table, k) for k in range(1, min(_MOST_STREAMS, n - 1) + 1)]
    start = 0
    while start < n:
        for k, end in enumerate(ends, 1):
            stop = int(end[start]) if start < len(end) else 0
            if stop - start >= _FEWEST * k and (k == 1 or _are_in_order(regions[start:stop])):
                for first in range(start, start + k):
                    own = slice(first, stop, k)
                    count = len(range(*own.indices(n)))
                    yield own, batched(regions[first], count, regions[first + k][0] - regions[first][0])
                start = stop
                break
        else:
            yield slice(start, start + 1), regions[start]
            start += 1


def _starts_and_forms(regions: Sequence[Region]) -> tuple[np.ndarray, np.ndarray]:
    """Where regions start, and numbers for their other parts."""
    known: dict[Region, int] = {}
    starts = np.array([r[0] for r in regions], np.int64)
    return starts, np.array([known.setdefault(r[1:], len(known)) for r in regions], np.int64)


def _ends(table: np.ndarray, k: int) -> np.ndarray:
    """For each piece, the end of those from there on of which each is as far behind the one k before it as the next."""
    apart = table[:, k:] - table[:, :-k]
    goes_on = np.ones(apart.shape[1], bool)
    goes_on[1:] = (apart[:, 1:] == apart[:, :-1]).all(axis=0)
    breaks = np.flatnonzero(~goes_on)
    after = np.append(breaks, apart.shape[1])[np.searchsorted(breaks, np.arange(apart.shape[1]), side="right")]
    return np.where((apart[0] == 0) & (apart[1] != 0), after + k, 0)


def _are_in_order(regions: Sequence[Region]) -> bool:
    """Whether each piece ends before the next one starts, so that they may be written in any order."""
    if any(len(r) != 3 or r[2] != 1 for r in regions):
        return False
    starts, sizes = np.array([r[:2] for r in regions]).T
    return bool((starts[1:] >= starts[:-1] + sizes[:-1]).all())
