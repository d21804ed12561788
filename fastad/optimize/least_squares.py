"""`least_squares`: SciPy's call, with derivatives of the solution."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.outside import recorded_loop
from fastad.errors import ShapeError
from fastad.optimize.active_set import margins, polished
from fastad.optimize.conditions import ActiveSet, Conditions, solution, value
from fastad.optimize.constraints import Constraint, Kinds, limits_of_x
from fastad.optimize.fitting import fit
from fastad.optimize.keywords import most_steps, settings
from fastad.optimize.levenberg import LevenbergMarquardt
from fastad.optimize.losses import loss_of
from fastad.optimize.minimizing import vector
from fastad.optimize.objective import Array, Objective
from fastad.optimize.reflective import TrustRegionReflective
from fastad.optimize.residuals import Residuals
from fastad.optimize.result import Later, OptimizeResult, as_given
from fastad.optimize.status import CONVERGED, MOST_STEPS, ROUNDED, in_words, succeeded
from fastad.optimize.undifferentiated import undifferentiated
from fastad.optimize.warnings import warn_of_kinks
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line

_STRICT = 1e-6  # multipliers and distances from limits below are 0
_METHODS = ("trf", "lm")


def least_squares(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: str = "trf", *, bounds: Any = None, loss: Any = "linear",
    f_scale: Any = 1.0, tol: Any = None, max_steps: int | None = None, **scipys: Any,
) -> OptimizeResult:  # fmt: skip
    """Minimise ½ Σ C² ρ((fᵢ/C)²) over vectors x, for residuals f = fun(x, *args), between bounds.

    SciPy's `least_squares`, with the exact Jacobian, and differentiable in args, bounds, f_scale and everything that
    `fun` refers to, to any order: `.x` by the implicit function theorem (with the exact Hessian of the cost, not its
    Gauss-Newton part), `.cost` by the envelope theorem.

    Parameters
    ----------
    fun : function of (x, *args) to an array of residuals, plain NumPy.
    x0 : first guess, of shape (n,), or a number.
    args : further arguments of fun, pytrees of arrays and numbers; one that is no tuple counts as the only one.
    method : "trf" (trust-region reflective; with or without bounds) or "lm" (Levenberg-Marquardt; no bounds). Both make
        the matrix JᵀJ, so the condition number of J should be below 10⁷.
    bounds : (lower, upper), each a number or one for each variable, or scipy.optimize.Bounds.
    loss : ρ, one of "linear" (z), "soft_l1" (2(√(1+z) − 1)), "huber" (z up to 1, then 2√z − 1), "cauchy" (ln(1+z)),
        "arctan" (arctan z), or a function of z.
    f_scale : C, the residual from which on the loss counts as that of an outlier.
    tol : at the end every |∂cost/∂xⱼ| ≤ tol max(1, ‖Jⱼ‖ ‖f‖), for columns Jⱼ of the Jacobian.
        None: 1e-8.
    max_steps : the most steps; None: 1000.
    **scipys : SciPy's other keywords: gtol, ftol and xtol (all of them tol here; gtol counts first), max_nfev
        (max_steps here), verbose 0; jac None and differences are ignored, as Jacobians are exact. All else is an error
        that says what to write.

    Returns an `OptimizeResult` with SciPy's fields: x, cost, fun, jac, grad, optimality, active_mask, nfev, njev,
    status (1: tol is reached, 3: steps are rounding errors, 0: max_steps, −1: otherwise), success, message; and
    `bound_multipliers` and `strict_complementarity`. Errors in derivatives as for `minimize`.

    Moré (1978), The Levenberg-Marquardt algorithm; Branch, Coleman & Li (1999), SIAM J. Sci. Comput. 21, 1-23; Nielsen
    (1999), Damping parameter in Marquardt's method.

    >>> import numpy as np, fastad as fad
    >>> t = np.array([0.0, 1.0, 2.0, 3.0])
    >>> def fitted(y):
    ...     return fad.least_squares(lambda x: x[0] * np.exp(-x[1] * t) - y, [1.0, 1.0]).x
    >>> fitted(2.0 * np.exp(-0.5 * t)).round(6).tolist()
    [2.0, 0.5]
    >>> fad.jacobian(fitted)(2.0 * np.exp(-0.5 * t)).shape  # by the data
    (2, 4)
    """
    fun, tol, max_steps = settings("least_squares", fun, tol, max_steps, scipys)
    tol, max_steps = 1e-8 if tol is None else tol, 1000 if max_steps is None else max_steps
    start, problem, kinds = _problem(fun, x0, args, bounds, (loss, f_scale))
    is_bounded = bounds is not None
    if method not in _METHODS:
        raise ShapeError(f"method must be 'trf' or 'lm'{at_line()}, not {method!r}")
    if method == "lm" and is_bounded:
        raise ShapeError(f"method 'lm' takes no bounds{at_line()}; use 'trf'")
    most, functions, residuals = most_steps(max_steps), problem.functions, Residuals(fun, loss)

    def run(x0: Array, parameters: Any, tol: Array) -> dict[str, Any]:
        return _solved(functions.of(parameters), residuals, (method, kinds, is_bounded), x0, tol, most)

    if current_recorder() is None:
        raw = recorded_loop(fun, run)(start, problem.parameters, float(tol))
        fields = _fields(raw, (raw["x"], raw["cost"]), problem, residuals)
        return OptimizeResult(as_given(fields, x0), _message)
    raw = undifferentiated(run, start, problem.parameters, tol)
    if isinstance(raw["margin"], Recorded):
        warn_of_kinks("least_squares", raw["margin"].value, _STRICT)
    nothing = np.zeros(0)
    x, _ = solution("least_squares", problem, (raw["x"], nothing), raw["active"], raw["status"])
    cost = value("least_squares", problem, (x, nothing), raw["active"], (raw["status"], raw["residual"]))
    return OptimizeResult(as_given(_fields(raw, (x, cost), problem, residuals), x0), _message)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────
def _problem(
    fun: Any, x0: Any, args: Any, bounds: Any, robust: tuple[Any, Any]
) -> tuple[Array, Conditions, tuple[Kinds, ...]]:
    if not callable(fun):
        raise TypeError(f"fun must be a function of x{at_line()}, not {type(fun).__name__}")
    x, (loss, f_scale) = vector(x0), robust
    loss_of(loss)  # raises where it is none
    if not isinstance(f_scale, Recorded) and not (np.ndim(f_scale) == 0 and f_scale > 0):
        raise ShapeError(f"f_scale must be a positive number{at_line()}, not {f_scale!r}")
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    residuals = Residuals(fun, loss)
    limits = limits_of_x(bounds, x.shape[0])
    kinds = Kinds.of(limits)
    if any(kinds.is_equal):
        raise ShapeError(
            f"the bounds of component {kinds.is_equal.index(True)} are equal{at_line()}; leave a fixed variable out"
        )
    scale = f_scale * 1.0 if isinstance(f_scale, Recorded) else float(f_scale)
    return x, Conditions(Objective(residuals.cost, (args, scale)), (), limits), (kinds,)


# ── solving ───────────────────────────────────────────────────────────────────────────────────────────────────
def _solved(
    p: Conditions, residuals: Residuals, how: tuple[str, tuple[Kinds, ...], bool], x0: Array, tol: Array, most: int
) -> dict[str, Any]:
    (args, scale), (name, kinds, is_bounded) = p.f.args, how
    assert p.bounds is not None
    trf = TrustRegionReflective(p.bounds.lower, p.bounds.upper)
    start = trf.strictly_inside(x0) if is_bounded else x0
    end = fit(LevenbergMarquardt() if name == "lm" else trf, (residuals, args, scale), start, tol, most)
    nothing = np.zeros(0)
    active = ActiveSet(_reached(p.bounds, kinds[0], end) if is_bounded else np.zeros(x0.shape), nothing)
    # Gauss-Newton steps converge slowly where residuals are large; the exact Hessian makes the last steps.
    x, _, residual = polished(p, (end.x, nothing), active, kinds)
    margin = margins(p, (x, nothing), active, kinds).strictness if is_bounded else np.inf
    f, cost = residuals.vector(x, args), residuals.cost(x, args, scale)
    return {
        "x": x, "cost": cost, "residual": residual, "fun": f, "active": active, "nfev": end.nfev, "njev": end.nit + 1,
        "nit": end.nit, "status": end.status, "margin": margin,
    }  # fmt: skip


def _reached(bounds: Constraint, kinds: Kinds, end: Any) -> Array:
    """−1 and 1 where a Gauss-Newton step in one variable would pass a bound."""
    gradient = end.model.gradient
    step = -gradient / np.maximum(np.sum(end.model.j**2, axis=0), 1e-300)
    below = kinds.lower & (end.x + step <= np.where(kinds.lower, bounds.lower, 0.0))
    above = kinds.upper & (end.x + step >= np.where(kinds.upper, bounds.upper, 0.0))
    return np.where(below, -1.0, np.where(above, 1.0, 0.0))


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────
def _fields(raw: dict[str, Any], found: tuple[Array, Array], p: Conditions, residuals: Residuals) -> dict[str, Any]:
    (x, cost), (args, _), own = found, p.f.args, raw["status"]
    active: ActiveSet = raw["active"]
    status = np.where(own == CONVERGED, 1, np.where(own == ROUNDED, 3, np.where(own == MOST_STEPS, 0, -1)))
    gradient = Later(lambda: p.f.gradient(x))
    recorded = isinstance(x, Recorded)
    return {
        "success": succeeded(own), "status": status, "cost": cost, "x": x,
        "fun": Later(lambda: residuals.vector(x, args)) if recorded else raw["fun"],
        "jac": Later(lambda: residuals.jacobian(x, args)), "grad": gradient,
        "optimality": Later(lambda: np.max(np.abs(np.where(active.bounds != 0, 0.0, p.f.gradient(x))), initial=0.0)),
        **{name: raw[name] for name in ("nit", "nfev", "njev")}, "active_mask": active.bounds,
        "bound_multipliers": Later(lambda: p.bound_multipliers(x, np.zeros(0), active.bounds)),
        "strict_complementarity": raw["margin"] > _STRICT, "reason": own,
    }  # fmt: skip


def _message(fields: dict[str, Any]) -> str:
    text = in_words(int(fields["reason"]))
    if not fields["strict_complementarity"] and fields["success"]:
        text += " A bound is reached with a multiplier of 0: derivatives of x are one-sided there."
    return text


__all__ = ["least_squares"]
