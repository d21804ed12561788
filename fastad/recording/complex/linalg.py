"""Linear algebra of complex matrices A + iB by the real matrix [[A, -B], [B, A]], which computes alike."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.complex.calling import implements
from fastad.recording.complex.parts import to_complex
from fastad.recording.complex.value import pair
from fastad.recording.elementwise import detached
from fastad.recording.recorder import recording_error

_Slogdet: Any = type(np.linalg.slogdet(np.eye(1)))
_Eigh: Any = type(np.linalg.eigh(np.eye(1)))
_MIXED = 1e-7  # of products of vectors that are not orthogonal; their squares are lost in rounding
_CORRECTIONS = 2  # of eigenvectors


def real_matrix(a: Any) -> Any:
    """[[A, -B], [B, A]], for a matrix or a stack of them."""
    z = to_complex(a)
    top = np.concatenate([z.real, -z.imag], axis=-1)
    return np.concatenate([top, np.concatenate([z.imag, z.real], axis=-1)], axis=-2)


def complex_matrix(x: Any) -> Any:
    """The complex matrix of a real one of that form."""
    n = x.shape[-1] // 2
    return pair(x[..., :n, :n], x[..., n:, :n])


def by_real_matrix(function: Callable[..., Any], a: Any) -> Any:
    """A function of matrices that agrees with sums and products, such as the exponential."""
    return complex_matrix(function(real_matrix(a)))


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """np.linalg.solve"""
    z, right = to_complex(a, (b,)), to_complex(b, (a,))
    vector = right.ndim == 1
    right = right[:, None] if vector else right
    n = z.shape[-1]
    x = np.linalg.solve(real_matrix(z), np.concatenate([right.real, right.imag], axis=-2))
    found = pair(x[..., :n, :], x[..., n:, :])
    return found[..., 0] if vector else found


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    """np.linalg.inv"""
    return by_real_matrix(np.linalg.inv, a)


@implements(np.linalg.det)
def det(a: Any) -> Any:
    """np.linalg.det: by elimination, with the largest element of each column as the pivot"""
    z = to_complex(a)
    if z.ndim > 2:
        found = [det(z[place]) for place in np.ndindex(z.shape[:-2])]
        return np.stack(found).reshape(z.shape[:-2])
    value = 1.0 + 0j
    while z.shape[0] > 1:
        rows = np.arange(len(z))
        pivot = np.argmax(np.abs(z[:, 0]))
        z = z[np.where(rows == 0, pivot, np.where(rows == pivot, 0, rows))]
        value = value * z[0, 0] * np.where(pivot == 0, 1.0, -1.0)
        z = z[1:, 1:] - np.outer(z[1:, 0] / z[0, 0], z[0, 1:])
    return value * z[0, 0] if z.size else value + 0 * to_complex(a).real.sum()


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """np.linalg.slogdet"""
    value = det(a)
    size = np.abs(value)
    return _Slogdet(value / size, np.log(size))


# ── Hermitian matrices ────────────────────────────────────────────────────────────────────────────────────────
def _hermitian(a: Any, lower: bool = True) -> Any:
    """The Hermitian matrix whose lower or upper triangle is read."""
    z = to_complex(a)
    half = np.tril(z, -1) if lower else np.triu(z, 1)
    n = z.shape[-1]
    return half + half.conj().swapaxes(-1, -2) + np.eye(n) * z.real


@implements(np.linalg.cholesky)
def cholesky(a: Any, *, upper: bool = False) -> Any:
    """np.linalg.cholesky. With each element as [[re, -im], [im, re]] in its place, a lower triangle with a positive
    diagonal becomes one, so the factor of the real matrix is that of the complex one."""
    z = _hermitian(a, lower=not upper)
    n, lead = z.shape[-1], z.shape[:-2]
    rows = [np.stack([z.real, -z.imag], -1), np.stack([z.imag, z.real], -1)]
    found = np.linalg.cholesky(np.stack(rows, -3).reshape((*lead, 2 * n, 2 * n)))
    factor = pair(found[..., ::2, ::2], found[..., 1::2, ::2])
    return factor.conj().swapaxes(-1, -2) if upper else factor


def _of_pairs(x: Any) -> Any:
    """The values that a real matrix has twice. The mean has equal derivatives by both."""
    return 0.5 * (x[..., ::2] + x[..., 1::2])


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """np.linalg.eigvalsh"""
    return _of_pairs(np.linalg.eigvalsh(real_matrix(_hermitian(a, UPLO == "L"))))


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """np.linalg.eigh. A vector of the real matrix, [Re v, Im v], and the next one, [-Im v, Re v] up to a sign, belong
    to one vector v, unless eigenvalues are equal: then vectors mix, which a guard sees.

    For derivatives these vectors are constants, and corrections that do not move them have the derivatives: one the
    first, two of them the second and third ones too."""
    z = _hermitian(a, UPLO == "L")
    w, u = np.linalg.eigh(real_matrix(z))
    n = w.shape[-1] // 2
    v = pair(detached(u[..., :n, ::2]), detached(u[..., n:, ::2]))
    if not bool(np.all(np.abs(v.conj().swapaxes(-1, -2) @ v - np.eye(n)) < _MIXED)):
        raise recording_error(
            "np.linalg.eigh of a complex matrix that has equal eigenvalues is not supported on recorded values",
            "Use np.linalg.eigvalsh, or a function of the matrix, such as scipy.linalg.expm.",
        )
    for _ in range(_CORRECTIONS):
        v = _corrected(z, v)
    return _Eigh(_of_pairs(w), v)


def _corrected(z: Any, v: Any) -> Any:
    """A step of Ogita & Aishima (2018), "Iterative refinement for symmetric eigenvalue decomposition", Algorithm 1,
    which doubles the right digits."""
    dual, unit = v.conj().swapaxes(-1, -2), np.eye(v.shape[-1])
    s, r = dual @ z @ v, unit - dual @ v
    of_diagonal = [np.diagonal(x.real, axis1=-2, axis2=-1) for x in (s, r)]
    w = of_diagonal[0] / (1.0 - of_diagonal[1])
    gaps = w[..., None, :] - w[..., :, None] + unit
    turned = (s + r * w[..., None, :]) / gaps * (1.0 - unit) + 0.5 * unit * r.real
    return v + v @ turned


def singular_values(a: Any) -> Any:
    """The singular values of a complex matrix."""
    return _of_pairs(np.linalg.svd(real_matrix(a), compute_uv=False))


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """np.linalg.svd, without the vectors"""
    if compute_uv:
        raise recording_error(
            "singular vectors of a complex matrix are not supported on recorded values",
            "Take the values, compute_uv=False, or np.linalg.eigh(a.conj().T @ a).",
        )
    return singular_values(a)


if hasattr(np.linalg, "svdvals"):
    implements(np.linalg.svdvals)(singular_values)


@implements(np.linalg.pinv)
def pinv(a: Any, *args: Any, **options: Any) -> Any:
    """np.linalg.pinv"""
    z = to_complex(a)
    m, n = z.shape[-2:]
    found = np.linalg.pinv(real_matrix(z), *args, **options)
    return pair(found[..., :n, :m], found[..., n:, :m])
