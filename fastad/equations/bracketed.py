"""A root of a scalar function between two points where it has different signs.

Chandrupatla (1997), Advances in Engineering Software 28, 145-149: inverse quadratic interpolation where three points
promise it, halving elsewhere. The bracket halves in the worst case, so the root is found whatever the function is.
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.equations.core import Iterate, System
from fastad.primitives.equations import NO_BRACKET, NO_ROOT, NOT_FINITE, SINGULAR, SOLVED, TOO_MANY_STEPS

_EPSILON = float(np.finfo(float).eps)
_SMALL = 1e-3  # what is left of f at a root, and of a jump by the slope: even ∛x falls to 5e-4 within the tolerance


class _State(NamedTuple):
    """The root is between a, the newest point, and b; c is the point before them. `share` of the way from a to b is
    tried next."""

    a: Any
    b: Any
    c: Any
    fa: Any
    fb: Any
    fc: Any
    share: Any
    steps: Any


def bracketed(system: System, x: Any, tol: Any, max_steps: Any, low: Any, high: Any) -> Iterate:
    """Solve the equation between `low` and `high`; x, the first guess, is not used."""

    def value(x: Any) -> Any:
        return np.reshape(system.residual(np.reshape(x, (1,))), ())

    low, high = np.asarray(low, like=x) + 0.0, np.asarray(high, like=x) + 0.0
    fa, fb = value(low), value(high)
    zero = np.asarray(0.0, like=x)
    first = _State(low, high, low, fa, fb, fa, zero + 0.5, zero)

    def unfinished(s: _State) -> Any:
        return (_width(s) > _tolerance(s, tol)) & (s.fa != 0.0) & (s.fb != 0.0) & (s.steps < max_steps)

    has_signs = (np.sign(fa) * np.sign(fb) <= 0.0) & np.isfinite(fa) & np.isfinite(fb) & np.isfinite(high - low)
    last = iterate(lambda s: has_signs & unfinished(s), lambda s: _tried(value, s, tol), first)
    best = np.where(np.abs(last.fa) <= np.abs(last.fb), last.a, last.b)
    x = np.reshape(best, (1,))
    factor = system.factor(x)
    residual = np.reshape(system.residual(x), ())
    step = np.reshape(system.solve(x, factor, np.reshape(residual, (1,))), ())
    inside = np.abs(step) <= np.maximum(_width(last), 4.0 * _tolerance(last, tol))  # false for NaN
    status = np.where(unfinished(last), TOO_MANY_STEPS, SOLVED)
    status = np.where(np.isfinite(step), status, SINGULAR)
    kept = np.abs(residual) / np.minimum(np.abs(fa), np.abs(fb))
    status = np.where((status == SOLVED) & _has_no_root(last, residual / step, kept), NO_ROOT, status)
    status = np.where(has_signs, status, np.where(np.isfinite(fa + fb), NO_BRACKET, NOT_FINITE))
    correction = np.reshape(np.where(inside & (status == SOLVED), -step, 0.0), (1,))
    return Iterate(x, correction, status, {"nit": last.steps, "nfev": last.steps + 3.0, "njev": zero + 1.0}, factor)


def _has_no_root(s: _State, slope: Any, kept: Any) -> Any:
    """Whether f changes its sign between a and b, but is not 0 there.

    `kept`: how large it still is, relative to what it was at the ends. On both sides of a pole it has grown, and falls
    where the signs rise; at a jump it differs by more than its slope explains.
    """
    change = s.fb - s.fa
    at_pole = (kept > 1.0) & (np.sign(slope) * np.sign(s.b - s.a) * np.sign(change) < 0.0)
    at_jump = (kept > _SMALL) & (np.abs(change) * _SMALL > np.abs(slope) * _width(s))
    return at_pole | at_jump


def _width(s: _State) -> Any:
    return np.abs(s.b - s.a)


def _tolerance(s: _State, tol: Any) -> Any:
    most = np.maximum(np.abs(s.a), np.abs(s.b))
    return np.maximum(tol * np.maximum(1.0, most), 4.0 * _EPSILON * most)


def _tried(value: Any, s: _State, tol: Any) -> _State:
    """The bracket with the point that is tried, and what is tried next."""
    x = s.a + s.share * (s.b - s.a)
    fx = value(x)
    same = np.sign(fx) == np.sign(s.fa)
    b, fb = np.where(same, s.b, s.a), np.where(same, s.fb, s.fa)
    c, fc = np.where(same, s.a, s.b), np.where(same, s.fa, s.fb)
    after = _State(x, b, c, fx, fb, fc, s.share, s.steps + 1.0)
    least = 0.5 * _tolerance(after, tol) / np.where(_width(after) > 0.0, _width(after), 1.0)
    share = np.clip(_share(after), least, 1.0 - least)
    return after._replace(share=np.where(least < 0.5, share, 0.5))


def _share(s: _State) -> Any:
    """Where inverse quadratic interpolation puts the root; the middle where the three points do not suit it."""
    xi = (s.a - s.b) / _nonzero(s.c - s.b)
    phi = (s.fa - s.fb) / _nonzero(s.fc - s.fb)
    suits = (phi * phi < xi) & ((1.0 - phi) * (1.0 - phi) < 1.0 - xi)
    alpha = (s.c - s.a) / _nonzero(s.b - s.a)
    share = s.fa / _nonzero(s.fb - s.fa) * s.fc / _nonzero(s.fb - s.fc)
    share = share + alpha * s.fa / _nonzero(s.fc - s.fa) * s.fb / _nonzero(s.fc - s.fb)
    return np.where(suits, share, 0.5)


def _nonzero(x: Any) -> Any:
    return np.where(x == 0.0, 1.0, x)
