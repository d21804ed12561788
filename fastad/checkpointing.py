"""`fastad.checkpoint`: recomputation of a function in reverse mode, and checkpoint schedules of loops."""

from collections.abc import Callable
from typing import Any

from fastad.checks.checkpoints import profile
from fastad.plots.schedules import draw
from fastad.schedules.actions import Action, Code
from fastad.schedules.auto import Auto
from fastad.schedules.base import Schedule
from fastad.schedules.nested import Periodic, Revolve, StoreAll, StoreNone, optimal_steps
from fastad.schedules.online import Online
from fastad.schedules.tiered import Multistage
from fastad.schedules.verify import verify
from fastad.transforms import composite


class Checkpointing:
    """`checkpoint(f)` is f, whose values are recomputed instead of stored in reverse mode: only its inputs are kept.

    Inside a recorded function a call of checkpoint(f) is one row, and its adjoint runs f again. Time: one more
    evaluation of f. Memory: f's inputs instead of all its values. (Griewank & Walther, 2008, Evaluating Derivatives, on
    checkpointing.)

    >>> import numpy as np, fastad as fad
    >>> block = fad.checkpoint(lambda x: np.sin(np.exp(x)))
    >>> fad.grad(lambda x: np.sum(block(block(x))))(np.zeros(2)).shape
    (2,)

    Its attributes are for loops, whose schedule says which states are stored and which are recomputed:
    - `StoreAll`, `StoreNone`, `Revolve`, `Periodic`, `Multistage`, `Online`, `Auto`: the schedules;
    - `Schedule`, `Action`, `Code`: the base class and the actions, to write another schedule;
    - `verify` proves that a schedule is valid; `draw` draws it;
    - `optimal_steps`: the fewest steps that any schedule needs;
    - `profile`: steps, memory and time of a loop's gradient under several schedules.

    >>> fad.checkpoint.Revolve(snapshots=5).predicted_steps(56) == fad.checkpoint.optimal_steps(56, 5) == 140
    True
    """

    StoreAll = StoreAll
    StoreNone = StoreNone
    Revolve = Revolve
    Periodic = Periodic
    Multistage = Multistage
    Online = Online
    Auto = Auto
    Schedule = Schedule
    Action = Action
    Code = Code
    verify = staticmethod(verify)
    draw = staticmethod(draw)
    profile = staticmethod(profile)
    optimal_steps = staticmethod(optimal_steps)

    def __call__(self, f: Callable[..., Any]) -> composite.Checkpoint:
        """f, whose values are recomputed instead of stored in reverse mode."""
        return composite.Checkpoint(f)

    def __repr__(self) -> str:
        return "<fastad.checkpoint>"

    def __reduce__(self) -> str:
        return "checkpoint"  # pickled by name


checkpoint = Checkpointing()
