"""Elementary functions of complex operands, by parts, with NumPy's branch cuts and principal values."""

from typing import Any

import numpy as np

from fastad.recording.complex.arithmetic import divide, multiply, product, quotient, some_part
from fastad.recording.complex.parts import split
from fastad.recording.complex.value import Part, pair
from fastad.recording.dispatch import UFUNCS
from fastad.recording.operands import as_recorded, recorder_of

_MOST_PRODUCTS = 100  # NumPy computes powers of smaller whole exponents by products


# ── size and direction ────────────────────────────────────────────────────────────────────────────────────────
def absolute(x: Any) -> Any:
    """|z|, with derivative 0 at 0, as that of np.hypot."""
    a, b = split(x)
    return np.abs(b) if a is None else np.abs(a) if b is None else np.hypot(a, b)


def angle(z: Any, deg: bool = False) -> Any:
    """np.angle"""
    a, b = split(z)
    some = a if a is not None else b
    zero = np.zeros((), some.dtype)[()] if some.dtype.kind == "f" else 0.0
    out = np.arctan2(zero if b is None else b, zero if a is None else a)
    return np.rad2deg(out) if deg else out


def sign(x: Any) -> Any:
    """z / |z|, and 0 at 0."""
    size = absolute(x)
    return divide(x, np.where(size == 0, 1.0, size))


# ── exponentials and logarithms ───────────────────────────────────────────────────────────────────────────────
def exp(x: Any) -> Any:
    a, b = split(x)
    if b is None:
        return pair(np.exp(a), None)
    if a is None:
        return pair(np.cos(b), np.sin(b))
    size = np.exp(a)
    return pair(size * np.cos(b), size * np.sin(b))


def expm1(x: Any) -> Any:
    """exp(z) - 1 = expm1(a) cos b - 2 sin²(b/2) + i exp(a) sin b."""
    a, b = (z for z in _both(x))
    half = np.sin(b / 2)
    return pair(np.expm1(a) * np.cos(b) - 2 * half * half, np.exp(a) * np.sin(b))


def exp2(x: Any) -> Any:
    return exp(multiply(x, float(np.log(2))))


def log(x: Any) -> Any:
    """log |z| + i angle(z). Near the unit circle log |z| is log1p((a - 1)(a + 1) + b²) / 2, which is right to rounding
    near 1."""
    a, b = split(x)
    if a is None or b is None:
        return pair(np.log(absolute(x)), angle(x))
    size = np.hypot(a, b)
    near = (size > 0.5) & (size < 2)
    excess = np.where(near, (a - 1) * (a + 1) + b * b, 0.0)
    return pair(np.where(near, 0.5 * np.log1p(excess), np.log(np.where(near, 1.0, size))), angle(x))


def log2(x: Any) -> Any:
    return multiply(log(x), float(1 / np.log(2)))


def log10(x: Any) -> Any:
    return multiply(log(x), float(1 / np.log(10)))


def log1p(x: Any) -> Any:
    """log(1 + z), to rounding for small z: log |1 + z| = log1p(a (a + 2) + b²) / 2."""
    a, b = _both(x)
    size = np.hypot(1 + a, b)
    near = (size > 0.5) & (size < 2)
    excess = np.where(near, a * (a + 2) + b * b, 0.0)
    re = np.where(near, 0.5 * np.log1p(excess), np.log(np.where(near, 1.0, size)))
    return pair(re, np.arctan2(b, 1 + a))


def sqrt(x: Any) -> Any:
    """The root with a real part that is not negative: the larger part is t = √((|a| + |z|) / 2), the smaller one
    |b| / 2t (Kahan 1987, "Branch cuts for complex elementary functions"). On the cut, a < 0 and b = ±0, derivatives are
    those of the side that the sign of b says."""
    a, b = _both(x)
    right = a >= 0
    larger = np.sqrt(0.5 * (np.where(right, a, -a) + np.hypot(a, b)))
    smaller = b / (2 * np.where(larger == 0, 1.0, larger))
    side = np.copysign(np.ones((), b.dtype)[()], b)
    return pair(np.where(right, larger, side * smaller), np.where(right, smaller, side * larger))


# ── powers ────────────────────────────────────────────────────────────────────────────────────────────────────
def power(x: Any, y: Any) -> Any:
    """x^y: by products for whole numbers y, by roots for halves, else as exp(y log x), with 0^y = 0."""
    if isinstance(y, int | float | np.integer | np.floating) and not isinstance(y, bool):
        if float(y).is_integer() and abs(float(y)) < _MOST_PRODUCTS:
            return _whole_power(x, int(y))
        if y == 0.5:
            return sqrt(x)
    return _general_power(x, y)


def _whole_power(x: Any, n: int) -> Any:
    base, left = split(x), abs(n)
    if n == 0:
        return pair(np.ones_like(some_part(base)), None, (x,))
    found: Any = None
    while left:
        if left % 2:
            found = base if found is None else product(found, base)
        left //= 2
        base = product(base, base) if left else base
    re, im = quotient((1.0, None), found) if n < 0 else found
    return pair(re, im, (x,))


def _general_power(x: Any, y: Any) -> Any:
    a, b = split(x)
    zero = (0 if a is None else a) == 0
    zero = zero & (b == 0) if b is not None else zero
    safe = pair(np.where(zero, 1.0, 0.0 if a is None else a), b, (x, y))
    found = exp(multiply(y, log(safe)))
    at_zero = np.where(split(y)[0] == 0, 1.0, 0.0)
    return pair(np.where(zero, at_zero, found.real), np.where(zero, 0.0, found.imag))


# ── trigonometric and hyperbolic ──────────────────────────────────────────────────────────────────────────────
def sin(x: Any) -> Any:
    a, b = split(x)
    if a is None or b is None:
        return pair(None if a is None else np.sin(a), None if b is None else np.sinh(b))
    return pair(np.sin(a) * np.cosh(b), np.cos(a) * np.sinh(b))


def cos(x: Any) -> Any:
    a, b = split(x)
    if a is None or b is None:
        return pair(np.cosh(b) if a is None else np.cos(a), None)
    return pair(np.cos(a) * np.cosh(b), -(np.sin(a) * np.sinh(b)))


def sinh(x: Any) -> Any:
    return _rotated(sin, x)


def cosh(x: Any) -> Any:
    return cos(_times_i(x))


def tanh(x: Any) -> Any:
    """With s = tanh a and t = tan b: (s + it) / (1 + ist), whose parts are s (1 + t²) and t (1 - s²) over 1 + s²t²."""
    a, b = split(x)
    if a is None or b is None:
        return pair(None if a is None else np.tanh(a), None if b is None else np.tan(b))
    s, t = np.tanh(a), np.tan(b)
    slope = _sech(a)
    below = 1 + (s * t) * (s * t)
    return pair(s * (1 + t * t) / below, t * (slope * slope) / below)


def tan(x: Any) -> Any:
    return _rotated(tanh, x, -1)


def _sech(a: Part) -> Any:
    small = np.exp(-np.abs(a))
    return 2 * small / (1 + small * small)


def _rotated(function: Any, x: Any, sign: int = 1) -> Any:
    """-i f(iz), which is sinh for f = sin, and tan for f = tanh."""
    found = function(_times_i(x))
    re, im = split(found)
    return pair(im, None if re is None else -re)


def _times_i(x: Any) -> Any:
    a, b = split(x)
    return pair(None if b is None else -b, a)


# ── inverse functions ─────────────────────────────────────────────────────────────────────────────────────────
def arctanh(x: Any) -> Any:
    """(log1p(z) - log1p(-z)) / 2"""
    a, b = _both(x)
    re = 0.25 * np.log1p(4 * a / ((1 - a) * (1 - a) + b * b))
    turn = np.arctan2(2 * b, (1 - a) * (1 + a) - b * b)
    return pair(re, 0.5 * turn)


def arctan(x: Any) -> Any:
    return _rotated(arctanh, x)


def _both(x: Any) -> tuple[Any, Any]:
    """Both parts as recorded values."""
    recorder = recorder_of((x,))
    a, b = split(x)
    some = a if a is not None else b
    zero = np.zeros((), some.dtype if some.dtype.kind == "f" else float)[()]
    return as_recorded(zero if a is None else a, recorder), as_recorded(zero if b is None else b, recorder)


# ── questions about elements ──────────────────────────────────────────────────────────────────────────────────
def equal(x: Any, y: Any) -> Any:
    (a, b), (c, d) = split(x), split(y)
    return _or_zero(a, c, "equal") & _or_zero(b, d, "equal")


def not_equal(x: Any, y: Any) -> Any:
    return np.logical_not(equal(x, y))


def _or_zero(a: Part, c: Part, name: str) -> Any:
    if a is None and c is None:
        return np.True_
    return UFUNCS[name](0.0 if a is None else a, 0.0 if c is None else c)


def _of_both(ufunc: Any, join: Any) -> Any:
    """A question that is answered for both parts."""

    def ask(x: Any) -> Any:
        found = [ufunc(part) for part in split(x) if part is not None]
        return found[0] if len(found) == 1 else join(*found)

    return ask


isnan, isinf = _of_both(np.isnan, np.logical_or), _of_both(np.isinf, np.logical_or)
isfinite = _of_both(np.isfinite, np.logical_and)


def is_nonzero(x: Any) -> Any:
    return not_equal(x, 0.0)

