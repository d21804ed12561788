"""The schedule for two tiers of storage, memory and disk."""

from dataclasses import dataclass, field
from functools import lru_cache
from math import inf, isqrt
from os import PathLike

import numpy as np

from fastad.errors import ScheduleError
from fastad.kernels import plan_fields as f
from fastad.schedules.base import Planned, count_of, steps_of
from fastad.schedules.nested import nested

# Limits of the dynamic program, for some seconds and 120 MB: lengths, lengths × slots on disk, lengths² × slots.
_MOST_LENGTHS, _MOST_NUMBERS, _MOST_WORK = 100_000, 30_000_000, 100_000_000_000


@dataclass(frozen=True)
class Multistage(Planned):
    """The least cost for `memory` states in memory and `disk` more on disk, where writing and reading cost time.

    `write` and `read` are what it costs to write a state to disk and to read it, in forward steps; memory is free.
    The cost is the number of steps run, the first sweep's n − 1 included, + write × states written + read × states
    read. The optimum of H-Revolve for two levels, by dynamic programming: a segment's first state goes to disk where
    that pays off, and below the last state on disk the part is done in memory, as `Revolve` does.
    Herrmann & Pallez (2020), H-Revolve, ACM TOMS 46(2).

    The program is exact for n ≤ 100,000 as long as n² × disk ≤ 10¹¹ (n ≤ 70,000 with 20 slots on disk), or `disk` is
    more than can be of use. In longer loops, states on disk are chosen among every second, third, … state, so that
    planning takes seconds.

    `path` is the file for the states on disk, removed afterwards (None: a temporary one); memory ≥ 1, disk ≥ 0.

    >>> schedule = Multistage(memory=5, disk=5, write=2, read=2)
    >>> schedule.predicted_cost(100), schedule.predicted_steps(100), schedule.slots(100)
    (257.0, 237, (5, 5))
    """

    memory: int
    disk: int
    path: str | PathLike[str] | None = None
    write: float = field(default=2.0, kw_only=True)
    read: float = field(default=2.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", count_of(self.memory, "memory", 1))
        object.__setattr__(self, "disk", count_of(self.disk, "disk", 0))
        for name in ("write", "read"):
            object.__setattr__(self, name, _cost(getattr(self, name), name))

    def state(self, n_steps: int) -> np.ndarray:
        """The planner's: one segment, and the splits that involve the disk, listed."""
        n = steps_of(n_steps)
        memory, disk = self._within(n)
        listed = _listed(n, memory, disk, self.write, self.read)
        return nested(f.TIERED, n, memory, memory + disk, own=np.concatenate([[0], listed]))

    def predicted_cost(self, n_steps: int) -> float:
        """Steps run + write × states written to disk + read × states read from disk."""
        steps, _, writes, reads = self._survey(n_steps)
        return steps + self.write * writes + self.read * reads

    def _memory(self, n_steps: int) -> int:
        return self._within(n_steps)[0]

    def _within(self, n: int) -> tuple[int, int]:
        """Slots in memory and on disk: no more than there are states worth to be stored, n − 1."""
        most = max(n - 1, 0)
        return min(self.memory, most), min(self.disk, most)


@lru_cache(16)
def _listed(n: int, memory: int, disk: int, write: float, read: float) -> np.ndarray:
    """The splits of the optimum that involve the disk, in the order in which the planner asks for them."""
    if n < 2:
        return np.empty(0, np.int64)
    listed, used = _splits(n, memory, write, read, _unit(n, 1), None)
    if used <= disk:  # more slots on disk would be of no use
        return listed
    return _splits(n, memory, write, read, _unit(n, disk), disk)[0]


def _unit(n: int, disk: int) -> int:
    """Steps between the states that may go to disk: 1 if the dynamic program is small enough."""
    slots = max(disk, 1)
    return -(-n // max(1, min(_MOST_LENGTHS, _MOST_NUMBERS // slots, isqrt(_MOST_WORK // slots))))


def _splits(n: int, memory: int, write: float, read: float, unit: int, disk: int | None) -> tuple[np.ndarray, int]:
    """The splits with so many slots on disk (None: as many as are of use), and how many of these are used at once."""
    from fastad.kernels import tiers  # when it is needed: this imports numba

    length, unlimited = -(-n // unit), disk is None
    table = np.zeros((1 if disk is None else disk, length + 1), np.int32)
    work = np.zeros((3, length + 1)), np.zeros((2, length + 1), np.int64), np.zeros(2, np.int64)
    tiers.splits(memory, unit, write, read, unlimited, table, work)
    stack = np.empty(((length if disk is None else disk) + 2, 3), np.int64)
    count, used = tiers.listed_splits(table, n, unit, unlimited, stack, np.empty(0, np.int64))
    out = np.empty(count, np.int64)
    tiers.listed_splits(table, n, unit, unlimited, stack, out)
    return out, used


def _cost(value: float, name: str) -> float:
    try:
        cost = float(value)
    except (TypeError, ValueError):
        raise ScheduleError(f"{name} must be a number of forward steps, got {value!r}") from None
    if not 0 <= cost < inf:
        raise ScheduleError(f"{name} must be a number of forward steps, 0 or more, got {value!r}")
    return cost
