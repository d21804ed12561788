"""RegularGridInterpolator and interpn of scipy.interpolate, with recorded points and recorded values."""

import itertools
from typing import Any

import numpy as np

from fastad.recording.functions.registry import where_recorded
from fastad.recording.functions.splines import put, read
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.source import at_line
from fastad.recording.standins import stands_in_for_method


def register(interpolate: Any) -> None:
    """Have RegularGridInterpolator take recorded points and values."""
    kind = interpolate.RegularGridInterpolator
    make, call = vars(kind)["__init__"], vars(kind)["__call__"]

    def made(self: Any, points: Any, values: Any, *args: Any, **options: Any) -> None:
        if is_recorded(points):
            raise recording_error("a grid of recorded points is not supported", "Make it outside of the function.")
        own = as_recorded(values)
        make(self, points, np.zeros(own.shape), *args, **options)  # which checks the arguments
        put(self, "values", np.flip(own, self._descending_dimensions) if self._descending_dimensions else own)

    def called(self: Any, xi: Any, method: Any = None, **options: Any) -> Any:
        return _evaluated(self, xi, self.method if method is None else method, **options)

    stands_in_for_method(kind, "__init__", where_recorded(make, made))
    stands_in_for_method(kind, "__call__", where_recorded(call, called, lambda self: read(self, "values")))


def interpn(interpolate: Any) -> Any:
    """scipy.interpolate.interpn"""

    def at(points: Any, values: Any, xi: Any, method: str = "linear", bounds_error: bool = True,
           fill_value: Any = np.nan) -> Any:  # fmt: skip
        _require_known(method)
        grid = interpolate.RegularGridInterpolator(
            points, values, method=method, bounds_error=bounds_error, fill_value=fill_value
        )
        return grid(xi)

    return at


def _require_known(method: str) -> None:
    if method not in ("linear", "nearest"):
        raise recording_error(
            f"interpolation on a grid with method={method!r} is not supported on recorded values",
            "Use 'linear' or 'nearest', or a spline along each axis, by scipy.interpolate.make_interp_spline.",
        )


def _evaluated(self: Any, xi: Any, method: str, nu: Any = None) -> Any:
    _require_known(method)
    if nu is not None:
        raise recording_error("nu= is not supported on recorded values", "Use fad.grad of the interpolator.")
    points, shape = _points(xi, len(read(self, "grid")))
    cells, parts, outside = [], [], False
    for d, own in enumerate(read(self, "grid")):
        grid, x = np.asarray(own, float), points[:, d]
        beyond = (x < grid[0]) | (x > grid[-1])
        if self.bounds_error and np.any(beyond):
            raise ValueError(f"One of the requested xi is out of bounds in dimension {d}{at_line()}")
        outside = outside | beyond
        i = np.clip(np.searchsorted(grid, x, "right") - 1, 0, max(len(grid) - 2, 0))
        low = _at(grid, i)
        step = _at(np.append(np.diff(grid), 1.0), i)
        cells.append(i)
        parts.append((x - low) / step)
    values = read(self, "values")
    values = values if is_recorded(values) else np.asarray(values, float)
    found = (_nearest if method == "nearest" else on_grid)(values, cells, parts)
    if self.fill_value is not None and not self.bounds_error:
        found = np.where(np.reshape(outside, (-1,) + (1,) * (found.ndim - 1)), self.fill_value, found)
    return np.reshape(found, shape[:-1] + values.shape[len(cells) :])


def _points(xi: Any, ndim: int) -> tuple[Any, tuple[int, ...]]:
    """The points as rows, and the shape in which they were given, whose last axis is that of the coordinates."""
    if isinstance(xi, tuple):
        xi = np.stack(np.broadcast_arrays(*[as_recorded(x) if is_recorded(x) else np.asarray(x) for x in xi]), axis=-1)
    xi = as_recorded(xi) if is_recorded(xi) else np.asarray(xi, float)
    if xi.ndim == 1 and ndim == 1:
        xi = xi[:, None]
    if not xi.ndim or xi.shape[-1] != ndim:
        raise ValueError(f"The requested sample points xi have shape {xi.shape}, but this interpolator has dimension "
                         f"{ndim}{at_line()}")  # fmt: skip
    return np.reshape(xi, (-1, ndim)), (1, *xi.shape) if xi.ndim == 1 else xi.shape


def _at(values: Any, i: Any) -> Any:
    return values[i] if is_recorded(values) or not is_recorded(i) else np.asarray(values, like=i)[i]


def _corner(values: Any, cells: Any) -> Any:
    """The values at these indices, of which there is one for each axis of the grid."""
    lead = values.shape[: len(cells)]
    place = cells[0]
    for n, i in zip(lead[1:], cells[1:], strict=True):
        place = place * n + i
    return _at(np.reshape(values, (-1, *values.shape[len(cells) :])), place)


def on_grid(values: Any, cells: Any, parts: Any) -> Any:
    """Multilinear interpolation at `parts` of the way from one index to the next, along each of the first axes. Indices
    beyond the ends are those of the ends."""
    total: Any = 0.0
    for corner in itertools.product((0, 1), repeat=len(cells)):
        weight: Any = 1.0
        for d, one in enumerate(corner):
            weight = weight * (parts[d] if one else 1.0 - parts[d])
        here = [np.clip(i + one, 0, n - 1) for i, one, n in zip(cells, corner, values.shape[: len(cells)], strict=True)]
        own = _corner(values, here)
        total = total + np.reshape(weight, np.shape(weight) + (1,) * (np.ndim(own) - np.ndim(weight))) * own
    return total


def _nearest(values: Any, cells: Any, parts: Any) -> Any:
    return _corner(values, [i + np.where(t <= 0.5, 0, 1) for i, t in zip(cells, parts, strict=True)])
