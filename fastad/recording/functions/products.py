"""Products of vectors, matrices and tensors. All of them use the `matmul` row."""

import math
from typing import Any

import numpy as np
from numpy import transpose as numpy_transpose

from fastad.errors import ShapeError
from fastad.recording.functions.registry import Array, axis_index, implements, implements_ufunc, lift
from fastad.recording.geometry import reframe, reshape
from fastad.recording.recorded import Recorded
from fastad.recording.repeated import repeating
from fastad.recording.source import at_line, user_line
from fastad.tables.builder import dtype_char
from fastad.tables.columns import NARROW

Shape = tuple[int, ...]


# ── the matmul row ────────────────────────────────────────────────────────────────────────────────────────────
def matmul_stack(x: Array, y: Array) -> Array:
    """Matrix product of stacks of shapes (*batch, m, k) and (*batch, k, n). A stack of one matrix serves for the whole
    batch."""
    m, k = x.shape[-2:]
    n = y.shape[-1]
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    batch = math.prod(lead)
    sx, sy = int(math.prod(x.shape[:-2]) == batch), int(math.prod(y.shape[:-2]) == batch)
    recorder = x.recorder
    recorder.builder.source_line(user_line())
    sizes = (batch, m, k, n, sx, sy)
    char, own = _dtypes(x, y)
    ref = recorder.builder.matrix_product(x.ref, y.ref, sizes, (*lead, m, n), own)
    return Recorded(recorder, recorder.convert(ref, char))


def _dtypes(x: Array, y: Array) -> tuple[str, str]:
    """The dtype of a product, and that of its row: narrow integers wrap afterwards."""
    char = dtype_char(np.result_type(x.dtype, y.dtype))
    return char, "i" if char in NARROW else char


@implements(np.matmul, "linalg.matmul")
@implements_ufunc("matmul")
@repeating
def matmul(a: Any, b: Any) -> Array:
    """np.matmul"""
    x, y = lift(a, b)
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError(f"matmul of shapes {x.shape} and {y.shape}{at_line()}. Multiply by a number with *.")
    if x.ndim == 1 and y.ndim == 1:
        return _vector_dot(x, y, "matmul")
    row, column, given = x.ndim == 1, y.ndim == 1, (x.shape, y.shape)
    x = reshape(x, (1, x.size)) if row else x
    y = reshape(y, (y.size, 1)) if column else y
    if x.shape[-1] != y.shape[-2]:
        raise _not_aligned("matmul", *given, max(len(given[1]) - 2, 0))
    out = matmul_stack(*_same_batch(x, y))
    if row:
        out = reshape(out, (*out.shape[:-2], out.shape[-1]))
    return reshape(out, out.shape[:-1]) if column else out


def _same_batch(x: Array, y: Array) -> tuple[Recorded, Array]:
    """Broadcast the leading axes, unless one of the two is a single matrix."""
    bx, by = x.shape[:-2], y.shape[:-2]
    batch = bx if bx == by else np.broadcast_shapes(bx, by)
    if bx != batch and math.prod(bx) != 1:
        x = np.broadcast_to(x, (*batch, *x.shape[-2:]))
    if by != batch and math.prod(by) != 1:
        y = np.broadcast_to(y, (*batch, *y.shape[-2:]))
    if math.prod(bx) == 1 and math.prod(batch) == 1:
        x = reshape(x, (*batch, *x.shape[-2:]))
        y = reshape(y, (*batch, *y.shape[-2:]))
    return x, y


def _vector_dot(x: Array, y: Array, name: str) -> Array:
    if x.size != y.size:
        raise _not_aligned(name, x.shape, y.shape, 0)
    recorder, (char, own) = x.recorder, _dtypes(x, y)
    ref = recorder.emit("matmul", (x.ref, y.ref), (1, 1, x.size, 1, 0, 0, 1, 1), (), own)
    return Recorded(recorder, recorder.convert(ref, char))


# ── products with other conventions ───────────────────────────────────────────────────────────────────────────
@implements(np.dot)
def dot(a: Any, b: Any) -> Array:
    """np.dot"""
    x, y = lift(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    if x.ndim == 1 and y.ndim == 1:
        return _vector_dot(x, y, "dot")
    axis = y.ndim - 2 if y.ndim > 1 else 0
    if x.shape[-1] != y.shape[axis]:
        raise _not_aligned("dot", x.shape, y.shape, axis)
    if y.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, ((x.ndim - 1,), (axis,)))


def _not_aligned(name: str, x: Shape, y: Shape, axis: int) -> ShapeError:
    fix = "Make these two sizes equal."
    if axis + 1 < len(y) and y[axis + 1] == x[-1]:
        fix = "Swap the last two axes of the second."
    elif len(x) > 1 and x[-2] == y[axis]:
        fix = "Swap the last two axes of the first."
    sizes = f"{x[-1]} (axis {len(x) - 1}) is not {y[axis]} (axis {axis})"
    return ShapeError(f"{name} of shapes {x} and {y}: {sizes}{at_line()}. {fix}")


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Array:
    """np.vdot"""
    x, y = lift(a, b)
    return _vector_dot(reshape(x, -1), reshape(y, -1), "vdot")


@implements(np.inner)
def inner(a: Any, b: Any) -> Array:
    """np.inner"""
    x, y = lift(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    if x.shape[-1] != y.shape[-1]:
        raise _not_aligned("inner", x.shape, y.shape, y.ndim - 1)
    return tensordot(x, y, ((x.ndim - 1,), (y.ndim - 1,)))


@implements(np.outer)
def outer(a: Any, b: Any) -> Array:
    """np.outer"""
    x, y = lift(a, b)
    return reshape(x, (x.size, 1)) * reshape(y, (1, y.size))


if hasattr(np.linalg, "outer"):

    @implements(np.linalg.outer)
    def _linalg_outer(x1: Any, x2: Any, /) -> Array:
        x, y = lift(x1, x2)
        if x.ndim != 1 or y.ndim != 1:
            raise ValueError(
                f"Input arrays must be one-dimensional, but they are x1.ndim={x.ndim} and x2.ndim={y.ndim}."
            )
        return outer(x, y)


@implements(np.tensordot, "linalg.tensordot")
def tensordot(a: Any, b: Any, axes: Any = 2) -> Array:
    """np.tensordot: one matrix product of rearranged operands"""
    x, y = lift(a, b)
    if np.ndim(axes) == 0 and not isinstance(axes, list | tuple):
        count = int(axes)
        xa, ya = list(range(x.ndim - count, x.ndim)), list(range(count))
    else:
        xa, ya = ([int(axes_) for axes_ in np.atleast_1d(part)] for part in axes)
    if len(xa) != len(ya) or any(x.shape[i] != y.shape[j] for i, j in zip(xa, ya)):
        raise ShapeError(
            f"tensordot of shapes {x.shape} and {y.shape} over the axes {xa} and {ya}, whose sizes differ{at_line()}. "
            "Name axes of equal sizes: axes=([of the first], [of the second])."
        )
    xa, ya = [axis_index(i, x.ndim) for i in xa], [axis_index(j, y.ndim) for j in ya]
    xf = [d for d in range(x.ndim) if d not in xa]
    yf = [d for d in range(y.ndim) if d not in ya]
    k = math.prod(x.shape[i] for i in xa)
    shape = [x.shape[d] for d in xf] + [y.shape[d] for d in yf]
    left = flat_matrix(x, xf, xa, (math.prod(x.shape[d] for d in xf), k))
    right = flat_matrix(y, ya, yf, (k, math.prod(y.shape[d] for d in yf)))
    return reshape(matmul_stack(left, right), tuple(shape))


def flat_matrix(x: Array, rows: list[int], columns: list[int], shape: tuple[int, ...]) -> Array:
    """x with its axes grouped into the rows and columns of a matrix. A transposed matrix stays a view (see
    `_matrices`)."""
    order = rows + columns
    if order != list(range(x.ndim)) and columns + rows == list(range(x.ndim)):
        return reframe(reshape(x, shape[::-1]), numpy_transpose)
    return reshape(reframe(x, numpy_transpose, tuple(order)), shape)


@implements(np.kron)
def kron(a: Any, b: Any) -> Array:
    """np.kron"""
    x, y = lift(a, b)
    nd = max(x.ndim, y.ndim)
    xs, ys = (1,) * (nd - x.ndim) + x.shape, (1,) * (nd - y.ndim) + y.shape
    spread = reshape(x, tuple(m for n in xs for m in (n, 1))) * reshape(y, tuple(m for n in ys for m in (1, n)))
    return reshape(spread, tuple(p * q for p, q in zip(xs, ys)))


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Array:
    """np.trace"""
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


if hasattr(np.linalg, "trace"):

    @implements(np.linalg.trace)
    def _linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Array:
        return trace(x, offset, -2, -1, dtype)


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Array:
    """np.cross of vectors with two or three components"""
    x, y = lift(a, b)
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = (np.moveaxis(v, axis_index(d, v.ndim), -1) for v, d in ((x, axisa), (y, axisb)))
    if x.shape[-1] not in (2, 3) or y.shape[-1] not in (2, 3):
        raise ValueError("incompatible dimensions for cross product\n(dimension must be 2 or 3)")
    third = x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]
    if x.shape[-1] == 2 and y.shape[-1] == 2:
        return third
    x2 = x[..., 2] if x.shape[-1] == 3 else 0
    y2 = y[..., 2] if y.shape[-1] == 3 else 0
    first, second = x[..., 1] * y2 - x2 * y[..., 1], x2 * y[..., 0] - x[..., 0] * y2
    return np.stack([first, second, third], axis=axis_index(axisc, third.ndim + 1))


if hasattr(np.linalg, "cross"):
    implements(np.linalg.cross)(lambda x1, x2, /, *, axis=-1: cross(x1, x2, axis=axis))


# ── gufuncs of newer NumPy ────────────────────────────────────────────────────────────────────────────────────
@implements("vecdot", "linalg.vecdot")
@implements_ufunc("vecdot")
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """np.vecdot"""
    x, y = lift(x1, x2)
    x, y = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
    if x.shape[-1] != y.shape[-1]:
        raise _not_aligned("vecdot", x.shape, y.shape, y.ndim - 1)
    return np.sum(x * y, axis=-1)


@implements("matvec")
@implements_ufunc("matvec")
def matvec(x1: Any, x2: Any, /) -> Array:
    """np.matvec"""
    x, y = lift(x1, x2)
    out = matmul(x, reshape(y, (*y.shape, 1)))
    return reshape(out, out.shape[:-1])


@implements("vecmat")
@implements_ufunc("vecmat")
def vecmat(x1: Any, x2: Any, /) -> Array:
    """np.vecmat"""
    x, y = lift(x1, x2)
    out = matmul(reshape(x, (*x.shape[:-1], 1, x.shape[-1])), y)
    return reshape(out, (*out.shape[:-2], out.shape[-1]))


# ── np.linalg without factorisations ──────────────────────────────────────────────────────────────────────────
@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any) -> Array:
    """np.linalg.multi_dot in the cheapest order"""
    values = lift(*arrays)
    if len(values) < 2:
        raise ValueError("Expecting at least two arrays.")
    ends = (values[0].ndim == 1, values[-1].ndim == 1)
    if ends[0]:
        values[0] = reshape(values[0], (1, values[0].size))
    if ends[1]:
        values[-1] = reshape(values[-1], (values[-1].size, 1))
    labels = [[i, i + 1] for i in range(len(values))]
    operands = [part for x, own in zip(values, labels) for part in (x, own)]
    out = np.einsum(*operands, [0, len(values)], optimize="optimal")
    shape = tuple(n for n, end in zip(out.shape, ends) if not end)
    return reshape(out, shape)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Array:
    """np.linalg.matrix_power"""
    (x,) = lift(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    if not isinstance(n, int | np.integer):
        raise TypeError(f"matrix_power takes an integer{at_line()}, not {n!r}; fad.linalg.sqrtm is the square root")
    if n < 0:
        x, n = np.linalg.inv(x), -n
    if n == 0:
        from fastad.recording.functions.registry import constant

        return constant(x, np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape))
    out: Any = None
    while n:
        out = (x if out is None else matmul(out, x)) if n & 1 else out
        n >>= 1
        x = matmul(x, x) if n else x
    return out.copy()
