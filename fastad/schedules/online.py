"""`Online`: the schedule for a loop whose number of steps is not known in advance."""

from dataclasses import dataclass, field
from os import PathLike

import numpy as np

from fastad.kernels import plan_fields as f
from fastad.schedules.base import Planned, count_of, header, nested, steps_of


@dataclass(frozen=True, repr=False)
class Online(Planned):
    """Few steps for `snapshots` ≥ 1 states in memory, and `disk` ≥ 0 further ones on disk, where the number of steps is
    not known in advance.

    At any moment, with c snapshots and n steps so far, no step has to be run more often than with the best schedule for
    n steps: at most r times, where C(c + r − 1, c) < n ≤ C(c + r, c). Wang, Moin & Iaccarino (2009), Minimal repetition
    dynamic checkpointing, SIAM J. Sci. Comput. 31(4). Up to n = (c + 1)(c + 2)/2 the number of steps is the optimum,
    which `Revolve` reaches with n known: Stumm & Walther (2010), New algorithms for optimal online checkpointing, SIAM
    J. Sci. Comput. 32(2).

    States go to disk once those in memory are in use; `path` says where, as for `Multistage`.

    The executor of a loop starts from `open_state(most)`. It calls `fastad.kernels.online.choose(state, k)` for k = 0,
    1, … when it knows that step k is not the last one, stores state k in the slot returned (−1: do not store it), and
    calls `finish(state, n)` after the loop. Then `plan(state, buffer)` gives the actions of the adjoint, with state
    n − 1 as the current one. For a known number of steps, `actions` makes the same choices.

    >>> from fastad.schedules.nested import Revolve
    >>> Online(4).predicted_steps(15) == Revolve(4).predicted_steps(15) == 24
    True
    """

    snapshots: int
    disk: int = field(default=0, kw_only=True)
    path: str | PathLike[str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "snapshots", count_of(self.snapshots, "snapshots", 1))
        object.__setattr__(self, "disk", count_of(self.disk, "disk", 0))

    def __repr__(self) -> str:
        more = f", disk={self.disk}" * (self.disk > 0) + f", path={self.path!r}" * (self.path is not None)
        return f"Online(snapshots={self.snapshots}{more})"

    def state(self, n_steps: int) -> np.ndarray:
        """The initial state of the planner for a known number of steps."""
        n = steps_of(n_steps)
        return _start(n, min(self.snapshots + self.disk, max(n - 1, 1)))

    def open_state(self, most: int) -> np.ndarray:
        """The initial state of `choose` for `most` steps or fewer, or, if it is negative, for any number."""
        return _start(0, sum(self.open_slots(most)))

    def open_slots(self, most: int) -> tuple[int, int]:
        """Slots in memory and on disk for that."""
        useful = max(most - 1, 1) if most >= 0 else self.snapshots + self.disk
        memory = min(self.snapshots, useful)
        return memory, min(self.disk, useful - memory)

    def _memory(self, n_steps: int) -> int | None:
        return self.open_slots(n_steps)[0] if self.disk else None


def _start(n: int, size: int) -> np.ndarray:
    own = np.zeros(f.LISTS + 3 * size, np.int64)
    choices = own[: f.LISTS].view(f.CHOICES)
    for name in ("last", "raised", "dropped"):
        choices[name] = -1
    state = nested(f.ONLINE, 0, size, size, tuple(range(size)), own)
    header(state).steps = n
    return state
