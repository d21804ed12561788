"""What composite rows do, call by call: for those who look for the first bad value inside of a loop or a choice."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastad.tables.composite import Branch, Lanes
from fastad.tables.loops import Loop, LoopAdjoint
from fastad.tables.sub import Sub


def calls(sub: Sub, x: np.ndarray) -> Iterator[tuple[str, Sub, np.ndarray]]:
    """The calls that a run makes, in order: where ("step 3 of scan"), the part that is called, its argument."""
    if isinstance(sub, Branch):
        number = 0 if np.isnan(x[0]) else int(np.clip(x[0], 0, len(sub.branches) - 1))
        yield f"branch {number} of {sub.name}", sub.branches[number], x[1:]
    elif isinstance(sub, Lanes):
        (part,) = sub.parts
        for lane, own in enumerate(x.reshape(sub.size, part.n_in)):
            yield f"lane {lane} of {part.name}", part, own
    elif isinstance(sub, Loop):
        assert sub.body is not None
        for k, state in enumerate(sub.trajectory(x)[0]):
            yield f"step {k} of {sub.name}", sub.body, sub.step_argument(x, state, k)
    elif isinstance(sub, LoopAdjoint):
        assert sub.loop.body is not None
        for k, argument, _ in sub.steps_back(x):
            yield f"step {k} of {sub.loop.name}", sub.loop.body.adjoint, argument


def results(sub: Any, value: np.ndarray) -> np.ndarray:
    """The part of a composite row's value that are numbers: what is kept for an adjoint may be anything."""
    if isinstance(sub, Lanes):
        return np.concatenate([results(sub.parts[0], own) for own in value.reshape(sub.size, -1)] or [value])
    return value[: sub.n_results] if isinstance(sub, Loop) else value
