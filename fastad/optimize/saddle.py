"""The linear systems of constrained problems, for a matrix H and the Jacobian J of equations:

    H x + Jᵀ y = a,  J x = b.

H + ρ JᵀJ is factorised, which has the same solutions but is positive definite where H is so on the null space of J and
ρ is large enough (Debreu, 1952; Nocedal & Wright, 2006, section 16.2, Schur complements); where it is not, a multiple
of the identity is added to H.
"""

from typing import NamedTuple

import numpy as np

from fastad.optimize.definite import attempted_cholesky, regularised, solved_by
from fastad.optimize.objective import Array
from fastad.recording.functions.linalg import solve_triangular

_WEIGHT = 10.0  # of JᵀJ, relative to H


class Saddle(NamedTuple):
    """A factorised system. `ok`: a positive definite matrix was found; `delta` was added to its diagonal."""

    lower: Array
    j: Array
    rho: Array
    half: Array  # L⁻¹ Jᵀ
    of_schur: Array
    delta: Array
    ok: Array

    def solve(self, a: Array, b: Array) -> tuple[Array, Array]:
        """(x, y)."""
        if not self.j.shape[0]:
            return solved_by(self.lower, a), np.zeros(0)
        a = a + self.rho * (b @ self.j)
        y = solved_by(self.of_schur, self.half.T @ solve_triangular(self.lower, a, lower=True) - b)
        return solved_by(self.lower, a - y @ self.j), y


def saddle(h: Array, j: Array, scale: Array, first: Array = 0.0) -> Saddle:
    """The system of H and J. `scale` is the size of the part of H that may be indefinite; `first` is added to H's
    diagonal at least."""
    rho = _WEIGHT * (1e-4 + scale) / np.maximum(np.max(np.sum(j**2, axis=1), initial=0.0), 1e-8)
    m = h + rho * (j.T @ j) if j.shape[0] else h
    delta, lower, ok = regularised(0.5 * (m + m.T), first)
    if not j.shape[0]:
        return Saddle(lower, j, rho, j.T, j @ j.T, delta, ok)
    half = solve_triangular(lower, j.T, lower=True)
    schur = half.T @ half
    # Equations that depend on each other leave their multipliers open: those closest to 0 are taken.
    small = 1e-13 * np.maximum(np.max(np.abs(schur)), 1e-300) * np.eye(j.shape[0])
    of_schur, _ = attempted_cholesky(schur + small)
    return Saddle(lower, j, rho, half, of_schur, delta, ok)


__all__ = ["Saddle", "saddle"]
