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
PUSH = 1e-2  # how far inside its bounds x starts
SHARE = 0.1  # of the elements of the system that are not zero, up to which they are sparse


@dataclass(frozen=True)
class Canonical:
    """The problem; `kinds` are those of the constraints, then of the bounds, if there are any."""

    f: Objective
    constraints: Sequence[Constraint]
    bounds: Constraint
    kinds: Sequence[Kinds]
    is_sparse: bool = False  # whether matrices are sparse

    def suited(self, x: Array) -> tuple["Canonical", tuple[Array, Array]]:
        """The problem with sparse matrices, if it is large and few elements of its system are not zero; and its
        Jacobians at x."""
        n = x.shape[0]
        if n > FEW:
            own = replace(self, is_sparse=True)
            jh, jg = own.jacobians(x)
            h, g = np.zeros(jh.shape[0]), np.zeros(jg.shape[0])
            size = n + len(h) + len(g)
            entries = own.curvature(x, h, g).nnz + 2 * sum(j.nnz for j in (jh, jg) if j.shape[0]) + size
            if entries <= SHARE * size**2:
                return own, (jh, jg)
        return self, self.jacobians(x)

    @property
    def on_x(self) -> Kinds:
        """The kinds of bounds."""
        return self.kinds[-1]

    def inside(self, x: Array) -> Array:
        """x moved away from its bounds (Wächter & Biegler, section 3.6)."""
        low, high, kind = self.bounds.lower, self.bounds.upper, self.on_x
        both = kind.lower & kind.upper
        lower, upper = np.where(kind.lower, low, 0.0), np.where(kind.upper, high, 0.0)
        width = np.where(both, PUSH * (upper - lower), np.inf)
        from_low = np.minimum(PUSH * np.maximum(1.0, np.abs(lower)), width)
        from_high = np.minimum(PUSH * np.maximum(1.0, np.abs(upper)), width)
        x = np.where(kind.lower, np.maximum(x, lower + np.where(kind.lower, from_low, 0.0)), x)
        x = np.where(kind.upper, np.minimum(x, upper - np.where(kind.upper, from_high, 0.0)), x)
        return np.where(kind.equal, np.where(kind.equal, low, 0.0), x)

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
        equal = sum(int(np.sum(k.equal)) for k in self.kinds)
        positive = sum(int(np.sum(k.lower) + np.sum(k.upper)) for k in self.kinds[:-1])
        if self.is_sparse:
            return self._sparse_jacobian(x, 0, equal), self._sparse_jacobian(x, 1, positive)
        mode = "rev" if equal + positive < x.shape[0] else "fwd"
        found: tuple[Array, Array] = jacobian(self.functions, mode=mode)(x)
        return found

    def _sparse_jacobian(self, x: Array, which: int, rows: int) -> Any:
        """That of h or g; without rows it is a dense one."""
        return sparse_jacobian(lambda x: self.functions(x)[which])(x) if rows else np.zeros((0, x.shape[0]))

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


__all__ = ["FEW", "PUSH", "SHARE", "Canonical"]
