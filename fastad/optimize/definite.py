"""Linear systems with a symmetric matrix that may not be positive definite."""

from typing import Any

import numpy as np

from fastad.control.loops import fori_loop, iterate
from fastad.optimize.objective import Array
from fastad.recording.functions.linalg import solve_triangular

_BLOCK = 32  # rows that are eliminated one by one; the others by products of matrices
_SMALLEST = 1e-14  # pivot, relative to the largest diagonal element


def attempted_cholesky(a: Array) -> tuple[Array, Array]:
    """(L, whether A = L Lᵀ is positive definite). Unlike np.linalg.cholesky it goes on where A is not; L is of no use
    then, but finite where A is.

    Golub & Van Loan, Matrix Computations (2013), Algorithm 4.2.4 (block Cholesky).
    """
    n, ok = a.shape[0], True
    smallest = _SMALLEST * np.max(np.abs(np.diagonal(a)), initial=0.0)
    columns = []
    rest = a
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        top, positive = _factored(rest[:size, :size], smallest)
        ok = positive & ok
        below = rest[size:, :size]
        if n - start > size:
            below = solve_triangular(top, below.T, lower=True).T
            rest = rest[size:, size:] - below @ below.T
        columns.append(np.concatenate([np.zeros((start, size)), top, below]))
    return np.concatenate(columns, axis=1) if columns else a, ok


def _factored(a: Array, smallest: Array) -> tuple[Array, Array]:
    """The same for one block, column by column."""
    n = a.shape[0]
    places = np.arange(n)

    def column(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        a, ok = state
        here = places == k
        pivot = np.sum(np.where(here, np.diagonal(a), 0.0))
        good = pivot > smallest
        values = np.sum(np.where(here, a, 0.0), axis=1) / np.sqrt(np.where(good, pivot, 1.0))
        values = np.where(places >= k, np.where(good, values, np.where(here, 1.0, 0.0)), 0.0)
        later = np.where(places > k, values, 0.0)
        a = np.where(here, np.where(places[:, None] >= k, values[:, None], a), a - later[:, None] * later)
        return a, ok & good

    lower, ok = fori_loop(0, n, column, (a, np.isfinite(np.sum(a))))
    return np.where(places[:, None] >= places, lower, 0.0), ok


def solved_by(lower: Array, b: Array) -> Array:
    """(L Lᵀ)⁻¹ b."""
    return solve_triangular(lower, solve_triangular(lower, b, lower=True), trans=1, lower=True)


def regularised(a: Array, first: Array = 0.0, least: Array = 0.0) -> tuple[Array, Array, Array]:
    """(δ, L, whether one was found): the first δ of a growing sequence, from `first` on, for which A + δI = L Lᵀ is
    positive definite; L is the identity where none is found. Those after the first are at least `least`.

    Nocedal & Wright (2006), Algorithm 3.3 (Cholesky with added multiple of the identity).
    """
    n = a.shape[0]
    scale = np.maximum(np.max(np.abs(a), initial=0.0), 1e-100)
    scale = np.where(np.isfinite(scale), scale, 1.0)

    def attempt(state: Any) -> Any:
        delta, *_, tries = state
        delta = np.where(tries == 0, delta, np.maximum(np.maximum(_GROWTH * delta, 1e-6 * scale), least))
        return delta, *attempted_cholesky(a + delta * np.eye(n)), tries + 1

    start = (first * 1.0, np.zeros((n, n)), False, 0)
    delta, lower, ok, _ = iterate(lambda s: ~s[2] & (s[3] < _MOST), attempt, start)
    return delta, np.where(ok, lower, np.eye(n)), ok


_GROWTH = 4.0
_MOST = 30

__all__ = ["attempted_cholesky", "regularised", "solved_by"]
