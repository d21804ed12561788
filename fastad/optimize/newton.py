"""Newton's method with a line search; the Hessian is made positive definite where it is not."""

from typing import Any, ClassVar

import numpy as np

from fastad.optimize.definite import attempted_cholesky, regularised, solved_by
from fastad.optimize.descent import FLAT, Iterate, Method
from fastad.optimize.line_search import wolfe_step
from fastad.optimize.objective import Array, Objective

_LONGEST = 1e3  # step, relative to x, where fun has no curvature


class Newton(Method):
    """Nocedal & Wright, Numerical Optimization (2006), Algorithms 3.2 and 3.3: the direction −(∇²f + δI)⁻¹∇f with the
    first δ of a sequence that makes the matrix positive definite."""

    name: ClassVar[str] = "newton"

    def memory(self, f: Objective, x: Array, gradient: Array) -> Any:
        return ()

    def is_minimum(self, f: Objective, x: Array) -> Array:
        h = f.hessian(x)
        _, ok = attempted_cholesky(h + FLAT * np.maximum(np.max(np.abs(h), initial=0.0), FLAT) * np.eye(x.size))
        return ok

    def step(self, f: Objective, s: Iterate) -> Iterate:
        length = _LONGEST * (1.0 + np.max(np.abs(s.x), initial=0.0))
        least = np.max(np.abs(s.jac), initial=0.0) / length
        _, lower, _ = regularised(f.hessian(s.x), least=least)
        downhill = -solved_by(lower, s.jac)
        found = wolfe_step(f, (s.x, s.fun, s.jac), downhill, 1.0, 0.9)
        nfev = s.nfev + found.evaluations
        return Iterate(found.x, found.value, found.gradient, (), nfev, s.nhev + 1, ~found.ok)


__all__ = ["Newton"]
