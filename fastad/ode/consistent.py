"""Consistent states of differential-algebraic equations M y' = f(t, y) of index 1.

With bases V of the null space of M and U of that of Mᵀ, the algebraic equations are Uᵀ f(t, y) = 0. A state y is made
consistent by the v with Uᵀ f(t, y + V v) = 0: what M says of y is kept. v has the derivatives that the implicit
function theorem gives. The index is 1 where Uᵀ ∂f/∂y V is regular: Hairer & Wanner, Solving Ordinary Differential
Equations II, VI.1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.equations.core import System, solve_equation
from fastad.equations.newton import newton
from fastad.equations.sparse import Automatic
from fastad.errors import ConvergenceError, SingularMatrixError
from fastad.ode.mass import Mass
from fastad.primitives.equations import SOLVED
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line

_TOLERANCE, _MOST_STEPS = 1e-11, 50.0
_FEW = 500  # algebraic equations up to which their rank is looked at; of more, Newton's method tells
_SINGULAR = 1e-13  # singular values of the algebraic block, relative to the largest, that are 0


def consistent(mass: Mass | None, fun: Callable[[Any, Any], Any], t: Any, y: Any, *, is_start: bool = False) -> Any:
    """The consistent state near y of M y' = fun(t, y). At the start of a solve SingularMatrixError where the index is
    above 1, and ConvergenceError where there is none near y."""
    if mass is None or not mass.is_singular:
        return y

    def algebraic(v: Any, t: Any, y: Any) -> Any:
        return mass.algebraic(fun(t, y + mass.spread(v)))

    def solver(system: System, v: Any, tol: Any, steps: Any) -> Any:
        return newton(system, v, tol, steps)

    start = np.zeros(len(mass.right))
    found = solve_equation(
        "the algebraic equations of a consistent initial state", algebraic, solver, start, (t, y),
        (_TOLERANCE, _MOST_STEPS), lambda n: Automatic(),
    )  # fmt: skip
    if is_start and len(mass.right) <= _FEW:
        check_index(mass, _concrete(found.system.jacobian(found.unknowns.first)), float(_concrete(t)))
    if is_start:
        _check_solved(mass, int(_concrete(found.status)), np.ravel(_concrete(found.residual)), float(_concrete(t)))
    v = found.system.checked(found.solution, found.residual, found.status)
    return y + mass.spread(v)


def check_index(mass: Mass, block: np.ndarray, t: float) -> None:
    """SingularMatrixError where the algebraic equations, whose Jacobian this is, do not determine as many unknowns."""
    if not np.all(np.isfinite(block)):
        return
    sizes = np.linalg.svd(block, compute_uv=False)
    if sizes.min() > _SINGULAR * sizes.max():
        return
    worst = int(np.argmin(np.abs(block).max(axis=1)))
    component = mass.component(worst)
    raise SingularMatrixError(
        f"the index of the differential-algebraic equation is above 1 at t = {t:g}{at_line()}: its algebraic "
        f"equations, such as component {component} of fun, do not determine the algebraic components of y. "
        "Differentiate them by t until they do"
    )


def _check_solved(mass: Mass, status: int, residual: np.ndarray, t: float) -> None:
    """ConvergenceError where no consistent state was found; replays with other states leave that to the equation."""
    if status == SOLVED:
        return
    worst = int(np.argmax(np.where(np.isnan(residual), np.inf, np.abs(residual))))
    raise ConvergenceError(
        f"no consistent initial values near y0 were found, at t = {t:g}{at_line()}: component {mass.component(worst)} "
        f"of fun, which must be 0, is {residual[worst]:.3g}. Give algebraic components that are nearer to a solution"
    )


def _concrete(x: Any) -> np.ndarray:
    return np.asarray(x.value if isinstance(x, Recorded) else x, float)
