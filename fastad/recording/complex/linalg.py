"""Linear algebra of complex matrices A + iB by the real matrix [[A, -B], [B, A]], which computes alike."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.complex.calling import implements
from fastad.recording.complex.parts import to_complex
from fastad.recording.complex.value import pair

_Slogdet: Any = type(np.linalg.slogdet(np.eye(1)))


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
