"""The loop that methods for least squares share: damped Gauss-Newton steps.

Nielsen (1999), Damping parameter in Marquardt's method, IMM-REP-1999-05: the damping falls smoothly with the ratio of
the decrease of the cost to that of its model, and grows faster with each step that fails.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.optimize.objective import Array
from fastad.optimize.residuals import Model, Residuals
from fastad.optimize.status import CONVERGED, MOST_STEPS, NOT_FINITE, ROUNDED, RUNNING, STUCK

_FIRST_DAMPING = 1e-3
_SMALLEST = 1e-14  # step, relative to x: rounding errors allow no better
_LARGEST_DAMPING = 1e30


class Step(NamedTuple):
    """A step, the decrease that the model predicts, and the part of the decrease that is only scaling."""

    p: Array
    predicted: Array
    correction: Array


class FitMethod:
    """A method for least squares: how long steps are measured, and what a step is."""

    name: ClassVar[str]

    def scaling(self, m: Model, old: Array) -> Array:
        """A number for each variable, from that of the step before (zeros at first)."""
        raise NotImplementedError

    def step(self, m: Model, x: Array, scaling: Array, damping: Array) -> Step:
        """The step of the damped model."""
        raise NotImplementedError

    def optimality(self, m: Model, x: Array) -> Array:
        """The gradient of the cost, as far as limits let x follow it."""
        raise NotImplementedError


class Fit(NamedTuple):
    """A state of the iteration."""

    x: Array
    model: Model
    scaling: Array
    damping: Array
    growth: Array
    nit: Array
    nfev: Array
    status: Array


def fit(method: FitMethod, problem: tuple[Residuals, Any, Array], x0: Array, tol: Array, most: int) -> Fit:
    """Steps from x0 until every |∂cost/∂xⱼ| is at most tol max(1, ‖Jⱼ‖ ‖f‖), where Jⱼ is a column of the Jacobian."""
    residuals, args, scale = problem

    def status_of(s: Fit, p: Array, ok: Array) -> Array:
        m = s.model
        sizes = np.sqrt(np.sum(m.j**2, axis=0) * (m.f @ m.f))
        converged = np.all(np.abs(method.optimality(m, s.x)) <= tol * np.maximum(1.0, sizes))
        short = np.max(np.abs(p), initial=0.0) <= _SMALLEST * (_SMALLEST + np.max(np.abs(s.x), initial=0.0))
        status = np.where(s.nit >= most, MOST_STEPS, RUNNING)
        status = np.where(s.damping > _LARGEST_DAMPING, STUCK, status)
        status = np.where(short & (s.nit > 0), ROUNDED, status)
        status = np.where(converged, CONVERGED, status)
        return np.where(np.isfinite(m.cost) & np.all(np.isfinite(m.j)), status, NOT_FINITE)

    def turn(s: Fit) -> Fit:
        step = method.step(s.model, s.x, s.scaling, s.damping)
        x = s.x + step.p
        cost = residuals.cost(x, args, scale)
        ratio = (s.model.cost - cost - step.correction) / np.where(step.predicted > 0.0, step.predicted, 1.0)
        ok = np.isfinite(cost) & (step.predicted > 0.0) & _falls(s.model.cost, cost, ratio)
        x = np.where(ok, x, s.x)
        m = residuals.model(x, args, scale)
        smaller = s.damping * np.maximum(1.0 / 3.0, 1.0 - (2.0 * np.minimum(ratio, 1.0) - 1.0) ** 3)
        damping = np.where(ok, smaller, s.damping * s.growth)
        after = Fit(
            x, m, method.scaling(m, s.scaling), damping, np.where(ok, 2.0, 2.0 * s.growth), s.nit + 1, s.nfev + 1,
            s.status,
        )  # fmt: skip
        return after._replace(status=status_of(after, step.p, ok))

    m = residuals.model(x0, args, scale)
    start = Fit(
        x0, m, method.scaling(m, np.zeros(x0.shape)), np.asarray(_FIRST_DAMPING), np.asarray(2.0), np.zeros((), int), 1,
        np.asarray(RUNNING),
    )  # fmt: skip
    start = start._replace(status=status_of(start, np.ones(x0.shape), True))
    found: Fit = iterate(lambda s: s.status == RUNNING, turn, start)
    return found


def _falls(before: Array, after: Array, ratio: Array) -> Array:
    """Whether a step is taken: also where the difference of costs is only rounding errors."""
    return (ratio > 0.0) | (np.abs(after - before) <= 1e-14 * np.abs(before))


__all__ = ["Fit", "FitMethod", "Step", "fit"]
