"""`Multistage`: the schedule for two tiers of storage, memory and disk."""

from dataclasses import dataclass, field
from functools import lru_cache
from math import inf, isqrt
from os import PathLike

import numpy as np

from fastad.errors import ScheduleError
from fastad.kernels import plan_fields as f
from fastad.schedules.base import Planned, Schedule, count_of, nested, steps_of
from fastad.schedules.online import Online

# Limits of the dynamic program (some seconds, 120 MB): lengths, lengths × slots on disk, lengths² × slots on disk.
_MOST_LENGTHS, _MOST_NUMBERS, _MOST_WORK = 100_000, 30_000_000, 100_000_000_000


@dataclass(frozen=True)
class Multistage(Planned):
    """The least cost for `memory` ≥ 1 states in memory and `disk` ≥ 0 further states on disk.

    `write` and `read` are the costs of writing a state to disk and of reading it, in forward steps; memory is free.
    The cost is the number of steps run (the n − 1 of the forward sweep included) + write × states written + read ×
    states read. The schedule is the optimum of H-Revolve for two levels, by dynamic programming: the first state of a
    segment goes to disk where that pays off, and the segment after the last state on disk is done in memory as by
    `Revolve`. Herrmann & Pallez (2020), H-Revolve, ACM TOMS 46(2).

    The dynamic program is exact for n ≤ 100,000 if n² × disk ≤ 10¹¹ (n ≤ 70,000 with 20 slots on disk), or if `disk` is
    at least the number of slots that can be of use. In longer loops, states on disk are chosen among every second,
    third, … state, so that planning takes seconds.

    Where the number of steps is not known before they are made, it is `Online` with as many states in memory and on
    disk, whatever writing and reading cost.

    `path` is a folder for the file with the states on disk, or the name of a new file; None: the system's folder for
    temporary files. The file is removed afterwards.

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
        """The initial state of the planner: one segment, and the list of splits that involve the disk."""
        n = steps_of(n_steps)
        memory, disk = self._within(n)
        listed = _listed(n, memory, disk, self.write, self.read)
        return nested(f.TIERED, n, memory, memory + disk, own=np.concatenate([[0], listed]))

    def resolve(self, n_steps: int | None, state_bytes: int) -> Schedule:
        """This one, or `Online` where the number of steps is not known."""
        return Online(self.memory, disk=self.disk, path=self.path) if n_steps is None else self

    def predicted_cost(self, n_steps: int) -> float:
        """Steps run + write × states written to disk + read × states read from disk."""
        steps, _, writes, reads = self._survey(n_steps)
        return steps + self.write * writes + self.read * reads

    def _memory(self, n_steps: int) -> int:
        return self._within(n_steps)[0]

    def _within(self, n: int) -> tuple[int, int]:
        """Slots in memory and on disk: at most n − 1 of each."""
        most = max(n - 1, 0)
        return min(self.memory, most), min(self.disk, most)


@lru_cache(16)
def _listed(n: int, memory: int, disk: int, write: float, read: float) -> np.ndarray:
    """The splits of the optimum that involve the disk, in the order in which the planner reads them."""
    if n < 2:
        return np.empty(0, np.int64)
    listed, used = _splits(n, memory, write, read, _unit(n, 1), None)
    if used <= disk:  # there are more slots on disk than can be of use
        return listed
    return _splits(n, memory, write, read, _unit(n, disk), disk)[0]


def _unit(n: int, disk: int) -> int:
    """The number of steps between states that may go to disk: 1 if the dynamic program is small enough."""
    slots = max(disk, 1)
    return -(-n // max(1, min(_MOST_LENGTHS, _MOST_NUMBERS // slots, isqrt(_MOST_WORK // slots))))


def _splits(n: int, memory: int, write: float, read: float, unit: int, disk: int | None) -> tuple[np.ndarray, int]:
    """(the splits with `disk` slots on disk, or for None with as many as can be of use; how many are used at once)."""
    from fastad.kernels import tiers  # imported late, because it imports numba

    length, unlimited = -(-n // unit), disk is None
    table = np.zeros((1 if disk is None else disk, length + 1), np.int32)
    work = np.zeros((3, length + 1)), np.zeros((2, length + 1), np.int64), np.zeros(2, np.int64)
    tiers.splits(memory, unit, write, read, unlimited, table, work)
    stack = np.empty((length if disk is None else disk) + 2, f.SEGMENT)
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
        raise ScheduleError(f"{name} must be a finite number of forward steps, 0 or more, got {value!r}")
    return cost
