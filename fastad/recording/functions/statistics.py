"""Means, variances, order statistics, correlations."""

import math
from typing import Any

import numpy as np

from fastad.recording.functions.reductions import NO_VALUE, axis_set, count_nonzero, sum_
from fastad.recording.functions.registry import constant, implements, lift
from fastad.recording.operands import is_recorded, reshape
from fastad.recording.recorded import Recorded


def _float(x: Recorded) -> Recorded:
    return x if x.dtype.kind == "f" else x.astype(float)  # type: ignore[attr-defined]


def _count(x: Recorded, axes: tuple[int, ...], keepdims: Any, where: Any) -> Any:
    if where is True or where is NO_VALUE:
        return math.prod(x.shape[d] for d in axes)
    mask = np.broadcast_to(where, x.shape)
    axis = axes if axes else None
    keep = bool(keepdims) and keepdims is not NO_VALUE
    return count_nonzero(mask, axis, keepdims=keep) if is_recorded(mask) else np.count_nonzero(mask, axis, keepdims=keep)


@implements(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False, where: Any = True) -> Recorded:
    """np.mean"""
    x = _float(lift(a)[0]) if dtype is None else lift(a)[0].astype(dtype)  # type: ignore[attr-defined]
    axes = axis_set(axis, x.ndim)
    return sum_(x, axes, None, keepdims, where=where) / _count(x, axes, keepdims, where)  # type: ignore[operator]


@implements(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False, *, where: Any = True,
    mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Recorded:  # fmt: skip
    """np.var"""
    x = _float(lift(a)[0]) if dtype is None else lift(a)[0].astype(dtype)  # type: ignore[attr-defined]
    ddof = ddof if correction is NO_VALUE else correction
    axes = axis_set(axis, x.ndim)
    center = np.mean(x, axis=axes, keepdims=True, where=where) if mean is NO_VALUE else mean  # type: ignore
    deviation = x - center
    count = _count(x, axes, keepdims, where) - ddof
    return sum_(deviation * deviation, axes, None, keepdims, where=where) / np.maximum(count, 0)  # type: ignore


@implements(np.std)
def std(a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any) -> Recorded:
    """np.std"""
    return np.sqrt(var(a, axis, dtype, ddof, keepdims, **options))  # type: ignore
