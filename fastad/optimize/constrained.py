"""A problem with constraints, from its start to a solution with an active set."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastad.optimize.active_set import Margins, margins, polished
from fastad.optimize.canonical import Canonical
from fastad.optimize.conditions import ActiveSet, Conditions
from fastad.optimize.constraints import Kinds, scattered
from fastad.optimize.interior import Interior, minimise_inside
from fastad.optimize.objective import Array


class Solution(NamedTuple):
    """x, multipliers of constraints, the residual of the conditions, the active limits, and numbers about the run."""

    x: Array
    v: Array
    residual: Array
    active: ActiveSet
    margins: Margins
    nit: Array
    nfev: Array
    status: Array


def minimise_constrained(
    conditions: Conditions, kinds: Sequence[Kinds], x0: Array, tol: Array, max_steps: int
) -> Solution:
    """The interior-point method, then Newton's method on the conditions of the active set that it has found."""
    assert conditions.bounds is not None
    problem = Canonical(conditions.f, conditions.constraints, conditions.bounds, kinds)
    x = problem.inside(x0)
    problem, jacobians = problem.suited(x)
    end = minimise_inside(problem, x, jacobians, tol, max_steps)
    v, active = _multipliers(end, kinds)
    x, v, residual = polished(conditions, (end.x, v), active, kinds, problem.is_sparse)
    return Solution(x, v, residual, active, margins(conditions, (x, v), active, kinds), end.nit, end.nfev, end.status)


def _multipliers(i: Interior, kinds: Sequence[Kinds]) -> tuple[Array, ActiveSet]:
    """Multipliers and active limits in the order of the constraints, from those of h and g."""
    y, z, reached = i.y, i.z, np.where(i.z > i.s, 1.0, 0.0)
    multipliers, active = [], []
    at_h = at_g = 0
    for kind in kinds:
        equal, lower, upper = (int(np.sum(mask)) for mask in (kind.equal, kind.lower, kind.upper))
        low, high = slice(at_g, at_g + lower), slice(at_g + lower, at_g + lower + upper)
        multipliers.append(
            scattered(y[at_h : at_h + equal], kind.equal)
            + scattered(z[high], kind.upper) - scattered(z[low], kind.lower)
        )  # fmt: skip
        both = scattered(reached[high], kind.upper) - scattered(reached[low], kind.lower)
        active.append(np.where(kind.equal, 1.0, both))
        at_h, at_g = at_h + equal, at_g + lower + upper
    v, on_limits = np.concatenate([np.zeros(0), *multipliers[:-1]]), np.concatenate([np.zeros(0), *active[:-1]])
    return np.where(on_limits != 0.0, v, 0.0), ActiveSet(active[-1], on_limits)


__all__ = ["Solution", "minimise_constrained"]
