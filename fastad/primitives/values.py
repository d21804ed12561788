"""What the array rows compute: evaluation on concrete NumPy values, as `f(statics, shape, *operands)`."""

import math
from typing import Any

import numpy as np

from fastad.primitives.regions import parts, pieces

Statics = tuple[int, ...]
Shape = tuple[int, ...]


def strided_view(flat: np.ndarray, statics: Statics) -> np.ndarray:
    """View of a flat array with the offset, shape and strides (in elements) of the statics."""
    offset, shape, strides = parts(statics)
    if 0 in shape:
        return np.empty(shape)
    step = flat.itemsize
    return np.ndarray(shape, flat.dtype, flat, offset * step, [s * step for s in strides])


def _flat(x: Any) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(-1)


def strided(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    return strided_view(_flat(x), s).reshape(shape)


def strided_add(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    out = np.zeros(math.prod(shape), dtype=np.result_type(x))
    index = strided_view(np.arange(out.size), s)
    np.add.at(out, index.reshape(-1).astype(np.intp), _flat(x))
    return out.reshape(shape)


def middle(s: Statics, x: Any) -> np.ndarray:
    return np.reshape(x, s[:3])


def reduce(function: Any) -> Any:
    return lambda s, shape, x: function(middle(s, x), axis=1).reshape(shape)


def cumsum(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    step = -1 if s[3] else 1
    return np.cumsum(middle(s, x)[:, ::step], axis=1)[:, ::step].reshape(shape)


def linrec(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    a, b = middle(s, x), middle(s, y)
    out = np.zeros(s[:3], dtype=np.result_type(a, b))
    state: Any = None
    for k in range(s[1])[:: -1 if s[3] else 1]:
        # The first element is y's, whatever x is: no inf * 0.
        state = b[:, k] if state is None else a[:, k] * state + b[:, k]
        out[:, k] = state
    return out.reshape(shape)


def matmul(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    batch, m, k, n, ta, tb, sx, sy = s
    a = np.reshape(x, (batch if sx else 1, *((k, m) if ta else (m, k))))
    b = np.reshape(y, (batch if sy else 1, *((n, k) if tb else (k, n))))
    a = a.swapaxes(1, 2) if ta else a
    b = b.swapaxes(1, 2) if tb else b
    return np.broadcast_to(np.matmul(a, b), (batch, m, n)).reshape(shape)


def gather(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    return np.reshape(x, (-1, s[0]))[_flat(y).astype(np.intp)].reshape(shape)


def scatter_add(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    out = np.zeros((math.prod(shape) // s[0], s[0]), dtype=np.result_type(x))
    np.add.at(out, _flat(y).astype(np.intp), np.reshape(x, (-1, s[0])))
    return out.reshape(shape)


def wrap_index(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    index = np.asarray(x)
    if np.any((index < -s[0]) | (index >= s[0])):
        raise IndexError(f"index out of bounds for an axis of size {s[0]}")
    return np.where(index < 0, index + s[0], index)


def searchsorted(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    return np.searchsorted(_flat(x), np.reshape(y, shape), side="right" if s[0] else "left")


def assemble(s: Statics, shape: Shape, *operands: Any) -> np.ndarray:
    out = np.zeros(math.prod(shape), dtype=np.result_type(*operands) if operands else float)
    for region, x in zip(pieces(s), operands, strict=True):
        view = strided_view(out, region)
        view[...] = np.reshape(x, view.shape)
    return out.reshape(shape)




def argsort(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    return np.argsort(middle(s, x), axis=1, kind="stable").reshape(shape)
