"""Problems of many variables, of which each function depends on few: the same iteration with sparse matrices.

The system of a step is not condensed. With G = √Σ J_g it is

    ┌ W + D + δ   J_hᵀ   Gᵀ ┐ ┌ dx ┐   ┌ a ┐
    │ J_h         −γ        │ │ dy │ = │ b │,
    └ G                  −1 ┘ └ u  ┘   └ 0 ┘

D being the part of Σ that belongs to bounds. Its pattern is fixed, so it is factorised again in one order of
elimination. Factors of that kind do not tell how many eigenvalues are negative; a step is taken where the curvature
along it is positive, else δ grows: Chiang & Zavala (2016), An inertia-free filter line-search algorithm for large-scale
nonlinear programming, Comput. Optim. Appl. 64, section 3. γ keeps equations that depend on each other apart: Wächter &
Biegler (2006), section 3.1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.control.loops import while_loop
from fastad.optimize.canonical import Canonical
from fastad.optimize.conditions import ActiveSet, Conditions
from fastad.optimize.objective import Array
from fastad.sparse.building import block_array, diags
from fastad.sparse.derivatives import sparse_hessian, sparse_jacobian
from fastad.sparse.factoring import splu

FEW = 100  # unknowns and multipliers, up to which matrices count as dense
SHARE = 0.1  # of the elements of the system that are not zero, below which it counts as sparse
_GAMMA = 1e-10
_LEAST = 1e-12  # of δ, relative to W
_FIRST = 1e-4
_GROWTH = 8.0
_MOST = 20
_CURVED = 1e-8


@dataclass(frozen=True)
class SparseCanonical(Canonical):
    """The problem with sparse Jacobians and Hessians."""

    def jacobians(self, x: Array) -> tuple[Array, Array]:
        count = int(sum(int(np.sum(kind.equal)) for kind in self.kinds))
        found = sparse_jacobian(lambda x: np.concatenate(self.functions(x)))(x)
        return found[:count], found[count:]

    def curvature(self, x: Array, equal: Array, positive: Array) -> Array:
        return sparse_hessian(lambda x: self.lagrangian(x, equal, positive))(x)

    def direction(self, w: Array, at: Any, sigma: Array, right: Array, off: Array) -> tuple[Array, Array, Array]:
        n, m, k = right.shape[0], at.jh.shape[0], at.jg.shape[0]
        of_bounds, root = self.scattered(sigma[k:], 1.0), np.sqrt(sigma[:k])
        weighted = diags(root) @ at.jg if k else at.jg
        scale = np.maximum(np.max(np.abs(w.data), initial=0.0), 1e-8)
        rhs = np.concatenate([right, -off, np.zeros(k)])

        def attempt(state: Any) -> Any:
            delta, *_, tries = state
            delta = np.where(tries == 0, _LEAST * scale, np.maximum(_GROWTH * delta, _FIRST * scale))
            rows = [[w + diags(of_bounds + delta)]]
            if m:
                rows = [[*rows[0], at.jh.T], [at.jh, diags(np.full(m, -_GAMMA))]]
            if k:
                rows = [[*row, None] for row in rows]
                rows[0][-1] = weighted.T
                rows.append([weighted, *[None] * (len(rows) - 1), diags(np.full(k, -1.0))])
            found = splu(block_array(rows)).solve(rhs)
            dx, dy = found[:n], found[n : n + m]
            along = weighted @ dx if k else np.zeros(0)
            quadratic = dx @ (w @ dx) + dx @ (of_bounds * dx) + along @ along + delta * (dx @ dx)
            curved = quadratic + np.maximum(-(dy @ off), 0.0) >= _CURVED * scale * (dx @ dx)
            return delta, dx, dy, quadratic, curved & np.isfinite(quadratic), tries + 1

        zero = 0.0 * right[0] if n else np.zeros(())
        first = (zero, np.zeros(n), np.zeros(m), zero, False, 0)
        _, dx, dy, quadratic, ok, _ = while_loop(lambda s: ~s[4] & (s[5] < _MOST), attempt, first)
        return np.where(ok, dx, 0.0), np.where(ok, dy, 0.0), np.where(ok, quadratic, 0.0)


def newton_step(conditions: Conditions, u: Array, residual: Array, active: ActiveSet) -> Array:
    """Newton's step for the conditions of an active set; γ as above."""
    n = active.bounds.shape[0]
    matrix = sparse_jacobian(lambda u: conditions.residual(u[:n], u[n:], active))(u)
    scale = np.maximum(np.max(np.abs(matrix.data), initial=0.0), 1e-8)
    own = np.concatenate([np.where(active.bounds != 0, 0.0, _LEAST * scale), -_GAMMA * np.abs(active.constraints)])
    return splu(matrix + diags(own)).solve(residual)


def is_sparse(conditions: Conditions, kinds: Any, x0: Array) -> bool:
    """Whether the system of the conditions has many unknowns and few elements."""
    n, m = x0.shape[0], sum(len(kind.equal) for kind in kinds) - x0.shape[0]
    if n + m <= FEW:
        return False
    active = ActiveSet(np.zeros(n), np.zeros(m))

    matrix = sparse_jacobian(lambda u: conditions.residual(u[:n], u[n:], active))(np.concatenate([x0, np.zeros(m)]))
    return int(np.size(matrix.data)) <= SHARE * (n + m) ** 2  # nobody reads its numbers, so they are not computed


__all__ = ["SparseCanonical", "is_sparse", "newton_step"]
