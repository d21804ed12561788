"""Schedules that split a loop into nested segments. Each segment starts at a stored state."""

from dataclasses import dataclass

import numpy as np

from fastad.calling import CalledKernel
from fastad.errors import ScheduleError
from fastad.kernels import plan_fields as f
from fastad.schedules.base import Planned, Schedule, count_of, header, nested, steps_of
from fastad.schedules.online import Online

_FEWEST_STEPS = CalledKernel("segments", "fewest_steps")


@dataclass(frozen=True)
class StoreAll(Planned):
    """Every state is stored, and no step is run twice. Memory: n − 1 states (state n − 1 is current when needed).

    >>> list(StoreAll().actions(3))
    [advance steps 0..1 into slots 0..1, reverse step 2, reverse steps 1..0 from slots 1..0]
    """

    stores_all = True

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of the planner: one segment, whose states are all stored."""
        n = steps_of(n_steps)
        return nested(f.PERIODIC, n, max(n, 1), 1)

    def slots(self, n_steps: int) -> tuple[int, int]:
        """Slots in memory and on disk: n − 1 and 0."""
        return max(steps_of(n_steps) - 1, 0), 0


@dataclass(frozen=True)
class StoreNone(Planned):
    """No state is stored, and each adjoint step starts from the initial state: n(n − 1)/2 steps in all.

    Memory: the initial state, which is kept anyway.

    >>> list(StoreNone().actions(2))
    [advance step 0, reverse step 1, restart state 0, reverse step 0]
    """

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of the planner: one segment without a slot."""
        return nested(f.BINOMIAL, steps_of(n_steps), 0, 1, (-1,))

    def open_state(self, most: int) -> np.ndarray:
        """The same: nothing is stored, however many steps there are."""
        return self.state(0)

    def open_slots(self, most: int) -> tuple[int, int]:
        """Slots in memory and on disk: none."""
        return 0, 0

    def predicted_steps(self, n_steps: int) -> int:
        """n(n − 1)/2."""
        n = steps_of(n_steps)
        return n * (n - 1) // 2

    def slots(self, n_steps: int) -> tuple[int, int]:
        """Slots in memory and on disk: none."""
        steps_of(n_steps)
        return 0, 0


@dataclass(frozen=True)
class Revolve(Planned):
    """Binomial checkpointing: the fewest steps for a given number of stored states (`optimal_steps`).

    At most `snapshots` ≥ 1 states are stored at once, the initial one included. With c slots, C(c + r, c) steps can be
    reversed such that each is run at most r times. A segment is split such that both parts need the smallest r.
    Griewank & Walther (2000), Algorithm 799: revolve, ACM TOMS 26(1), 19–45. Where the number of steps is not known
    before they are made, it is `Online` with as many states, which needs no more steps than to count them first.

    >>> Revolve(3).predicted_steps(10), Revolve(3).predicted_bytes(10, state_bytes=80)
    (15, 400)
    >>> list(Revolve(1).actions(2))
    [advance step 0 into slot 0, reverse step 1, reverse step 0 from slot 0]
    """

    snapshots: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "snapshots", count_of(self.snapshots, "snapshots", 1))

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of the planner: one segment with all slots."""
        n = steps_of(n_steps)
        size = self.slots(n)[0]
        return nested(f.BINOMIAL, n, size, size)

    def resolve(self, n_steps: int | None, state_bytes: int) -> Schedule:
        """This one, or `Online` where the number of steps is not known."""
        return Online(self.snapshots) if n_steps is None else self

    def predicted_steps(self, n_steps: int) -> int:
        """The optimum: `optimal_steps(n_steps, snapshots)`."""
        return optimal_steps(n_steps, self.snapshots)

    def slots(self, n_steps: int) -> tuple[int, int]:
        """Slots in memory and on disk: at most n − 1 states need to be stored."""
        return min(self.snapshots, max(steps_of(n_steps) - 1, 0)), 0


@dataclass(frozen=True)
class Periodic(Planned):
    """Every `every`-th state is stored in the forward sweep. In the adjoint, each period is run again with all its
    states stored.

    About n/every + every states are stored, and fewer than 2n steps run. Memory is least for every ≈ √n.

    >>> Periodic(10).slots(100), Periodic(10).predicted_steps(100)
    ((18, 0), 180)
    """

    every: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", count_of(self.every, "every", 1))

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of the planner: one segment, from which `every` steps are split off again and again."""
        n = steps_of(n_steps)
        return nested(f.PERIODIC, n, self.every, -(-n // self.every))

    def open_state(self, most: int) -> np.ndarray:
        """The initial state of the planner for up to `most` steps. The forward sweep stores the states of a period over
        those of the one before, so the steps are the same as if their number were known."""
        if most < 0:
            raise ScheduleError(
                f"{self!r} stores more states the more steps there are, so it needs to know how many there can be: "
                "give max_steps, or take fad.checkpoint.Online(snapshots)"
            )
        state = self.state(most)
        header(state).steps = header(state).depth = 0
        return state

    def slots(self, n_steps: int) -> tuple[int, int]:
        """Slots in memory and on disk: one for each whole period before the last step, and those of the period that is
        being reversed (the larger of the last two)."""
        whole, rest = divmod(max(steps_of(n_steps) - 1, 0), self.every)
        return max(whole + rest, whole + self.every - 2 if whole else 0), 0


def optimal_steps(n: int, snapshots: int) -> int:
    """The fewest steps to run for the adjoint of a loop of n steps with c = `snapshots` stored states.

    t(n, c) = r·n − C(c + r, r − 1), with the least r such that n ≤ C(c + r, r): the minimum over all schedules. The
    initial state takes one of the c snapshots, and the n − 1 steps of the forward sweep are counted. Griewank & Walther
    (2000), ACM TOMS 26(1), 19–45. ScheduleError if n < 0 or snapshots < 1.

    >>> optimal_steps(10, 1), optimal_steps(10, 3), optimal_steps(10, 9)
    (45, 15, 9)
    """
    length, slots = steps_of(n), count_of(snapshots, "snapshots", 1)
    return _FEWEST_STEPS(length, min(slots, length)) if length else 0
