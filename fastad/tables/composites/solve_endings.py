"""Why an ODE solve has ended before its span does, or a step has no derivative, in words."""

from typing import Any

from fastad.errors import FastadError
from fastad.kernels import records as r

_WORST = "component {} has the largest error"
_ODD = "The solution may become infinite there, or fun may jump or be undefined; if not, change rtol or atol"
_STIFF = 'If the system is stiff, which explicit methods are not made for, take method="auto" or "Rodas5P"'
REASONS = {  # why a solve has ended, what is to be said of a component, and what may help
    r.TOO_SMALL: ("Required step size is less than spacing between numbers", _WORST, _ODD),
    r.TOO_MANY: ("The solve needs more than max_steps steps", _WORST, "Raise max_steps, or rtol or atol"),
    r.FULL: ("The solve needs more steps, or events, than can be kept", _WORST, "Give t_eval"),
    r.NOT_FINITE: ("The right-hand side is not finite at the start", "component {} is not", "Change y0, or fun there"),
    r.OVERFLOWN: ("The solution by fixed steps is not finite", "component {} is not", "Take a smaller step"),
    r.UNSOLVED: (
        "The equations of a step could not be solved", "component {} is the farthest from it",
        "Take a smaller step, or leave step= out; if the steps are chosen, fun may jump or be undefined there",
    ),
}  # fmt: skip


def ending(run: Any, t: float, is_explicit: bool) -> str:
    """Why a solve ended at time t before the end of its span, and what may help, from its numbers about the run."""
    status = int(run[r.STATUS])
    reason, component, fix = REASONS[status]
    if is_explicit and status in (r.TOO_SMALL, r.TOO_MANY, r.OVERFLOWN):
        fix = f"{fix}. {_STIFF}"
    return f"{reason}, at t = {t:.8g}; {component.format(int(run[r.WORST]))}. {fix}"


def in_step(error: FastadError, name: str, t: float, h: float) -> FastadError:
    """The error of a step, which says which one it is."""
    found = type(error)(f"{name}, in the step of size {h:.3g} from t = {t:.8g}: {error}")
    found.names_line = error.names_line
    return found
