"""np.linalg on recorded values: inverses, determinants, QR factors, eigenvalues, singular values, least squares."""

import math
from typing import Any

import numpy as np

from fastad.errors import MatrixShapeError
from fastad.primitives import primitive
from fastad.recording.functions.linalg import factored, row_results, row_value, square_matrices
from fastad.recording.functions.registry import Array, constant, implements, lift
from fastad.recording.geometry import reshape
from fastad.recording.operands import path_value
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error
from fastad.recording.source import at_line

Shape = tuple[int, ...]


def _floats(a: Any, name: str) -> Array:
    """A stack of matrices of floats, square or not."""
    (a,) = lift(a)
    if a.ndim < 2:
        raise MatrixShapeError(
            f"{name}: an array of shape {a.shape}, which is no matrix{at_line()}. Give it two axes, as np.diag(a)."
        )
    return a if a.dtype.kind == "f" else a.astype(float)


def _square(a: Any, name: str) -> Array:
    (a,) = lift(a)
    a = square_matrices(a, name)
    return a if a.dtype.kind == "f" else a.astype(float)


def _named(function: Any) -> Any:
    """The named tuple that NumPy's function returns."""
    return type(function(np.eye(1)))


def turned(a: Array) -> Array:
    """The transposes of a stack."""
    return np.swapaxes(a, -1, -2)


# ── inverses and determinants ─────────────────────────────────────────────────────────────────────────────────
@implements(np.linalg.inv)
def inv(a: Any) -> Array:
    """np.linalg.inv"""
    a = _square(a, "inv")
    n, batch = a.shape[-1], math.prod(a.shape[:-2])
    eye = _identities(a, a.shape[:-2], n, n)
    return row_value("lu_solve", (a, factored(a), eye), (batch, n, n, 0, 1), a.shape)


@implements(np.linalg.det)
def det(a: Any) -> Array:
    """np.linalg.det"""
    a = _square(a, "det")
    lead, n = a.shape[:-2], a.shape[-1]
    return row_value("determinant", (a, factored(a)), (math.prod(lead), n), lead)


@implements("linalg.tensorsolve")
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Array:
    """np.linalg.tensorsolve"""
    a, b = lift(a, b)
    system: Any = np.linalg.solve
    if axes is not None:
        moved = [k % a.ndim for k in axes]
        a = np.transpose(a, [*(k for k in range(a.ndim) if k not in moved), *moved])
    n, rest = b.size, a.shape[b.ndim :]
    if a.size != n * n or math.prod(rest) != n:
        raise MatrixShapeError(
            f"tensorsolve: an array of shape {a.shape} for a right side of shape {b.shape}{at_line()}. "
            "Its first and its other axes must have as many elements as the right side."
        )
    return reshape(system(reshape(a, (n, n)), reshape(b, (n,))), rest)


@implements("linalg.tensorinv")
def tensorinv(a: Any, ind: int = 2) -> Array:
    """np.linalg.tensorinv"""
    (a,) = lift(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    first, last = a.shape[:ind], a.shape[ind:]
    n = math.prod(last)
    return reshape(inv(reshape(a, (a.size // max(n, 1), n))), (*last, *first))


# ── QR factors ────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """np.linalg.qr, modes "reduced", "complete" and "r" """
    if mode not in ("reduced", "complete", "r"):
        raise recording_error(f"np.linalg.qr with mode={mode!r} is not supported", 'Use mode="reduced".')
    a = _floats(a, "qr")
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    if not n:
        return _of_no_columns(a, mode)
    square = a[..., :m]  # R of more columns continues with Qᵀ times these
    statics = (math.prod(lead), m, min(m, n), int(mode == "complete"))
    q, r = row_results("qr", row_value("qr", (square,), statics, (*lead, _packed_size("qr", statics))), statics, lead)
    if n > m:
        r = np.concatenate([r, turned(q) @ a[..., m:]], axis=-1)
    return r if mode == "r" else _named(np.linalg.qr)(q, r)


def _of_no_columns(a: Array, mode: str) -> Any:
    lead, m = a.shape[:-2], a.shape[-2]
    k = m if mode == "complete" else 0
    q, r = _identities(a, lead, m, k), constant(a, np.zeros((*lead, k, 0), a.dtype))
    return r if mode == "r" else _named(np.linalg.qr)(q, r)


def _identities(a: Array, lead: Shape, m: int, n: int) -> Array:
    return constant(a, np.broadcast_to(np.eye(m, n, dtype=a.dtype), (*lead, m, n)))


def _packed_size(name: str, statics: tuple[int, ...]) -> int:
    _, results = primitive(name).parts(statics)
    return sum(math.prod(result.shape) for result in results)


# ── eigenvalues ───────────────────────────────────────────────────────────────────────────────────────────────
def _spectrum(name: str, own: str, a: Array, statics: tuple[int, ...], lead: Shape) -> list[Array]:
    """The results of a row, by way of the row `own` that has its derivatives."""
    size = _packed_size(name, statics)
    found = row_value(name, (a,), statics, (*lead, size))
    full = (*statics, 0)
    return row_results(own, row_value(own, (a, found), full, (*lead, size + 1)), full, lead)[:-1]


def _eigen(a: Any, UPLO: str, vectors: bool, name: str) -> list[Array]:
    if UPLO not in ("L", "U", "l", "u"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    a = _square(a, name)
    lead = a.shape[:-2]
    statics = (math.prod(lead), a.shape[-1], int(UPLO in "Ll"), int(vectors))
    return _spectrum("eigh", "eigh_spectrum", a, statics, lead)


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """np.linalg.eigh"""
    return _named(np.linalg.eigh)(*_eigen(a, UPLO, True, "eigh"))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Array:
    """np.linalg.eigvalsh"""
    return _eigen(a, UPLO, False, "eigvalsh")[0]


# ── singular values ───────────────────────────────────────────────────────────────────────────────────────────
def _singular(a: Array, full: bool, vectors: bool) -> list[Array]:
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    statics = (math.prod(lead), m, n, int(full and vectors), int(vectors))
    return _spectrum("svd", "svd_spectrum", a, statics, lead)


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """np.linalg.svd"""
    a = _floats(a, "svd")
    if hermitian:
        return _hermitian_svd(a, compute_uv)
    if not a.shape[-2] * a.shape[-1] and full_matrices and compute_uv:
        lead, (m, n) = a.shape[:-2], a.shape[-2:]
        return _named(np.linalg.svd)(_identities(a, lead, m, m), svdvals(a), _identities(a, lead, n, n))
    found = _singular(a, bool(full_matrices), bool(compute_uv))
    return _named(np.linalg.svd)(*found) if compute_uv else found[0]


def _hermitian_svd(a: Array, vectors: bool) -> Any:
    """Of a symmetric matrix: s = |w|, in descending order, and V the eigenvectors with the signs of w."""
    if not vectors:
        return np.sort(np.abs(eigvalsh(a)), axis=-1)[..., ::-1]
    w, v = eigh(a)
    order = np.argsort(np.abs(w), axis=-1)[..., ::-1]
    w = np.take_along_axis(w, order, axis=-1)
    u = np.take_along_axis(v, order[..., None, :], axis=-1)
    return _named(np.linalg.svd)(u, np.abs(w), turned(u * np.sign(w)[..., None, :]))


@implements("linalg.svdvals")
def svdvals(x: Any, /) -> Array:
    """np.linalg.svdvals"""
    return _singular(_floats(x, "svdvals"), False, False)[0]


# ── pseudo-inverses, least squares, rank ──────────────────────────────────────────────────────────────────────
def _pseudo_inverse(a: Array, rcond: Any) -> Array:
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    limit = np.broadcast_to(rcond, lead)
    limit = limit.astype(a.dtype) if isinstance(limit, Recorded) else np.array(limit, a.dtype)
    return row_value("pinv", (a, limit), (math.prod(lead), m, n), (*lead, n, m))


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, **options: Any) -> Array:
    """np.linalg.pinv, of constant rank"""
    a = _floats(a, "pinv")
    if hermitian:  # one triangle is read
        below = np.tril(np.ones(a.shape[-2:]), -1)
        a = a * (below + np.eye(a.shape[-1])) + turned(a * below)
    return _pseudo_inverse(a, _relative_limit(a, rcond, **options))


def _relative_limit(a: Array, rcond: Any, rtol: Any = np._NoValue) -> Any:
    """Singular values up to this part of the largest count as 0."""
    if rcond is not None:
        if rtol is not np._NoValue:
            raise ValueError("`rtol` and `rcond` can't be both set.")
        return rcond
    if rtol is np._NoValue:
        return 1e-15
    return max(a.shape[-2:]) * np.finfo(a.dtype).eps if rtol is None else rtol


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """np.linalg.lstsq. The rank is part of the path: another one is recorded anew."""
    a, b = lift(a, b)
    a = _floats(a, "lstsq")
    if a.ndim != 2 or b.ndim not in (1, 2) or b.shape[0] != a.shape[0]:
        raise MatrixShapeError(
            f"lstsq: a matrix of shape {a.shape} and right sides of shape {b.shape}{at_line()}. "
            f"Right sides must have the shape ({a.shape[0]},) or ({a.shape[0]}, k)."
        )
    m, n = a.shape
    dtype = np.result_type(a.dtype, b.dtype)
    a, b = a.astype(dtype), b.astype(dtype)
    eps = np.finfo(dtype).eps
    rcond = max(m, n) * eps if rcond is None else eps if rcond == -1 else rcond
    values = svdvals(a)
    rank = np.sum(values > rcond * values[0]) if min(m, n) else constant(a, 0)
    x = _pseudo_inverse(a, rcond) @ b
    missing = b - a @ x
    squares = np.sum(missing * missing, axis=0)
    full = m > n and int(path_value(rank, a.recorder)) == n
    if not full:
        residuals = constant(a, np.zeros((0,), dtype))
    else:
        residuals = reshape(squares, (squares.size,))
    return x, residuals, rank, values


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """np.linalg.matrix_rank, an integer"""
    (a,) = lift(A)
    if a.ndim < 2:
        return np.any(a != 0).astype(int)
    a = _floats(a, "matrix_rank")
    values = np.abs(eigvalsh(a)) if hermitian else svdvals(a)
    if tol is None:
        rtol = max(a.shape[-2:]) * np.finfo(a.dtype).eps if rtol is None else np.asarray(rtol)[..., None]
        tol = np.max(values, axis=-1, keepdims=True, initial=0.0) * rtol
    else:
        tol = np.asarray(tol)[..., None]
    return np.sum(values > tol, axis=-1)


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Array:
    """np.linalg.cond; a singular matrix has the condition number inf, and no derivative"""
    a = _floats(x, "cond")
    if 0 in a.shape[-2:]:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    if p in (None, 2, -2):
        values = svdvals(a)
        largest, smallest = values[..., 0], values[..., -1]
        ratio = smallest / largest if p == -2 else largest / smallest
        undefined = np.isnan(ratio) & ~np.any(np.isnan(a), axis=(-2, -1))  # 0 / 0 and inf / inf: NumPy says inf
        return np.where(undefined, np.inf, ratio)
    a = _square(a, "cond")
    sign, log = np.linalg.slogdet(a)
    is_regular = sign != 0.0
    inverse = inv(np.where(is_regular[..., None, None], a, np.eye(a.shape[-1])))
    found = np.linalg.norm(a, p, axis=(-2, -1)) * np.linalg.norm(inverse, p, axis=(-2, -1))
    return np.where(is_regular, found, np.exp(-log))  # e^∞, of which the derivative is an error
