"""The calibration: BFGS with exact gradients, and the uncertainty of what it finds by the Laplace approximation."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.demo import model
from fastad.transforms.public import hessian, jacobian

FINE = np.linspace(1900.0, 1925.0, 501)


@dataclass(frozen=True)
class Fit:
    """The parameter vectors and misfits of all iterations, and the effort."""

    path: np.ndarray
    misfits: np.ndarray
    gradients: int
    seconds: float

    @property
    def x(self) -> np.ndarray:
        """The parameters found."""
        return self.path[-1]


@dataclass(frozen=True)
class Uncertainty:
    """Standard deviations, all on the logarithmic scale: of a measurement, of the parameters, and of the solution
    (rows) at the times `FINE`."""

    noise: float
    parameters: np.ndarray
    solution: np.ndarray


def fit(gradient: Callable[[np.ndarray], Any], x: np.ndarray, report: Callable[[int, float], None]) -> Fit:
    """Minimise the misfit, from x. `gradient` gives the misfit and its gradient; `report` is called after each step."""
    from scipy.optimize import minimize

    path, misfits = [x], [float(gradient(x)[0])]

    def note(intermediate_result: Any) -> None:
        path.append(intermediate_result.x.copy())
        misfits.append(float(intermediate_result.fun))
        report(len(path) - 1, misfits[-1])

    start = time.perf_counter()
    found = minimize(gradient, x, jac=True, method="BFGS", callback=note, options={"gtol": 1e-4})
    return Fit(np.array(path), np.array(misfits), found.njev, time.perf_counter() - start)


def uncertainty(x: np.ndarray, **options: Any) -> Uncertainty:
    """The Laplace approximation of the posterior at a minimum x of the misfit, for a flat prior.

    If measurements have independent normal errors of variance s² (on the logarithmic scale), the negative logarithm of
    the posterior is misfit / (2 s²), so the covariance of the parameters is C = 2 s² H⁻¹, with H the Hessian of the
    misfit. That of the solution is J C Jᵀ, with J its Jacobian.
    """
    variance = model.misfit(x) / (model.LOG_PELTS.size - x.size)
    covariance = 2.0 * variance * np.linalg.inv(hessian(model.misfit, **options)(x))
    sensitivity = jacobian(lambda x: model.solution(x, FINE), **options)(x)
    spread = np.einsum("...i,ij,...j", sensitivity, covariance, sensitivity)
    return Uncertainty(float(np.sqrt(variance)), np.sqrt(np.diag(covariance)), np.sqrt(spread))
