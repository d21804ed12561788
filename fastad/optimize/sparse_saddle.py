"""The linear systems of large constrained problems with few elements: for a sparse Hessian W, Jacobians J of equations
and G of inequalities, weights σ of these, and a diagonal D,

    (W + D + Gᵀ diag(σ) G) x + Jᵀ y = a,  J x = b,

are solved as one sparse system with the unknowns x, y and u = diag(σ) G x, so that GᵀG, which may be full, is not made.

Its factors do not say whether the matrix is positive definite where J leaves it free. So the direction is asked: a
multiple of the identity is added to W until the curvature along x is positive, as in Chiang & Zavala (2016), An
inertia-free filter line-search algorithm for large-scale nonlinear programming, Comput. Optim. Appl. 64.
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.optimize.objective import Array
from fastad.sparse.building import block_array, diags
from fastad.sparse.factoring import splu

_SMALLEST = 1e-11  # added to the diagonal, so that there are factors where there is no curvature
_CURVED = 1e-10  # curvature along the direction that is enough, relative to W
_WEIGHT = 10.0  # of JᵀJ, relative to W
_GROWTH = 4.0
_MOST = 30


class SparseFactors(NamedTuple):
    """A factorised system with so many weights."""

    lu: Any
    weights: int

    def solve(self, a: Array, b: Array) -> tuple[Array, Array]:
        """(x, y)."""
        n, m = a.shape[0], b.shape[0]
        found = self.lu.solve(np.concatenate([a, b, np.zeros(self.weights)]))
        return found[:n], found[n : n + m]


class SparseSaddle(NamedTuple):
    """A system; `sigma` and `diagonal` are vectors."""

    w: Any
    j: Any
    g: Any
    sigma: Array
    diagonal: Array

    def solve(self, a: Array, b: Array) -> tuple[Array, Array, Array]:
        """(x, y, curvature along x)."""
        scale = 1e-4 + np.max(np.abs(self.w.data), initial=0.0)

        def attempt(state: Any) -> Any:
            *_, tries = state
            delta = scale * np.where(tries == 0, _SMALLEST, 1e-6 * _GROWTH ** (tries - 1.0))
            x, y = self.factorised(delta).solve(a, b)
            curvature = self._curvature(x) + delta * (x @ x)
            ok = curvature + self._normal(x, scale) >= _CURVED * scale * (x @ x)
            return x, y, curvature, ok, tries + 1

        start = (0.0 * a, 0.0 * b, np.zeros(()), np.zeros((), bool), np.zeros((), int))
        x, y, curvature, *_ = iterate(lambda s: ~s[3] & (s[4] < _MOST), attempt, start)
        return x, y, curvature

    def factorised(self, delta: Array) -> "SparseFactors":
        """The factors, with `delta` added to the diagonal of W."""
        return SparseFactors(splu(self._matrix(delta)), self.sigma.shape[0])

    def _matrix(self, delta: Array) -> Any:
        top = self.w + diags(self.diagonal + delta)
        rows = [(j, low) for j, low in ((self.j, self._below_j()), (self.g, self._below_g())) if j.shape[0]]
        if not rows:
            return top
        blocks = [[top, *(j.T for j, _ in rows)]]
        for k, (j, low) in enumerate(rows):
            blocks.append([j, *(diags(low) if i == k else None for i in range(len(rows)))])
        return block_array(blocks)

    def _below_j(self) -> Array:
        return np.full(self.j.shape[0], -_SMALLEST)

    def _below_g(self) -> Array:
        return -1.0 / np.maximum(self.sigma, 1e-300)

    def _curvature(self, x: Array) -> Array:
        along = self.g @ x
        return x @ (self.w @ x) + np.sum(self.diagonal * x**2) + np.sum(self.sigma * along**2)

    def _normal(self, x: Array, scale: Array) -> Array:
        """What a penalty on J x adds: curvature counts only where J leaves x free."""
        if not self.j.shape[0]:
            return np.zeros(())
        return _WEIGHT * scale * np.sum((self.j @ x) ** 2) / np.maximum(np.max(self.j.data**2), 1e-8)


__all__ = ["SparseFactors", "SparseSaddle"]
