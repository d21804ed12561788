"""What the implementations of NumPy functions on recorded values share."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from fastad.recording.complex_operands import complex_package
from fastad.recording.dispatch import implements as implements
from fastad.recording.dispatch import implements_ufunc as implements_ufunc
from fastad.recording.geometry import reframe
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import open_recordings

Shape = tuple[int, ...]
Array = Any  # a recorded value; Any, because type checkers think that NumPy's functions return np.ndarray for it


def lift(*arguments: Any) -> list[Array]:
    """The arguments as recorded values in the innermost of their recorders."""
    recorder = recorder_of(arguments)
    return [as_recorded(x, recorder) for x in arguments]


def to_list(arrays: Any) -> list[Array]:
    """The elements of a sequence (or of an array, along its first axis) as recorded values."""
    return lift(*arrays)


def viewer(function: Any) -> Callable[..., Array]:
    """An implementation of a function whose result is a view: NumPy's function, applied to the geometry alone."""

    def view(a: Any, *args: Any, **kwargs: Any) -> Array:
        (x,) = lift(a)
        return reframe(x, function, *args, **kwargs)

    return view


def axis_index(axis: Any, ndim: int) -> int:
    return normalize_axis_index(axis, ndim)


def axis_set(axis: Any, ndim: int) -> tuple[int, ...]:
    """Sorted axes of a reduction; None means all of them."""
    return tuple(range(ndim)) if axis is None else tuple(sorted(normalize_axis_tuple(axis, ndim)))


def along(name: str, x: Array, axis: int, *more: int, reduce: bool = False, operands: Sequence[Array] = ()) -> Array:
    """A row of the primitive `name`, which works along one axis."""
    shape = x.shape
    statics = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), *more)
    result = shape[:axis] + shape[axis + 1 :] if reduce else shape
    refs = (x.ref, *(y.ref for y in operands))
    return Recorded(x.recorder, x.recorder.emit(name, refs, statics, result))


def axis_slice(x: Array, axis: int, start: Any, stop: Any = None, step: Any = None) -> Array:
    """x[..., start:stop:step, ...] along an axis."""
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def pick(x: Array, index: np.ndarray, axis: int) -> Array:
    """Slices of x at static indices along an axis. They must be in range: nothing is checked at run time."""
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    shape = (*x.shape[:axis], len(index), *x.shape[axis + 1 :])
    blocks = (np.arange(outer)[:, None] * x.shape[axis] + index).reshape(-1)
    places = x.recorder.const(blocks)
    return Recorded(x.recorder, x.recorder.emit("gather", (x.ref, places), (inner,), shape))


def constant(like: Array, value: Any) -> Array:
    """A new constant in the recording of `like`. It may be written to."""
    if np.iscomplexobj(value):
        return complex_package().complex_constant(like.recorder, value)
    return Recorded(like.recorder, like.recorder.const(value))


def where_recorded(
    original: Callable[..., Any], recorded: Callable[..., Any], data: Callable[[Any], Any] = lambda self: None
) -> Callable[..., Any]:
    """A method that is another one where an argument, or what `data` finds in the object, is recorded."""

    @functools.wraps(original)
    def called(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        own = recorded if open_recordings() and is_recorded((*args, *kwargs.values(), data(self))) else original
        return own(self, *args, **kwargs)

    return called
