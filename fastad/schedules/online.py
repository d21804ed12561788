"""`Online`: the schedule for a loop whose number of steps is not known in advance."""

from dataclasses import dataclass

import numpy as np

from fastad.kernels import plan_fields as f
from fastad.schedules.base import Planned, count_of, header, steps_of
from fastad.schedules.nested import nested


@dataclass(frozen=True)
class Online(Planned):
    """Few steps for `snapshots` ≥ 1 stored states where the number of steps is not known in advance.

    At any moment, with c snapshots and n steps so far, no step has to be run more often than with the best schedule for
    n steps: at most r times, where C(c + r − 1, c) < n ≤ C(c + r, c). Wang, Moin & Iaccarino (2009), Minimal repetition
    dynamic checkpointing, SIAM J. Sci. Comput. 31(4). Up to n = (c + 1)(c + 2)/2 the number of steps is the optimum,
    which `Revolve` reaches with n known: Stumm & Walther (2010), New algorithms for optimal online checkpointing, SIAM
    J. Sci. Comput. 32(2).

    The executor of a loop starts from `online_state()`. It calls `fastad.kernels.online.choose(state, k)` for k = 0, 1,
    … when it knows that step k is not the last one, stores state k in the slot returned (−1: do not store it), and
    calls `finish(state, n)` after the loop. Then `plan(state, buffer)` gives the actions of the adjoint, with state
    n − 1 as the current one. For a known number of steps, `actions` makes the same choices.

    >>> from fastad.schedules.nested import Revolve
    >>> Online(4).predicted_steps(15) == Revolve(4).predicted_steps(15) == 24
    True
    """

    snapshots: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "snapshots", count_of(self.snapshots, "snapshots", 1))

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of the planner for a known number of steps."""
        n = steps_of(n_steps)
        return _start(n, min(self.snapshots, max(n - 1, 1)))

    def online_state(self) -> np.ndarray:
        """The initial state of `choose`, for any number of steps."""
        return _start(0, self.snapshots)


def _start(n: int, size: int) -> np.ndarray:
    own = np.zeros(f.LISTS + 3 * size, np.int64)
    choices = own[: f.LISTS].view(f.CHOICES)
    for field in ("last", "raised", "dropped"):
        choices[field] = -1
    state = nested(f.ONLINE, 0, size, size, tuple(range(size)), own)
    header(state).steps = n
    return state
