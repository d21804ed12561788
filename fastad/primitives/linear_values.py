"""What the rows of linear algebra compute, on stacks of matrices: evaluation on concrete NumPy values."""

import math
from typing import Any

import numpy as np

from fastad.errors import IndexRangeError, NotPositiveDefiniteError, SingularMatrixError
from fastad.kernels.scipy_blas import LAPACK_FROM

Statics = tuple[int, ...]
Shape = tuple[int, ...]


def factors(f: Any, batch: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """L and U in one matrix, and the pivots, out of a value of `lu`."""
    flat = np.reshape(f, (batch, n * n + n))
    return flat[:, : n * n].reshape(batch, n, n), flat[:, n * n :]


def lu(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, n = s
    a = np.array(x, float).reshape(batch, n, n)
    pivots = np.zeros((batch, n))
    (_eliminated if n < LAPACK_FROM else _by_lapack)(a, pivots)
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
        raise IndexRangeError(f"pivots that are no rows of a matrix of {n} rows")
    b, every, rows = np.array(y).reshape(batch, n, m), np.arange(batch), pivots.astype(np.intp)
    for k in range(n)[:: -1 if inverse else 1]:
        b[every, k], b[every, rows[:, k]] = b[every, rows[:, k]].copy(), b[every, k].copy()
    return b.reshape(shape)


def _stack(x: Any, batch: int, n: int, separate: int) -> np.ndarray:
    return np.reshape(np.asarray(x, float), (batch if separate else 1, n, n))


def lu_solve(s: Statics, shape: Shape, x: Any, f: Any, z: Any) -> np.ndarray:
    batch, n, m, trans, separate = s
    a = _stack(x, batch, n, separate)
    matrices, _ = factors(f, batch if separate else 1, n)
    if np.any(np.diagonal(matrices, axis1=1, axis2=2) == 0):
        raise SingularMatrixError(f"the matrix is singular ({condition_text(a)})")
    b = np.reshape(z, (batch, n, m))
    try:
        return _solved(a, b, trans).reshape(shape)
    except SingularMatrixError:  # that of another elimination; the factors are what the kernels go by
        return _solved_by_factors(f, b, trans).reshape(shape)


def _solved_by_factors(f: Any, b: np.ndarray, trans: int) -> np.ndarray:
    from scipy.linalg import lu_solve as solve

    matrices, pivots = factors(f, np.size(f) // (b.shape[1] * (b.shape[1] + 1)), b.shape[1])
    rows = pivots.astype(np.intp)
    solved = [solve((matrices[k % len(matrices)], rows[k % len(rows)]), x, trans=trans, check_finite=False)
              for k, x in enumerate(b)]
    return np.array(solved)


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


def determinant_sign(s: Statics, shape: Shape, f: Any) -> np.ndarray:
    batch, n = s
    matrices, pivots = factors(f, batch, n)
    swaps = np.prod(np.where(pivots == np.arange(n), 1.0, -1.0), axis=1)
    return (np.prod(np.sign(np.diagonal(matrices, axis1=1, axis2=2)), axis=1) * swaps + 0.0).reshape(shape)


def log_determinant(s: Statics, shape: Shape, x: Any, f: Any) -> np.ndarray:
    batch, n = s
    matrices, _ = factors(f, batch, n)
    return np.sum(np.log(np.abs(np.diagonal(matrices, axis1=1, axis2=2))), axis=1).reshape(shape)


def cholesky(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, n = s
    a = np.reshape(np.asarray(x, float), (batch, n, n))
    found = _by_columns(a) if n < LAPACK_FROM else _cholesky_by_lapack(a)
    if found is None:
        raise NotPositiveDefiniteError(f"the matrix is not positive definite ({_smallest_eigenvalue(a)})")
    return found.reshape(shape)


def _by_columns(a: np.ndarray) -> np.ndarray | None:
    """The lower factors of all matrices side by side; None if one has none."""
    lower = np.zeros_like(a)
    for j in range(a.shape[1]):
        rest = a[:, j:, j].copy()
        for k in range(j):
            rest -= lower[:, j:, k] * lower[:, j, k][:, None]
        if np.any(rest[:, 0] <= 0):
            return None
        lower[:, j, j] = np.sqrt(rest[:, 0])
        lower[:, j + 1 :, j] = rest[:, 1:] / lower[:, j, j][:, None]
    return lower


def _cholesky_by_lapack(a: np.ndarray) -> np.ndarray | None:
    from scipy.linalg.lapack import dpotrf

    found = [dpotrf(x, lower=1, clean=1) for x in a]
    return None if any(info > 0 for _, info in found) else np.array([lower for lower, _ in found])


def _smallest_eigenvalue(a: np.ndarray) -> str:
    if not np.all(np.isfinite(a)):
        return "it holds NaN or infinity"
    return f"smallest eigenvalue {float(np.min(np.linalg.eigvalsh(a))):.3g}"
