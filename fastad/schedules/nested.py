"""Schedules that split a loop into nested segments, each of which starts at a stored state."""

from dataclasses import dataclass

import numpy as np

from fastad.kernels import plan_fields as f
from fastad.schedules.base import Planned, count_of, steps_of


def nested(
    rule: int, n_steps: int, size: int, depth: int, slots: tuple[int, ...] = (), own: np.ndarray | None = None
) -> np.ndarray:
    """The planner's state for one segment of n_steps steps; `depth` segments can wait for their adjoint at once."""
    stack = f.HEADER
    taken = stack + depth + 1
    state = np.zeros(taken + len(slots) + (0 if own is None else own.size), np.int64)
    state[[f.RULE, f.STEPS, f.SIZE]] = rule, n_steps, size
    state[[f.STACK, f.SLOTS, f.OWN]] = stack, taken if slots else -1, taken + len(slots)
    state[taken : taken + len(slots)] = slots
    if own is not None:
        state[taken + len(slots) :] = own
    if n_steps:  # the only segment, and its first state is the current one
        state[[f.DEPTH, f.FRESH, f.STOP]] = 1, 1, n_steps
    return state


@dataclass(frozen=True)
class StoreAll(Planned):
    """Every state is stored: no step is run twice. Memory: n − 1 states (the last one is current when it is needed).

    >>> list(StoreAll().actions(3))
    [advance steps 0..1 into slots 0..1, reverse step 2, reverse steps 1..0 from slots 1..0]
    """

    stores_all = True

    def state(self, n_steps: int) -> np.ndarray:
        """The planner's: one segment, all of it stored."""
        n = steps_of(n_steps)
        return nested(f.PERIODIC, n, max(n, 1), 1)

    def slots(self, n_steps: int) -> tuple[int, int]:
        """Slots in memory and on disk: n − 1, since the last state is the current one when it is needed."""
        return max(steps_of(n_steps) - 1, 0), 0


@dataclass(frozen=True)
class StoreNone(Planned):
    """No state is stored: each adjoint step starts from the initial state, n(n − 1)/2 steps in all (Algorithm 17.69
    of the notes). Memory: the initial state, which whoever runs the loop keeps anyway.

    >>> list(StoreNone().actions(2))
    [advance step 0, reverse step 1, restart state 0, reverse step 0]
    """

    def state(self, n_steps: int) -> np.ndarray:
        """The planner's: one segment without a slot."""
        return nested(f.BINOMIAL, steps_of(n_steps), 0, 1, (-1,))

    def predicted_steps(self, n_steps: int) -> int:
        """n(n − 1)/2."""
        n = steps_of(n_steps)
        return n * (n - 1) // 2

    def slots(self, n_steps: int) -> tuple[int, int]:
        """None."""
        steps_of(n_steps)
        return 0, 0


@dataclass(frozen=True)
class Revolve(Planned):
    """The fewest steps for a given number of stored states, binomial checkpointing: see `optimal_steps`.

    `snapshots` ≥ 1 states are stored at once, the initial one included. The segment [a, b) with c slots is split at
    a + m, with m such that both parts are within the reach of as few runs as possible, C(c + r, c) steps for c slots
    and r runs. Griewank & Walther (2000), Algorithm 799: revolve, ACM TOMS 26(1), 19–45.

    >>> Revolve(3).predicted_steps(10), Revolve(3).predicted_bytes(10, state_bytes=80)
    (15, 400)
    >>> list(Revolve(1).actions(2))
    [advance step 0 into slot 0, reverse step 1, reverse step 0 from slot 0]
    """

    snapshots: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "snapshots", count_of(self.snapshots, "snapshots", 1))

    def state(self, n_steps: int) -> np.ndarray:
        """The planner's: one segment with all slots."""
        n = steps_of(n_steps)
        size = self.slots(n)[0]
        return nested(f.BINOMIAL, n, size, size)

    def predicted_steps(self, n_steps: int) -> int:
        """The optimum: `optimal_steps(n_steps, snapshots)`."""
        return optimal_steps(n_steps, self.snapshots)

    def slots(self, n_steps: int) -> tuple[int, int]:
        """Slots in memory and on disk: no more than there are states worth to be stored, n − 1."""
        return min(self.snapshots, max(steps_of(n_steps) - 1, 0)), 0


@dataclass(frozen=True)
class Periodic(Planned):
    """The state before each `every`-th step is stored; between two of them all are, when their adjoints are due.

    About n/every + every states and at most 2n steps; every ≈ √n needs the least memory.

    >>> Periodic(10).slots(100), Periodic(10).predicted_steps(100)
    ((18, 0), 180)
    """

    every: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", count_of(self.every, "every", 1))

    def state(self, n_steps: int) -> np.ndarray:
        """The planner's: one segment, of which each time the first `every` steps are split off."""
        n = steps_of(n_steps)
        return nested(f.PERIODIC, n, self.every, -(-n // self.every))

    def slots(self, n_steps: int) -> tuple[int, int]:
        """Slots in memory and on disk: one for each whole period before the last step, and those of the period whose
        adjoints are due, the last one or the one before it."""
        whole, rest = divmod(max(steps_of(n_steps) - 1, 0), self.every)
        return max(whole + rest, whole + self.every - 2 if whole else 0), 0


def optimal_steps(n: int, snapshots: int) -> int:
    """The fewest steps to run for the adjoint of a loop of n steps with so many stored states at once.

    t(n, c) = r·n − C(c + r, r − 1), with the least r such that n ≤ C(c + r, r): the minimum over all schedules. The
    initial state takes one of the c snapshots, and the first sweep of n − 1 steps is counted. Griewank & Walther
    (2000), ACM TOMS 26(1), 19–45. ScheduleError if n < 0 or snapshots < 1.

    >>> optimal_steps(10, 1), optimal_steps(10, 3), optimal_steps(10, 9)
    (45, 15, 9)
    """
    from fastad.kernels import segments  # when it is needed: this imports numba

    length, slots = steps_of(n), count_of(snapshots, "snapshots", 1)
    return int(segments.fewest_steps(length, min(slots, length))) if length else 0
