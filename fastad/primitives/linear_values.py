"""What the rows of linear algebra compute, on stacks of matrices: evaluation on concrete NumPy values."""

import math
from typing import Any

import numpy as np

from fastad.errors import NotPositiveDefiniteError, SingularMatrixError

Statics = tuple[int, ...]
Shape = tuple[int, ...]
_BY_LAPACK_FROM = 64  # rows of a matrix


def factors(f: Any, batch: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """L and U in one matrix, and the pivots, out of a value of `lu`."""
    flat = np.reshape(f, (batch, n * n + n))
    return flat[:, : n * n].reshape(batch, n, n), flat[:, n * n :]


def lu(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, n = s
    a = np.array(x, float).reshape(batch, n, n)
    pivots = np.zeros((batch, n))
    (_eliminated if n < _BY_LAPACK_FROM else _by_lapack)(a, pivots)
    return np.concatenate([a.reshape(batch, n * n), pivots], axis=1).reshape(shape)


def _eliminated(a: np.ndarray, pivots: np.ndarray) -> None:
    """Gaussian elimination with partial pivoting, in place, of all matrices side by side."""
    every = np.arange(len(a))
    for k in range(a.shape[1]):
        # NaN is no pivot unless it stands in the row already, as in comparisons one by one.
        size = np.where(np.isnan(a[:, k:, k]), -1.0, np.abs(a[:, k:, k]))
        row = k + np.where(np.isnan(a[:, k, k]), 0, np.argmax(size, axis=1))
        pivots[:, k] = row
        a[every, k], a[every, row] = a[every, row].copy(), a[every, k].copy()
        d = a[:, k, k][:, None]
        a[:, k + 1 :, k] = np.where(d == 0, a[:, k + 1 :, k], a[:, k + 1 :, k] / np.where(d == 0, 1, d))
        a[:, k + 1 :, k + 1 :] -= np.where(d == 0, 0, a[:, k + 1 :, k])[:, :, None] * a[:, k : k + 1, k + 1 :]


def _by_lapack(a: np.ndarray, pivots: np.ndarray) -> None:
    from scipy.linalg.lapack import dgetrf

    for k in range(len(a)):
        a[k], pivots[k], _ = dgetrf(a[k])


def permute_rows(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    batch, n, m, inverse, separate = s
    pivots = np.broadcast_to(np.reshape(x, (batch if separate else 1, n)), (batch, n))
    if not np.all((pivots >= 0) & (pivots < n) & (pivots == np.floor(pivots))):
        raise IndexError(f"pivots that are no rows of a matrix of {n} rows")
    b = np.array(y).reshape(batch, n, m)
    for p in range(batch):
        for k in range(n)[:: -1 if inverse else 1]:
            j = int(pivots[p, k])
            b[p, [k, j]] = b[p, [j, k]]
    return b.reshape(shape)


def _stack(x: Any, batch: int, n: int, separate: int) -> np.ndarray:
    return np.reshape(np.asarray(x, float), (batch if separate else 1, n, n))


def lu_solve(s: Statics, shape: Shape, x: Any, f: Any, z: Any) -> np.ndarray:
    batch, n, m, trans, separate = s
    return _solved(_stack(x, batch, n, separate), np.reshape(z, (batch, n, m)), trans).reshape(shape)


def triangular_solve(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    batch, n, m, lower, trans, unit, separate = s
    t = _stack(x, batch, n, separate)
    t = np.tril(t) if lower else np.triu(t)
    if unit:
        t = t * (1 - np.eye(n)) + np.eye(n)
    return _solved(t, np.reshape(y, (batch, n, m)), trans).reshape(shape)


def _solved(a: np.ndarray, b: np.ndarray, trans: int) -> np.ndarray:
    a = a.swapaxes(-1, -2) if trans else a
    try:
        return np.linalg.solve(a, np.asarray(b, float))
    except np.linalg.LinAlgError:
        raise SingularMatrixError(f"the matrix is singular ({condition_text(a)})") from None


def condition_text(a: np.ndarray) -> str:
    """The largest condition number of a stack of matrices, in words."""
    try:
        found = float(np.max(np.linalg.cond(a)))
    except np.linalg.LinAlgError:  # of the iteration for singular values: NaN or infinity in the matrix
        found = math.nan
    return f"estimated condition number {found:.1e}"


def slogdet(s: Statics, shape: Shape, x: Any, f: Any) -> np.ndarray:
    batch, n = s
    sign, log = np.linalg.slogdet(np.reshape(np.asarray(x, float), (batch, n, n)))
    return np.stack([sign, log], axis=-1).reshape(shape)


def cholesky(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, n = s
    a = np.reshape(np.asarray(x, float), (batch, n, n))
    try:
        return np.linalg.cholesky(a).reshape(shape)
    except np.linalg.LinAlgError:
        lowest = _smallest_eigenvalue(a)
        raise NotPositiveDefiniteError(f"the matrix is not positive definite ({lowest})") from None


def _smallest_eigenvalue(a: np.ndarray) -> str:
    if not np.all(np.isfinite(a)):
        return "it holds NaN or infinity"
    return f"smallest eigenvalue {float(np.min(np.linalg.eigvalsh(a))):.3g}"
