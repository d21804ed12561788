"""Views by NumPy's own indexing and reshaping, of arrays that have a geometry and no elements."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.primitives.regions import contiguous_strides
from fastad.recording.recorded import Frame, Recorded

Shape = tuple[int, ...]

_as_strided = np.lib.stride_tricks.as_strided  # NumPy's own, whatever stands for it during a recording
_BYTE = np.empty(1, np.int8)
_MOST_GEOMETRIES = 8192
_geometries: dict[Any, Frame | None] = {}  # by what changed which geometry; the offset is from that of the operand


def dummy(frame: tuple[int, Shape, Shape]) -> np.ndarray:
    """An array with this geometry but without the memory for it, one byte an element. NumPy's own indexing and
    reshaping of it give the geometry of their results. Its elements must never be read."""
    _, shape, strides = frame
    return _as_strided(_BYTE, shape, strides)


def frame_of(view: np.ndarray, origin: np.ndarray, offset: int) -> tuple[int, Shape, Shape]:
    """The frame of a view of a dummy."""
    start = view.__array_interface__["data"][0] - origin.__array_interface__["data"][0]
    return offset + (start if view.size else 0), view.shape, view.strides


def reframe(x: Recorded, function: Callable[..., Any], *args: Any, **options: Any) -> Recorded:
    """A view of x with the geometry that a function of arrays gives to a dummy of x."""
    offset, shape, strides = x.frame()
    key = (function, shape, strides, args, *options.items())
    try:
        found = _geometries[key]
    except TypeError:  # an argument that cannot be a key
        found = _changed_geometry(shape, strides, function, args, options)
    except KeyError:
        found = _changed_geometry(shape, strides, function, args, options)
        if len(_geometries) < _MOST_GEOMETRIES:
            _geometries[key] = found
    if found is None:
        return copied(x)
    start, shape, strides = found
    return x.view((offset + start, shape, strides), keep=bool(x.shape))


def _changed_geometry(
    shape: Shape, strides: Shape, function: Callable[..., Any], args: Any, options: Any
) -> Frame | None:
    origin = dummy((0, shape, strides))
    changed = function(origin, *args, **options)
    # np.flip of an array without axes returns its element
    return None if isinstance(changed, np.generic) else frame_of(changed, origin, 0)


def copied(x: Recorded) -> Recorded:
    """A copy of x as it is now."""
    return Recorded(x.recorder, x.ref)


def reshape(x: Recorded, shape: Any) -> Recorded:
    """NumPy's reshape: a view where possible, else a copy."""
    full = resolved_shape(x, shape)
    offset, own, strides = x.frame()
    if strides == contiguous_strides(own):
        return x.view((offset, full, contiguous_strides(full)), keep=bool(x.shape))
    try:
        return reframe(x, _reshaped_in_place, full)
    except ValueError:  # NumPy cannot without copying
        return copied(x).view((0, full, contiguous_strides(full)))


def _reshaped_in_place(x: np.ndarray, shape: Shape) -> np.ndarray:
    return np.reshape(x, shape, copy=False)


def resolved_shape(x: Recorded, shape: Any) -> Shape:
    dims = tuple(int(n) for n in (shape if isinstance(shape, list | tuple) else (shape,)))
    known = math.prod(n for n in dims if n != -1)
    if dims.count(-1) == 1 and known and x.size % known == 0:
        dims = tuple(x.size // known if n == -1 else n for n in dims)
    if math.prod(dims) != x.size or min(dims, default=0) < 0:
        raise ValueError(f"cannot reshape array of size {x.size} into shape {shape}")
    return dims
