"""Differences, integrals, interpolation, filters and polynomials."""

from typing import Any

import numpy as np

from fastad.recording.functions.registry import Array, axis_index, axis_slice, implements, lift
from fastad.recording.geometry import reshape
from fastad.recording.operands import is_recorded
from fastad.recording.source import at_line

NO_VALUE = np._NoValue


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE) -> Array:
    """np.diff"""
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    ends = [v for v in (prepend, append) if v is not NO_VALUE]
    x = lift(a, *ends)[0]
    if x.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = axis_index(axis, x.ndim)
    if n and ends:
        parts = [_as_slice(v, x, axis) for v in (prepend, x, append) if v is not NO_VALUE]
        x = np.concatenate(parts, axis=axis)
    for _ in range(n):
        later, earlier = axis_slice(x, axis, 1), axis_slice(x, axis, 0, -1)
        x = later != earlier if x.dtype == bool else later - earlier
    return x


def _as_slice(v: Any, x: Array, axis: int) -> Any:
    """v as a slice of x along the axis: a number is broadcast to one."""
    return np.broadcast_to(v, (*x.shape[:axis], 1, *x.shape[axis + 1 :])) if np.ndim(v) == 0 else v


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Array:
    """np.ediff1d"""
    parts = [to_begin, diff(np.ravel(lift(ary)[0])), to_end]
    return np.concatenate([np.ravel(p) for p in parts if p is not None])


# ── np.gradient ───────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """np.gradient: second-order central differences inside, one-sided differences at the ends"""
    y, *_ = lift(f, *varargs)
    axes = tuple(range(y.ndim)) if axis is None else tuple(axis_index(d, y.ndim) for d in np.atleast_1d(axis))
    if len(varargs) not in (0, 1, len(axes)) or (len(varargs) == 1 and len(axes) > 1 and np.ndim(varargs[0])):
        raise TypeError("invalid number of arguments")
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    spacings = list(varargs) if len(varargs) == len(axes) else list(varargs or (1.0,)) * len(axes)
    for h, d in zip(spacings, axes):
        if np.ndim(h) > 1:
            raise ValueError("distances must be either scalars or 1d")
        if np.ndim(h) and np.shape(h)[0] != y.shape[d]:
            raise ValueError("when 1d, distances must match the length of the corresponding dimension")
    if any(y.shape[d] < edge_order + 1 for d in axes):
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are "
            "required."
        )
    y = y if y.dtype.kind == "f" else y.astype(float)
    found = tuple(_gradient_along(y, h, d, edge_order) for h, d in zip(spacings, axes))
    return found[0] if len(found) == 1 else found


def _gradient_along(y: Array, h: Any, axis: int, edge_order: int) -> Any:
    shape = [1] * y.ndim
    shape[axis] = -1
    steps = np.diff(h) if np.ndim(h) else None
    if steps is not None and not is_recorded(steps) and np.all(steps == steps[0]):
        h, steps = steps[0], None
    last = y.shape[axis]

    def at(start: int, stop: Any = None) -> Any:
        return axis_slice(y, axis, start, stop)

    if steps is None:
        inner = (at(2) - at(0, last - 2)) / (2.0 * h)
        first, final = h, h
    else:
        before, after = (np.reshape(s, shape) for s in (steps[:-1], steps[1:]))
        inner = (
            -after / (before * (before + after)) * at(0, last - 2)
            + (after - before) / (before * after) * at(1, last - 1)
            + before / (after * (before + after)) * at(2)
        )
        first, final = steps[0], steps[-1]
    if edge_order == 1:
        start, end = (at(1, 2) - at(0, 1)) / first, (at(last - 1) - at(last - 2, last - 1)) / final
    elif steps is None:
        start = (-1.5 * at(0, 1) + 2.0 * at(1, 2) - 0.5 * at(2, 3)) / h
        end = (0.5 * at(last - 3, last - 2) - 2.0 * at(last - 2, last - 1) + 1.5 * at(last - 1)) / h
    else:
        start, end = _uneven_ends(at, last, steps)
    return np.concatenate([start, inner, end], axis=axis)


def _uneven_ends(at: Any, n: int, steps: Any) -> tuple[Any, Any]:
    p, q = steps[0], steps[1]
    start = -(2.0 * p + q) / (p * (p + q)) * at(0, 1) + (p + q) / (p * q) * at(1, 2) - p / (q * (p + q)) * at(2, 3)
    p, q = steps[-2], steps[-1]
    end = q / (p * (p + q)) * at(n - 3, n - 2) - (q + p) / (p * q) * at(n - 2, n - 1)
    return start, end + (2.0 * q + p) / (q * (p + q)) * at(n - 1)


# ── integrals and interpolation ───────────────────────────────────────────────────────────────────────────────
@implements(np.trapezoid, "trapz")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """np.trapezoid"""
    y, *_ = lift(y, *([] if x is None else [x]), dx)
    axis = axis_index(axis, y.ndim)
    widths = dx
    if x is not None:
        widths = np.diff(x, axis=axis if np.ndim(x) > 1 else -1)
        if np.ndim(x) == 1:
            widths = np.reshape(widths, tuple(-1 if d == axis else 1 for d in range(y.ndim)))
    return np.sum(widths * (axis_slice(y, axis, 1) + axis_slice(y, axis, 0, -1)) / 2.0, axis=axis)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Array:
    """np.interp; at a knot the derivative is that of the piece to its right"""
    at, knots, values = (v if v.dtype == float else v.astype(float) for v in lift(x, xp, fp))
    if knots.ndim != 1 or values.ndim != 1:
        raise ValueError("object too deep for desired array")
    if knots.size != values.size:
        raise ValueError("fp and xp are not of the same length.")
    if not knots.size:
        raise ValueError("array of sample points is empty")
    if period is not None:
        at, knots, values = _periodic(at, knots, values, period)
        left = right = None
    n = knots.size
    low = values[0] if left is None else left
    high = values[-1] if right is None else right
    if n == 1:
        return np.where(at < knots[0], low, np.where(at > knots[0], high, values[0] + at * 0.0))
    i = np.clip(np.searchsorted(knots, at, "right") - 1, 0, n - 2)
    slopes = np.diff(values) / np.diff(knots)
    slope, knot, value = _take(slopes, i), _take(knots, i), _take(values, i)
    inside = slope * (at - knot) + value
    right = _take(values, i + 1)
    from_right = slope * (at - _take(knots, i + 1)) + right
    beside = np.where((at == knot) | (value == right), value, from_right)
    inside = np.where(np.isnan(inside), beside, inside)  # where values are ±inf
    inside = np.where(at == knots[-1], values[-1], inside)
    return np.where(at < knots[0], low, np.where(at > knots[-1], high, inside))


def _take(x: Array, index: Any) -> Array:
    """Elements of a vector at indices in [0, n), which are not checked."""
    from fastad.recording.functions.sorting import gather_along

    return reshape(gather_along(x, reshape(index, -1), 0), index.shape)


def _periodic(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    period = abs(period)
    if np.any(period == 0):
        raise ValueError("period must be a non-zero value")
    x, xp = x % period, xp % period
    order = np.argsort(xp)
    xp, fp = _take(xp, order), _take(fp, order)
    return x, np.concatenate([xp[-1:] - period, xp, xp[:1] + period]), np.concatenate([fp[-1:], fp, fp[:1]])


# ── filters and polynomials ───────────────────────────────────────────────────────────────────────────────────
@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Array:
    """np.convolve: the windows of the longer array times the reversed shorter one"""
    x, y = (np.atleast_1d(w) for w in lift(a, v))
    if x.ndim > 1 or y.ndim > 1:
        raise ValueError("object too deep for desired array")
    if not x.size or not y.size:
        raise ValueError(("v" if x.size else "a") + " cannot be empty")
    x, y = (y, x) if y.size > x.size else (x, y)
    n, m = x.size, y.size
    before = {"full": m - 1, "same": (m - 1) // 2 if m % 2 else m // 2, "valid": 0}.get(mode)
    if before is None:
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    length = {"full": n + m - 1, "same": n, "valid": n - m + 1}[mode]
    after = length + m - 1 - n - before
    padded = np.pad(x, (before, after)) if before or after else x
    windows = np.lib.stride_tricks.sliding_window_view(padded, m)
    return np.matmul(windows, y[::-1])


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Array:
    """np.correlate"""
    x, y = (np.atleast_1d(w) for w in lift(a, v))
    if x.size < y.size:
        return convolve(y, x[::-1], mode)[::-1]
    return convolve(x, y[::-1], mode)


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Array:
    """np.polyval, by Horner's rule"""
    coefficients, at = lift(p, x)
    out: Any = np.zeros_like(at)
    for c in coefficients:
        out = out * at + c
    return out


@implements(np.polyder)
def polyder(p: Any, m: int = 1) -> Array:
    """np.polyder"""
    (c,) = lift(p)
    for _ in range(int(m)):
        c = c[:-1] * np.arange(c.size - 1, 0, -1)
    return c


@implements(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Array:
    """np.polyint"""
    (c,) = lift(p)
    constants = np.zeros(int(m)) if k is None else np.atleast_1d(k) * np.ones(int(m))
    for i in range(int(m)):
        c = np.concatenate([c / np.arange(c.size, 0, -1), constants[i : i + 1]])
    return c


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Array:
    """np.polymul"""
    return convolve(a1, a2)


@implements(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Array:
    """np.polyadd"""
    x, y = (np.atleast_1d(v) for v in lift(a1, a2))
    n = max(x.size, y.size)
    return np.pad(x, (n - x.size, 0)) + np.pad(y, (n - y.size, 0))


@implements(np.polysub)
def polysub(a1: Any, a2: Any) -> Array:
    """np.polysub"""
    x, y = lift(a1, a2)
    return polyadd(x, -y)


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Array:
    """np.vander"""
    (v,) = lift(x)
    if v.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    n = v.size if N is None else int(N)
    v = v.astype(np.promote_types(v.dtype, int))
    columns: list[Any] = [np.ones_like(v)]
    for _ in range(n - 1):
        columns.append(columns[-1] * v)
    columns = columns[:n] if increasing else columns[:n][::-1]
    return np.stack(columns, axis=1) if columns else np.zeros((v.size, 0), like=v)


@implements(np.polyfit)
def polyfit(
    x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """np.polyfit: least squares over powers of x that are scaled to norm 1. The rank is part of the path."""
    points, values = lift(x, y)
    if deg < 0:
        raise ValueError(f"np.polyfit takes a degree of 0 or more, not {deg}{at_line()}")
    if points.ndim != 1 or not points.size or values.ndim not in (1, 2) or values.shape[0] != points.size:
        shapes = f"got {points.shape} and {values.shape}{at_line()}"
        raise TypeError(f"np.polyfit takes x of shape (n,) and y of shape (n,) or (n, k), {shapes}")
    n, order = points.size, int(deg) + 1
    powers, right = np.vander(points + 0.0, order), values + 0.0
    if w is not None:
        _, weights = lift(powers, w)
        powers, right = powers * weights[:, None], (right.T * weights).T
    scale = np.sqrt(np.sum(powers * powers, axis=0))
    powers = powers / scale
    rcond = n * np.finfo(points.dtype if points.dtype.kind == "f" else float).eps if rcond is None else rcond
    found, residuals, rank, singular = np.linalg.lstsq(powers, right, rcond)
    found = (found.T / scale).T
    if full:
        return found, residuals, rank, singular, rcond
    if not cov:
        return found
    if cov != "unscaled" and n <= order:
        raise ValueError(
            f"np.polyfit scales the covariance only where there are more than {order} points, not {n}{at_line()}; "
            'take cov="unscaled"'
        )
    covariance = np.linalg.inv(np.dot(powers.T, powers)) / np.outer(scale, scale)
    factor: Any = 1.0 if cov == "unscaled" else residuals / (n - order)
    return found, covariance * factor if values.ndim == 1 else covariance[:, :, None] * factor
