"""A problem with constraints as the interior-point method takes it: min f(x), h(x) = 0, g(x) ≥ 0.

The limits on x itself come last in g; their Jacobian has one number in a row, and is never made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.optimize.constraints import Constraint, Kinds, scattered
from fastad.optimize.objective import Array, Objective
from fastad.sparse.derivatives import sparse_hessian, sparse_jacobian
from fastad.transforms.public import hessian, jacobian

FEW = 100  # variables up to which matrices are dense
SHARE = 0.1  # of the elements of the system that are not zero, up to which they are sparse


@dataclass(frozen=True)
class Canonical:
    """The problem; `kinds` are those of the constraints, then of the bounds, if there are any."""

    f: Objective
    constraints: Sequence[Constraint]
    bounds: Constraint
    kinds: Sequence[Kinds]
    is_sparse: bool = False  # whether matrices are sparse

    def suited(self, x: Array) -> "Canonical":
        """The problem with sparse matrices, if it is large and few elements of its system are not zero."""
        n = x.shape[0]
        if n <= FEW:
            return self
        own = replace(self, is_sparse=True)
        h, g = self.functions(x)
        jh, jg = own.jacobians(x)
        size = n + h.shape[0] + g.shape[0]
        entries = own.curvature(x, 0.0 * h, 0.0 * g).nnz + 2 * sum(j.nnz for j in (jh, jg) if j.shape[0]) + size
        return own if entries <= SHARE * size**2 else self

    @property
    def on_x(self) -> Kinds:
        """The kinds of bounds."""
        return self.kinds[-1]

    def functions(self, x: Array) -> tuple[Array, Array]:
        """(h, g) without the limits on x; components of x that have one value only are in h."""
        equal, positive = [np.zeros(0)], [np.zeros(0)]
        for c, kind in zip(self.constraints, self.kinds, strict=False):
            values = c(x)
            equal.append((values - c.lower)[kind.equal])
            positive += [(values - c.lower)[kind.lower], (c.upper - values)[kind.upper]]
        equal.append((x - self.bounds.lower)[self.on_x.equal])
        return np.concatenate(equal), np.concatenate(positive)

    def distances(self, x: Array) -> Array:
        """The part of g that is bounds on x."""
        kind, b = self.on_x, self.bounds
        return np.concatenate([x[kind.lower] - b.lower[kind.lower], b.upper[kind.upper] - x[kind.upper]])

    def values(self, x: Array) -> tuple[Array, Array]:
        """(h, g)."""
        equal, positive = self.functions(x)
        return equal, np.concatenate([positive, self.distances(x)])

    def jacobians(self, x: Array) -> tuple[Array, Array]:
        """Those of `functions`."""
        if self.is_sparse:
            return self._sparse_jacobian(x, 0), self._sparse_jacobian(x, 1)
        rows = sum(int(np.sum(k.equal) + np.sum(k.lower) + np.sum(k.upper)) for k in self.kinds)
        found: tuple[Array, Array] = jacobian(self.functions, mode="rev" if rows < x.shape[0] else "fwd")(x)
        return found

    def _sparse_jacobian(self, x: Array, which: int) -> Any:
        """That of h or g; without rows it is a dense one."""
        count = self.functions(x)[which].shape[0]
        return sparse_jacobian(lambda x: self.functions(x)[which])(x) if count else np.zeros((0, x.shape[0]))

    def curvature(self, x: Array, equal: Array, positive: Array) -> Array:
        """∇² of f + ν·h − z·g by x, for multipliers ν and z."""

        def lagrangian(x: Array) -> Array:
            h, g = self.functions(x)
            return self.f(x) + equal @ h - positive[: g.shape[0]] @ g

        return (sparse_hessian if self.is_sparse else hessian)(lagrangian)(x)

    # ── bounds on x as rows of a Jacobian ─────────────────────────────────────────────────────────────────────
    def along(self, jacobian: Array, v: Array) -> Array:
        """J_g v."""
        kind = self.on_x
        return np.concatenate([jacobian @ v, v[kind.lower], -v[kind.upper]])

    def back(self, jacobian: Array, z: Array) -> Array:
        """J_gᵀ z."""
        count = jacobian.shape[0]
        return jacobian.T @ z[:count] + self._scattered(z[count:], -1.0)

    def weighted(self, jacobian: Array, w: Array) -> Array:
        """J_gᵀ diag(w) J_g."""
        count = jacobian.shape[0]
        return (jacobian.T * w[:count]) @ jacobian + np.diag(self.of_bounds(w[count:]))

    def of_bounds(self, w: Array) -> Array:
        """The diagonal of that matrix that is due to bounds."""
        return self._scattered(w, 1.0)

    def _scattered(self, z: Array, upper_sign: float) -> Array:
        """Numbers of the bounds in the places of their components."""
        kind = self.on_x
        count = int(np.sum(kind.lower))
        return scattered(z[:count], kind.lower) + upper_sign * scattered(z[count:], kind.upper)


__all__ = ["FEW", "SHARE", "Canonical"]
