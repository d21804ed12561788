"""Means, variances, order statistics, correlations."""

import math
from typing import Any

import numpy as np

from fastad.recording.functions.norms import root
from fastad.recording.functions.reductions import NO_VALUE, axis_set, count_nonzero, sum_
from fastad.recording.functions.registry import Array, constant, implements, lift
from fastad.recording.geometry import reshape
from fastad.recording.operands import is_recorded, path_value, recorder_of


def _float(x: Array) -> Array:
    return x if x.dtype.kind == "f" else x.astype(float)


def _count(x: Array, axes: tuple[int, ...], keepdims: Any, where: Any) -> Any:
    if where is True or where is NO_VALUE:
        return math.prod(x.shape[d] for d in axes)
    mask = np.broadcast_to(where, x.shape)
    axis = axes if axes else None
    keep = bool(keepdims) and keepdims is not NO_VALUE
    return (
        count_nonzero(mask, axis, keepdims=keep) if is_recorded(mask) else np.count_nonzero(mask, axis, keepdims=keep)
    )


@implements(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False, where: Any = True) -> Array:
    """np.mean"""
    x = _float(lift(a)[0]) if dtype is None else lift(a)[0].astype(dtype)
    axes = axis_set(axis, x.ndim)
    return sum_(x, axes, None, keepdims, where=where) / _count(x, axes, keepdims, where)


@implements(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False, *, where: Any = True,
    mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Array:  # fmt: skip
    """np.var"""
    x = _float(lift(a)[0]) if dtype is None else lift(a)[0].astype(dtype)
    ddof = ddof if correction is NO_VALUE else correction
    axes = axis_set(axis, x.ndim)
    center = np.mean(x, axis=axes, keepdims=True, where=where) if mean is NO_VALUE else mean
    deviation = x - center
    count = _count(x, axes, keepdims, where) - ddof
    count = np.maximum(count, 0) if np.ndim(count) or is_recorded(count) else max(count, 0)
    return sum_(deviation * deviation, axes, None, keepdims, where=where) / count


@implements(np.std)
def std(a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any) -> Array:
    """np.std"""
    return root(var(a, axis, dtype, ddof, keepdims, **options))


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    """np.average"""
    x = _float(lift(a, *([] if weights is None else [weights]))[0])
    if weights is None:
        axes = axis_set(axis, x.ndim)
        out = mean(x, axis, keepdims=keepdims)
        total: Any = float(math.prod(x.shape[d] for d in axes))
    else:
        w = _weights(x, weights, axis)
        total = np.sum(w, axis=axis, keepdims=keepdims is True)
        out = np.sum(x * w, axis=axis, keepdims=keepdims is True) / total
    if not returned:
        return out
    return out, np.broadcast_to(total, out.shape).copy() if np.ndim(total) or is_recorded(total) else constant(
        x, np.full(out.shape, total)
    )


def _weights(x: Array, weights: Any, axis: Any) -> Any:
    if np.shape(weights) == x.shape:
        return weights
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = axis_set(axis, x.ndim)
    if np.shape(weights) != tuple(x.shape[d] for d in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    full = np.reshape(weights, tuple(x.shape[d] if d in axes else 1 for d in range(x.ndim)))
    return np.broadcast_to(full, x.shape)


@implements(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """np.cov"""
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    x = _observations(lift(m)[0] if y is None else lift(m, y)[0], rowvar)
    if y is not None:
        x = np.concatenate([x, _observations(lift(m, y)[1], rowvar)], axis=0)
    fweights, aweights = (np.asarray(w) if isinstance(w, list | tuple) else w for w in (fweights, aweights))
    weights = fweights
    if aweights is not None:
        weights = aweights if weights is None else fweights * aweights
    ddof = (0 if bias else 1) if ddof is None else ddof
    if weights is None:
        center, total, factor = np.mean(x, axis=1, keepdims=True), None, x.shape[1] - ddof
    else:
        total = np.sum(weights)
        center = np.sum(x * weights, axis=1, keepdims=True) / total
        share = np.sum(weights * aweights) if aweights is not None else total
        factor = total - ddof * share / total if aweights is not None else total - ddof
    deviation = x - center
    other = deviation if weights is None else deviation * weights
    out = np.matmul(deviation, np.transpose(other)) / (np.maximum(factor, 0) if not is_recorded(factor) else factor)
    return np.squeeze(out)


def _observations(x: Array, rowvar: bool) -> Array:
    if x.ndim > 2:
        raise ValueError("m has more than 2 dimensions")
    x = _float(x)
    if x.ndim < 2:
        return reshape(x, (1, x.size))
    return x if rowvar or x.shape[0] == 1 else x.T


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """np.corrcoef"""
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    deviation = np.sqrt(np.diagonal(c))
    return np.clip(c / deviation[:, None] / deviation[None, :], -1, 1)


# ── the same without NaN elements ─────────────────────────────────────────────────────────────────────────────
def _filled(a: Any, value: Any, where: Any = True) -> tuple[Array, Any]:
    (x,) = lift(a)
    missing = np.isnan(x) if where is True or where is NO_VALUE else np.isnan(x) | ~np.asarray(where, like=x)
    return np.where(missing, value, x), missing


def _nan_form(function: Any, neutral: Any) -> Any:
    def implementation(a: Any, *args: Any, **kwargs: Any) -> Any:
        return function(_filled(a, neutral)[0], *args, **kwargs)

    return implementation


for _numpy, _plain, _neutral in (
    (np.nansum, np.sum, 0.0), (np.nanprod, np.prod, 1.0), (np.nancumsum, np.cumsum, 0.0),
    (np.nancumprod, np.cumprod, 1.0), (np.nanargmax, np.argmax, -math.inf), (np.nanargmin, np.argmin, math.inf),
):  # fmt: skip
    implements(_numpy)(_nan_form(_plain, _neutral))


def _nan_extremum(function: Any, neutral: float) -> Any:
    def implementation(a: Any, axis: Any = None, keepdims: Any = False, **options: Any) -> Any:
        x, missing = _filled(a, neutral)
        keep = keepdims is True
        found = function(x, axis=axis, keepdims=keep, **options)
        return np.where(np.all(missing, axis=axis, keepdims=keep), np.nan, found)

    return implementation


implements(np.nanmax)(_nan_extremum(np.max, -math.inf))
implements(np.nanmin)(_nan_extremum(np.min, math.inf))


@implements(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    """np.nanmean"""
    x, missing = _filled(a, 0.0, where)
    keep = keepdims is True
    return np.sum(x, axis=axis, dtype=dtype, keepdims=keep) / np.sum(~missing, axis=axis, keepdims=keep)


@implements(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False, *, where: Any = True,
    mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.nanvar"""
    keep, ddof = keepdims is True, ddof if correction is NO_VALUE else correction
    x, missing = _filled(a, 0.0, where)
    center = nanmean(a, axis, dtype, True, where=where) if mean is NO_VALUE else mean
    deviation = np.where(missing, 0.0, x - center)
    count = np.sum(~missing, axis=axis, keepdims=keep) - ddof
    return np.sum(deviation * deviation, axis=axis, keepdims=keep) / np.where(count > 0, count, np.nan)


@implements(np.nanstd)
def nanstd(a: Any, *args: Any, **kwargs: Any) -> Any:
    """np.nanstd"""
    return root(nanvar(a, *args, **kwargs))


def _values_of(x: Any, recorder: Any) -> Any:
    """The values of what a path depends on, in the same tuples and lists."""
    if type(x) in (list, tuple):
        return type(x)(_values_of(y, recorder) for y in x)
    return path_value(x, recorder) if is_recorded(x) else x


@implements(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """np.histogram: counts have no derivative, sums of weights have that of the weights; what decides which bin an
    element is in gets a guard"""
    recorder = recorder_of((a, bins, range, weights))
    values, (bins, range) = np.ravel(path_value(a, recorder)), _values_of((bins, range), recorder)
    edges = np.histogram_bin_edges(values, bins, range)
    inside = (values >= edges[0]) & (values <= edges[-1])
    numbers = np.clip(np.searchsorted(edges, values[inside], "right") - 1, 0, len(edges) - 2)
    if weights is None:
        found = np.bincount(numbers, minlength=len(edges) - 1)
    else:
        found = np.bincount(numbers, weights=np.ravel(lift(weights)[0])[inside], minlength=len(edges) - 1)
    return (found / np.diff(edges) / np.sum(found) if density else found), edges


@implements(np.histogramdd)
def histogramdd(sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """np.histogramdd, as np.histogram: sums of weights have the derivative of the weights"""
    recorder = recorder_of((sample, bins, range, weights))
    points, bins, range = _values_of((sample, bins, range), recorder)
    points = np.asarray(points) if isinstance(points, np.ndarray) else np.stack([np.asarray(x) for x in points], -1)
    edges = np.histogramdd(points, bins, range)[1]
    inside = np.ones(len(points), bool)
    numbers = np.zeros(len(points), int)
    for values, of in zip(points.T, edges, strict=True):
        inside &= (values >= of[0]) & (values <= of[-1])
        own = np.searchsorted(of, values, "right") - 1
        numbers = numbers * (len(of) - 1) + np.clip(own, 0, len(of) - 2)
    shape = tuple(len(of) - 1 for of in edges)
    w = np.ones(len(points)) if weights is None else np.ravel(lift(weights)[0])
    counts: Array = np.bincount(numbers[inside], weights=w[inside], minlength=math.prod(shape))
    found = np.reshape(counts, shape)
    return (found / math.prod(np.ix_(*map(np.diff, edges))) / np.sum(found) if density else found), edges


@implements(np.histogram2d)
def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    """np.histogram2d"""
    recorder = recorder_of((x, y, bins, range, weights))
    bins = [bins, bins] if np.ndim(bins) == 1 and len(bins) not in (1, 2) else bins
    points = [path_value(x, recorder), path_value(y, recorder)]
    found, (first, second) = histogramdd(points, bins, range, density, weights)
    return found, first, second
