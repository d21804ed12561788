"""`quadprog`: convex quadratic programmes, with derivatives of the solution by all data."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.control.outside import recorded_loop
from fastad.errors import ShapeError
from fastad.optimize.active_set import Margins, margins, polished
from fastad.optimize.conditions import ActiveSet, Conditions, solution, value
from fastad.optimize.constraints import Constraint, Kinds, scattered
from fastad.optimize.curvature import lowest_curvature
from fastad.optimize.definite import attempted_cholesky
from fastad.optimize.objective import Array, Objective
from fastad.optimize.result import Later, OptimizeResult, as_given
from fastad.optimize.saddle import saddle
from fastad.optimize.sparse_saddle import SparseSaddle
from fastad.optimize.status import (
    CONVERGED,
    INFEASIBLE,
    MOST_STEPS,
    NOT_CONVEX,
    NOT_FINITE,
    RUNNING,
    UNBOUNDED,
    in_words,
    succeeded,
)
from fastad.optimize.undifferentiated import undifferentiated
from fastad.optimize.warnings import warn_of_kinks
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line
from fastad.sparse.arrays import SparseArray, as_sparse
from fastad.sparse.building import block_array

_STRICT = 1e-6  # multipliers and distances from limits below are 0
_HOPELESS = 1e9  # size of x or of multipliers, relative to the data, at which there is no solution
_CONVEX = 1e-9  # relative size of negative eigenvalues that are rounding errors


def quadprog(
    P: Any, q: Any, G: Any = None, h: Any = None, A: Any = None, b: Any = None, *, tol: Any = 1e-9,
    max_steps: int = 100,
) -> OptimizeResult:  # fmt: skip
    """Minimise ½ xᵀPx + qᵀx subject to G x ≤ h and A x = b.

    The solution is differentiable in all six arrays, by the implicit function theorem on the conditions of optimality,
    to any order; `.fun` by the envelope theorem. Of P the symmetric part counts.

    Sparse matrices, SciPy's or of `fad.sparse`, are kept sparse: if one of P, G and A is, every step solves one sparse
    system, and derivatives are by their entries. Whether a sparse P is positive semidefinite is seen along some
    directions only, those of Lanczos' method.

    Parameters
    ----------
    P : (n, n), positive semidefinite; zeros for a linear programme.
    q : (n,).
    G, h : (m, n) and (m,); None or empty: no inequalities. Where h is infinite there is no limit.
    A, b : (k, n) and (k,); None or empty: no equations.
    tol : largest error of the conditions, relative to the data.
    max_steps : the most steps.

    Returns an `OptimizeResult`; `multipliers` is (λ, ν) with Px + q + Gᵀλ + Aᵀν = 0 and λ ≥ 0, and `active` marks the
    inequalities that hold with equality by 1. Not solved (infeasible, unbounded, not convex): success False, and
    ConvergenceError in a derivative. A solution that is not unique, as in a degenerate linear programme, has no
    derivative: SingularMatrixError.

    A primal-dual method with Mehrotra's predictor and corrector: Nocedal & Wright, Numerical Optimization (2006),
    Algorithm 16.4. Derivatives: Amos & Kolter (2017), OptNet: Differentiable optimization as a layer in neural
    networks.

    >>> import numpy as np, fastad as fad
    >>> project = lambda y: fad.quadprog(np.eye(2), -y, A=np.ones((1, 2)), b=np.ones(1), G=-np.eye(2), h=np.zeros(2)).x
    >>> project(np.array([0.9, 0.5])).round(6).tolist()  # onto the simplex
    [0.7, 0.3]
    >>> fad.jacobian(project)(np.array([0.9, 0.5])).round(6).tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    problem, kinds = _problem({"P": P, "q": q, "G": G, "h": h, "A": A, "b": b})
    most, count = operator.index(max_steps), problem.constraints[0].upper.shape[0]

    functions = problem.functions

    def run(parameters: Any, tol: Array) -> dict[str, Any]:
        return _solved(functions.of(parameters), kinds, tol, most)

    if current_recorder() is None:
        raw = recorded_loop(quadprog, run)(problem.parameters, float(tol))
        return _result(raw, raw["x"], raw["fun"], raw["jac"], (q, count))
    raw = undifferentiated(run, problem.parameters, tol)
    if isinstance(raw["margin"], Recorded):
        warn_of_kinks("quadprog", raw["margin"].value, _STRICT)
    x, v = solution("quadprog", problem, (raw["x"], raw["v"]), raw["active"], raw["status"])
    fun = value("quadprog", problem, (x, v), raw["active"], (raw["status"], raw["residual"]))
    return _result(raw | {"v": v}, x, fun, Later(lambda: problem.f.gradient(x)), (q, count))


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────
def _objective(x: Array, P: Array, q: Array) -> Array:
    return 0.5 * (x @ (P @ x)) + q @ x


def _product(x: Array, matrix: Array) -> Array:
    return matrix @ x


def _problem(data: dict[str, Any]) -> tuple[Conditions, tuple[Kinds, ...]]:
    """The programme, with the constraints G and A always there, perhaps empty."""
    arrays = {name: _array(x, name) for name, x in data.items()}
    q = arrays["q"]
    if q is None or q.ndim != 1:
        raise ShapeError(
            f"quadprog: q must be a vector{at_line()}, not {'absent' if q is None else f'of shape {q.shape}'}"
        )
    n = q.shape[0]
    if arrays["P"] is None or arrays["P"].shape != (n, n):
        shape = None if arrays["P"] is None else arrays["P"].shape
        raise ShapeError(f"quadprog: P must have the shape {(n, n)}, as q has {n} elements{at_line()}, not {shape}")
    g, h = _limits(arrays, ("G", "h"), n)
    a, b = _limits(arrays, ("A", "b"), n)
    constraints = [Constraint(_product, (g,), np.full(h.shape, -np.inf), h), Constraint(_product, (a,), b, b)]
    everywhere = Constraint(None, (), np.full(n, -np.inf), np.full(n, np.inf))
    of_a = Kinds(*[(value,) * b.shape[0] for value in (False, False, True)])
    kinds = (Kinds.of(constraints[0]), of_a, Kinds.of(everywhere))
    return Conditions(Objective(_objective, (arrays["P"], q)), constraints, everywhere), kinds


def _array(x: Any, name: str) -> Any:
    """An array of float64; None where it is absent."""
    if x is None:
        return None
    x = as_sparse(x)
    if not isinstance(x, SparseArray):
        x = as_recorded(x) if is_recorded(x) else np.asarray(x)
    elif name in "qhb":
        raise ShapeError(f"quadprog: {name} must be a dense vector{at_line()}")
    if x.dtype.kind not in "fiub":
        raise ShapeError(f"quadprog: {name} must be real numbers{at_line()}, not of dtype {x.dtype}")
    return x.astype(np.float64)


def _limits(arrays: dict[str, Any], names: tuple[str, str], n: int) -> tuple[Any, Any]:
    matrix, right = (arrays[name] for name in names)
    if matrix is None or 0 in matrix.shape:
        if right is not None and right.size:
            raise ShapeError(f"quadprog: {names[1]} is given, but {names[0]} is not{at_line()}")
        return np.zeros((0, n)), np.zeros(0)
    if matrix.ndim != 2 or matrix.shape[1] != n or right is None or right.shape != matrix.shape[:1]:
        found = None if right is None else right.shape
        raise ShapeError(
            f"quadprog: {names[0]} must have {n} columns and {names[1]} as many elements as it has rows{at_line()}; "
            f"the shapes are {matrix.shape} and {found}"
        )
    return matrix, right


# ── the iteration ─────────────────────────────────────────────────────────────────────────────────────────────
class _State(NamedTuple):
    x: Array
    s: Array
    y: Array
    z: Array
    nit: Array
    status: Array


class _Data(NamedTuple):
    """The programme; its matrices are all dense or all sparse."""

    P: Array
    q: Array
    G: Array
    h: Array
    A: Array
    b: Array

    @staticmethod
    def of(P: Any, q: Array, G: Any, h: Array, A: Any, b: Array) -> "_Data":
        """P made symmetric; dense matrices with all their elements as entries where another one is sparse."""
        if any(isinstance(x, SparseArray) for x in (P, G, A)):
            P, G, A = (block_array([[x]]) for x in (P, G, A))
        return _Data(0.5 * (P + P.T), q, G, h, A, b)

    @property
    def is_sparse(self) -> bool:
        return isinstance(self.P, SparseArray)


class _Errors(NamedTuple):
    dual: Array
    inequality: Array
    equality: Array
    mu: Array


def _solved(p: Conditions, kinds: Sequence[Kinds], tol: Array, most: int) -> dict[str, Any]:
    """The iteration, and the active set that it ends with."""
    has_limit = kinds[0].upper
    P, q = p.f.args
    g, a = p.constraints
    matrix = g.args[0]
    data = _Data.of(P, q, matrix[has_limit], g.upper[has_limit], a.args[0], a.lower)
    end = _iterate(data, tol, most)
    reached = np.where(end.z > end.s, 1.0, 0.0)
    active = ActiveSet(np.zeros(q.shape), np.concatenate([scattered(reached, has_limit), np.ones(a.lower.shape)]))
    v = np.concatenate([scattered(reached * end.z, has_limit), end.y])
    x, v, residual = polished(p, (end.x, v), active, kinds, data.is_sparse)
    found: Margins = margins(p, (x, v), active, kinds)
    fun, jac = p.f.with_gradient(x)
    return {
        "x": x, "v": v, "residual": residual, "fun": fun, "jac": jac, "active": active, "nit": end.nit,
        "status": end.status, "margin": found.strictness, "constr_violation": found.violation,
    }  # fmt: skip


def _largest(x: Array) -> Array:
    return np.max(np.abs(_numbers(x)), initial=0.0)


def _numbers(x: Array) -> Array:
    return x.data if isinstance(x, SparseArray) else x


def _is_convex(P: Array) -> Array:
    """Whether P is positive semidefinite, but for rounding errors."""
    shift = _CONVEX * np.maximum(_largest(P), 1e-300)
    if isinstance(P, SparseArray):
        return lowest_curvature(lambda v: P @ v, P.shape[0])[0] >= -shift
    return attempted_cholesky(P + shift * np.eye(P.shape[0]))[1]


def _iterate(d: _Data, tol: Array, most: int) -> _State:
    size = 1.0 + np.maximum(_largest(d.q), np.maximum(_largest(d.h), _largest(d.b)))
    finite, convex = np.all(np.isfinite(_numbers(d.P))), _is_convex(d.P)

    def status_of(s: _State) -> Array:
        e = _errors(d, s)
        primal = np.maximum(_largest(e.inequality), _largest(e.equality))
        error = np.maximum(
            np.maximum(primal, _largest(e.dual)) / size, e.mu / (size + np.abs(_objective(s.x, d.P, d.q)))
        )
        status = np.where(s.nit >= most, MOST_STEPS, RUNNING)
        away, hopeless = _largest(s.x), np.maximum(_largest(s.y), _largest(s.z))
        status = np.where((hopeless > _HOPELESS * size) & (primal > 1e-8 * size), INFEASIBLE, status)
        status = np.where((away > _HOPELESS * size) & (_objective(s.x, d.P, d.q) < 0.0), UNBOUNDED, status)
        status = np.where(error <= tol, CONVERGED, status)
        status = np.where(np.isfinite(error), status, NOT_FINITE)
        return np.where(convex | ~finite, status, NOT_CONVEX)

    def step(s: _State) -> _State:
        after = _stepped(d, s)
        return after._replace(status=status_of(after))

    first = _start(d)
    last: _State = iterate(lambda s: s.status == RUNNING, step, first._replace(status=status_of(first)))
    return last


def _errors(d: _Data, s: _State) -> _Errors:
    count = max(d.h.shape[0], 1)
    return _Errors(d.P @ s.x + d.q + s.z @ d.G + s.y @ d.A, d.G @ s.x + s.s - d.h, d.A @ s.x - d.b, (s.s @ s.z) / count)


def _start(d: _Data) -> _State:
    """Equation 16.61: a step from slacks and multipliers of 1, and then both at least 1."""
    m, k, n = d.h.shape[0], d.b.shape[0], d.q.shape[0]
    ones = np.ones(m) + 0.0 * d.h
    s = _State(np.zeros(n) + 0.0 * d.q, ones, np.zeros(k) + 0.0 * d.b, ones, np.zeros((), int), np.asarray(RUNNING))
    e, solve = _errors(d, s), _system(d, s)
    dx, ds, dy, dz = solve(e, s.s * s.z)
    return _State(
        s.x + dx, np.maximum(1.0, np.abs(s.s + ds)), s.y + dy, np.maximum(1.0, np.abs(s.z + dz)), s.nit, s.status
    )


def _system(d: _Data, s: _State) -> Any:
    """The factorised system of a step, as a function of (errors, right side of the complementarity)."""
    w, least = s.z / s.s, 1e-13 * (1.0 + _largest(d.P))
    system: Any
    if d.is_sparse:
        system = SparseSaddle(d.P, d.A, d.G, w, np.zeros(d.q.shape)).factorised(least)
    else:
        system = saddle(d.P + (d.G.T * w) @ d.G, d.A, _largest(d.P), least)

    def solve(e: _Errors, centre: Array) -> tuple[Array, Array, Array, Array]:
        dx, dy = system.solve(-e.dual - ((s.z * e.inequality - centre) / s.s) @ d.G, -e.equality)
        ds = -e.inequality - d.G @ dx
        return dx, ds, dy, -(centre + s.z * ds) / s.s

    return solve


def _stepped(d: _Data, s: _State) -> _State:
    """Predictor, and corrector with the same factors."""
    e, solve = _errors(d, s), _system(d, s)
    _, ds, _, dz = solve(e, s.s * s.z)
    alpha = _fraction(s, ds, dz, 1.0)
    count = max(d.h.shape[0], 1)
    affine = ((s.s + alpha * ds) @ (s.z + alpha * dz)) / count
    sigma = np.where(e.mu > 0.0, (affine / np.where(e.mu > 0.0, e.mu, 1.0)) ** 3, 0.0)
    dx, ds, dy, dz = solve(e, s.s * s.z + ds * dz - sigma * e.mu)
    alpha = _fraction(s, ds, dz, np.maximum(0.99, 1.0 - e.mu))
    return _State(s.x + alpha * dx, s.s + alpha * ds, s.y + alpha * dy, s.z + alpha * dz, s.nit + 1, s.status)


def _fraction(s: _State, ds: Array, dz: Array, tau: Array) -> Array:
    """The longest step up to 1 that leaves slacks and multipliers at least (1 − tau) of what they are."""
    v, dv = np.concatenate([s.s, s.z]), np.concatenate([ds, dz])
    falls = dv < 0.0
    return np.min(np.where(falls, -tau * v / np.where(falls, dv, -1.0), 1.0), initial=1.0)


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────
def _result(raw: dict[str, Any], x: Array, fun: Array, jac: Any, given: tuple[Any, int]) -> OptimizeResult:
    active: ActiveSet = raw["active"]
    q, m = given
    fields = {
        "success": succeeded(raw["status"]), "status": raw["status"], "fun": fun, "x": x, "jac": jac,
        "nit": raw["nit"], "constr_violation": raw["constr_violation"],
        "multipliers": (raw["v"][:m], raw["v"][m:]), "active": (active.constraints[:m], active.constraints[m:]),
        "strict_complementarity": raw["margin"] > _STRICT,
    }  # fmt: skip
    return OptimizeResult(as_given(fields, q), _message)


def _message(fields: dict[str, Any]) -> str:
    text = in_words(int(fields["status"]))
    if not fields["strict_complementarity"] and fields["success"]:
        text += " A limit is reached with a multiplier of 0: derivatives of x are one-sided there."
    return text


__all__ = ["quadprog"]
