"""What the rows of factorisations compute, on stacks of matrices: evaluation on concrete NumPy values."""

from typing import Any

import numpy as np

from fastad.errors import ConvergenceError, SingularMatrixError
from fastad.primitives.linear_values import condition_text, factors

Statics = tuple[int, ...]
Shape = tuple[int, ...]
_EPSILON = 2.0**-52
_SHIFTS = (0.0, 2.0**-26, 2.0**-17, 2.0**-13)  # how far apart equal values are put, by level


def _lanes(x: Any, batch: int, n: int, m: int) -> np.ndarray:
    return np.reshape(np.asarray(x, float), (batch, n, m))


def _packed(parts: list[Any], batch: int, shape: Shape) -> np.ndarray:
    """Several results of every lane, one after another."""
    return np.concatenate([np.reshape(x, (batch, -1 if batch else 0)) for x in parts], axis=-1).reshape(shape)


def _finite(a: np.ndarray) -> np.ndarray:
    """Which matrices hold neither NaN nor infinity."""
    return np.all(np.isfinite(a), axis=(1, 2))


def _of_finite(a: np.ndarray, function: Any) -> list[np.ndarray]:
    """Results for a stack, NaN where a matrix is not finite."""
    good = _finite(a)
    try:
        found = function(np.where(good[:, None, None], a, 0.0))
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(f"{error}") from None
    results = found if isinstance(found, tuple) else (found,)
    return [np.where(good.reshape(-1, *[1] * (x.ndim - 1)), x, np.nan) for x in results]


def qr(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, m, n, complete = s
    mode: Any = "complete" if complete else "reduced"
    return _packed(_of_finite(_lanes(x, batch, m, n), lambda a: tuple(np.linalg.qr(a, mode))), batch, shape)


def eigh(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, n, lower, vectors = s
    triangle: Any = "L" if lower else "U"
    a = _lanes(x, batch, n, n)
    if not vectors:
        return _packed(_of_finite(a, lambda a: np.linalg.eigvalsh(a, triangle)), batch, shape)
    return _packed(_of_finite(a, lambda a: tuple(np.linalg.eigh(a, triangle))), batch, shape)


def svd(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, m, n, full, vectors = s
    a = _lanes(x, batch, m, n)
    if not vectors:
        return _packed(_of_finite(a, lambda a: np.linalg.svd(a, compute_uv=False)), batch, shape)
    return _packed(_of_finite(a, lambda a: tuple(np.linalg.svd(a, bool(full)))), batch, shape)


# ── equal values, apart ───────────────────────────────────────────────────────────────────────────────────────
def eigh_spectrum(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    _, n, _, vectors, level = s
    return _with_gaps(y, shape, s, slice(n), _order(level, vectors), False)


def svd_spectrum(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    _, m, n, full, vectors, level = s
    k = min(m, n)
    first = m * (m if full else k) if vectors else 0
    return _with_gaps(y, shape, s, slice(first, first + k), _order(level, vectors), True)


def _order(level: int, vectors: int) -> int:
    """The order of a derivative, of a level. Values alone need not be apart for their first derivatives."""
    order = level % 8
    return 0 if order == 1 and not vectors else order


def _with_gaps(y: Any, shape: Shape, s: Statics, values: slice, order: int, positive: bool) -> np.ndarray:
    """The results of a stack, whose first static integer is their number, with equal values apart and by how much."""
    if not s[0]:
        return np.zeros(shape)
    found = np.reshape(y, (s[0], -1))
    out = np.concatenate([found, np.zeros((len(found), 1))], axis=1)
    for lane in out:
        lane[-1] = _apart(lane[values], order, positive)
    return out.reshape(shape)


def _apart(w: np.ndarray, level: int, positive: bool) -> float:
    """Equal values moved apart in place, in order; the largest distance that was made."""
    given, made = w.copy(), 0.0
    scale = float(np.max(np.abs(given), initial=0.0))
    near = max(8 * len(w), 32) * _EPSILON * scale
    step = _SHIFTS[min(level, 3)] * (scale or 1.0)
    ends = [k + 1 for k in range(len(w) - 1) if not abs(given[k + 1] - given[k]) <= near]
    for first, last in zip([0, *ends], [*ends, len(w)], strict=True):
        count = last - first
        is_zero = bool(positive and count and given[last - 1] <= near)
        if not step > 0 or count < 1 or (count < 2 and not is_zero):
            continue
        room = [abs(given[i] - given[i - 1]) for i in (first, last) if 0 < i < len(w)]
        room += [2 * given[last - 1]] if positive and not is_zero else []
        own = min([step, *(r / (4 * count) for r in room)])
        place = np.arange(count) - 0.5 * (count - 1)
        if positive:
            place = np.arange(count, 0, -1.0) if is_zero else -place
        w[first:last] = (0.0 if is_zero else 0.5 * (given[first] + given[last - 1])) + own * place
        made = max(made, own * count)
    return made


def gap_quotient(s: Statics, shape: Shape, x: Any, low: Any, high: Any, made: Any) -> np.ndarray:
    _, n, m, kind, _ = s
    numerators, gaps = _over_gaps(s, x, low, high)
    out = np.where(gaps == 0, 0.0, numerators / np.where(gaps == 0, 1.0, gaps))
    return (out * (kind < 3) * (1 - np.eye(n, m)) if kind else out).reshape(shape)


def _over_gaps(s: Statics, x: Any, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    batch, n, m, kind, _ = s
    a = _lanes(x, batch, n, m)
    gaps = np.reshape(high, (batch, 1, m)) - np.reshape(low, (batch, n, 1))
    return (0.5 * (a - a.swapaxes(1, 2)) if kind == 2 else a), gaps


def gap_notice(s: Statics, x: Any, low: Any, high: Any, made: Any) -> str | None:
    """What to tell the user of equal values whose vectors are differentiated."""
    batch, n, m, kind, quiet = s
    if quiet or not np.size(x):
        return None
    numerators, gaps = _over_gaps(s, x, low, high)
    made, least = np.reshape(made, (batch, 2, 1, 1)).swapaxes(0, 1)
    seen = (np.abs(gaps) <= 1.001 * made) & (np.abs(numerators) > least * np.abs(gaps))
    if kind:
        seen &= ~np.eye(n, m, dtype=bool)
    size = np.where(seen, np.abs(numerators), 0.0)
    bad = size > 1e-4 * np.max(np.abs(_lanes(x, batch, n, m)), axis=(1, 2), keepdims=True)
    if not np.any(bad):
        return None
    lane, i, j = np.unravel_index(int(np.argmax(np.where(bad, size, 0.0))), bad.shape)
    ends = float(np.reshape(low, (batch, n))[lane, i]), float(np.reshape(high, (batch, m))[lane, j])
    of = f" of matrix {lane}" if batch > 1 else ""
    if kind == 3:
        each = f"equal eigenvalues or singular values {i} and {j}{of} ({ends[1]:.6g}) are differentiated each by itself"
        return f"{each}. Only what does not depend on their order has a derivative there."
    if np.isinf(made[lane, 0, 0]):
        what = f"columns {i} and {j}{of} of those of U or V that belong to no singular value"
    elif ends[0] == 0 or ends[0] < 0 < ends[1]:
        what = f"the vectors of zero singular values {i} and {j}{of}"
    else:
        what = f"the vectors of equal eigenvalues or singular values {i} and {j}{of} ({ends[1]:.6g})"
    return f"{what} are differentiated. Only what does not depend on their choice has a derivative there."


# ── determinants, pseudo-inverses ─────────────────────────────────────────────────────────────────────────────
def determinant(s: Statics, shape: Shape, x: Any, f: Any) -> np.ndarray:
    batch, n = s
    matrices, pivots = factors(f, batch, n)
    swaps = np.prod(np.where(pivots == np.arange(n), 1.0, -1.0), axis=1)
    return (np.prod(np.diagonal(matrices, axis1=1, axis2=2), axis=1) * swaps).reshape(shape)


def cofactors(s: Statics, shape: Shape, x: Any, f: Any) -> np.ndarray:
    batch, n = s
    a = _lanes(x, batch, n, n)
    u, values, vt = (_of_finite(a, lambda a: tuple(np.linalg.svd(a))) if n else (a, a[:, :, 0:0].sum(2), a))
    others = np.repeat(values[:, None, :], n, axis=1) * (1 - np.eye(n)) + np.eye(n)
    with np.errstate(invalid="ignore"):
        sign = np.linalg.det(u) * np.linalg.det(vt)
    return (np.round(sign)[:, None, None] * (u * np.prod(others, axis=2)[:, None, :]) @ vt).reshape(shape)


def pinv(s: Statics, shape: Shape, x: Any, rcond: Any) -> np.ndarray:
    batch, m, n = s
    limit = np.reshape(rcond, (batch,))
    found = _of_finite(_lanes(x, batch, m, n), lambda a: np.linalg.pinv(a, limit))
    return found[0].reshape(shape)


# ── functions of matrices ─────────────────────────────────────────────────────────────────────────────────────
def expm(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    from scipy.linalg import expm as exponential

    batch, n, _ = s
    return (exponential(_lanes(x, batch, n, n)) if n and batch else np.zeros((batch, n, n))).reshape(shape)


def sqrtm(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, n, _ = s
    a = _lanes(x, batch, n, n)
    return np.array([_root(m) if np.all(np.isfinite(m)) else np.full((n, n), np.nan) for m in a]).reshape(shape)


def _root(a: np.ndarray) -> np.ndarray:
    from scipy.linalg import sqrtm as root

    values = np.linalg.eigvals(a)
    size = np.max(np.abs(values), initial=0.0)
    if np.any(np.abs(values) <= len(a) * _EPSILON * size):
        raise SingularMatrixError(
            f"the square root of a singular matrix ({condition_text(a)}) has no derivative. "
            "Add a small multiple of the identity"
        )
    negative = values[(values.real < 0) & (np.abs(values.imag) <= 1e-12 * size)]
    if negative.size:
        raise ConvergenceError(
            f"the matrix has no real square root: it has the eigenvalue {negative[0].real:.6g}. "
            "Its square root is complex, which fastad does not record"
        )
    return np.real(root(a)) if len(a) else a


# ── band matrices ─────────────────────────────────────────────────────────────────────────────────────────────
def band_factors(n: int, low: int, high: int) -> int:
    """Size of the factors of a band matrix, and of their pivots."""
    return (2 * low + high + 2) * n


def banded_lu(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    batch, n, low, high = s
    ab = np.reshape(np.asarray(x, float), (batch, low + high + 1, n))
    return np.reshape([_band_factored(own, low, high) for own in ab], shape)


def _band_factored(ab: np.ndarray, low: int, high: int) -> np.ndarray:
    """The factors of one matrix by columns, and the pivots."""
    from scipy.linalg.lapack import dgbtrf

    n = ab.shape[1]
    if not n:
        return np.zeros(0)
    row, column = high - np.arange(low + high + 1)[:, None], np.arange(n)
    inside = (column - row >= 0) & (column - row < n)
    lu, pivots, _ = dgbtrf(np.vstack([np.zeros((low, n)), np.where(inside, ab, 0.0)]), low, high)
    return np.concatenate([np.ravel(lu, order="F"), pivots])


def banded_lu_solve(s: Statics, shape: Shape, x: Any, f: Any, z: Any) -> np.ndarray:
    batch, n, low, high, m, trans, separate = s
    factors = np.reshape(np.asarray(f, float), (batch if separate else 1, band_factors(n, low, high)))
    b = np.reshape(np.asarray(z, float), (batch, n, m))
    found = [_solved_by_band(factors[k % len(factors)], b[k], low, high, trans) for k in range(batch)]
    return np.reshape(found, shape)


def _solved_by_band(f: np.ndarray, b: np.ndarray, low: int, high: int, trans: int) -> np.ndarray:
    from scipy.linalg.lapack import dgbtrs

    if not b.size:
        return b
    n = len(b)
    lu = f[:-n].reshape(n, -1).T
    if np.any(lu[low + high] == 0.0):
        raise SingularMatrixError(f"the band matrix is singular (pivot {int(np.argmin(np.abs(lu[low + high])))} is 0)")
    return np.asarray(dgbtrs(lu, low, high, b, f[-n:].astype(np.int32), trans=trans)[0])


def banded_solve(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    batch, n, m, low, high, trans, separate = s
    ab = np.reshape(np.asarray(x, float), (batch if separate else 1, low + high + 1, n))
    b = np.reshape(np.asarray(y, float), (batch, n, m))
    found = [_solved_by_band(_band_factored(ab[k % len(ab)], low, high), b[k], low, high, trans) if b[k].size else b[k]
             for k in range(batch)]
    return np.reshape(found, shape)
