"""BFGS: an approximation of the inverse Hessian from differences of gradients."""

from typing import Any, ClassVar

import numpy as np

from fastad.optimize.descent import Iterate, Method
from fastad.optimize.line_search import wolfe_step
from fastad.optimize.objective import Array, Objective

TINY = 1e-300


class BFGS(Method):
    """Nocedal & Wright, Numerical Optimization (2006), Algorithm 6.1, with the first matrix of equation 6.20."""

    name: ClassVar[str] = "bfgs"

    def memory(self, f: Objective, x: Array, gradient: Array) -> Any:
        return np.eye(x.size), True  # the inverse; whether it knows nothing yet

    def step(self, f: Objective, s: Iterate) -> Iterate:
        inverse, fresh = s.memory
        direction = -(inverse @ s.jac)
        found = wolfe_step(f, (s.x, s.fun, s.jac), direction, first_step(fresh, s.jac), 0.9)
        memory = _updated(inverse, fresh, found.x - s.x, found.gradient - s.jac)
        return Iterate(found.x, found.value, found.gradient, memory, s.nfev + found.evaluations, s.nhev, ~found.ok)


def first_step(fresh: Array, gradient: Array) -> Array:
    """The first trial step: a gradient has no natural length."""
    return np.where(fresh, np.minimum(1.0, 1.0 / np.maximum(np.sum(np.abs(gradient)), TINY)), 1.0)


def _updated(inverse: Array, fresh: Array, s: Array, y: Array) -> Any:
    """Equation 6.17. A pair without positive curvature, which only rounding errors give, changes nothing."""
    curvature, squares = s @ y, y @ y
    usable = curvature > 1e-14 * np.sqrt((s @ s) * squares)
    rho = 1.0 / np.where(usable, curvature, 1.0)
    scaled = np.where(fresh, curvature / np.maximum(squares, TINY) * np.eye(len(s)), inverse)
    hy = scaled @ y
    after = scaled + (1.0 + rho * (y @ hy)) * rho * np.outer(s, s) - rho * (np.outer(hy, s) + np.outer(s, hy))
    return np.where(usable, after, inverse), fresh & ~usable


__all__ = ["BFGS", "first_step"]
