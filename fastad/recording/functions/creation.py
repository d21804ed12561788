"""Constructors of arrays: those with `like=`, the *_like functions, ranges with recorded ends. Results can be written
to."""

from typing import Any

import numpy as np

from fastad.primitives.regions import contiguous_strides
from fastad.recording.dispatch import creates
from fastad.recording.functions.registry import Array, constant, implements, lift
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder, recording_error


def _plain(function: Any) -> Any:
    """An implementation for arguments that are not recorded: NumPy's result as a constant."""

    def create(recorder: Recorder, *args: Any, **kwargs: Any) -> Array:
        kwargs.pop("order", None)
        return Recorded(recorder, recorder.const(function(*args, **kwargs)))

    return create


for _function in (
    np.zeros,
    np.ones,
    np.eye,
    np.identity,
    np.tri,
    np.fromiter,
    np.fromstring,
    np.frombuffer,
    np.fromfile,
    np.loadtxt,
    np.genfromtxt,
):
    creates(_function)(_plain(_function))


@creates(np.empty)
def _empty(recorder: Recorder, shape: Any, dtype: Any = float, **options: Any) -> Array:
    return Recorded(recorder, recorder.const(np.zeros(shape, dtype)))


@creates(np.full)
def _full(recorder: Recorder, shape: Any, fill_value: Any, dtype: Any = None, **options: Any) -> Array:
    value = _array(recorder, fill_value, dtype)
    return np.broadcast_to(value, shape).copy()


@creates(np.array)
def _array(
    recorder: Recorder, a: Any, dtype: Any = None, *, copy: Any = True, ndmin: int = 0, **options: Any
) -> Array:
    out = _asarray(recorder, a, dtype)
    out = out.frozen() if copy and out is a else out
    return out.reshape((1,) * (ndmin - out.ndim) + out.shape) if ndmin > out.ndim else out


@creates(np.ascontiguousarray)
def _ascontiguousarray(recorder: Recorder, a: Any, dtype: Any = None, **options: Any) -> Array:
    out = _asarray(recorder, a, dtype)
    return out if out.frame()[2] == contiguous_strides(out.shape) else out.frozen()


@creates(np.asarray, np.asanyarray, np.asfortranarray, np.require)
def _asarray(recorder: Recorder, a: Any, dtype: Any = None, *args: Any, copy: Any = None, **options: Any) -> Array:
    if is_recorded(a):
        out = as_recorded(a, recorder_of((a,)))
        out = out.frozen() if copy and out is a else out
    else:
        out = Recorded(recorder, recorder.const(np.asarray(a)))
    return out if dtype is None or out.dtype == dtype else out.astype(dtype)


@creates(np.arange)
def _arange(
    recorder: Recorder, start: Any = 0, stop: Any = None, step: Any = 1, dtype: Any = None, **options: Any
) -> Array:
    """np.arange; the number of elements gets a guard"""
    start, stop = (0, start) if stop is None else (start, stop)
    step = 1 if step is None else step
    ends = (start, stop, step)
    concrete = np.arange(*(x.value if isinstance(x, Recorded) else x for x in ends), dtype=dtype)
    if not is_recorded(ends):
        return Recorded(recorder, recorder.const(concrete))
    recorder = recorder_of(ends)
    recorder.guard(np.maximum(np.ceil((as_recorded(stop, recorder) - start) / step), 0).ref)
    # As NumPy does: the first two elements have the dtype of the result, and their difference is the step.
    first, second = (as_recorded(x, recorder).astype(concrete.dtype) for x in (start, start + step))
    out = first + np.arange(len(concrete), dtype=concrete.dtype) * (second - first)
    out[1:2] = second
    return out


# ── like another array ────────────────────────────────────────────────────────────────────────────────────────
def _like(a: Any, dtype: Any, shape: Any) -> tuple[Array, tuple[int, ...], np.dtype]:
    (x,) = lift(a)
    dims = x.shape if shape is None else (shape if isinstance(shape, list | tuple) else (shape,))
    return x, tuple(int(n) for n in dims), x.dtype if dtype is None else np.dtype(dtype)


@implements(np.zeros_like, np.empty_like)
def zeros_like(
    prototype: Any = None,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
    a: Any = None,
) -> Array:
    """np.zeros_like, np.empty_like"""
    x, dims, kind = _like(prototype if a is None else a, dtype, shape)
    return constant(x, np.zeros(dims, kind))


@implements(np.ones_like)
def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Array:
    """np.ones_like"""
    x, dims, kind = _like(a, dtype, shape)
    return constant(x, np.ones(dims, kind))


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Array:
    """np.full_like"""
    if not isinstance(a, Recorded):
        a = np.asarray(a)
    if not is_recorded(fill_value):
        x, dims, kind = _like(a, dtype, shape)
        return constant(x, np.full(dims, fill_value, kind))
    kind = np.dtype(a.dtype if dtype is None else dtype)
    (value,) = lift(fill_value)
    dims = a.shape if shape is None else shape
    return np.broadcast_to(value.astype(kind) if value.dtype != kind else value, dims).copy()


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Array:
    """np.copy"""
    return lift(a)[0].frozen()


# ── ranges ────────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """np.linspace with recorded ends"""
    num = int(num.__index__())
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    recorder = recorder_of((start, stop))
    start, stop = (as_recorded(x, recorder) if isinstance(x, list | tuple) else x for x in (start, stop))
    kind = np.result_type(*(x.dtype if isinstance(x, Recorded) else x for x in (start, stop)), float(num))
    first, last = np.broadcast_arrays(*(x.astype(kind) if x.dtype != kind else x for x in lift(start, stop)))
    parts = num - 1 if endpoint else num
    delta = last - first
    k = np.arange(num, dtype=kind).reshape((num,) + (1,) * first.ndim)
    step = delta / parts if parts > 0 else delta * np.nan
    out = first + k * step if parts > 0 else first + k * delta
    if endpoint and num > 1:
        out[-1] = last
    if axis != 0:
        out = np.moveaxis(out, 0, axis)
    if dtype is not None:
        out = np.floor(out).astype(dtype) if np.dtype(dtype).kind in "iu" else out.astype(dtype)
    return (out, step) if retstep else out


@implements(np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """np.logspace"""
    if np.ndim(base) > 0:
        raise recording_error("np.logspace with an array of bases is not supported on recorded values", "Use one base.")
    first, last, _ = lift(start, stop, base)
    out = np.power(base, linspace(first, last, num, endpoint, axis=axis))
    return out if dtype is None else out.astype(dtype)


@implements(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """np.geomspace; both ends have the same sign"""
    first, last = np.broadcast_arrays(*lift(start, stop))
    if np.any(first == 0) or np.any(last == 0):
        raise ValueError("Geometric sequence cannot include zero")
    sign = np.sign(first)
    out = np.power(10.0, linspace(np.log10(first * sign), np.log10(last * sign), num, endpoint))
    if num > 0:
        out[0] = first * sign
        if num > 1 and endpoint:
            out[-1] = last * sign
    out = out * sign
    out = np.moveaxis(out, 0, axis) if axis else out
    return out if dtype is None else out.astype(dtype)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Array, ...]:
    """np.meshgrid"""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    values = lift(*xi)
    nd = len(values)
    grids = [x.reshape((1,) * i + (-1,) + (1,) * (nd - i - 1)) for i, x in enumerate(values)]
    if indexing == "xy" and nd > 1:
        for i, place in ((0, 1), (1, 0)):
            shape = [1] * nd
            shape[place] = -1
            grids[i] = values[i].reshape(shape)
    if not sparse:
        grids = list(np.broadcast_arrays(*grids))
    return tuple(g.copy() for g in grids) if copy else tuple(grids)
