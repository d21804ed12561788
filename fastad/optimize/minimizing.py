"""`minimize`: SciPy's call, with derivatives of the solution."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.control.outside import recorded_loop
from fastad.errors import ShapeError
from fastad.optimize.bfgs import BFGS
from fastad.optimize.conditions import ActiveSet, Conditions, solution, value
from fastad.optimize.constrained import minimise_constrained
from fastad.optimize.constraints import Constraint, Kinds, bounds_of, constraints_of
from fastad.optimize.descent import Method, descend
from fastad.optimize.keywords import check_gradient, most_steps, settings
from fastad.optimize.lbfgs import LBFGS
from fastad.optimize.newton import Newton
from fastad.optimize.objective import Array, Objective
from fastad.optimize.result import Later, OptimizeResult, as_given
from fastad.optimize.status import in_words, succeeded
from fastad.optimize.trust_region import TrustNCG
from fastad.optimize.undifferentiated import undifferentiated
from fastad.optimize.warnings import warn_of_kinks
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line

METHODS: dict[str, type[Method]] = {kind.name: kind for kind in (Newton, BFGS, LBFGS, TrustNCG)}
_SCIPY_NAMES = {"newton-cg": "trust-ncg", "l-bfgs-b": "l-bfgs", "slsqp": "newton", "trust-constr": "newton"}
_STRICT = 1e-6  # multipliers and distances from limits below are 0
_MOST_STEPS = 1000
_MATRIX_FREE = ("l-bfgs", "trust-ncg")


def minimize(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: str | None = None, *, bounds: Any = None,
    constraints: Any = (), tol: Any = None, max_steps: int | None = None, **scipys: Any,
) -> OptimizeResult:  # fmt: skip
    """Find a local minimum of fun(x, *args) over vectors x, under constraints.

    SciPy's `minimize`, with exact gradients and Hessians, and differentiable in args and in everything that `fun`,
    constraints and bounds refer to: `.x` and the multipliers by the implicit function theorem on the conditions of
    optimality, `.fun` by the envelope theorem, without a linear system. Derivatives do not depend on x0 or the method,
    and have derivatives again.

    Parameters
    ----------
    fun : function of (x, *args) to a number, plain NumPy.
    x0 : first guess, of shape (n,), or a number.
    args : further arguments of fun, pytrees of arrays and numbers; one that is no tuple counts as the only one.
    method : without constraints one of

        "newton" (default) : the Hessian, made positive definite where it is not; n³ operations a step.
        "trust-ncg" : a trust region and conjugate gradients with Hessian-vector products; no matrix is made.
        "bfgs" : an approximate inverse Hessian from gradients.
        "l-bfgs" : the last ten pairs of gradients instead of a matrix; for many variables.

        With constraints or bounds every method is the interior-point method, with the exact Hessian.
    bounds : n pairs (lower, upper), None where there is no limit, or scipy.optimize.Bounds.
    constraints : dictionaries {"type": "eq" or "ineq", "fun": c, "args": (…)} for c = 0 or c ≥ 0, or SciPy's
        NonlinearConstraint(c, lower, upper) and LinearConstraint(A, lower, upper); one or several.
    tol : the largest component of the gradient at the end; with constraints the largest error of any condition.
        None: 1e-8.
    max_steps : the most steps; None: 1000.
    **scipys : SciPy's other keywords. `options` may have "maxiter", "gtol", "ftol", "xtol" (all of them tol here; gtol
        counts first) and "disp" False. jac None, False and differences are ignored, as gradients are exact; a function
        jac is compared with the exact gradient at x0, where a difference is a ShapeError; with jac True, fun returns
        (value, gradient), and its first result counts. All else is an error that says what to write.

    Returns an `OptimizeResult`, with SciPy's fields and the multipliers and active set. A solution that was not found
    has success False; a derivative of it raises `ConvergenceError`, or `SingularMatrixError` where the solution is not
    isolated. Where `strict_complementarity` is False the derivative is that of the active set reported.

    Nocedal & Wright, Numerical Optimization (2006). Derivatives: Blondel & Roulet, The Elements of Differentiable
    Programming (2024), Propositions 17.71 and 17.73; Fiacco (1983), Introduction to Sensitivity and Stability Analysis
    in Nonlinear Programming.

    >>> import numpy as np, fastad as fad
    >>> banana = lambda x, a: (a - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> fad.minimize(banana, [-1.2, 1.0], args=(1.0,)).x.round(6).tolist()
    [1.0, 1.0]
    >>> fad.jacobian(lambda a: fad.minimize(banana, [-1.2, 1.0], args=(a,)).x)(3.0).round(6).tolist()  # of (a, a²)
    [1.0, 6.0]
    """
    slope = scipys.get("jac")
    fun, tol, max_steps = settings(
        "minimize", fun, tol, max_steps, scipys | {"jac": None} if callable(slope) else scipys
    )
    tol = 1e-8 if tol is None else tol
    start, problem, kinds = _problem(fun, x0, args, bounds, constraints)
    if callable(slope):
        check_gradient(slope, problem.f, start)
    chosen = _method(method).name
    most = _MOST_STEPS if max_steps is None else most_steps(max_steps)
    is_constrained = bool(problem.constraints) or problem.bounds is not None
    full = problem if problem.bounds is not None or not is_constrained else _with_free_bounds(problem, start.shape[0])

    functions = full.functions

    def run(x0: Array, parameters: Any, tol: Array) -> dict[str, Any]:
        own = functions.of(parameters)
        return _inside(own, kinds, x0, tol, most) if is_constrained else _free(METHODS[chosen](), own.f, x0, tol, most)

    if current_recorder() is None:
        raw = recorded_loop(fun, run)(start, full.parameters, float(tol))
        return OptimizeResult(as_given(_fields(raw, raw["x"], raw["fun"], raw["jac"], problem), x0), _message)
    raw = undifferentiated(run, start, full.parameters, tol)
    fields = _recorded(raw, full, problem, chosen in _MATRIX_FREE)
    return OptimizeResult(as_given(fields, x0), _message)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────
def _problem(
    fun: Any, x0: Any, args: Any, bounds: Any, constraints: Any
) -> tuple[Array, Conditions, tuple[Kinds, ...]]:
    """The first x as a vector of float64, the problem, and the kinds of its limits."""
    if not callable(fun):
        raise TypeError(f"fun must be a function of x{at_line()}, not {type(fun).__name__}")
    x = vector(x0)
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    found = constraints_of(constraints)
    plain = np.asarray(x.value if isinstance(x, Recorded) else x)
    sized = [c.of_size(int(c(plain).shape[0])) for c in found]
    limits = bounds_of(bounds, x.shape[0])
    everywhere = limits if limits is not None else _no_bounds(x.shape[0])
    return x, Conditions(Objective(fun, args), sized, limits), tuple([Kinds.of(c) for c in (*sized, everywhere)])


def vector(x0: Any) -> Array:
    """A first guess as a vector of float64."""
    x = as_recorded(x0) if is_recorded(x0) else np.asarray(x0)
    if x.dtype.kind not in "fiub":
        raise ShapeError(f"x0 must be real numbers{at_line()}, not of dtype {x.dtype}")
    if x.ndim > 1:
        raise ShapeError(f"x0 must have one axis{at_line()}, but has shape {x.shape}; use np.ravel, and reshape in fun")
    if not isinstance(x, Recorded) and not np.all(np.isfinite(x)):
        raise ShapeError(f"x0 must be finite{at_line()}; component {int(np.argmin(np.isfinite(x)))} is not")
    return np.reshape(x, (-1,)).astype(np.float64)


def _method(name: Any) -> type[Method]:
    known = name if name is not None else Newton.name
    kind = METHODS.get(_SCIPY_NAMES.get(str(known).lower(), str(known).lower()))
    if kind is None:
        known = ", ".join(map(repr, METHODS))
        advice = "leave it out: each takes bounds= and constraints=, and derivatives are exact"
        raise ShapeError(f"method must be one of {known}{at_line()}, not {name!r}; or {advice}")
    return kind


def _no_bounds(n: int) -> Constraint:
    return Constraint(None, (), np.full(n, -np.inf), np.full(n, np.inf))


def _with_free_bounds(p: Conditions, n: int) -> Conditions:
    return Conditions(p.f, p.constraints, _no_bounds(n))


# ── solving ───────────────────────────────────────────────────────────────────────────────────────────────────
def _free(method: Method, f: Objective, x0: Array, tol: Array, most: int) -> dict[str, Any]:
    run = descend(method, f, x0, tol, most)
    at = run.at
    return {
        "x": at.x, "fun": at.fun, "jac": at.jac, "nit": run.nit, "nfev": at.nfev, "njev": at.nfev, "nhev": at.nhev,
        "status": run.status, "v": np.zeros(0), "active": ActiveSet(np.zeros(at.x.shape), np.zeros(0)),
        "residual": at.jac,
        "margin": np.inf, "constr_violation": 0.0,
    }  # fmt: skip


def _inside(p: Conditions, kinds: Sequence[Kinds], x0: Array, tol: Array, most: int) -> dict[str, Any]:
    found = minimise_constrained(p, kinds, x0, tol, most)
    fun, jac = p.f.with_gradient(found.x)
    return {
        "x": found.x, "fun": fun, "jac": jac, "nit": found.nit, "nfev": found.nfev, "njev": found.nit + 1,
        "nhev": found.nit, "status": found.status, "v": found.v, "residual": found.residual, "active": found.active,
        "margin": found.margins.strictness,
        "constr_violation": found.margins.violation,
    }  # fmt: skip


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────
def _recorded(raw: dict[str, Any], inner: Conditions, problem: Conditions, matrix_free: bool) -> dict[str, Any]:
    """The fields of the result while something is recorded: with derivatives."""
    active: ActiveSet = raw["active"]
    if isinstance(raw["margin"], Recorded):
        warn_of_kinks("minimize", raw["margin"].value, _STRICT)
    x, v = solution("minimize", inner, (raw["x"], raw["v"]), active, raw["status"], matrix_free=matrix_free)
    fun = value("minimize", inner, (x, v), active, (raw["status"], raw["residual"]))
    return _fields(raw | {"v": v}, x, fun, Later(lambda: inner.f.gradient(x)), problem, inner)


def _fields(
    raw: dict[str, Any], x: Array, fun: Array, jac: Any, problem: Conditions, inner: Conditions | None = None
) -> dict[str, Any]:
    """SciPy's fields, and those about limits where there are some."""
    fields: dict[str, Any] = {
        "success": succeeded(raw["status"]), "status": raw["status"], "fun": fun, "x": x, "jac": jac,
        **{name: raw[name] for name in ("nit", "nfev", "njev", "nhev")},
    }  # fmt: skip
    if problem.constraints or problem.bounds is not None:
        active: ActiveSet = raw["active"]
        sizes = [np.shape(c.lower)[0] for c in problem.constraints]
        own = inner if inner is not None else problem
        w = Later(lambda: own.bound_multipliers(x, raw["v"], active.bounds)) if problem.bounds is not None else None
        fields |= {
            "constr_violation": raw["constr_violation"], "multipliers": _cut(raw["v"], sizes),
            "active": _cut(active.constraints, sizes), "bound_multipliers": np.zeros(x.shape) if w is None else w,
            "active_mask": active.bounds, "strict_complementarity": raw["margin"] > _STRICT,
        }  # fmt: skip
    return fields


def _cut(v: Array, sizes: Sequence[int]) -> tuple[Array, ...]:
    ends = np.cumsum([0, *sizes]).tolist()
    return tuple(v[a:b] for a, b in itertools.pairwise(ends))


def _message(fields: dict[str, Any]) -> str:
    text = in_words(int(fields["status"]))
    if not fields.get("strict_complementarity", True) and fields["success"]:
        text += " A limit is reached with a multiplier of 0: derivatives of x are one-sided there."
    return text


__all__ = ["METHODS", "minimize", "vector"]
