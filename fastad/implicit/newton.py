"""Newton's method with line search, on the vectors of an equation.

The natural monotonicity test of Deuflhard (2011), Newton Methods for Nonlinear Problems, section 3.3: a step is taken
if it reduces the simplified correction ‖F_x(xₖ)⁻¹ F(x)‖, which is measured as x is, whatever the scale of F. The test
for the end is ‖F_x(xₖ)⁻¹ F(xₖ)‖ ≤ tol max(1, ‖xₖ‖), which estimates the error of xₖ. The factors at xₖ, which it needs,
also make the last step, and serve the derivatives: no factorisation is made for these.
"""

from typing import Any

import numpy as np

from fastad.control.loops import while_loop
from fastad.implicit.core import Iterate, System
from fastad.primitives.equations import NO_PROGRESS, NOT_FINITE, SINGULAR, SOLVED, TOO_MANY_STEPS

_SMALLEST = 2.0**-20  # share of a step
_EPSILON = float(np.finfo(float).eps)


def newton(system: System, x: Any, tol: Any, max_steps: Any) -> Iterate:
    """Solve the equation from x on. `error` is the size of the last correction: x is the result of it, and the factors
    are those before it."""
    residual, factor, step = _linearised(system, x)
    start = (x, factor, step, np.asarray(0.0, like=x), np.asarray(1.0, like=x), np.asarray(0.0, like=x))

    def unfinished(state: Any) -> Any:
        x, _, step, stuck, _, k = state
        size = _size(step)
        return (size > tol * np.maximum(1.0, _size(x))) & (stuck == 0.0) & (k < max_steps)

    def body(state: Any) -> Any:
        x, factor, step, _, count, k = state
        share, trials = _share(system, x, factor, step)
        new = x - share * step
        stuck = np.where(share > _SMALLEST, 0.0, 1.0)
        _, factor, step = _linearised(system, new)
        return new, factor, step, stuck, count + trials, k + 1.0

    x, factor, step, stuck, count, k = while_loop(unfinished, body, start)
    error, scale = _size(step), np.maximum(1.0, _size(x))
    is_solved = error <= tol * scale
    status = np.where(is_solved, SOLVED, np.where(stuck > 0.0, NO_PROGRESS, TOO_MANY_STEPS))
    status = np.where(np.isfinite(error), status, NOT_FINITE)
    facts = {"nit": k, "nfev": count + k, "njev": k + 1.0, "error": error}
    return Iterate(np.where(is_solved, x - step, x), status, facts, factor)


def _linearised(system: System, x: Any) -> tuple[Any, Any, Any]:
    residual, factor = system.residual(x), system.factor(x)
    return residual, factor, system.solve(x, factor, residual)


def _size(x: Any) -> Any:
    return np.max(np.abs(x), initial=0.0)


def _share(system: System, x: Any, factor: Any, step: Any) -> tuple[Any, Any]:
    """The share of a step that is taken, and the number of residuals that this has needed."""
    before = _size(step)

    def correction(share: Any) -> Any:
        return _size(system.solve(x, factor, system.residual(x - share * step)))

    def too_large(state: Any) -> Any:
        share, size, _ = state
        is_accepted = size <= (1.0 - share / 4.0) * before  # False for NaN
        return np.logical_not(is_accepted) & (share > _SMALLEST)

    def halved(state: Any) -> Any:
        share, _, count = state
        return share / 2.0, correction(share / 2.0), count + 1.0

    one = np.asarray(1.0, like=x)
    share, _, count = while_loop(too_large, halved, (one, correction(one), one))
    return share, count
