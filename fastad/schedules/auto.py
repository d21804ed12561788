"""`Auto`: the schedule for a given number of bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fastad.errors import ScheduleError
from fastad.schedules.actions import Action
from fastad.schedules.base import WORK_STATES, Schedule, count_of, steps_of
from fastad.schedules.nested import Revolve, StoreAll
from fastad.schedules.online import Online


@dataclass(frozen=True)
class Auto(Schedule):
    """The fewest steps within `max_bytes` of memory for states: `StoreAll` if all states fit, else `Revolve`.

    The choice depends on the size of a state, which the loop passes to `resolve`. The other methods use `state_bytes`,
    by default 8, the size of one number.

    >>> Auto(10_000).resolve(n_steps=10, state_bytes=80), Auto(10_000).resolve(n_steps=1000, state_bytes=80)
    (StoreAll(), Revolve(snapshots=123))
    """

    max_bytes: int
    state_bytes: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_bytes", count_of(self.max_bytes, "max_bytes", 0))
        object.__setattr__(self, "state_bytes", count_of(self.state_bytes, "state_bytes", 0))

    def resolve(self, n_steps: int | None, state_bytes: int) -> Schedule:
        """The schedule for a loop of n_steps steps (None: unknown) with states of this size; `Online` if unknown.

        ScheduleError if max_bytes is less than one stored state and 2 work states need; the message says how much.
        """
        size = count_of(state_bytes, "state_bytes", 0)
        if n_steps is None:
            snapshots = self.max_bytes // max(size, 1) - WORK_STATES
            if snapshots < 1:
                raise ScheduleError(
                    f"max_bytes={self.max_bytes} is too small: an unknown number of steps with states of {size} bytes "
                    f"needs at least {Online(1).predicted_bytes(2, size)} bytes"
                )
            return Online(snapshots)
        n = steps_of(n_steps)
        if StoreAll().predicted_bytes(n, size) <= self.max_bytes:
            return StoreAll()
        snapshots = self.max_bytes // size - WORK_STATES
        if snapshots < 1:
            least = min(StoreAll().predicted_bytes(n, size), Revolve(1).predicted_bytes(n, size))
            raise ScheduleError(
                f"max_bytes={self.max_bytes} is too small: {n} steps with states of {size} bytes need "
                f"at least {least} bytes"
            )
        return Revolve(snapshots)

    def actions(self, n_steps: int) -> Iterator[Action]:
        """The actions for a loop of n_steps steps, one after another."""
        return self._resolved(n_steps).actions(n_steps)

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of `fastad.kernels.planning.plan`: an int64 vector, which it updates."""
        return self._resolved(n_steps).state(n_steps)

    def predicted_bytes(self, n_steps: int, state_bytes: int) -> int:
        """Memory that the schedule for this size of states needs."""
        return self.resolve(n_steps, state_bytes).predicted_bytes(n_steps, state_bytes)

    def _resolved(self, n_steps: int) -> Schedule:
        return self.resolve(n_steps, self.state_bytes)
