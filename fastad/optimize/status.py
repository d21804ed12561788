"""Why an iteration ended, as a number and in words."""

from typing import Any

import numpy as np

from fastad.primitives.equations import MINIMUM, REASONS, SOLVED

CONVERGED, MOST_STEPS, STUCK, NOT_FINITE, INFEASIBLE, UNBOUNDED, ROUNDED, NOT_CONVEX, SADDLE = range(9)
RUNNING = -1
LOWEST = -1e100  # an objective below has no minimum

_ADVICE = "Scale the problem, start elsewhere, or raise tol."
_WORDS = {
    RUNNING: "The iteration has not ended.",
    CONVERGED: "Optimization terminated successfully.",
    ROUNDED: "Optimization terminated successfully: rounding errors of fun allow no further decrease.",
    MOST_STEPS: "The maximum number of steps has been reached. Raise max_steps, or start elsewhere.",
    STUCK: f"No step decreases fun: it has a kink or a jump here, or its derivative is inexact. {_ADVICE}",
    NOT_FINITE: "fun or its derivative is not finite here. Start elsewhere, or give bounds.",
    INFEASIBLE: "The constraints cannot be met together near here. Start elsewhere, or relax them.",
    UNBOUNDED: "fun falls without limit: it has no minimum. Give bounds.",
    NOT_CONVEX: "P is not positive semidefinite. fad.minimize finds local minima of such objectives.",
    SADDLE: "The gradient is 0 here, but fun falls to both sides along some direction: a maximum or a saddle point, no "
    "minimum. Start beside it.",
}
REASONS.update({MINIMUM + status: words for status, words in _WORDS.items()})


def in_words(status: int) -> str:
    """What a status means, and what to do."""
    return _WORDS.get(status, _WORDS[NOT_FINITE])


def succeeded(status: Any) -> Any:
    """Whether a solution was found."""
    return (status == CONVERGED) | (status == ROUNDED)


def as_equation(status: Any) -> Any:
    """The status of the equations that a solution satisfies (see `fastad.primitives.equations`), as a float."""
    return np.where(succeeded(status), float(SOLVED), MINIMUM + status * 1.0)


__all__ = [
    "CONVERGED", "INFEASIBLE", "LOWEST", "MOST_STEPS", "NOT_CONVEX", "NOT_FINITE", "ROUNDED", "RUNNING", "SADDLE",
    "STUCK", "UNBOUNDED", "as_equation", "in_words", "succeeded",
]  # fmt: skip
