"""Broyden's method, which needs the Jacobian at the first point only, and at the solution.

Broyden (1965), A class of methods for solving nonlinear simultaneous equations, Math. Comp. 19, method 1 ("good"), with
the inverse updated by the formula of Sherman and Morrison; a step is taken if it does not increase the residual by more
than Li & Fukushima (2000), A derivative-free line search and global convergence of Broyden-like method, allow.
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.equations.core import Iterate, System
from fastad.equations.newton import newton, scale, size
from fastad.primitives.equations import NO_PROGRESS, NOT_FINITE, TOO_MANY_STEPS

_SMALLEST = 2.0**-20  # share of a step
_LAST = 3.0  # steps of Newton's method at the end, whose factors the derivatives need


class _State(NamedTuple):
    """`inverse` approximates F_x⁻¹; `share` of the step is tried next."""

    x: Any
    residual: Any
    inverse: Any
    share: Any
    steps: Any
    trials: Any


def broyden(system: System, x: Any, tol: Any, max_steps: Any) -> Iterate:
    """Solve the equation from x on; the last correction is Newton's."""
    zero = np.asarray(0.0, like=x)
    inverse = np.linalg.solve(system.jacobian(x), np.eye(system.n))
    first = _State(x, system.residual(x), inverse, zero + 1.0, zero, zero)

    def unfinished(s: _State) -> Any:
        is_far = size(s.inverse @ s.residual) > tol * scale(s.x)
        return is_far & (s.share > _SMALLEST) & (s.steps < max_steps)

    s = iterate(unfinished, lambda s: _tried(system, s), first)
    failure = np.where(s.share > _SMALLEST, TOO_MANY_STEPS, NO_PROGRESS)
    failure = np.where(np.isfinite(size(s.residual) + size(s.x)), failure, NOT_FINITE)
    last = newton(system, s.x, tol, _LAST)
    nit = last.facts["nit"]
    nfev, njev = (last.facts.get(name, nit + 1.0) for name in ("nfev", "njev"))
    facts = {"nit": s.steps + nit, "nfev": s.trials + 1.0 + nfev, "njev": njev + 1.0}
    is_near = size(s.inverse @ s.residual) <= tol * scale(s.x)
    return Iterate(last.x, last.correction, np.where(is_near, last.status, failure), facts, last.factor)


def _tried(system: System, s: _State) -> _State:
    step = -s.share * (s.inverse @ s.residual)
    x = s.x + step
    residual = system.residual(x)
    is_finite = np.isfinite(size(residual))
    new = np.where(is_finite, residual, s.residual)
    back = s.inverse @ (new - s.residual)
    bottom = step @ back
    usable = is_finite & (np.abs(bottom) > 1e-8 * (step @ step))
    change = np.outer(step - back, step @ s.inverse) / np.where(usable, bottom, 1.0)
    inverse = s.inverse + np.where(usable, change, 0.0)
    allowed = (1.0 + 1.0 / (s.steps + 1.0) ** 2) * size(s.residual)
    good = is_finite & (size(new) <= allowed)
    return _State(
        np.where(good, x, s.x), np.where(good, new, s.residual), inverse, np.where(good, 1.0, s.share / 2.0),
        s.steps + np.where(good, 1.0, 0.0), s.trials + 1.0,
    )  # fmt: skip
