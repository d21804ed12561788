"""Sorting, searching and order statistics. Permutations are computed at every replay."""

from typing import Any

import numpy as np

from fastad.primitives.regions import contiguous_strides
from fastad.recording.buffers import target_of
from fastad.recording.functions.reductions import adjacent
from fastad.recording.functions.registry import (
    Array,
    along,
    axis_index,
    axis_set,
    axis_slice,
    constant,
    implements,
    lift,
    viewer,
)
from fastad.recording.geometry import reshape
from fastad.recording.operands import path_value, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error


def gather_along(x: Array, index: Array, axis: int) -> Array:
    """Elements at indices along an axis. The indices must be in [0, n): nothing is checked at run time."""
    strides = contiguous_strides(x.shape)
    places = [n if d != axis else 1 for d, n in enumerate(index.shape)]
    grids = np.ix_(*(np.arange(n) for n in places))
    offsets = sum(g * s for d, (g, s) in enumerate(zip(grids, strides)) if d != axis)
    flat = index * strides[axis] + offsets
    return Recorded(x.recorder, x.recorder.emit("gather", (x.ref, flat.ref), (1,), index.shape))


def _argsort(x: Array, axis: int) -> Array:
    return along("argsort", x, axis)


def _axis_or_flat(a: Any, axis: Any) -> tuple[Array, int]:
    (x,) = lift(a)
    return (reshape(x, -1), 0) if axis is None else (x, axis_index(axis, x.ndim))


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Array:
    """np.argsort (always stable)"""
    return _argsort(*_axis_or_flat(a, axis))


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Array:
    """np.sort"""
    x, axis = _axis_or_flat(a, axis)
    if not x.size:
        return x.frozen()
    return gather_along(x, _argsort(x, axis), axis)


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Array:
    """np.partition, by sorting"""
    return sort(a, axis)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Array:
    """np.argpartition, by sorting"""
    return argsort(a, axis)


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Array:
    """np.lexsort: one stable sort for each key"""
    values = lift(*keys)
    if any(x.shape != values[0].shape for x in values):
        raise ValueError("all keys need to be the same shape")
    axis = axis_index(axis, values[0].ndim)
    order = _argsort(values[0], axis)
    for x in values[1:]:
        order = gather_along(order, _argsort(gather_along(x, order, axis), axis), axis)
    return order


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Array:
    """np.take_along_axis; indices are checked at every replay"""
    x, axis = _axis_or_flat(arr, axis)
    index: Array = lift(x, indices)[1]
    if index.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if index.ndim != x.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    shape = list(
        np.broadcast_shapes(*(tuple(1 if d == axis else n for d, n in enumerate(v.shape)) for v in (x, index)))
    )
    x = np.broadcast_to(x, [x.shape[axis] if d == axis else n for d, n in enumerate(shape)])
    index = np.broadcast_to(index, [index.shape[axis] if d == axis else n for d, n in enumerate(shape)])
    ref = index.recorder.emit("wrap_index", (index.ref,), (x.shape[axis],), index.shape)
    return gather_along(x, Recorded(index.recorder, ref), axis)


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """np.put_along_axis"""
    arr = target_of(arr, "np.put_along_axis of a recorded value")
    x = reshape(arr, -1) if axis is None else arr
    axis = 0 if axis is None else axis_index(axis, x.ndim)
    index = indices if isinstance(indices, Recorded) else np.asarray(indices)
    grids = np.ix_(*(np.arange(n) for n in x.shape))
    x[tuple(index if d == axis else g for d, g in enumerate(grids))] = values


# ── searching ─────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Array:
    """np.searchsorted"""
    x, y = lift(a, v)
    if x.ndim != 1:
        raise ValueError("object too deep for desired array")
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got {side!r})")
    if sorter is not None and np.size(sorter) != x.size:
        raise ValueError("sorter.size must equal a.size")
    x = x if sorter is None else np.take(x, sorter)
    return Recorded(x.recorder, x.recorder.emit("searchsorted", (x.ref, y.ref), (int(side == "right"),), y.shape))


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Array:
    """np.digitize; whether the bins increase or decrease is decided while recording"""
    x, bins = lift(x, bins)
    steps = np.diff(bins.value)
    if np.all(steps >= 0):
        return searchsorted(bins, x, "left" if right else "right")
    if not np.all(steps <= 0):
        raise ValueError("bins must be monotonically increasing or decreasing")
    return bins.size - searchsorted(bins[::-1], x, "right" if right else "left")


# ── order statistics ──────────────────────────────────────────────────────────────────────────────────────────
@implements(np.median)
def median(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Array:
    """np.median"""
    (x,) = lift(a)
    ordered, place, last = _ordered(x, axis)
    n = ordered.shape[place]
    if n == 0:
        return np.mean(x, axis=axis, keepdims=keepdims)
    middle = axis_slice(ordered, place, (n - 1) // 2, n // 2 + 1)
    found = np.where(np.isnan(last), last, np.mean(middle, axis=place))
    return _with_dims(found, x, axis, keepdims)


def _ordered(x: Array, axis: Any) -> tuple[Recorded, int, Array]:
    """(x sorted along the given axes, joined into one; the position of that one; the largest elements, NaN if any
    is)."""
    x = x if x.dtype.kind == "f" else x.astype(float)
    if x.ndim == 0:
        return reshape(x, (1,)), 0, x
    joined, place = adjacent(x, axis_set(axis, x.ndim))
    ordered = sort(joined, place)
    last = axis_slice(ordered, place, -1, None)
    return ordered, place, reshape(last, last.shape[:place] + last.shape[place + 1 :]) if joined.shape[place] else last


def _with_dims(found: Array, x: Array, axis: Any, keepdims: bool, lead: int = 0) -> Array:
    if not keepdims:
        return found
    axes = axis_set(axis, x.ndim)
    return reshape(found, (*found.shape[:lead], *(1 if d in axes else n for d, n in enumerate(x.shape))))


@implements(np.quantile)
def quantile(
    a: Any, q: Any, axis: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False,
    *, weights: Any = None,
) -> Array:  # fmt: skip
    """np.quantile by interpolation between the sorted elements; q may be recorded"""
    if weights is not None:
        raise recording_error(
            "np.quantile with weights= is not supported on recorded values",
            "Leave it out, or sort and interpolate by hand.",
        )
    x = lift(a, q)[0]
    levels = q if isinstance(q, Recorded) else np.asarray(q, float)
    known = levels.value if isinstance(levels, Recorded) else levels
    if np.any(known < 0) or np.any(known > 1):
        raise ValueError("Quantiles must be in the range [0, 1]")
    ordered, place, last = _ordered(x, axis)
    n = ordered.shape[place]
    low, share = _position(levels, n, method)
    front: Array = viewer(np.moveaxis)(ordered, place, 0)
    below, above = front[low], front[np.minimum(low + 1, n - 1)]
    share = np.reshape(share, np.shape(levels) + (1,) * last.ndim) if np.ndim(levels) else share
    found = np.where(np.isnan(last), last, below + (above - below) * share)
    return _with_dims(found, x, axis, keepdims, np.ndim(levels))


@implements(np.percentile)
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Array:
    """np.percentile"""
    levels = q if isinstance(q, Recorded) else np.asarray(q, float)
    return quantile(a, levels / 100, axis, overwrite_input, method, keepdims, weights=weights)


# alpha and beta of the continuous definitions: Hyndman & Fan (1996), Sample quantiles in statistical packages.
_CONTINUOUS = {
    "linear": (1.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0), "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}  # fmt: skip


def _position(q: Any, n: int, method: str) -> tuple[Any, Any]:
    """(index of the element below the quantile, weight of the next element)."""
    if method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        at = q * (n - 1) if method == "linear" else n * q + (alpha + q * (1 - alpha - beta)) - 1
        at = np.clip(at, 0, n - 1)
        low = np.floor(at)
        share = at - low
    elif method in ("lower", "higher", "nearest", "midpoint"):
        at = q * (n - 1)
        low = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint, "midpoint": np.floor}[method](at)
        share = np.where(at > low, 0.5, 0.0) if method == "midpoint" else 0.0 * low
    else:
        raise recording_error(
            f"np.quantile with method={method!r} is not supported on recorded values",
            f"Use {', '.join(map(repr, _CONTINUOUS))}, 'lower', 'higher', 'nearest' or 'midpoint'.",
        )
    return low.astype(np.int64), share


# ── order statistics without NaN ──────────────────────────────────────────────────────────────────────────────
@implements(np.nanquantile)
def nanquantile(
    a: Any, q: Any, axis: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: Any = False,
    *, weights: Any = None,
) -> Array:  # fmt: skip
    """np.nanquantile: the elements after the numbers of a sorted array are NaN, and how many are is recorded"""
    if weights is not None:
        return quantile(a, q, axis, overwrite_input, method, keepdims, weights=weights)
    (x,) = lift(a)
    ordered, place, _ = _ordered(x, axis)
    front: Array = viewer(np.moveaxis)(ordered, place, 0)
    count: Array = np.sum(~np.isnan(front), axis=0)
    levels = q if isinstance(q, Recorded) else np.asarray(q, float)
    known = levels.value if isinstance(levels, Recorded) else levels
    if np.any(known < 0) or np.any(known > 1):
        raise ValueError("Quantiles must be in the range [0, 1]")
    found = [_nan_level(front, level, count, method) for level in np.reshape(levels, -1)]
    result: Array = np.stack(found) if np.ndim(levels) else found[0]
    result = reshape(result, (*np.shape(levels), *count.shape))
    return _with_dims(result, x, axis, keepdims is True, np.ndim(levels))


def _nan_level(front: Array, level: Any, count: Array, method: str) -> Array:
    low, share = _position(level, count, method)
    low = np.maximum(low, 0)[None]
    below = take_along_axis(front, low, 0)[0]
    above = take_along_axis(front, np.minimum(low + 1, np.maximum(count - 1, 0)), 0)[0]
    return below + (above - below) * share


@implements(np.nanpercentile)
def nanpercentile(a: Any, q: Any, *args: Any, **options: Any) -> Array:
    """np.nanpercentile"""
    return nanquantile(a, (q if isinstance(q, Recorded) else np.asarray(q, float)) / 100, *args, **options)


@implements(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Array:
    """np.nanmedian"""
    return nanquantile(a, 0.5, axis, keepdims=keepdims)


# ── results whose shape depends on values ─────────────────────────────────────────────────────────────────────
@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Array:
    """np.bincount; x gets a guard, because the length of the result depends on it"""
    values = path_value(x, recorder_of((x, weights)))
    if values.ndim != 1 or values.dtype.kind not in "iub" or (values.size and values.min() < 0):
        raise ValueError("'x' must be a one-dimensional array of non-negative integers")
    n = max(minlength, int(values.max()) + 1 if values.size else 0)
    (w,) = lift(np.ones(len(values), int) if weights is None else weights) if weights is not None else lift(x * 0 + 1)
    if w.shape != values.shape:
        raise ValueError("The weights and list don't have the same length.")
    index = constant(w, values.astype(np.int64))
    out = Recorded(w.recorder, w.recorder.emit("scatter_add", (w.ref, index.ref), (1,), (n,)))
    return out if weights is None or out.dtype == float else out.astype(float)
