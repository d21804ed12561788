"""Filters of scipy.signal and scipy.ndimage, and distances of scipy.spatial, on recorded values."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.functions import scipy_linalg
from fastad.recording.functions.norms import root
from fastad.recording.functions.registry import Array, axis_index
from fastad.recording.functions.scipy_functions import as_arrays, filtered, register
from fastad.recording.geometry import reshape
from fastad.recording.operands import is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.standins import when_imported


# ── scipy.signal ──────────────────────────────────────────────────────────────────────────────────────────────
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """scipy.signal.lfilter: Σ aₖ y[t - k] = Σ bₖ x[t - k], a banded triangular system for y; a, b and x may be
    recorded"""
    if zi is not None:
        raise recording_error("scipy.signal.lfilter with zi= is not supported on recorded values", "Leave it out.")
    b, a, x = (np.atleast_1d(v) * 1.0 for v in as_arrays(b, a, x))
    axis = axis_index(axis, x.ndim)
    last = np.moveaxis(x, axis, -1)
    rows = np.reshape(last, (-1, last.shape[-1]))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(rows, [(0, 0), (b.size - 1, 0)]), b.size, axis=1)
    found = windows @ (b[::-1] / a[0])
    if a.size > 1 and found.size:
        diagonals = np.broadcast_to((a / a[0])[:, None], (a.size, found.shape[1]))
        found = scipy_linalg.OF_LINALG["solve_banded"]((a.size - 1, 0), diagonals, found.T).T
    return np.moveaxis(np.reshape(found, last.shape), -1, axis)


# ── scipy.ndimage ─────────────────────────────────────────────────────────────────────────────────────────────
def _along(name: str, turned: bool) -> Callable[..., Any]:
    """correlate1d, convolve1d: those with weights along one axis."""
    of_image = filtered(f"scipy.ndimage.{name}", turned)

    def along(
        input: Any, weights: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
        origin: Any = 0,
    ) -> Any:  # fmt: skip
        x, w = as_arrays(input, weights)
        place = axis_index(axis, x.ndim)
        return of_image(x, reshape(w, [-1 if d == place else 1 for d in range(x.ndim)]), output, mode, cval, origin)

    return along


_correlate1d = _along("correlate1d", turned=False)


def _each_axis(x: Any, values: Any) -> Any:
    """The options of the axes: one for all, or one for each."""
    return [values] * x.ndim if np.ndim(values) == 0 else list(values)


def gaussian_filter(
    input: Any, sigma: Any, order: Any = 0, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    truncate: float = 4.0, *, radius: Any = None, axes: Any = None,
) -> Any:  # fmt: skip
    """scipy.ndimage.gaussian_filter, for plain sigma"""
    if np.any(np.asarray(order)) or axes is not None:
        raise recording_error(
            "scipy.ndimage.gaussian_filter with order= or axes= is not supported on recorded values", "Leave it out."
        )
    if is_recorded(sigma):
        raise recording_error(
            "scipy.ndimage.gaussian_filter with a recorded sigma is not supported: it says how many weights there are",
            "Make the weights, np.exp(-0.5 * (np.arange(-r, r + 1) / sigma) ** 2) over their sum, for correlate1d.",
        )
    (x,) = as_arrays(input)
    options = (_each_axis(x, value) for value in (sigma, radius, mode))
    for axis, (width, reach, edge) in enumerate(zip(*options, strict=True)):
        if width > 1e-15:
            reach = int(truncate * float(width) + 0.5) if reach is None else reach
            weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / float(width)) ** 2)
            x = _correlate1d(x, weights / weights.sum(), axis, output, edge, cval)
    return x


def gaussian_filter1d(
    input: Any, sigma: float, axis: int = -1, order: int = 0, output: Any = None, mode: Any = "reflect",
    cval: float = 0.0, truncate: float = 4.0, *, radius: Any = None,
) -> Any:  # fmt: skip
    """scipy.ndimage.gaussian_filter1d, for plain sigma"""
    (x,) = as_arrays(input)
    widths = [0.0] * x.ndim
    widths[axis] = sigma
    return gaussian_filter(x, widths, order, output, mode, cval, truncate, radius=radius)


def uniform_filter(
    input: Any, size: Any = 3, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0,
    *, axes: Any = None,
) -> Any:  # fmt: skip
    """scipy.ndimage.uniform_filter"""
    if axes is not None:
        raise recording_error(
            "scipy.ndimage.uniform_filter with axes= is not supported on recorded values", "Leave it out."
        )
    (x,) = as_arrays(input)
    for axis, (n, edge) in enumerate(zip(_each_axis(x, size), _each_axis(x, mode), strict=True)):
        if n > 1:
            x = _correlate1d(x, np.full(n, 1 / n), axis, output, edge, cval, origin)
    return x


# ── scipy.spatial.distance ────────────────────────────────────────────────────────────────────────────────────
def _euclidean(x: Array, y: Array) -> Array:
    return root(np.sum((x - y) ** 2, axis=-1))


def _cosine(x: Array, y: Array) -> Array:
    return 1 - np.sum(x * y, axis=-1) / root(np.sum(x * x, axis=-1) * np.sum(y * y, axis=-1))


_METRICS: dict[str, Callable[..., Any]] = {
    "euclidean": _euclidean, "cosine": _cosine,
    "sqeuclidean": lambda x, y: np.sum((x - y) ** 2, axis=-1),
    "cityblock": lambda x, y: np.sum(np.abs(x - y), axis=-1),
    "chebyshev": lambda x, y: np.max(np.abs(x - y), axis=-1),
}  # fmt: skip


def _metric(name: str, metric: Any, options: Any) -> Callable[..., Any]:
    if metric not in _METRICS or any(value is not None for value in options.values()):
        raise recording_error(
            f"scipy.spatial.distance.{name} with metric={metric!r} and {options or 'no options'} is not supported on "
            "recorded values",
            f"Use {', '.join(map(repr, _METRICS))}, or write the distance of x[:, None] and y[None].",
        )  # fmt: skip
    return _METRICS[metric]


def cdist(XA: Any, XB: Any, metric: Any = "euclidean", *, out: Any = None, **options: Any) -> Any:
    """scipy.spatial.distance.cdist; the derivative of a distance of zero is 0, as that of a norm"""
    between = _metric("cdist", metric, {"out": out, **options} if out is not None else options)
    x, y = as_arrays(XA, XB)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"XA and XB must be matrices with as many columns, not of shapes {x.shape} and {y.shape}")
    return between(x[:, None, :], y[None, :, :])


def pdist(X: Any, metric: Any = "euclidean", *, out: Any = None, **options: Any) -> Any:
    """scipy.spatial.distance.pdist"""
    between = _metric("pdist", metric, {"out": out, **options} if out is not None else options)
    (x,) = as_arrays(X)
    if x.ndim != 2:
        raise ValueError("A 2-dimensional array must be passed.")
    first, second = np.triu_indices(x.shape[0], 1)
    return between(x[first], x[second])


def squareform(X: Any, force: str = "no", checks: bool = True) -> Any:
    """scipy.spatial.distance.squareform"""
    (x,) = as_arrays(X)
    if x.ndim == 2:
        return x[np.triu_indices(x.shape[0], 1)]
    n = int(np.ceil(np.sqrt(2 * x.size)))
    if n * (n - 1) != 2 * x.size:
        raise ValueError(f"squareform takes n (n - 1) / 2 distances, as 1, 3, 6, 10, not {x.size}")
    numbers = np.zeros((n, n), int)
    numbers[np.triu_indices(n, 1)] = np.arange(x.size)
    return np.where(np.eye(n, dtype=bool), 0.0, x[numbers + numbers.T])


_OF_MODULES: dict[str, dict[str, Callable[..., Any]]] = {
    "scipy.signal": {"lfilter": lfilter},
    "scipy.ndimage": {
        "correlate1d": _correlate1d, "convolve1d": _along("convolve1d", turned=True),
        "gaussian_filter": gaussian_filter, "gaussian_filter1d": gaussian_filter1d, "uniform_filter": uniform_filter,
    },
    "scipy.spatial.distance": {"cdist": cdist, "pdist": pdist, "squareform": squareform},
}  # fmt: skip
for _module, _functions in _OF_MODULES.items():
    when_imported(_module, functools.partial(register, _module, _functions))
