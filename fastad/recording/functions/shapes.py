"""Functions that change geometry only: views where NumPy gives views, copies where it gives copies."""

from typing import Any

import numpy as np
from numpy import broadcast_to as numpy_broadcast_to
from numpy import diagonal as numpy_diagonal
from numpy import transpose as numpy_transpose

from fastad.primitives.regions import contiguous_strides
from fastad.recording.dispatch import VIEWS
from fastad.recording.functions.registry import Array, axis_index, implements, lift, viewer
from fastad.recording.geometry import copied, dummy, frame_of, reframe, reshape
from fastad.recording.recorded import Recorded

for _function in (
    "swapaxes", "moveaxis", "rollaxis", "squeeze", "expand_dims", "flip", "fliplr", "flipud", "rot90",
    "matrix_transpose", "linalg.matrix_transpose", "transpose",
):  # fmt: skip
    _numpy: Any = np
    for _part in _function.split("."):
        _numpy = getattr(_numpy, _part, None)
    if _numpy is not None:
        implements(_numpy)(viewer(_numpy))
        VIEWS.add(_numpy)
VIEWS.update([
    np.reshape, np.ravel, np.broadcast_to, np.broadcast_arrays, np.diagonal, np.atleast_1d, np.atleast_2d,
    np.atleast_3d, np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit, np.shape, np.ndim, np.size,
])  # fmt: skip


@implements(np.reshape)
def reshape_(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Array:
    """np.reshape"""
    (x,) = lift(a)
    dims = newshape if shape is None else shape
    dims = tuple(dims) if isinstance(dims, list | tuple | np.ndarray) else (dims,)
    x = copied(x) if copy else x
    if order == "K":
        raise ValueError("order 'K' is not permitted for reshaping")
    if _by_columns(x, order):
        return reshape(x.T, dims[::-1]).T
    return reshape(x, dims)


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Array:
    """np.ravel"""
    (x,) = lift(a)
    if order == "K":
        strides = x.frame()[2]
        axes = sorted(range(x.ndim), key=lambda d: -abs(strides[d]))
        return _contiguous(reshape(reframe(x, numpy_transpose, tuple(axes)), -1))
    return _contiguous(reshape(x.T if _by_columns(x, order) else x, -1))


def _by_columns(x: Array, order: str) -> bool:
    """Whether an order of elements is Fortran's; "A" is that of the memory."""
    _, shape, strides = x.frame()
    if order != "A" or strides == contiguous_strides(shape):
        return order == "F"
    return strides[::-1] == contiguous_strides(shape[::-1])


def _contiguous(x: Array) -> Array:
    """A flat array, which is a copy where it is not contiguous."""
    return x if x.size < 2 or x.frame()[2] == (1,) else copied(x)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Array:
    """np.broadcast_to"""
    (x,) = lift(array)
    return reframe(x, numpy_broadcast_to, shape).read_only()


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Array, ...]:
    """np.broadcast_arrays"""
    values = lift(*args)
    shape = np.broadcast_shapes(*(x.shape for x in values))
    return tuple(broadcast_to(x, shape) for x in values)


@implements(np.diagonal, "linalg.diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """np.diagonal"""
    (x,) = lift(a)
    return reframe(x, numpy_diagonal, offset, axis1, axis2).read_only()


if hasattr(np.linalg, "diagonal"):

    @implements(np.linalg.diagonal)
    def _linalg_diagonal(x: Any, /, *, offset: int = 0) -> Array:
        return diagonal(x, offset, -2, -1)


def _at_least(function: Any) -> Any:
    def implementation(*arrays: Any) -> Any:
        found = tuple(reframe(x, function) for x in lift(*arrays))
        return found[0] if len(found) == 1 else found

    return implementation


for _numpy in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    implements(_numpy)(_at_least(_numpy))


def _splitter(function: Any) -> Any:
    """split, hsplit, …: NumPy's function splits the geometry, and each piece becomes a view."""

    def split(ary: Any, indices_or_sections: Any, *args: Any, **kwargs: Any) -> list[Array]:
        (x,) = lift(ary)
        if isinstance(indices_or_sections, Recorded):
            indices_or_sections = x.recorder.guard(indices_or_sections.ref)
        frame = x.frame()
        origin = dummy(frame)
        pieces = function(origin, indices_or_sections, *args, **kwargs)
        return [x.view(frame_of(piece, origin, frame[0])) for piece in pieces]

    return split


for _numpy in (np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit):
    implements(_numpy)(_splitter(_numpy))


@implements("unstack")
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """np.unstack"""
    (x,) = lift(x)
    return tuple(np.moveaxis(x, axis_index(axis, x.ndim), 0))


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Array:
    """np.lib.stride_tricks.sliding_window_view"""
    windows = np.lib.stride_tricks.sliding_window_view
    return reframe(lift(x)[0], windows, window_shape, axis).read_only()
