"""L-BFGS: BFGS that keeps the last pairs of steps and gradient differences instead of a matrix."""

from typing import Any, ClassVar

import numpy as np

from fastad.optimize.bfgs import TINY, first_step
from fastad.optimize.descent import Iterate, Method
from fastad.optimize.line_search import wolfe_step
from fastad.optimize.objective import Array, Objective

_PAIRS = 10


class LBFGS(Method):
    """Nocedal & Wright, Numerical Optimization (2006), Algorithms 7.4 (two loops) and 7.5, with ten pairs."""

    name: ClassVar[str] = "l-bfgs"

    def memory(self, f: Objective, x: Array, gradient: Array) -> Any:
        return np.zeros((_PAIRS, x.size)), np.zeros((_PAIRS, x.size)), np.zeros(_PAIRS)  # s, y, 1 / sᵀy; oldest first

    def step(self, f: Objective, s: Iterate) -> Iterate:
        direction = -_by_pairs(s.memory, s.jac)
        fresh = s.memory[2][-1] == 0.0
        found = wolfe_step(f, (s.x, s.fun, s.jac), direction, first_step(fresh, s.jac), 0.9)
        memory = _updated(s.memory, found.x - s.x, found.gradient - s.jac)
        return Iterate(found.x, found.value, found.gradient, memory, s.nfev + found.evaluations, s.nhev, ~found.ok)


def _by_pairs(memory: Any, gradient: Array) -> Array:
    """The approximate inverse Hessian times the gradient. Places without a pair have rho = 0 and change nothing."""
    steps, differences, rho = memory
    q, shares = gradient, {}
    for k in reversed(range(_PAIRS)):
        shares[k] = rho[k] * (steps[k] @ q)
        q = q - shares[k] * differences[k]
    last = differences[-1] @ differences[-1]
    known = rho[-1] > 0.0
    q = q / np.where(known, np.maximum(rho[-1] * last, TINY), 1.0)
    for k in range(_PAIRS):
        q = q + (shares[k] - rho[k] * (differences[k] @ q)) * steps[k]
    return q


def _updated(memory: Any, s: Array, y: Array) -> Any:
    """The pairs with a new one in place of the oldest. One without positive curvature is left out."""
    curvature = s @ y
    usable = curvature > 1e-14 * np.sqrt((s @ s) * (y @ y))
    new = (s[None], y[None], np.reshape(1.0 / np.where(usable, curvature, 1.0), (1,)))
    return tuple(np.where(usable, np.concatenate([old[1:], x]), old) for old, x in zip(memory, new, strict=True))


__all__ = ["LBFGS"]
