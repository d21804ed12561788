"""Schedules as data for files: those of fastad by name and numbers, any other one as its list of actions."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fastad.errors import ScheduleError
from fastad.schedules.actions import Action, Code
from fastad.schedules.auto import Auto
from fastad.schedules.base import Schedule, steps_of
from fastad.schedules.nested import Periodic, Revolve, StoreAll, StoreNone
from fastad.schedules.online import Online
from fastad.schedules.tiered import Multistage
from fastad.schedules.verify import verify

_OWN: dict[str, Any] = {c.__name__: c for c in (StoreAll, StoreNone, Revolve, Periodic, Multistage, Online, Auto)}
_LISTED = "Listed"


@dataclass(frozen=True)
class Listed(Schedule):
    """A list of actions, for a loop of one number of steps."""

    rows: tuple[tuple[int, int, int, int], ...]
    n_steps: int
    memory_slots: int | None = None

    def actions(self, n_steps: int) -> Iterator[Action]:
        """The actions; ScheduleError for a loop of another length."""
        if n_steps != self.n_steps:
            raise ScheduleError(f"this is the list of actions for {self.n_steps} steps, not for {n_steps}")
        return (Action(Code(code), *rest) for code, *rest in self.rows)


def to_data(schedule: Schedule, n_steps: int) -> tuple[dict[str, Any], np.ndarray | None]:
    """What describes a schedule, as JSON can hold it, and its actions if they are needed.

    The file for states on disk is not part of it: whoever loads it may not want to write there.
    """
    name = type(schedule).__name__
    if _OWN.get(name) is type(schedule):
        numbers = {f.name: getattr(schedule, f.name) for f in fields(schedule) if f.name != "path"}  # type: ignore[arg-type]
        return {"name": name, "numbers": numbers}, None
    if n_steps < 0:
        raise ScheduleError(f"{schedule!r} cannot be saved: it has no actions for a loop of unknown length")
    return {"name": _LISTED, "memory": schedule.memory_slots}, schedule.array(n_steps)


def from_data(described: Any, actions: np.ndarray | None, n_steps: int) -> Schedule:
    """The schedule that `to_data` described. ScheduleError (or TypeError) if it is not one, or not a valid one."""
    if not isinstance(described, dict):
        raise ScheduleError("this is not the description of a schedule")
    if actions is not None:
        rows = tuple(tuple(row) for row in actions.reshape(-1, 4).tolist())
        found = Listed(rows, steps_of(n_steps), described["memory"])
        verify(found, n_steps)
        return found
    numbers = described["numbers"]
    if described["name"] not in _OWN or not isinstance(numbers, dict) or not all(map(_is_number, numbers.values())):
        raise ScheduleError(f"no schedule of fastad is called {described['name']!r} and made of {numbers!r}")
    schedule: Schedule = _OWN[described["name"]](**numbers)
    return schedule


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
