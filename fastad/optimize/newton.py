"""Newton's method with a line search; the Hessian is made positive definite where it is not."""

from typing import Any, ClassVar

import numpy as np

from fastad.optimize.definite import regularised, solved_by
from fastad.optimize.descent import Iterate, Method
from fastad.optimize.line_search import wolfe_step
from fastad.optimize.objective import Array, Objective


class Newton(Method):
    """Nocedal & Wright, Numerical Optimization (2006), Algorithms 3.2 and 3.3: the direction −(∇²f + δI)⁻¹∇f with the
    smallest δ of a sequence that makes the matrix positive definite. The sequence starts a little below the δ of the
    step before."""

    name: ClassVar[str] = "newton"

    def memory(self, f: Objective, x: Array, gradient: Array) -> Any:
        return np.zeros(())

    def step(self, f: Objective, s: Iterate) -> Iterate:
        delta, lower, _ = regularised(f.hessian(s.x))
        downhill = -solved_by(lower, s.jac)
        found = wolfe_step(f, (s.x, s.fun, s.jac), downhill, 1.0, 0.9)
        nfev = s.nfev + found.evaluations
        return Iterate(found.x, found.value, found.gradient, delta, nfev, s.nhev + 1, ~found.ok)


__all__ = ["Newton"]
