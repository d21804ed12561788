"""Distinct elements. How many there are depends on the values, so what decides it gets a guard."""

from typing import Any

import numpy as np

from fastad.recording.functions.registry import Array, axis_slice, implements, lift
from fastad.recording.geometry import reshape
from fastad.recording.operands import path_value
from fastad.recording.recorder import recording_error


@implements(np.unique)
def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: Any = None,
    *, equal_nan: bool = True, sorted: bool = True,
) -> Any:  # fmt: skip
    """np.unique: the first of equal elements, by a stable sort"""
    (x,) = lift(ar)
    if axis is not None and x.ndim != 1:
        raise recording_error("np.unique with axis= is not supported on recorded values", "Sort rows with np.lexsort.")
    flat = reshape(x, -1)
    order: Array = np.argsort(flat)
    ordered: Array = flat[order] if x.size else flat
    is_first = np.ones(x.size, bool)
    if x.size > 1:
        is_first[1:] = path_value(_differ(ordered, equal_nan), x.recorder)
    starts = np.flatnonzero(is_first)
    found = [ordered[starts]]
    if return_index:
        found.append(order[starts])
    if return_inverse:
        numbers: Array = lift(x, np.cumsum(is_first) - 1)[1]
        found.append(reshape(numbers[np.argsort(order)] if x.size else order, x.shape))
    if return_counts:
        found.append(np.diff(np.append(starts, x.size)))
    return found[0] if len(found) == 1 else tuple(found)


def _differ(x: Array, equal_nan: bool) -> Array:
    """Whether elements of a sorted array differ from those before."""
    before, after = axis_slice(x, 0, 0, -1), axis_slice(x, 0, 1)
    return (before != after) & ~(np.isnan(before) & np.isnan(after)) if equal_nan else before != after


@implements("unique_values")
def unique_values(x: Any) -> Array:
    """np.unique_values"""
    return unique(x, equal_nan=False)


@implements(np.union1d)
def union1d(ar1: Any, ar2: Any) -> Array:
    """np.union1d"""
    return unique(np.concatenate([np.ravel(x) for x in lift(ar1, ar2)]))


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Array:
    """np.trim_zeros of a vector"""
    (x,) = lift(filt)
    if x.ndim != 1:
        raise recording_error("np.trim_zeros of a matrix is not supported on recorded values", "Take x[a:b, c:d].")
    kept = np.flatnonzero(path_value(x != 0, x.recorder))
    first, last = (int(kept[0]), int(kept[-1]) + 1) if len(kept) else (x.size, x.size)
    sides = trim.lower()
    return x[first if "f" in sides else 0 : last if "b" in sides or not len(kept) else x.size]
