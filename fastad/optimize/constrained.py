"""A problem with constraints, from its start to a solution with an active set."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import while_loop
from fastad.optimize.canonical import Canonical
from fastad.optimize.conditions import ActiveSet, Conditions
from fastad.optimize.constraints import Kinds
from fastad.optimize.interior import Interior, minimise_inside
from fastad.optimize.objective import Array
from fastad.recording.functions.linalg import lu_factor, lu_solve
from fastad.transforms.public import jacobian

_STEPS = 3  # of Newton's method on the conditions, after the iteration
_SLACK = 1e-9  # by which a step may leave a limit or change the sign of a multiplier


class Solution(NamedTuple):
    """x, the multipliers of constraints, which limits are active, and numbers about the run."""

    x: Array
    v: Array
    active: ActiveSet
    margin: Array
    violation: Array
    nit: Array
    nfev: Array
    status: Array


def minimise_constrained(
    conditions: Conditions, kinds: Sequence[Kinds], x0: Array, tol: Array, max_steps: int
) -> Solution:
    """The interior-point method, then steps of Newton's method on the conditions of the active set that it has found."""
    assert conditions.bounds is not None
    problem = Canonical(conditions.f, conditions.constraints, conditions.bounds, kinds)
    end = minimise_inside(problem, x0, tol, max_steps)
    v, active = _multipliers(end, kinds)
    x, v = _polished(conditions, (end.x, v), active, kinds)
    margin, violation = _distances(conditions, (x, v), active, kinds)
    return Solution(x, v, active, margin, violation, end.nit, end.nfev, end.status)


def _scattered(values: Array, mask: np.ndarray) -> Array:
    """Numbers in the places of a mask, zeros elsewhere."""
    return values @ np.eye(len(mask))[mask]


def _multipliers(i: Interior, kinds: Sequence[Kinds]) -> tuple[Array, ActiveSet]:
    """Multipliers and active limits in the order of the constraints, from those of h and g."""
    y, z, reached = i.y, i.z, np.where(i.z > i.s, 1.0, 0.0)
    multipliers, active = [], []
    at_h = at_g = 0
    for kind in kinds:
        equal, lower, upper = (int(np.sum(mask)) for mask in (kind.equal, kind.lower, kind.upper))
        low, high = slice(at_g, at_g + lower), slice(at_g + lower, at_g + lower + upper)
        multipliers.append(
            _scattered(y[at_h : at_h + equal], kind.equal)
            + _scattered(z[high], kind.upper) - _scattered(z[low], kind.lower)
        )  # fmt: skip
        both = _scattered(reached[high], kind.upper) - _scattered(reached[low], kind.lower)
        active.append(np.where(kind.equal, 1.0, both))
        at_h, at_g = at_h + equal, at_g + lower + upper
    v, on_limits = np.concatenate([np.zeros(0), *multipliers[:-1]]), np.concatenate([np.zeros(0), *active[:-1]])
    return np.where(on_limits != 0.0, v, 0.0), ActiveSet(active[-1], on_limits)


# ── Newton's steps at the end ─────────────────────────────────────────────────────────────────────────────────
def _polished(
    conditions: Conditions, found: tuple[Array, Array], active: ActiveSet, kinds: Sequence[Kinds]
) -> tuple[Array, Array]:
    """x and v closer to the solution of the conditions, as long as steps make the error smaller and limits hold."""
    n = found[0].shape[0]

    def equations(u: Array) -> Array:
        return conditions.residual(u[:n], u[n:], active)

    def step(state: Any) -> Any:
        u, f, _, k = state
        new = u - _solved(jacobian(equations)(u), f)
        error = equations(new)
        smaller = np.max(np.abs(error), initial=0.0) < np.max(np.abs(f), initial=0.0)
        _, violation = _distances(conditions, (new[:n], new[n:]), active, kinds)
        ok = smaller & (violation <= _SLACK)
        return np.where(ok, new, u), np.where(ok, error, f), ok, k + 1

    first = np.concatenate(found)
    u, *_ = while_loop(lambda s: s[2] & (s[3] < _STEPS), step, (first, equations(first), True, 0))
    return u[:n], u[n:]


def _solved(matrix: Array, right: Array) -> Array:
    """The solution of a linear system; NaN where the matrix is singular."""
    factors, pivots = lu_factor(matrix)
    regular = np.all(np.diagonal(factors) != 0.0) & np.all(np.isfinite(factors))
    n = matrix.shape[0]
    safe = np.where(regular, factors, np.eye(n)), np.where(regular, pivots, np.arange(n))
    return np.where(regular, lu_solve(safe, right), np.nan)


def _distances(
    conditions: Conditions, found: tuple[Array, Array], active: ActiveSet, kinds: Sequence[Kinds]
) -> tuple[Array, Array]:
    """(how strict complementarity is: the smallest of the active multipliers and the other distances; by how much
    limits, or signs of multipliers, are violated)."""
    x, v = found
    assert conditions.bounds is not None
    w = conditions.bound_multipliers(x, v, active.bounds)
    ends = [*conditions.constraints, conditions.bounds]
    lower, upper = (np.concatenate(limits) for limits in ([c.lower for c in ends], [c.upper for c in ends]))
    where = np.concatenate([active.constraints, active.bounds])
    values, multipliers = np.concatenate([conditions.limited(x), x]), np.concatenate([v, w])
    equal = np.concatenate([kind.equal for kind in kinds])
    inside = np.minimum(values - lower, upper - values)
    outside = np.max(np.where(equal | (where != 0.0), 0.0, -inside), initial=0.0)
    outside = np.maximum(outside, np.max(np.where(where != 0.0, np.abs(values - _at(where, lower, upper)), 0.0), initial=0.0))
    strength = np.where(equal, np.inf, np.where(where != 0.0, where * multipliers, inside))
    wrong = np.max(np.where(equal | (where == 0.0), 0.0, -where * multipliers), initial=0.0)
    return np.min(strength, initial=np.inf), np.maximum(outside, wrong)


def _at(where: Array, lower: Array, upper: Array) -> Array:
    return np.where(where > 0.0, upper, np.where(where < 0.0, lower, 0.0))


__all__ = ["Solution", "minimise_constrained"]
