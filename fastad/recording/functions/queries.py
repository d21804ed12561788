"""Questions about arrays. Those about shape and dtype are answered while recording; those about values get a guard."""

from typing import Any

import numpy as np

from fastad.recording.elementwise import elementwise
from fastad.recording.functions.registry import Array, implements, lift
from fastad.recording.recorded import Recorded


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, Recorded) else lift(x)[0].shape


implements(np.shape)(lambda a: _shape(a))
implements(np.ndim)(lambda a: len(_shape(a)))


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """np.size"""
    shape = _shape(a)
    if axis is None:
        return int(np.prod(shape, dtype=int))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return int(np.prod([shape[d] for d in axes], dtype=int))


def _plain_type(x: Any) -> Any:
    """The dtype of a recorded value; anything else as it is."""
    return x.dtype if isinstance(x, Recorded) else x


implements(np.result_type)(lambda *args: np.result_type(*map(_plain_type, args)))
implements(np.can_cast)(lambda from_, to, casting="safe": np.can_cast(_plain_type(from_), _plain_type(to), casting))
implements(np.min_scalar_type)(lambda a, /: _plain_type(a))
implements(np.common_type)(lambda *arrays: np.common_type(*(np.empty(0, x.dtype) for x in arrays)))
implements(np.iscomplexobj)(lambda x: False)
implements(np.isrealobj)(lambda x: True)
implements(np.isreal)(lambda x: elementwise("equal", *[np.zeros_like(lift(x)[0])] * 2))
implements(np.iscomplex)(lambda x: elementwise("not_equal", *[np.zeros_like(lift(x)[0])] * 2))


@implements(np.may_share_memory, np.shares_memory)
def shares_memory(a: Any, b: Any, /, max_work: Any = None) -> bool:
    """np.shares_memory: whether two recorded arrays are overlapping views of one array"""
    if not (isinstance(a, Recorded) and isinstance(b, Recorded)) or a.root is not b.root:
        return False
    base = np.zeros(a.root.size, np.int8)
    views = []
    for x in (a, b):
        offset, shape, strides = x.frame()
        views.append(np.lib.stride_tricks.as_strided(base[offset:], shape, strides))
    return bool(np.shares_memory(views[0], views[1]))


# ── comparisons with one truth value as result ────────────────────────────────────────────────────────────────
@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Array:
    """np.isclose"""
    x, y = lift(a, b)
    near = (np.abs(x - y) <= atol + rtol * np.abs(y)) & np.isfinite(y)
    found = near | (x == y)
    return found | (np.isnan(x) & np.isnan(y)) if equal_nan else found


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> bool:
    """np.allclose; the answer gets a guard"""
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """np.array_equal; the answer gets a guard"""
    x, y = lift(a1, a2)
    if x.shape != y.shape:
        return False
    same = x == y
    return bool(np.all(same | (np.isnan(x) & np.isnan(y)) if equal_nan else same))


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> bool:
    """np.array_equiv"""
    x, y = lift(a1, a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return bool(np.all(x == y))


# ── functions of functions ────────────────────────────────────────────────────────────────────────────────────
@implements(np.apply_along_axis)
def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """np.apply_along_axis: the function is recorded once for each slice"""
    (x,) = lift(arr)
    last = np.moveaxis(x, axis, -1)
    axis = axis % x.ndim
    lead = last.shape[:-1]
    found = [func1d(last[place], *args, **kwargs) for place in np.ndindex(lead)]
    own = np.shape(found[0])
    out = np.reshape(np.stack(found), lead + own)
    return np.moveaxis(out, range(len(lead), out.ndim), range(axis, axis + len(own))) if own else out


@implements(np.apply_over_axes)
def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """np.apply_over_axes"""
    (x,) = lift(a)
    for axis in np.atleast_1d(axes).tolist():
        found = func(x, axis)
        x = found if found.ndim == x.ndim else np.expand_dims(found, axis)
    return x
