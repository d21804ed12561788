"""SciPy's interpolators at recorded points, and of recorded data (`splines`). Plain data is read when they are called.

All are piecewise polynomials. At a breakpoint the derivative is that of the piece to its right.
"""

import sys
from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np

from fastad.recording.functions import grids, splines
from fastad.recording.functions.registry import where_recorded
from fastad.recording.functions.splines import read
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.standins import stands_in_for_method


def register() -> None:
    """Have the methods of scipy.interpolate take recorded points."""
    interpolate = sys.modules["scipy.interpolate"]
    piecewise = next(kind for kind in interpolate.PPoly.__mro__ if "__call__" in vars(kind))  # of BPoly too
    single = next(kind for kind in interpolate.interp1d.__mro__ if "__call__" in vars(kind))
    for kind, recorded in ((piecewise, _piecewise), (interpolate.BSpline, _spline), (single, _single)):
        stands_in_for_method(kind, "__call__", _method(vars(kind)["__call__"], recorded))
    splines.register(interpolate, piecewise)
    grids.register(interpolate)
    fitted = interpolate.UnivariateSpline
    stands_in_for_method(fitted, "__call__", _method(vars(fitted)["__call__"], _fitted))


def splev(x: Any, tck: Any, der: int = 0, ext: int = 0) -> Any:
    """scipy.interpolate.splev"""
    interpolate = sys.modules["scipy.interpolate"]
    spline = tck if isinstance(tck, interpolate.BSpline) else interpolate.BSpline(*tck)
    if ext not in (0, "extrapolate"):
        raise recording_error(f"a spline with ext={ext!r} at recorded points is not supported", "Use ext=0.")
    return spline(x, der)


def _method(original: Callable[..., Any], recorded: Callable[..., Any]) -> Callable[..., Any]:
    def called(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        found = recorded(self, as_recorded(x) if is_recorded(x) else np.asarray(x, float), *args, **kwargs)
        return original(self, x, *args, **kwargs) if found is NotImplemented else found

    return where_recorded(original, called, data_of)


def data_of(interpolator: Any) -> Any:
    """What an interpolator computes from, where that may be recorded."""
    names = ("_c", "c", "_y", "_eval_args")
    return next((getattr(interpolator, name) for name in names if hasattr(interpolator, name)), None)


# ── piecewise polynomials ─────────────────────────────────────────────────────────────────────────────────────
def _piecewise(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """PPoly and what inherits from it: CubicSpline, PchipInterpolator, Akima1DInterpolator, …"""
    if not isinstance(self, sys.modules["scipy.interpolate"].PPoly) or _is_complex(read(self, "c")):
        return NotImplemented  # the original says that it cannot be recorded
    own = self if not nu else self.derivative(nu) if nu > 0 else self.antiderivative(-nu)
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    return _moved(_evaluated(read(own, "c"), np.asarray(own.x), x, extrapolate), x.ndim, self.axis)


def _spline(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """BSpline: its Taylor polynomials at the knots of the base interval"""
    c = read(self, "c")
    if _is_complex(c):
        return NotImplemented
    kind = sys.modules["scipy.interpolate"].BSpline
    knots = self.t[self.k : len(self.t) - self.k]
    degrees = range(max(self.k - nu, 0), -1, -1)
    taylor = lambda own: np.stack([own(knots[:-1], nu + d) / factorial(d) for d in degrees])
    if is_recorded(c):  # piece i is a sum of the k + 1 basis functions from i on
        pieces = np.arange(len(knots) - 1)
        each = taylor(kind.construct_fast(self.t, np.eye(len(self.t) - self.k - 1), self.k, True, 0))
        flat = np.reshape(c, (c.shape[0], -1))
        own: Any = sum(each[:, pieces, pieces + j, None] * flat[pieces + j] for j in range(self.k + 1))
        coefficients = np.reshape(own, own.shape[:2] + c.shape[1:])
    else:
        coefficients = taylor(kind.construct_fast(self.t, c, self.k, True, 0))
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    return _moved(_evaluated(coefficients, knots, x, extrapolate), x.ndim, self.axis)


def _fitted(self: Any, x: Any, nu: int = 0, ext: Any = None) -> Any:
    """UnivariateSpline, InterpolatedUnivariateSpline, LSQUnivariateSpline"""
    return splev(x, self._eval_args, nu, self.ext if ext is None else ext)


def _evaluated(coefficients: Any, breaks: Any, x: Any, extrapolate: Any) -> Any:
    """Σ coefficients[d, i] (x − breaks[i])ᵏ⁻ᵈ on the pieces i; of shape x.shape + coefficients.shape[2:]."""
    if extrapolate == "periodic":
        x, extrapolate = breaks[0] + (x - breaks[0]) % (breaks[-1] - breaks[0]), False
    sign = 1.0 if breaks[-1] >= breaks[0] else -1.0
    i = np.clip(np.searchsorted(sign * breaks, sign * x, "right") - 1, 0, len(breaks) - 2)
    own = _rows(np.moveaxis(_floats(coefficients), 1, 0), i)
    step = np.reshape(x - _rows(breaks, i), x.shape + (1,) * (coefficients.ndim - 2))
    out = own[(slice(None),) * x.ndim + (0,)]
    for d in range(1, len(coefficients)):
        out = out * step + own[(slice(None),) * x.ndim + (d,)]
    if extrapolate:
        return out
    inside = (sign * x >= sign * breaks[0]) & (sign * x <= sign * breaks[-1])
    return out * np.reshape(np.where(inside, 1.0, np.nan), step.shape)


def _floats(values: Any) -> Any:
    return values if is_recorded(values) else np.asarray(values, float)


def _is_complex(values: Any) -> bool:
    return bool(np.dtype(values.dtype).kind == "c")


def _rows(values: Any, i: Any) -> Any:
    """Rows of an array at indices, one of which is recorded."""
    if is_recorded(values) or not is_recorded(i):
        return values[i]
    return np.asarray(np.ascontiguousarray(values), like=i)[i]


def _moved(found: Any, points: int, axis: int) -> Any:
    """The axes of the points in the place of the axis along which the data was interpolated."""
    if not axis:
        return found
    order = list(range(found.ndim))
    return np.transpose(found, order[points : points + axis] + order[:points] + order[points + axis :])


# ── interp1d ──────────────────────────────────────────────────────────────────────────────────────────────────
def _single(self: Any, x: Any) -> Any:
    """interp1d of every kind"""
    if not isinstance(self, sys.modules["scipy.interpolate"].interp1d) or _is_complex(self._y):
        return NotImplemented
    at = np.reshape(x, (x.size,))
    found = _inside(self, at)
    if not self._extrapolate:
        below, above = self._check_bounds(at)  # which raises SciPy's error
        low, high = np.asarray(self._fill_value_below), np.asarray(self._fill_value_above)
        found = np.where(below[:, None], low, np.where(above[:, None], high, found))
    return self._finish_y(found, x.shape)


def _inside(self: Any, at: Any) -> Any:
    """The values between the first and the last point, of shape (len(at), columns)."""
    if hasattr(self, "_spline"):
        return _spline(self._spline, at)
    knots, values, n = np.asarray(self.x, float), _floats(self._y), len(self.x)
    if hasattr(self, "x_bds"):
        return _rows(values, np.clip(np.searchsorted(self.x_bds, at, self._side), 0, n - 1))
    if hasattr(self, "_ind"):
        i = np.clip(np.searchsorted(self._x_shift, at, self._side), 1 - self._ind, n - self._ind)
        return _rows(values, i + self._ind - 1)
    slopes = np.diff(values, axis=0) / np.diff(knots)[:, None]
    return _evaluated(np.stack([slopes, values[:-1]]), knots, at, True)
