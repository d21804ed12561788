"""Elementwise functions and their first two derivatives by mpmath, over their whole domains."""

from typing import NamedTuple

import mpmath
import numpy as np
from mpmath import mp, mpf

import fastad as fad

DIGITS = 130
STEP = mpf(10) ** -24  # of differences, in units of the distance to the nearest singularity
SMALLEST, LARGEST = 1e-290, 1e290  # beyond, numbers of double precision overflow or lose digits


class Points(NamedTuple):
    """`center` + `sign` 10^k, for k from `low` to `high`; `density` points a decade."""

    center: float
    sign: int
    low: float
    high: float

    def numbers(self, density):
        powers = 10.0 ** np.linspace(self.low, self.high, max(8, int((self.high - self.low) * density)))
        return self.center + self.sign * powers


def line(low=-300, high=300):
    """Both signs."""
    return [Points(0, 1, low, high), Points(0, -1, low, high)]


def ray(low=-300, high=300, center=0.0, sign=1):
    return [Points(center, sign, low, high)]


def near(*centers, low=-12, high=-1):
    """Both sides of some points."""
    return [Points(c, s, low, high) for c in centers for s in (1, -1)]


INSIDE = [*line(-300, -0.1), *ray(-15, -1, 1.0, -1), *ray(-15, -1, -1.0, 1)]  # of (-1, 1)
UNIT = [*ray(-300, -0.4), *ray(-15, -0.4, 1.0, -1)]  # of (0, 1)


def derivatives(f, x, singular=()):
    """f and its derivatives up to the third at a double. `singular`: where f is not analytic."""
    magnitude = float(np.log10(abs(x)))
    digits = DIGITS + int(max(2 * magnitude, -magnitude))
    while True:
        with mp.workdps(digits):
            exact, h = _differences(f, mpf(float(x)), singular)
            noise = mpf(10) ** -digits * abs(exact[0]) / h**2
            needed = max(abs(exact[2]), mpf(SMALLEST)) * STEP / (1000 * max(abs(x), 1))
            if noise <= needed:
                return exact
        digits += int(mpmath.ceil(mpmath.log10(noise / needed))) + 5  # differences of large values: 1 - exp(-400)


def _differences(f, x, singular):
    h = STEP * min((abs(x - mpmath.mpmathify(s)) for s in singular), default=1)
    a, b, c, d, e = (f(x + k * h) for k in (-2, -1, 0, 1, 2))
    third = (e - 2 * d + 2 * b - a) / (2 * h**3)
    first = (d - b) / (2 * h) - third * h**2 / 6
    return [mpmath.re(y) for y in (c, first, (d - 2 * c + b) / h**2, third)], h


def errors(found, wanted, x, absolute=0.0):
    """The errors of the value and of two derivatives, relative to what a result and an argument that are wrong in their
    last bits cause: |f| + |x f'|, and so on. None where numbers leave the range of double precision, or the error is
    less than `absolute`."""
    with mp.workdps(40):
        for y, exact, slope in zip(found, wanted[:3], wanted[1:], strict=True):
            size = abs(exact) + abs(mpf(float(x)) * slope)
            error = abs(mpf(float(y)) - exact) if np.isfinite(y) else mpmath.inf
            within = SMALLEST < size < LARGEST and error > absolute
            yield float(error / size) if within else None


def directional(f):
    return lambda x: fad.jvp(f, (x,), (np.ones_like(x),))[1]


def computed(f, x):
    """f, f' and f'' of fastad at many points."""
    with np.errstate(all="ignore"):
        first = directional(f)
        return np.array([np.asarray(fad.jit(g, tier="sweep")(x)) for g in (f, first, directional(first))])
