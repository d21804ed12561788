"""Schedules in files: those of fastad by name and parameters, others as lists of actions."""

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
    """A list of actions, for one number of steps."""

    rows: tuple[tuple[int, int, int, int], ...]
    n_steps: int
    memory_slots: int | None = None

    def actions(self, n_steps: int) -> Iterator[Action]:
        """The actions; ScheduleError for a loop of another length."""
        if n_steps != self.n_steps:
            raise ScheduleError(f"this list of actions is for {self.n_steps} steps, not for {n_steps}")
        return (Action(Code(code), *rest) for code, *rest in self.rows)


def to_data(schedule: Schedule, n_steps: int) -> tuple[dict[str, Any], np.ndarray | None]:
    """(description of a schedule for JSON, its actions if it is not one of fastad's, else None).

    The path of the file for states on disk is left out: who loads the schedule may not want to write there.
    """
    name = type(schedule).__name__
    if _OWN.get(name) is type(schedule):
        numbers = {f.name: getattr(schedule, f.name) for f in fields(schedule) if f.name != "path"}  # type: ignore[arg-type]
        return {"name": name, "numbers": numbers}, None
    if n_steps < 0:
        raise ScheduleError(f"{schedule!r} cannot be saved: it has no actions for a loop of unknown length")
    return {"name": _LISTED, "memory": schedule.memory_slots}, schedule.array(n_steps)


def from_data(described: Any, actions: np.ndarray | None, n_steps: int) -> Schedule:
    """The schedule that `to_data` described. ScheduleError (or TypeError) if there is no such valid schedule."""
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
