"""`Schedule`, the interface of checkpoint schedules, and `Planned`, the base of fastad's own."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from fastad.calling import CalledKernel
from fastad.errors import ScheduleError
from fastad.kernels import plan_fields as f
from fastad.schedules.actions import Action, Code

MAX_STEPS = 2**31 - 1  # the product of two such numbers, which the planner forms, fits an int64
WORK_STATES = 2  # the state before a step and the one after it
_ROWS = 4096  # rows in the planner's buffer
_PLAN, _SURVEY = (CalledKernel("planning", name) for name in ("plan", "survey"))


class Schedule(ABC):
    """Which states of a loop are stored for its adjoint, and which are recomputed.

    A new schedule is a subclass that defines `actions`:

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

    `verify` proves that the actions are valid. The actions before the first REVERSE are the forward sweep; it ends with
    state n − 1 as the current one or in a slot. The first `memory_slots` slots are in memory, the others in a file on
    disk, at `path`.
    """

    memory_slots: int | None = None  # number of slots in memory; further ones are on disk. None: all in memory
    stores_all: bool = False  # whether every state has its own slot
    path: str | PathLike[str] | None = None  # for states on disk: a folder or a new file; None: a temporary file

    @abstractmethod
    def actions(self, n_steps: int) -> Iterator[Action]:
        """The actions for a loop of n_steps steps, one after another."""

    def array(self, n_steps: int) -> np.ndarray:
        """All actions as an int64 array of shape (number of actions, 4): code, start, stop, slot."""
        rows = np.array([tuple(a) for a in self.actions(n_steps)], np.int64)
        return rows.reshape(-1, 4)

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of `fastad.kernels.planning.plan`: an int64 vector, which it updates."""
        rows = self.array(steps_of(n_steps))
        state = np.concatenate([np.zeros(f.HEADER, np.int64), rows.ravel()])
        head = header(state)
        head.rule, head.steps, head.own = f.LISTED, len(rows), f.HEADER
        return state

    def resolve(self, n_steps: int | None, state_bytes: int) -> "Schedule":
        """The schedule for a loop of n_steps steps (None: unknown) with states of this size. `Auto` returns another
        one, and so does a schedule that must know the number of steps, if it is unknown: `Online` with as many states.
        """
        return self

    def open_state(self, most: int) -> np.ndarray:
        """The initial state of `fastad.kernels.online.choose`, for a loop whose number of steps is not known: it is at
        most `most`, if that is not negative. ScheduleError if there is none."""
        raise ScheduleError(
            f"{self!r} needs to know the number of steps; take fad.checkpoint.Online(snapshots), or let resolve(None, "
            "state_bytes) return such a schedule"
        )

    def open_slots(self, most: int) -> tuple[int, int]:
        """Slots in memory and on disk for that."""
        return self.slots(most)

    def predicted_steps(self, n_steps: int) -> int:
        """Number of steps run: the n − 1 of the forward sweep and all recomputed ones, without the n adjoint steps."""
        return self._survey(n_steps)[0]

    def slots(self, n_steps: int) -> tuple[int, int]:
        """The largest number of states stored at once: (in memory, on disk)."""
        memory, used = self._memory(steps_of(n_steps)), self._survey(n_steps)[1]
        return (used, 0) if memory is None else (memory, max(0, used - memory))

    def predicted_bytes(self, n_steps: int, state_bytes: int) -> int:
        """Memory for states of state_bytes bytes each: (slots in memory + 2 work states) × state_bytes."""
        return (self.slots(n_steps)[0] + WORK_STATES) * count_of(state_bytes, "state_bytes", 0)

    def disk_bytes(self, n_steps: int, state_bytes: int) -> int:
        """Size of the file for the states on disk: slots on disk × state_bytes."""
        return self.slots(n_steps)[1] * count_of(state_bytes, "state_bytes", 0)

    def _memory(self, n_steps: int) -> int | None:
        """Number of slots in memory for this many steps; None: all slots."""
        return self.memory_slots

    def _survey(self, n_steps: int) -> tuple[int, int, int, int]:
        """Totals over all actions: steps run, slots, writes to disk, reads from disk."""
        n = steps_of(n_steps)
        memory = self._memory(n)
        return surveyed(self.state(n), np.iinfo(np.int64).max if memory is None else memory)


class Planned(Schedule):
    """A schedule whose actions the planner generates in pieces, from `state`."""

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
        """The initial state of `fastad.kernels.planning.plan`: an int64 vector, which it updates."""

    def _chunks(self, n_steps: int) -> Iterator[np.ndarray]:
        state, buffer = self.state(n_steps), new_buffer()
        while count := _PLAN(state, buffer):
            yield buffer[:count]


def surveyed(state: np.ndarray, memory: int) -> tuple[int, int, int, int]:
    """Totals over all actions of a plan: steps run, slots, writes to and reads from slots from `memory` on."""
    totals = np.empty(4, np.int64)
    _SURVEY(totals, state, new_buffer(), memory)
    steps, slots, writes, reads = totals.tolist()
    return steps, slots, writes, reads


def header(state: np.ndarray) -> Any:
    """The record at the start of a plan's state, to be read and written by the names of its fields."""
    return state[: f.HEADER].view(f.PLAN).view(np.recarray)[0]


def nested(
    rule: int, n_steps: int, size: int, depth: int, slots: tuple[int, ...] = (), own: np.ndarray | None = None
) -> np.ndarray:
    """The planner's initial state: one segment of n_steps steps, and room for a stack of `depth` segments."""
    stack = f.HEADER
    taken = stack + depth + 1
    state = np.zeros(taken + len(slots) + (0 if own is None else own.size), np.int64)
    head = header(state)
    head.rule, head.steps, head.size = rule, n_steps, size
    head.stack, head.slots, head.own = stack, taken if slots else -1, taken + len(slots)
    state[taken : taken + len(slots)] = slots
    if own is not None:
        state[taken + len(slots) :] = own
    if n_steps:  # there is one segment, and its first state is the current one
        head.depth, head.fresh, head.stop = 1, 1, n_steps
    return state


def new_buffer() -> np.ndarray:
    """A buffer into which the planner writes actions."""
    return np.empty((_ROWS, 4), np.int64)


def steps_of(n_steps: Any) -> int:
    """n_steps as an int; ScheduleError if it is not an integer, or out of range."""
    n = count_of(n_steps, "n_steps", 0)
    if n > MAX_STEPS:
        raise ScheduleError(f"n_steps is {n}, but schedules go up to {MAX_STEPS} steps; nest two loops")
    return n


def count_of(value: Any, name: str, least: int) -> int:
    """The value as an int; ScheduleError, naming it, if it is not an integer, or less than `least`."""
    try:
        n = operator.index(value)
    except TypeError:
        raise ScheduleError(f"{name} must be an integer, got {value!r}") from None
    if n < least:
        raise ScheduleError(f"{name} must be at least {least}, got {n}")
    return n
