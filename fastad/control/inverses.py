"""`check_inverse`: whether a function inverts a step, and how rounding errors grow on the way back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.control.loops import scan
from fastad.control.parts import numeric
from fastad.errors import CheckError
from fastad.transforms.call import unflatten


@dataclass(frozen=True)
class InverseCheck:
    """Errors relative to the largest magnitude of each leaf of the state over all steps.

    `round_trip` is the largest error of inverse(f(state)) of all steps. `drift` is the error of the first state after
    all steps and the inverses of all steps.
    """

    steps: int
    round_trip: float
    drift: float

    def __str__(self) -> str:
        return (
            f"inverse of a step: round trip {self.round_trip:.1e}, drift over {self.steps} steps {self.drift:.1e} "
            "(relative)"
        )


def check_inverse(
    f: Callable[..., Any], inverse: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None,
    *, reverse: bool = False, tolerance: float = 1e-8,
) -> InverseCheck:  # fmt: skip
    """Compare inverse(f(carry, x)[0], x) with carry for all steps of a scan, and measure the drift of going back
    through all of them.

    Arguments as in `fad.scan`. The gradient of `scan(..., inverse=inverse)` is computed at the states that the inverses
    return, so its error is of the order of the drift. Raises CheckError if the round trip of a step or the drift is
    larger than `tolerance`.

    >>> import numpy as np, fastad as fad
    >>> turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    >>> found = fad.check_inverse(lambda c, x: (turn @ c, None), lambda c, x: turn.T @ c, np.ones(2), length=100)
    >>> found.steps, found.drift < 1e-12
    (100, True)
    """

    def step(carry: Any, x: Any) -> Any:
        after, _ = f(carry, x)
        leaves, tree = numeric(after, "the carry of scan")
        return unflatten(tree, leaves), (carry, inverse(after, x))

    last, (before, again) = scan(step, init, xs, length, reverse=reverse)
    first, _ = scan(lambda c, x: (inverse(c, x), None), last, xs, length, reverse=not reverse)
    states = [np.asarray(x, float) for x in numeric(before, "the carry")[0]]
    back = [np.asarray(x, float) for x in numeric(again, "the carry")[0]]
    steps = len(states[0]) if states else 0
    scales = [np.max(np.abs(x), initial=np.finfo(float).tiny) for x in states]
    start = [np.asarray(x, float) for x in numeric(init, "the carry")[0]]
    end = [np.asarray(x, float) for x in numeric(first, "the carry")[0]]
    found = InverseCheck(steps, _largest(states, back, scales), _largest(start, end, scales))
    if not max(found.round_trip, found.drift) <= tolerance:
        raise CheckError(
            f"{found}: larger than the tolerance {tolerance:.1e}. "
            + ("The function does not invert the step: correct it." if found.round_trip > tolerance else "Rounding "
               "errors grow on the way back: use fewer steps, or a checkpoint schedule instead of the inverse.")
        )  # fmt: skip
    return found


def _largest(wanted: list[np.ndarray], found: list[np.ndarray], scales: list[float]) -> float:
    errors = [np.max(np.abs(a - b), initial=0.0) / s for a, b, s in zip(wanted, found, scales, strict=True)]
    return float(max(errors, default=0.0))
