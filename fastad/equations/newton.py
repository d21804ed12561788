"""Newton's method with line search, on the vectors of an equation.

The natural monotonicity test of Deuflhard (2011), Newton Methods for Nonlinear Problems, section 3.3: a step is taken
if it reduces the simplified correction F_x(xₖ)⁻¹ F(x), which is measured as x is, whatever the scale of F. The test
for the end is ‖F_x(xₖ)⁻¹ F(xₖ)‖ ≤ tol max(1, ‖xₖ‖), which estimates the error of xₖ. The factors at xₖ, which it
needs, also make the last step, and serve the derivatives: no factorisation is made for these.
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.control.branches import cond
from fastad.control.loops import iterate
from fastad.equations.core import Iterate, System
from fastad.primitives.equations import NO_PROGRESS, NOT_FINITE, SINGULAR, SOLVED, TOO_MANY_STEPS

_SMALLEST = 2.0**-20  # share of a step
_EPSILON = float(np.finfo(float).eps)
_ROUNDED = 1e-5  # error, relative to x, that rounding errors of a badly conditioned equation may leave


class _State(NamedTuple):
    """`step` is F_x⁻¹ F at x; `share` of it is tried next. `stuck`: no share was small enough."""

    x: Any
    factor: Any
    step: Any
    share: Any
    stuck: Any
    steps: Any
    trials: Any


def newton(system: System, x: Any, tol: Any, max_steps: Any) -> Iterate:
    """Solve the equation from x on."""
    if system.n == 1:
        return _scalar(system, x, tol, max_steps)
    zero = np.asarray(0.0, like=x)
    first = _State(x, *_linearised(system, x, system.residual(x)), zero + 1.0, zero, zero, zero)

    def unfinished(s: _State) -> Any:
        return (size(s.step) > tol * scale(s.x)) & (s.stuck == 0.0) & (s.steps < max_steps)

    last = iterate(unfinished, lambda s: _tried(system, s), first)
    is_solved = (size(last.step) <= tol * scale(last.x)) | _is_rounded(system, last)
    status = np.where(is_solved, SOLVED, np.where(last.stuck > 0.0, NO_PROGRESS, TOO_MANY_STEPS))
    is_finite = np.isfinite(size(last.step) + size(last.x))  # x may be infinite, and tol max(1, ‖x‖) then is
    status = np.where(is_finite, status, NOT_FINITE)
    correction = np.where(is_solved & is_finite, -last.step, 0.0)
    facts = {"nit": last.steps, "nfev": last.trials + 1.0, "njev": last.steps + 1.0}
    return Iterate(last.x, correction, status, facts, last.factor)


def _linearised(system: System, x: Any, residual: Any) -> tuple[Any, Any]:
    factor = system.factor(x)
    return factor, system.solve(x, factor, residual)


def _tried(system: System, s: _State) -> _State:
    """The state after a trial step: at the new point, or with a smaller share."""
    trial = s.x - s.share * s.step
    residual = system.residual(trial)
    simplified = size(system.solve(s.x, s.factor, residual))
    good = (simplified <= (1.0 - s.share / 4.0) * size(s.step)) & np.isfinite(simplified)

    def moved(trial: Any, residual: Any) -> tuple[Any, ...]:
        return trial, *_linearised(system, trial, residual)

    def stayed(trial: Any, residual: Any) -> tuple[Any, ...]:
        return s.x, s.factor, s.step

    x, factor, step = cond(good, moved, stayed, trial, residual)
    stuck = np.where(good | (s.share > _SMALLEST), 0.0, 1.0)
    share = np.where(good, 1.0, s.share / 2.0)
    return _State(x, factor, step, share, stuck, s.steps + np.where(good, 1.0, 0.0), s.trials + 1.0)


# ── one unknown ───────────────────────────────────────────────────────────────────────────────────────────────
class _Scalar(NamedTuple):
    """F and its slope are those at x: it costs less to compute both than to decide whether to."""

    x: Any
    residual: Any
    slope: Any
    share: Any
    steps: Any


def _scalar(system: System, x: Any, tol: Any, max_steps: Any) -> Iterate:
    """The same for one unknown, where the simplified correction is a multiple of F. A state has few numbers, for many
    lanes at once."""
    zero = np.asarray(0.0, like=x)
    first = _Scalar(*_values(system, x), zero + 1.0, zero)

    def unfinished(s: _Scalar) -> Any:
        is_far = np.abs(s.residual / s.slope) > tol * np.maximum(1.0, np.abs(s.x))
        return is_far & (s.share > _SMALLEST) & (s.steps < max_steps)

    def tried(s: _Scalar) -> _Scalar:
        trial = _values(system, np.reshape(s.x - s.share * (s.residual / s.slope), (1,)))
        good = (np.abs(trial[1]) <= (1.0 - s.share / 4.0) * np.abs(s.residual)) & np.isfinite(trial[1])
        x, residual, slope = (np.where(good, new, old) for new, old in zip(trial, s[:3], strict=True))
        return _Scalar(x, residual, slope, np.where(good, 1.0, s.share / 2.0), s.steps + 1.0)

    last = iterate(unfinished, tried, first)
    step = last.residual / last.slope
    is_solved = (np.abs(step) <= tol * np.maximum(1.0, np.abs(last.x))) & np.isfinite(step + last.x)
    status = np.where(last.share > _SMALLEST, TOO_MANY_STEPS, np.where(last.slope == 0.0, SINGULAR, NO_PROGRESS))
    status = np.where(np.isfinite(last.residual + last.x), status, NOT_FINITE)
    correction = np.where(is_solved, -step, 0.0)
    status = np.where(is_solved, SOLVED, status)
    return Iterate(np.reshape(last.x, (1,)), np.reshape(correction, (1,)), status, {"nit": last.steps}, np.zeros(0))


def _values(system: System, x: Any) -> tuple[Any, Any, Any]:
    """x, F and its slope, as numbers."""
    return tuple(np.reshape(v, ()) for v in (x, system.residual(x), system.jacobian(x)))  # type: ignore[return-value]


# ── many unknowns ─────────────────────────────────────────────────────────────────────────────────────────────
def _is_rounded(system: System, s: _State) -> Any:
    """Whether the residual is what rounding leaves of it: at most some units of |F_x| |x|."""
    if not system.linear.has_matrix:
        return np.asarray(False, like=s.x)

    def rounded(x: Any) -> Any:
        noise = system.sizes(x, np.abs(x))
        return np.where(np.all(np.abs(system.residual(x)) <= 16.0 * _EPSILON * noise), 1.0, 0.0)

    small = (s.stuck > 0.0) & (size(s.step) <= _ROUNDED * scale(s.x))
    return cond(small, rounded, lambda x: np.asarray(0.0, like=x), s.x) > 0.0


def size(x: Any) -> Any:
    """The largest absolute element."""
    return np.max(np.abs(x), initial=0.0)


def scale(x: Any) -> Any:
    """What errors of x are relative to."""
    return np.maximum(1.0, size(x))
