"""From the end of an iteration to a solution with an active set: exactly on its limits, as far as rounding allows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.optimize.conditions import ActiveSet, Conditions
from fastad.optimize.constraints import Kinds
from fastad.optimize.objective import Array
from fastad.recording.functions.linalg import lu_factor, lu_solve
from fastad.sparse.building import diags
from fastad.sparse.derivatives import sparse_jacobian
from fastad.sparse.factoring import splu
from fastad.transforms.public import jacobian

_STEPS = 3  # of Newton's method
_SHIFT = 1e-11  # added to the diagonal of sparse matrices
_SLACK = 1e-9  # by which a step may leave a limit or change the sign of a multiplier


class Margins(NamedTuple):
    """How a point satisfies the limits."""

    strictness: Array  # the smallest of all multipliers of active limits and distances to others; ∞ without limits
    violation: Array  # the largest distance by which a limit is left
    wrong_sign: Array  # the largest multiplier that would let a limit pull


def margins(conditions: Conditions, found: tuple[Array, Array], active: ActiveSet, kinds: Sequence[Kinds]) -> Margins:
    """Those of x and v; `kinds` are of the constraints, then of the bounds."""
    x, v = found
    assert conditions.bounds is not None
    ends = [*conditions.constraints, conditions.bounds]
    lower, upper = (np.concatenate(limits) for limits in ([c.lower for c in ends], [c.upper for c in ends]))
    where = np.concatenate([active.constraints, active.bounds])
    values = np.concatenate([conditions.limited(x), x])
    multipliers = np.concatenate([v, conditions.bound_multipliers(x, v, active.bounds)])
    is_equal = np.concatenate([kind.equal for kind in kinds])
    is_active = where != 0.0
    inside, outward = np.minimum(values - lower, upper - values), where * multipliers
    limit = np.where(where > 0.0, upper, lower)
    off = np.where(is_active, np.abs(values - np.where(is_active, limit, 0.0)), -inside)
    strength = np.where(is_equal, np.inf, np.where(is_active, outward, inside))
    pulls = np.where(is_equal | ~is_active, 0.0, -outward)
    return Margins(np.min(strength, initial=np.inf), np.max(off, initial=0.0), np.max(pulls, initial=0.0))


def polished(
    conditions: Conditions, found: tuple[Array, Array], active: ActiveSet, kinds: Sequence[Kinds],
    is_sparse: bool = False,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(x, v, residual of the conditions) after steps of Newton's method on the conditions, as long as these make the
    error smaller and keep the limits. An interior-point method ends at a distance from them."""
    n = found[0].shape[0]

    def equations(u: Array) -> Array:
        return conditions.residual(u[:n], u[n:], active)

    def step(state: Any) -> Any:
        u, f, _, k = state
        if is_sparse:
            new = u - splu(sparse_jacobian(equations)(u) + diags(shift)).solve(f)
        else:
            new = u - _solved(jacobian(equations, mode="fwd")(u), f)
        error = equations(new)
        smaller = np.max(np.abs(error), initial=0.0) < np.max(np.abs(f), initial=0.0)
        after = margins(conditions, (new[:n], new[n:]), active, kinds)
        ok = smaller & (after.violation <= _SLACK) & (after.wrong_sign <= _SLACK)
        return np.where(ok, new, u), np.where(ok, error, f), ok, k + 1

    first = np.concatenate(found)
    # Sparse factors must exist; so small a change of the matrix costs no convergence.
    shift = np.where(np.arange(first.shape[0]) < n, _SHIFT, -_SHIFT)
    u, residual, *_ = iterate(lambda s: s[2] & (s[3] < _STEPS), step, (first, equations(first), True, 0))
    return u[:n], np.where(active.constraints != 0, u[n:], 0.0), residual


def _solved(matrix: Array, right: Array) -> Array:
    """The solution of a linear system; NaN where the matrix is singular."""
    factors, pivots = lu_factor(matrix)
    regular = np.all(np.diagonal(factors) != 0.0) & np.all(np.isfinite(factors))
    n = matrix.shape[0]
    safe = np.where(regular, factors, np.eye(n)), np.where(regular, pivots, np.arange(n))
    return np.where(regular, lu_solve(safe, right), np.nan)


__all__ = ["Margins", "margins", "polished"]
