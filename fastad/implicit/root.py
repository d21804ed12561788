"""`root`: solutions of F(x) = 0, as SciPy's, with derivatives by the implicit function theorem."""

import operator
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastad.control.outside import recorded_loop
from fastad.control.parts import flatten_state
from fastad.errors import ShapeError
from fastad.implicit import trust
from fastad.implicit.core import Found, Solver, solve_equation
from fastad.implicit.newton import newton
from fastad.implicit.result import Result, Stats
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line, user_line

METHODS: dict[str, Solver] = {"newton": newton}
_ILL = 1e8  # a condition number from which on derivatives lose half of their digits


def root(
    fun: Callable[..., Any], x0: Any = None, args: Any = (), method: str = "newton", *, tol: Any = 1e-10,
    differentiate: str = "implicit", bracket: Any = None, max_steps: int = 100,
) -> Result:  # fmt: skip
    """x with fun(x, *args) = 0."""
    if not callable(fun):
        raise TypeError(f"fun of root must be a function{at_line()}, not {type(fun).__name__}")
    args = args if isinstance(args, tuple) else (args,)
    if method not in METHODS:
        raise ValueError(f"root: there is no method {method!r}{at_line()}; methods are {', '.join(METHODS)}")
    steps = operator.index(max_steps)

    def run(x0: Any, args: Any, tol: Any) -> Result:
        found = solve_equation("root", fun, METHODS[method], x0, args, (tol, float(steps)))
        return result_of(found)

    if current_recorder() is None:
        found = recorded_loop(fun, partial(_plain, run))(x0, args, tol)
        return _warned(found)
    return run(x0, args, tol)


def _plain(run: Callable[..., Result], *operands: Any) -> Result:
    """The result with the numbers that every plain call tells."""
    found = run(*operands)
    for name in ("condition", "adjoint_residual"):
        found.stats[name]
    return found


def result_of(found: Found) -> Result:
    """What the user gets of a solution."""
    system, x, factor = found.system, found.point, found.factor
    later = {
        "condition": lambda: trust.condition(system, x, factor),
        "adjoint_residual": lambda: trust.adjoint_residual(system, x, factor),
        "gradient_error": lambda: trust.gradient_error(system, x, factor, found.correction),
    }
    counts = {name: found.facts[name].astype(np.int64) for name in ("nit", "nfev", "njev")}
    stats = Stats({"error": 2.0 * np.max(np.abs(found.correction), initial=0.0), "factorisations": counts["njev"]}, later)
    return Result(found.x, found.residual, found.status.astype(np.int64), **counts, stats=stats)


def _warned(result: Result) -> Result:
    if np.any(result.stats["condition"] > _ILL):
        line = user_line()
        text = f"the Jacobian at the root has a condition number of {np.max(result.stats['condition']):.1e}: near a fold, or badly scaled"
        warnings.warn_explicit(text, RuntimeWarning, line.file, line.number)
    return result
