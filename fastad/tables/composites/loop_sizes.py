"""Sizes of loops, and how their adjoints find the states."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ScheduleError
from fastad.kernels import records
from fastad.tables.composites.spans import Span

_POLICIES = {
    "every": records.EVERY, "scheduled": records.SCHEDULED, "online": records.ONLINE, "inverted": records.INVERTED,
    "retraced": records.RETRACED, "unread": records.UNREAD,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Sizes of a loop's state, of one step's element and result, and of what all steps share. `indexed`: the body
    takes the step's index."""

    state: int
    element: int = 0
    result: int = 0
    shared: int = 0
    indexed: bool = False

    def times(self, n: int) -> "Sizes":
        """Sizes for n lanes."""
        return Sizes(n * self.state, n * self.element, n * self.result, n * self.shared, self.indexed)

    @property
    def step_in(self) -> list[Span]:
        """[state | element | index | shared], the argument of body and condition."""
        index = Span(1, int(self.indexed), shared=True)
        return [Span(1, self.state), Span(1, self.element), index, Span(1, self.shared)]

    @property
    def step_out(self) -> list[Span]:
        """[state | result] of the body."""
        return [Span(1, self.state), Span(1, self.result)]

    @property
    def inside(self) -> int:
        """Length of the argument of body and condition."""
        return self.state + self.element + self.indexed + self.shared


NO_SIZES = Sizes(0)


@dataclass(frozen=True)
class StateStorage:
    """How an adjoint finds the states of its loop.

    `policy`: "every" state has a slot of its own; "scheduled": a schedule says which are stored; "online": the same,
    without knowing the number of steps; "inverted": none is stored, steps are undone; "retraced": the same, with what
    undoing needs of each step in a slot; "unread": none is stored or computed again, since no adjoint of a step reads
    one. `initial_plan` is the first state of the schedule's planner.
    """

    policy: str
    memory_slots: int = 0
    disk_slots: int = 0
    initial_plan: np.ndarray | None = None

    @property
    def is_overwritten(self) -> bool:
        """Whether the adjoint uses slots again."""
        return self.policy in ("scheduled", "online")

    @property
    def code(self) -> int:
        """The policy as kernels know it."""
        return _POLICIES[self.policy]

    @property
    def plan_size(self) -> int:
        return 0 if self.initial_plan is None else len(self.initial_plan)

    def spans(self, state: int) -> list[Span]:
        """Saved states: [steps made | state before the last step | slots in memory | state of an online planner]."""
        if self.policy in ("inverted", "unread"):
            return []
        chosen = self.plan_size if self.policy == "online" else 0
        return [Span(1, 1, True), Span(1, state), Span(self.memory_slots, state), Span(1, chosen, True)]


def state_storage(name: str, schedule: Any, length: int, known: bool) -> StateStorage:
    """The storage of a loop under a schedule for this size of state (None: all states are stored). `known`: it makes
    `length` steps; else that is the most, or -1."""
    if length >= 0 and (schedule is None or schedule.stores_all):
        return StateStorage("every", length)
    if known:
        memory, disk = schedule.slots(length)
        return StateStorage("scheduled", memory, disk, schedule.state(length))
    try:
        first = schedule.open_state(length)
    except ScheduleError as error:
        raise ScheduleError(f"{name}: {error}") from None
    memory, disk = schedule.open_slots(length)
    return StateStorage("online", memory, disk, first)
