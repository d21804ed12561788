"""What every checkpoint schedule offers."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from fastad.errors import ScheduleError
from fastad.kernels import plan_fields as f
from fastad.schedules.actions import Action, Code

MAX_STEPS = 2**31 - 1  # the planner multiplies two numbers of this size
WORK_STATES = 2  # a step leads from one to the other
_ROWS = 4096  # of the planner's buffer


class Schedule(ABC):
    """Which states of a loop of n steps are kept for its adjoint. A new schedule is a subclass that gives `actions`:

    >>> from fastad.schedules.actions import Action, Code
    >>> class KeepLast(Schedule):
    ...     def actions(self, n_steps):
    ...         yield Action(Code.ADVANCE, 0, n_steps - 1, -1)
    ...         for k in reversed(range(n_steps)):
    ...             yield Action(Code.REVERSE, k, k + 1, -1)
    ...             if k > 0:
    ...                 yield Action(Code.RESTART, 0, 0, -1)
    ...                 if k > 1:
    ...                     yield Action(Code.ADVANCE, 0, k - 1, -1)
    >>> KeepLast().predicted_steps(5)
    10

    `verify` proves that the actions are a valid schedule. Up to the first REVERSE they are the forward sweep, which
    ends with state n − 1 as the current one or in a slot. Slots of states on disk come after those in memory: give
    their number in `memory_slots` and, if wanted, a file's name in `path`.
    """

    memory_slots: int | None = None  # slots in memory; those beyond are on disk. None: all in memory
    stores_all: bool = False  # whether every state has a slot of its own
    path: str | PathLike[str] | None = None  # of the file that holds the states on disk; None: a temporary one

    @abstractmethod
    def actions(self, n_steps: int) -> Iterator[Action]:
        """The actions for a loop of n_steps steps, one after another."""

    def array(self, n_steps: int) -> np.ndarray:
        """All actions as an int64 array of shape (number of actions, 4): code, start, stop, slot."""
        rows = np.array([tuple(a) for a in self.actions(n_steps)], np.int64)
        return rows.reshape(-1, 4)

    def state(self, n_steps: int) -> np.ndarray:
        """What `fastad.kernels.planning.plan` starts from: an int64 vector, which it then changes."""
        rows = self.array(steps_of(n_steps))
        header = np.zeros(f.HEADER, np.int64)
        header[[f.RULE, f.STEPS, f.OWN]] = f.LISTED, len(rows), f.HEADER
        return np.concatenate([header, rows.ravel()])

    def resolve(self, n_steps: int | None, state_bytes: int) -> "Schedule":
        """The schedule for a loop of n_steps steps (None: unknown) with states of this size: itself, unless it depends
        on the size."""
        return self

    def predicted_steps(self, n_steps: int) -> int:
        """How many steps are run, the forward sweep's first n − 1 included; the n adjoint steps are not counted."""
        return self._survey(n_steps)[0]

    def slots(self, n_steps: int) -> tuple[int, int]:
        """How many states are kept at once at most: (in memory, on disk)."""
        memory, used = self._memory(steps_of(n_steps)), self._survey(n_steps)[1]
        return (used, 0) if memory is None else (memory, max(0, used - memory))

    def predicted_bytes(self, n_steps: int, state_bytes: int) -> int:
        """Memory for states of state_bytes bytes each: (slots in memory + 2 states to work with) × state_bytes."""
        return (self.slots(n_steps)[0] + WORK_STATES) * count_of(state_bytes, "state_bytes", 0)

    def disk_bytes(self, n_steps: int, state_bytes: int) -> int:
        """Size of the file for the states on disk: slots on disk × state_bytes."""
        return self.slots(n_steps)[1] * count_of(state_bytes, "state_bytes", 0)

    def _memory(self, n_steps: int) -> int | None:
        """Slots in memory for so many steps; None: all slots."""
        return self.memory_slots

    def _survey(self, n_steps: int) -> tuple[int, int, int, int]:
        """Totals over all actions: steps run, slots, writes to disk, reads from disk."""
        from fastad.kernels import planning  # when it is needed: this imports numba

        n = steps_of(n_steps)
        memory = self._memory(n)
        totals = planning.survey(self.state(n), new_buffer(), np.iinfo(np.int64).max if memory is None else memory)
        return tuple(map(int, totals))  # type: ignore[return-value]


class Planned(Schedule):
    """A schedule whose actions the planner makes as they are needed, from `state`."""

    def actions(self, n_steps: int) -> Iterator[Action]:
        """The actions for a loop of n_steps steps, one after another."""
        for rows in self._chunks(steps_of(n_steps)):
            for code, *rest in rows.tolist():
                yield Action(Code(code), *rest)

    def array(self, n_steps: int) -> np.ndarray:
        """All actions as an int64 array of shape (number of actions, 4): code, start, stop, slot."""
        empty = np.empty((0, 4), np.int64)
        return np.concatenate([empty, *(rows.copy() for rows in self._chunks(steps_of(n_steps)))])

    @abstractmethod
    def state(self, n_steps: int) -> np.ndarray:
        """What `fastad.kernels.planning.plan` starts from: an int64 vector, which it then changes."""

    def _chunks(self, n_steps: int) -> Iterator[np.ndarray]:
        from fastad.kernels import planning

        state, buffer = self.state(n_steps), new_buffer()
        while count := planning.plan(state, buffer):
            yield buffer[:count]


def new_buffer() -> np.ndarray:
    """Room for the planner to write actions to."""
    return np.empty((_ROWS, 4), np.int64)


def steps_of(n_steps: Any) -> int:
    """n_steps as an int; ScheduleError if it is none, or out of range."""
    n = count_of(n_steps, "n_steps", 0)
    if n > MAX_STEPS:
        raise ScheduleError(f"n_steps is {n}; schedules go up to {MAX_STEPS} steps: nest two loops")
    return n


def count_of(value: Any, name: str, least: int) -> int:
    """A number of things as an int; ScheduleError if it is none, or less than `least`."""
    try:
        n = operator.index(value)
    except TypeError:
        raise ScheduleError(f"{name} must be an integer, got {value!r}") from None
    if n < least:
        raise ScheduleError(f"{name} must be at least {least}, got {n}")
    return n
