"""Clipping, rounding, replacing NaN and infinities, and functions of complex numbers on real ones."""

from typing import Any

import numpy as np

from fastad.recording.dispatch import UFUNCS
from fastad.recording.elementwise import elementwise
from fastad.recording.functions.registry import Array, implements, lift
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None, **options: Any) -> Array:
    """np.clip: minimum(maximum(a, a_min), a_max); a value on a bound has half of the derivative"""
    if options.get("where", True) is not True:
        raise recording_error("np.clip with where= is not supported", "Use np.where(mask, np.clip(x, low, high), x).")
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    out = a
    if low is not None and low is not np._NoValue:
        out = UFUNCS["maximum"](out, low)
    if high is not None and high is not np._NoValue:
        out = UFUNCS["minimum"](out, high)
    return out.copy() if out is a else out


@implements(np.round, np.around)
def round_(a: Any, decimals: int = 0) -> Array:
    """np.round"""
    (x,) = lift(a)
    if x.dtype.kind != "f":
        return x.frozen() if decimals >= 0 else (np.rint(x / 10.0**-decimals) * 10.0**-decimals).astype(x.dtype)
    if decimals == 0:
        return elementwise("rint", x)
    scale = 10.0 ** abs(decimals)
    return np.rint(x * scale) / scale if decimals > 0 else np.rint(x / scale) * scale


@implements(np.fix)
def fix(x: Any) -> Array:
    """np.fix"""
    return UFUNCS["trunc"](x)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Array:
    """np.nan_to_num"""
    (value,) = lift(x)
    if value.dtype.kind != "f":
        return value.frozen()
    limits = np.finfo(value.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    out = np.where(value == np.inf, high, np.where(value == -np.inf, low, value))
    out = np.where(np.isnan(value), nan, out)
    if copy or not isinstance(x, Recorded):
        return out
    x[...] = out
    return x


@implements(np.isneginf)
def isneginf(x: Any) -> Array:
    """np.isneginf"""
    return x == -np.inf


@implements(np.isposinf)
def isposinf(x: Any) -> Array:
    """np.isposinf"""
    return x == np.inf


@implements(np.sinc)
def sinc(x: Any) -> Array:
    """np.sinc"""
    return elementwise("sinc", *lift(x))


@implements(np.real, np.real_if_close)
def real(val: Any, tol: float = 100) -> Array:
    """np.real"""
    return lift(val)[0]


@implements(np.imag)
def imag(val: Any) -> Array:
    """np.imag"""
    return np.zeros_like(lift(val)[0])


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Array:
    """np.angle of real numbers"""
    (x,) = lift(z)
    out = elementwise("arctan2", np.zeros((), x.dtype)[()], x)
    return np.rad2deg(out) if deg else out


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * np.pi) -> Array:
    """np.unwrap"""
    (x,) = lift(p)
    steps = np.diff(x, axis=axis)
    discont = period / 2 if discont is None else discont
    half = period / 2
    wrapped = np.mod(steps + half, period) - half
    wrapped = np.where((wrapped == -half) & (steps > 0), half, wrapped)
    correction = np.where(np.abs(steps) < discont, 0.0, wrapped - steps)
    pads = [(1, 0) if d == axis % x.ndim else (0, 0) for d in range(x.ndim)]
    return x + np.pad(np.cumsum(correction, axis=axis), pads)
