"""SciPy's keywords of `minimize` and `least_squares` that fastad has no need of: understood, or refused with the fix.

Derivatives come from the engine. So what asks for them to be found by differences, or by the user's own function, is
refused unless it asks for nothing else than what happens anyway.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastad.control.parts import concrete
from fastad.errors import ShapeError
from fastad.optimize.objective import Objective
from fastad.recording.source import at_line

_DIFFERENCES = ("2-point", "3-point", "cs")
_STEPS = ("maxiter", "max_nfev")
_TOLERANCES = ("gtol", "ftol", "xtol", "tol")
_RELATIVE, _OF_LARGEST = 1e-4, 1e-7  # errors of a gradient that differences have, too
_SHOWN = ("disp", "verbose", "iprint")  # nothing is printed: 0 and False say so
_ADVICE = {
    "callback": "the iteration is recorded, and runs as native code. For a look at the steps call it with max_steps=1, "
    "2, …; results have nit and nfev",
    "hessp": "products with the exact Hessian are the engine's: method='trust-ncg', without hessp",
    "hess": "the Hessian is the engine's, exact: leave hess out; method='bfgs' or 'l-bfgs' uses gradients only",
    "jac": "gradients are the engine's, exact: leave jac out. For a derivative of your own make fun a fad.primitive",
    "jac_sparsity": "patterns are found: leave it out",
    "diff_step": "derivatives are exact: leave it out",
    "tr_solver": "leave it out",
    "tr_options": "leave it out",
    "x_scale": "scale x in fun",
    "workers": "leave it out",
    "integrality": "variables are real numbers",
}


def settings(
    name: str, fun: Callable[..., Any], tol: Any, max_steps: int | None, given: Mapping[str, Any]
) -> tuple[Callable[..., Any], Any, int | None]:
    """(fun, tol, max_steps) with the meaning of SciPy's keywords; an error names the line and the fix."""
    given = dict(given)
    options = given.pop("options", None) or {}
    if not isinstance(options, Mapping):
        raise ShapeError(f"{name}: options must be a dictionary{at_line()}, not {options!r}")
    both = {**given, **options}
    jac = both.pop("jac", None)
    if jac is True:
        fun = FirstOf(fun)
    elif not (jac is None or jac is False or (isinstance(jac, str) and jac in _DIFFERENCES)):
        both["jac"] = jac
    for key, value in both.items():
        if key in _STEPS:
            max_steps = value if max_steps is None else max_steps
        elif key in _TOLERANCES:
            tol = value if value is not None and (tol is None or key == "gtol") else tol
        elif not _means_nothing(key, value):
            _refuse(name, key)
    return fun, tol, max_steps


def check_gradient(jac: Callable[..., Any], f: Objective, x: Any) -> None:
    """ShapeError unless `jac(x, *args)` is the gradient of f here, as far as differences could tell."""
    x, args = concrete((x, f.args))
    found = jac(np.array(x), *args)
    if isinstance(found, tuple):
        raise ShapeError(f"jac returned a tuple{at_line()}; it is the gradient of fun alone: leave jac out")
    given = np.asarray(found, float)
    own = np.asarray(Objective(f.fun, args).gradient(np.asarray(x, float)))
    if given.shape != own.shape:
        raise ShapeError(f"jac returned an array of shape {given.shape}{at_line()}; x0 has the shape {own.shape}")
    allowed = _RELATIVE * np.abs(own) + _OF_LARGEST * np.max(np.abs([own, given]), initial=0.0)
    wrong = np.where(np.isfinite(own), np.nan_to_num(np.abs(given - own), nan=np.inf) - allowed, 0.0)
    if np.any(wrong > 0.0):
        i = int(np.argmax(wrong))
        raise ShapeError(
            f"jac is not the gradient of fun at x0{at_line()}: its component {i} is {given[i]:.6g}, and the derivative "
            f"of fun by x[{i}] is {own[i]:.6g}. Leave jac out: fastad derives it"
        )


def _means_nothing(key: str, value: Any) -> bool:
    """Whether a known keyword asks for what happens anyway."""
    return (key in _ADVICE and value is None) or (key in _SHOWN and not value)


def most_steps(given: Any) -> int:
    """A number of steps."""
    try:
        count = operator.index(given)
    except TypeError:
        raise ShapeError(f"max_steps must be an integer{at_line()}, not {given!r}") from None
    if count < 0:
        raise ShapeError(f"max_steps must not be negative{at_line()}; it is {count}")
    return count


class FirstOf:
    """A function that returns (value, gradient), for jac=True: the value, whose gradient is the engine's."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun

    def __call__(self, x: Any, *args: Any) -> Any:
        found = self.fun(x, *args)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise ShapeError(f"jac=True says that fun returns (value, gradient){at_line()}; it does not: leave jac out")
        return found[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FirstOf) and self.fun == other.fun

    def __hash__(self) -> int:
        return hash((FirstOf, self.fun))


def _refuse(name: str, key: str) -> None:
    if key in _ADVICE:
        raise ShapeError(f"{name}: {key} is not taken{at_line()}: {_ADVICE[key]}")
    if key in _SHOWN:
        raise ShapeError(f"{name}: {key} is not taken{at_line()}: nothing is printed; print the result")
    raise TypeError(
        f"{name}: there is no argument or option {key!r}{at_line()}. tol and max_steps limit the iteration; "
        f"options may have 'maxiter', 'gtol', 'ftol', 'xtol' and 'disp': False"
    )


__all__ = ["check_gradient", "most_steps", "settings"]
