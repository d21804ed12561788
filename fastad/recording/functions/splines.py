"""Interpolators of scipy.interpolate whose data is recorded.

SciPy's object is made of zeros in the place of the data, so that SciPy checks the arguments; then its coefficients are
replaced. Those of a spline are linear in the data. The formulas for slopes are those of SciPy: Fritsch & Butland (1984)
for PchipInterpolator, Akima (1970) for Akima1DInterpolator.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.functions import scipy_linalg
from fastad.recording.functions.registry import where_recorded
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.source import at_line
from fastad.recording.standins import stands_in_for_method

_FIX = "Make the others outside of the function, or use np.interp, whose points may be recorded."


def register(interpolate: Any, piecewise: type) -> None:
    """Have the classes of scipy.interpolate take recorded data."""
    for name, slopes in (
        ("CubicSpline", _cubic), ("PchipInterpolator", _pchip), ("Akima1DInterpolator", _akima),
        ("CubicHermiteSpline", _hermite),
    ):  # fmt: skip
        kind = getattr(interpolate, name)
        stands_in_for_method(kind, "__init__", _of_slopes(kind, vars(kind)["__init__"], slopes))
    base = next(kind for kind in interpolate.PPoly.__mro__ if "__init__" in vars(kind))
    stands_in_for_method(base, "__init__", _of_pieces(vars(base)["__init__"]))
    stands_in_for_method(interpolate.BSpline, "__init__", _of_basis(vars(interpolate.BSpline)["__init__"]))
    single = interpolate.interp1d
    stands_in_for_method(single, "__init__", _of_values(interpolate, vars(single)["__init__"]))
    kind = interpolate.InterpolatedUnivariateSpline
    stands_in_for_method(kind, "__init__", _of_fit(interpolate, vars(kind)["__init__"]))
    for name, own in (("derivative", _derivative), ("antiderivative", _antiderivative), ("integrate", _integral)):
        original = vars(interpolate.PPoly)[name]
        stands_in_for_method(interpolate.PPoly, name, where_recorded(original, own, lambda self: read(self, "c")))


def make_interp_spline(interpolate: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """scipy.interpolate.make_interp_spline of recorded values: their coefficients are a matrix times these."""

    def made(x: Any, y: Any, k: int = 3, t: Any = None, bc_type: Any = None, axis: int = 0, **options: Any) -> Any:
        _require_plain("make_interp_spline", x, t)
        if bc_type not in (None, "natural", "clamped", "not-a-knot"):
            raise recording_error(
                f"scipy.interpolate.make_interp_spline of recorded values with bc_type={bc_type!r} is not supported",
                "Use 'natural', 'clamped' or 'not-a-knot', or CubicSpline.",
            )
        y = as_recorded(y)
        axis = axis % y.ndim
        unit = original(x, np.eye(y.shape[axis]), k, t, bc_type, **options)
        own = np.tensordot(unit.c, np.moveaxis(y, axis, 0), axes=1)
        found = interpolate.BSpline.construct_fast(unit.t, np.zeros(own.shape), unit.k, unit.extrapolate, axis)
        return put(found, "c", own)

    return made


def splrep(interpolate: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """scipy.interpolate.splrep of recorded values, through all points"""

    def fitted(x: Any, y: Any, w: Any = None, xb: Any = None, xe: Any = None, k: int = 3, task: int = 0, s: Any = None,
               t: Any = None, **options: Any) -> Any:  # fmt: skip
        _require_plain("splrep", x, t)
        given = (w, xb, xe, t, *(value or None for value in (task, s, *options.values())))
        if any(value is not None for value in given):
            raise _smoothing("splrep")
        own = make_interp_spline(interpolate, interpolate.make_interp_spline)(x, y, k)
        return own.t, np.concatenate([read(own, "c"), np.zeros(k + 1)]), k

    return fitted


def _smoothing(name: str) -> Exception:
    return recording_error(
        f"scipy.interpolate.{name} of recorded values with knots that depend on them is not supported",
        "Interpolate them, by make_interp_spline or InterpolatedUnivariateSpline, or fit a spline of given knots, by "
        "np.linalg.lstsq of BSpline.design_matrix(x, t, k).toarray(): it is linear in the data.",
    )


def _require_plain(name: str, *points: Any) -> None:
    if is_recorded(points):
        raise recording_error(f"scipy.interpolate.{name} takes recorded data, but no recorded points or options", _FIX)


# Newer versions of SciPy have properties, which make plain arrays, for what older ones have as attributes.
def read(interpolator: Any, name: str) -> Any:
    """What an interpolator computes from."""
    return getattr(interpolator, f"_{name}" if hasattr(interpolator, f"_{name}") else name)


def put(interpolator: Any, name: str, value: Any) -> Any:
    """The interpolator, which computes from this value from now on."""
    setattr(interpolator, f"_{name}" if hasattr(interpolator, f"_{name}") else name, value)
    return interpolator


# ── what takes the place of `__init__` ────────────────────────────────────────────────────────────────────────
def _of_slopes(kind: type, original: Callable[..., Any], slopes: Callable[..., Any]) -> Callable[..., Any]:
    """Of a piecewise cubic polynomial with given values and slopes."""

    def made(self: Any, x: Any, y: Any, *args: Any, **options: Any) -> None:
        _require_plain(kind.__name__, x)
        plain = lambda value: np.zeros(np.shape(value)) if is_recorded(value) else value
        original(self, x, plain(y), *map(plain, args), **{name: plain(value) for name, value in options.items()})
        x = np.asarray(x, float)
        data: Any = as_recorded(y)
        values = np.moveaxis(data, self.axis, 0)
        flat = np.reshape(values, (values.shape[0], -1))
        found = slopes(self, x, flat, *args, **options)
        own = _cubics(np.diff(x)[:, None], flat, found)
        put(self, "c", np.reshape(own, (4, len(x) - 1, *values.shape[1:])))

    return where_recorded(original, made)


def _of_pieces(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of PPoly and BPoly."""

    def made(self: Any, c: Any, x: Any, *args: Any, **options: Any) -> None:
        _require_plain(type(self).__name__, x, args)
        c = as_recorded(c)
        original(self, np.zeros(c.shape), x, *args, **options)
        put(self, "c", np.moveaxis(c, (self.axis, self.axis + 1), (0, 1)))

    return where_recorded(original, made)


def _of_basis(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of BSpline."""

    def made(self: Any, t: Any, c: Any, *args: Any, **options: Any) -> None:
        _require_plain(type(self).__name__, t, args)
        c = as_recorded(c)
        original(self, t, np.zeros(c.shape), *args, **options)
        put(self, "c", np.moveaxis(c, self.axis, 0))

    return where_recorded(original, made)


def _of_values(interpolate: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """Of interp1d."""

    def made(self: Any, x: Any, y: Any, *args: Any, **options: Any) -> None:
        _require_plain("interp1d", x, args, *options.values())
        if not options.get("assume_sorted"):
            order = np.argsort(x, kind="stable")
            axis = args[1] if len(args) > 1 else options.get("axis", -1)
            x, y = np.asarray(x)[order], np.take(as_recorded(y), order, axis)
        original(self, x, np.zeros(np.shape(y)), *args, **options)
        if hasattr(self, "_ind") and self._extrapolate:
            raise recording_error(
                "scipy.interpolate.interp1d of recorded values that extrapolates by steps is not supported",
                "Give numbers as fill_value.",
            )
        self.y = as_recorded(y)
        self._y = np.reshape(np.moveaxis(self.y, self.axis, 0), (len(self.x), -1))
        if hasattr(self, "_spline"):
            self._spline = interpolate.make_interp_spline(self.x, self._y, self._spline.k)

    return where_recorded(original, made)


def _of_fit(interpolate: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """Of InterpolatedUnivariateSpline."""

    def made(self: Any, x: Any, y: Any, *args: Any, **options: Any) -> None:
        _require_plain("InterpolatedUnivariateSpline", x, args, *options.values())
        original(self, x, np.zeros(np.shape(y)), *args, **options)
        spline = interpolate.make_interp_spline(x, y, self._eval_args[2])
        self._eval_args = (spline.t, read(spline, "c"), spline.k)

    return where_recorded(original, made)


# ── the pieces ────────────────────────────────────────────────────────────────────────────────────────────────
def _cubics(steps: Any, y: Any, slopes: Any) -> Any:
    """Coefficients of the cubic polynomials with these values and slopes at their ends."""
    secants = np.diff(y, axis=0) / steps
    t = (slopes[:-1] + slopes[1:] - 2.0 * secants) / steps
    return np.stack([t / steps, (secants - slopes[:-1]) / steps - t, slopes[:-1], y[:-1]])


def _derivative(self: Any, nu: int = 1) -> Any:
    if nu < 0:
        return self.antiderivative(-nu)
    c = read(self, "c")
    for _ in range(nu):
        degrees = np.reshape(np.arange(len(c) - 1, 0, -1.0), (-1,) + (1,) * (c.ndim - 1))
        c = c[:-1] * degrees if len(c) > 1 else 0.0 * c
    return _on_same(self, c, self.extrapolate)


def _antiderivative(self: Any, nu: int = 1) -> Any:
    if nu <= 0:
        return self.derivative(-nu)
    c = as_recorded(read(self, "c"))
    degree = len(c)
    powers = np.reshape(np.arange(degree, 0, -1.0), (-1,) + (1,) * (c.ndim - 1))
    steps = np.reshape(np.diff(self.x), (-1,) + (1,) * (c.ndim - 2))
    rising = c / powers
    areas = sum(rising[d] * steps ** (degree - d) for d in range(degree))
    starts = np.concatenate([np.zeros((1, *areas.shape[1:])), np.cumsum(areas, axis=0)[:-1]])
    extrapolate = False if self.extrapolate == "periodic" else self.extrapolate
    found = _on_same(self, np.concatenate([rising, starts[None]]), extrapolate)
    return found if nu == 1 else _antiderivative(found, nu - 1)


def _on_same(self: Any, c: Any, extrapolate: Any) -> Any:
    """A polynomial on the same pieces."""
    return put(self.construct_fast(np.zeros(c.shape), self.x, extrapolate, self.axis), "c", c)


def _integral(self: Any, a: Any, b: Any, extrapolate: Any = None) -> Any:
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    if extrapolate == "periodic":
        raise recording_error(
            "integrate of a periodic piecewise polynomial is not supported on recorded values",
            "Integrate within one period, with extrapolate=False.",
        )
    total = self.antiderivative()
    return total(b, extrapolate=extrapolate) - total(a, extrapolate=extrapolate)


# ── slopes at the points, in columns ──────────────────────────────────────────────────────────────────────────
def _hermite(self: Any, x: Any, y: Any, dydx: Any, *rest: Any, **options: Any) -> Any:
    slopes: Any = as_recorded(dydx)
    return np.reshape(np.moveaxis(slopes, self.axis, 0), y.shape)


def _cubic(self: Any, x: Any, y: Any, axis: int = 0, bc_type: Any = "not-a-knot", extrapolate: Any = None) -> Any:
    n, h = len(x), np.diff(x)
    bc = (bc_type, bc_type) if isinstance(bc_type, str) else bc_type
    if "periodic" in bc or n < 4:  # of few points, or cyclic: by the splines of unit vectors
        if not all(isinstance(end, str) for end in bc):
            raise recording_error("a spline of three points with given slopes is not supported", "Give four points.")
        unit = np.eye(n)
        if "periodic" in bc:
            if not np.allclose(y[0], y[-1], rtol=1e-15, atol=1e-15):
                raise ValueError(f"the first and the last value of a periodic spline must be the same{at_line()}")
            unit[-1] = unit[0]
        return type(self)(x, unit, 0, bc_type)(x, 1) @ y
    secants = np.diff(y, axis=0) / h[:, None]
    bands = np.zeros((3, n))
    bands[0, 2:], bands[1, 1:-1], bands[2, :-2] = h[:-1], 2.0 * (h[:-1] + h[1:]), h[1:]
    inner = 3.0 * (h[1:, None] * secants[:-1] + h[:-1, None] * secants[1:])
    bands[1, 0], bands[0, 1], first = _end(bc[0], h, secants, 1.0)
    bands[1, -1], bands[2, -2], last = _end(bc[1], h[::-1], secants[::-1], -1.0)
    right = np.concatenate([first[None], inner, last[None]])
    return scipy_linalg.OF_LINALG["solve_banded"]((1, 1), bands, right)


def _end(condition: Any, h: Any, secants: Any, sign: float) -> tuple[float, float, Any]:
    """The equation of an end: the factors of its slope and of that next to it, and the right-hand side."""
    if condition == "not-a-knot":
        d = h[0] + h[1]
        return h[1], d, ((h[0] + 2.0 * d) * h[1] * secants[0] + h[0] ** 2 * secants[1]) / d
    named = {"natural": (2, 0.0), "clamped": (1, 0.0)}
    order, value = named[condition] if isinstance(condition, str) else condition
    value = np.reshape(value, (-1,)) if np.ndim(value) else value
    if order == 1:
        return 1.0, 0.0, value + 0.0 * secants[0]
    return 2.0 * h[0], h[0], h[0] * (3.0 * secants[0] - 0.5 * sign * value * h[0])


def _pchip(self: Any, x: Any, y: Any, *args: Any, **options: Any) -> Any:
    h = np.diff(x)[:, None]
    secants = np.diff(y, axis=0) / h
    if len(x) == 2:
        return np.concatenate([secants, secants])
    before, after = secants[:-1], secants[1:]
    flat = (np.sign(before) != np.sign(after)) | (before == 0) | (after == 0)
    w, v = 2.0 * h[1:] + h[:-1], h[1:] + 2.0 * h[:-1]
    mean = (w / np.where(flat, 1.0, before) + v / np.where(flat, 1.0, after)) / (w + v)
    inner = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, mean))
    first, last = _pchip_end(h, secants), _pchip_end(h[::-1], secants[::-1])
    return np.concatenate([first[None], inner, last[None]])


def _pchip_end(h: Any, secants: Any) -> Any:
    slope = ((2.0 * h[0] + h[1]) * secants[0] - h[0] * secants[1]) / (h[0] + h[1])
    turned = np.sign(slope) != np.sign(secants[0])
    steep = (np.sign(secants[0]) != np.sign(secants[1])) & (np.abs(slope) > 3.0 * np.abs(secants[0]))
    return np.where(turned, 0.0, np.where(steep, 3.0 * secants[0], slope))


def _akima(self: Any, x: Any, y: Any, axis: int = 0, *, method: str = "akima", extrapolate: Any = None) -> Any:
    secants = np.diff(y, axis=0) / np.diff(x)[:, None]
    if len(x) == 2:
        return np.concatenate([secants, secants])
    first, last = 2.0 * secants[0] - secants[1], 2.0 * secants[-1] - secants[-2]
    ends = [2.0 * first - secants[0], first], [last, 2.0 * last - secants[-1]]
    m = np.concatenate([np.stack(ends[0]), secants, np.stack(ends[1])])
    turns = np.abs(np.diff(m, axis=0))
    if method == "makima":
        turns = turns + 0.5 * np.abs(m[1:] + m[:-1])
    after, before = turns[2:], turns[:-2]
    both = after + before
    known = both > 1e-9 * np.max(both, initial=-np.inf)
    own = (after * m[1:-2] + before * m[2:-1]) / np.where(known, both, 1.0)
    return np.where(known, own, 0.5 * (m[3:] + m[:-3]))
