"""Filters and lookups of scipy.ndimage, and distances of scipy.spatial, on recorded values."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.functions.norms import root
from fastad.recording.functions.registry import Array, axis_index
from fastad.recording.functions.scipy_functions import as_arrays, filtered, register
from fastad.recording.geometry import reshape
from fastad.recording.operands import is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.standins import when_imported


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


_correlate1d, convolve1d = _along("correlate1d", turned=False), _along("convolve1d", turned=True)


def _each_axis(x: Any, values: Any) -> Any:
    """The options of the axes: one for all, or one for each."""
    return [values] * x.ndim if np.ndim(values) == 0 else list(values)


def gaussian_filter(
    input: Any, sigma: Any, order: Any = 0, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    truncate: float = 4.0, *, radius: Any = None, axes: Any = None,
) -> Any:  # fmt: skip
    """scipy.ndimage.gaussian_filter, for plain sigma"""
    if axes is not None:
        raise recording_error(
            "scipy.ndimage.gaussian_filter with axes= is not supported on recorded values",
            "Give a sigma for each axis, 0 where nothing is filtered.",
        )
    if is_recorded(sigma):
        raise recording_error(
            "scipy.ndimage.gaussian_filter with a recorded sigma is not supported: it says how many weights there are",
            "Make the weights, np.exp(-0.5 * (np.arange(-r, r + 1) / sigma) ** 2) over their sum, for correlate1d.",
        )
    (x,) = as_arrays(input)
    options = (_each_axis(x, value) for value in (sigma, order, radius, mode))
    for axis, (width, degree, reach, edge) in enumerate(zip(*options, strict=True)):
        if width > 1e-15:
            reach = int(truncate * float(width) + 0.5) if reach is None else reach
            impulse = np.eye(1, 2 * reach + 1, reach)[0]
            own = sys.modules["scipy.ndimage"].gaussian_filter1d
            weights = own(impulse, float(width), order=degree, mode="constant", radius=reach)
            x = _correlate1d(x, weights[::-1], axis, output, edge, cval)
    return x


def gaussian_filter1d(
    input: Any, sigma: float, axis: int = -1, order: int = 0, output: Any = None, mode: Any = "reflect",
    cval: float = 0.0, truncate: float = 4.0, *, radius: Any = None,
) -> Any:  # fmt: skip
    """scipy.ndimage.gaussian_filter1d, for plain sigma"""
    (x,) = as_arrays(input)
    widths = [0.0] * x.ndim
    widths[axis] = sigma
    orders = [0] * x.ndim
    orders[axis] = order
    return gaussian_filter(x, widths, orders, output, mode, cval, truncate, radius=radius)


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


def _edges(across: list[float]) -> Callable[..., Any]:
    """sobel and prewitt: differences along an axis, smoothed along the others."""

    def of_image(input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0) -> Any:
        (x,) = as_arrays(input)
        place = axis_index(axis, x.ndim)
        for d, edge in enumerate(_each_axis(x, mode)):
            x = _correlate1d(x, [-1.0, 0.0, 1.0] if d == place else across, d, output, edge, cval)
        return x

    return of_image


def laplace(input: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0) -> Any:
    """scipy.ndimage.laplace"""
    (x,) = as_arrays(input)
    edges = _each_axis(x, mode)
    return sum(_correlate1d(x, [1.0, -2.0, 1.0], d, output, edge, cval) for d, edge in enumerate(edges))


def _derivatives(x: Any, sigma: Any, order: int, *rest: Any, **options: Any) -> list[Any]:
    """The Gaussian derivatives of this order along each axis."""
    return [gaussian_filter(x, sigma, list(order * (np.arange(x.ndim) == d)), *rest, **options) for d in range(x.ndim)]


def gaussian_laplace(input: Any, sigma: Any, *rest: Any, **options: Any) -> Any:
    """scipy.ndimage.gaussian_laplace"""
    return sum(_derivatives(as_arrays(input)[0], sigma, 2, *rest, **options))


def gaussian_gradient_magnitude(input: Any, sigma: Any, *rest: Any, **options: Any) -> Any:
    """scipy.ndimage.gaussian_gradient_magnitude; its derivative is 0 where it is 0, as that of a norm"""
    return root(sum(d * d for d in _derivatives(as_arrays(input)[0], sigma, 1, *rest, **options)))


_FOLDED: dict[str, Callable[..., Any]] = {
    "nearest": lambda x, n: np.clip(x, 0.0, n - 1.0),
    "mirror": lambda x, n: np.abs((x + (n - 1.0)) % max(2.0 * (n - 1.0), 1.0) - (n - 1.0)),
    "reflect": lambda x, n: n - 0.5 - np.abs((x + 0.5) % (2.0 * n) - n),
    "constant": lambda x, n: np.clip(x, 0.0, n - 1.0),
}


def map_coordinates(
    input: Any, coordinates: Any, output: Any = None, order: int = 3, mode: str = "constant", cval: float = 0.0,
    prefilter: bool = True,
) -> Any:  # fmt: skip
    """scipy.ndimage.map_coordinates between neighbours; image and coordinates may be recorded"""
    if order not in (0, 1) or output is not None or mode not in _FOLDED:
        raise recording_error(
            f"scipy.ndimage.map_coordinates with order={order} and mode={mode!r} is not supported on recorded values",
            f"Use order=1 (or 0), without output=, and one of the modes {', '.join(map(repr, _FOLDED))}.",
        )
    from fastad.recording.functions.grids import on_grid  # which few want

    image = input if is_recorded(input) else np.asarray(input, float)
    points = as_arrays(coordinates)[0] if is_recorded(coordinates) else np.asarray(coordinates, float)
    cells, parts, outside = [], [], False
    for n, x in zip(image.shape, points, strict=True):
        at = _FOLDED[mode](x, n)
        i = np.floor(at + 0.5 if order == 0 else at)
        cells.append(i.astype(int))
        parts.append(0.0 * at if order == 0 else at - i)
        outside = outside | (x < 0.0) | (x > n - 1.0)
    found = on_grid(image, cells, parts)
    return np.where(outside, cval, found) if mode == "constant" else found


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


def _of_vectors(name: str) -> Callable[..., Any]:
    def between(u: Any, v: Any, w: Any = None) -> Any:
        if w is not None:
            raise recording_error(
                f"scipy.spatial.distance.{name} with weights is not supported on recorded values",
                "Write it with NumPy's functions, as np.sqrt(np.sum(w * (u - v) ** 2)).",
            )
        return _METRICS[name](*as_arrays(u, v))

    return between


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
    "scipy.ndimage": {
        "correlate1d": _correlate1d, "convolve1d": convolve1d,
        "gaussian_filter": gaussian_filter, "gaussian_filter1d": gaussian_filter1d, "uniform_filter": uniform_filter,
        "sobel": _edges([1.0, 2.0, 1.0]), "prewitt": _edges([1.0, 1.0, 1.0]), "laplace": laplace,
        "gaussian_laplace": gaussian_laplace, "gaussian_gradient_magnitude": gaussian_gradient_magnitude,
        "map_coordinates": map_coordinates,
    },
    "scipy.spatial.distance": {"cdist": cdist, "pdist": pdist, "squareform": squareform,
                               **{name: _of_vectors(name) for name in _METRICS}},
}  # fmt: skip
for _module, _functions in _OF_MODULES.items():
    when_imported(_module, functools.partial(register, _module, _functions))
