"""Why an iteration ended, as a number and in words."""

from typing import Any

import numpy as np

from fastad.primitives import equations as failures
from fastad.primitives.equations import SOLVED, reason

CONVERGED, MOST_STEPS, STUCK, NOT_FINITE, INFEASIBLE, UNBOUNDED, ROUNDED, NOT_CONVEX = range(8)
RUNNING = -1
LOWEST = -1e100  # an objective below has no minimum

_WORDS = {
    RUNNING: "The iteration has not ended.",
    CONVERGED: "Optimization terminated successfully.",
    ROUNDED: "Optimization terminated successfully: rounding errors of fun allow no further decrease.",
}
_FAILURES = {
    MOST_STEPS: failures.MOST_STEPS, STUCK: failures.STUCK, NOT_FINITE: failures.NOT_FINITE_OBJECTIVE,
    INFEASIBLE: failures.INFEASIBLE, UNBOUNDED: failures.UNBOUNDED, NOT_CONVEX: failures.NOT_CONVEX,
}  # fmt: skip


def in_words(status: int) -> str:
    """What a status means, and what to do."""
    return _WORDS[status] if status in _WORDS else reason(_FAILURES.get(status, failures.NOT_FINITE_OBJECTIVE))


def succeeded(status: Any) -> Any:
    """Whether a solution was found."""
    return (status == CONVERGED) | (status == ROUNDED)


def as_equation(status: Any) -> Any:
    """The status of the equations that a solution satisfies (see `fastad.primitives.equations`), as a float."""
    found: Any = SOLVED
    for own, failure in _FAILURES.items():
        found = np.where(status == own, failure, found)
    return found * 1.0


__all__ = [
    "CONVERGED", "INFEASIBLE", "LOWEST", "MOST_STEPS", "NOT_CONVEX", "NOT_FINITE", "ROUNDED", "RUNNING", "STUCK",
    "UNBOUNDED", "as_equation", "in_words", "succeeded",
]  # fmt: skip
