"""`implicit`: existing solvers, SciPy's or the user's own, made differentiable through the equation that they solve."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastad.control.outside import recorded_loop
from fastad.control.parts import concrete, flatten_state
from fastad.equations.core import Iterate, System, solve_equation
from fastad.equations.linear import LinearSolver
from fastad.equations.newton import scale, size
from fastad.equations.root import chosen_linear
from fastad.primitives.equations import NOT_FINITE, NOT_SOLVED, SINGULAR, SOLVED, reason
from fastad.recording.elementwise import detached
from fastad.recording.outside_values import Opened
from fastad.recording.recorder import current_recorder, plainly
from fastad.recording.source import at_line, user_line
from fastad.transforms.composite import UserPrimitive


class Implicit:
    """A solver with the derivatives of its equation; see `implicit`."""

    _fastad_calls_later = True  # the solver is called when a recording of it runs

    def __init__(self, solver: Callable[..., Any], residual: Callable[..., Any], tol: float, linear: str) -> None:
        self.__wrapped__ = solver
        self.__name__ = getattr(solver, "__name__", type(solver).__name__)
        self.__doc__ = solver.__doc__
        self._fastad_wraps, self._fastad_options = (solver, residual), (tol, linear)
        self._residual, self._tol, self._linear = residual, float(tol), linear
        self._flat = UserPrimitive(_Flat(solver), None, None)

    def __call__(self, *args: Any) -> Any:
        if current_recorder() is not None:
            return self._recorded(*args)[0]

        def run(*args: Any) -> Any:
            return self._recorded(*args)

        x, status, error = recorded_loop(self.__wrapped__, run)(*args)
        if np.any(status != SOLVED):
            line = user_line()
            text = f"{self.__name__}: x is off by about {np.max(error):.2g}, relative to max(1, |x|). {reason(status)}"
            warnings.warn_explicit(text, RuntimeWarning, line.file, line.number)
        return x

    def _recorded(self, *args: Any) -> tuple[Any, Any, Any]:
        """The solution, its status, and its estimated error."""
        opened = Opened(self.__wrapped__)
        values = [detached(x) for x in opened.values]  # the solver has no derivatives
        flat = partial(UserPrimitive(_Flat(opened), None, None), values) if values else self._flat
        with plainly():
            x = opened(concrete(values), *concrete(args))  # for its structure

        def linear(n: int) -> LinearSolver:
            return chosen_linear(self._linear, n, self._tol)

        def solve(system: System, x: Any) -> Iterate:
            return self._solve(system, np.asarray(flat(*system.args), like=x))

        found = solve_equation(self.__name__, self._residual, solve, x, args, (), linear)
        return found.x, found.status, found.facts["error"]

    def _solve(self, system: System, x: Any) -> Iterate:
        """What the user's solver has returned, and how far it is from a solution: ‖F_x⁻¹ F‖, by the factors at x."""
        factor = system.factor(x)
        residual = system.residual(x)
        error = size(system.solve(x, factor, residual)) / scale(x)
        broken = np.where(np.isfinite(size(residual)), SINGULAR, NOT_FINITE)
        status = np.where(np.isfinite(error), np.where(error <= self._tol, SOLVED, NOT_SOLVED), broken)
        return Iterate(x, 0.0 * x, status, {"error": error}, factor)


class _Flat:
    """A solver whose result is one vector."""

    _fastad_calls_later = True

    def __init__(self, solver: Callable[..., Any]) -> None:
        self.solver = solver
        self._fastad_wraps, self._fastad_options = (solver,), ()
        self.__name__ = getattr(solver, "__name__", type(solver).__name__)

    def __call__(self, *args: Any) -> Any:
        leaves, _ = flatten_state(self.solver(*args))
        return np.concatenate([np.ravel(x).astype(np.float64) for x in leaves])


def implicit(
    solver: Callable[..., Any], residual: Callable[..., Any], *, tol: float = 1e-6, linear: str = "auto"
) -> Implicit:
    """`solver`, differentiable: x = solver(*args), where residual(x, *args) = 0.

    The derivatives are those of the equation at the x that the solver returns (the implicit function theorem), of any
    order; how the solver found it does not matter. It may be SciPy's, or call any other code: then Python calls it at
    every run. If it is plain NumPy it is recorded. Both functions may refer to recorded values outside.

    Parameters
    ----------
    solver : function of args that returns x, a pytree of floats and arrays (of SciPy's result take `.x`).
    residual : function of (x, *args) in plain NumPy, which returns as many numbers as x holds.
    tol : the largest error of x, estimated by ‖F_x⁻¹ F‖ and relative to max(1, ‖x‖), with which the equation counts as
        solved.
    linear : how the systems with the residual's Jacobian are solved: "auto", "dense", "sparse" or "gmres"; see `root`.

    Raises
    ------
    ConvergenceError : derivatives at an x that does not solve the equation; it names the largest residual. Without
        derivatives this is a RuntimeWarning.
    SingularMatrixError : the residual's Jacobian is singular.

    >>> import numpy as np, scipy.optimize, fastad as fad
    >>> def excess(price, wealth):
    ...     return wealth / price - 2 * price
    >>> solve = lambda wealth: scipy.optimize.brentq(excess, 1e-6, 1e6, args=(wealth,), xtol=1e-14)
    >>> price = fad.implicit(solve, excess)
    >>> round(float(price(8.0)), 9), round(float(fad.grad(price)(8.0)), 9)  # √(w/2), 1/(4 √(w/2))
    (2.0, 0.125)

    Source: Blondel & Roulet (2024), The Elements of Differentiable Programming, section 17.4.
    """
    for name, function in (("solver", solver), ("residual", residual)):
        if not callable(function):
            raise TypeError(f"{name} of implicit must be a function{at_line()}, not {type(function).__name__}")
    return Implicit(solver, residual, tol, linear)
