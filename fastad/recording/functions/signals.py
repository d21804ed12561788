"""Filters of scipy.signal on recorded values. Recursive ones are banded triangular systems."""

import functools
import itertools
import sys
from typing import Any

import numpy as np

from fastad.recording.functions import filters, scipy_linalg
from fastad.recording.functions.registry import Array, axis_index
from fastad.recording.functions.scipy_functions import as_arrays, convolve, register, require_one_of
from fastad.recording.operands import is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.source import at_line
from fastad.recording.standins import when_imported


# ── recursive filters ─────────────────────────────────────────────────────────────────────────────────────────
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """scipy.signal.lfilter: Σ aₖ y[t - k] = Σ bₖ x[t - k], a banded triangular system for y; a, b, x and zi may be
    recorded"""
    b, a, x = (np.atleast_1d(v) * 1.0 for v in as_arrays(b, a, x))
    axis = axis_index(axis, x.ndim)
    last = np.moveaxis(x, axis, -1)
    if zi is None:
        return np.moveaxis(_filtered(b / a[0], a / a[0], last), -1, axis)
    start = np.moveaxis(as_arrays(x, zi)[1], axis, -1)
    y, end = _with_states(b / a[0], a / a[0], last, start)
    return np.moveaxis(y, -1, axis), np.moveaxis(end, -1, axis)


def _filtered(b: Array, a: Array, x: Array, start: Any = None) -> Array:
    """The filter along the last axis, for a[0] = 1, from its state at the start."""
    rows = np.reshape(x, (-1, x.shape[-1]))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(rows, [(0, 0), (b.size - 1, 0)]), b.size, axis=1)
    found = windows @ b[::-1]
    if start is not None:
        order, n = start.shape[-1], x.shape[-1]
        found = found + np.pad(np.reshape(start, (-1, order)), [(0, 0), (0, max(n - order, 0))])[:, :n]
    if a.size > 1 and found.size:
        diagonals = np.broadcast_to(a[:, None], (a.size, found.shape[1]))
        found = scipy_linalg.OF_LINALG["solve_banded"]((a.size - 1, 0), diagonals, found.T).T
    return np.reshape(found, x.shape)


def _with_states(b: Array, a: Array, x: Array, start: Array) -> tuple[Array, Array]:
    """The result and the state at the end, of the transposed direct form II."""
    order, n = max(a.size, b.size) - 1, x.shape[-1]
    if start.shape[-1] != order or start.ndim != x.ndim:
        raise ValueError(f"zi has shape {start.shape}{at_line()}; along the axis it must have {order} states")
    start = start + np.zeros((*x.shape[:-1], order))
    y = _filtered(b, a, x, start)
    lags = min(order, n)
    places = np.arange(lags)[:, None] + np.arange(order) + 1
    ahead = lambda c: np.pad(c, (0, 2 * order + 1 - c.size))[places]
    end = x[..., n - lags :][..., ::-1] @ ahead(b) - y[..., n - lags :][..., ::-1] @ ahead(a)
    return y, end + np.pad(start[..., n:], [(0, 0)] * (x.ndim - 1) + [(0, lags)])


def sosfilt(sos: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """scipy.signal.sosfilt"""
    sections, x = as_arrays(sos, x)
    ends = []
    for k in range(sections.shape[0]):
        b, a = sections[k, :3], sections[k, 3:]
        if zi is None:
            x = lfilter(b, a, x, axis)
        else:
            x, end = lfilter(b, a, x, axis, zi[k])
            ends.append(end)
    return x if zi is None else (x, np.stack(ends))


def filtfilt(
    b: Any, a: Any, x: Any, axis: int = -1, padtype: Any = "odd", padlen: Any = None, method: str = "pad",
    irlen: Any = None,
) -> Any:  # fmt: skip
    """scipy.signal.filtfilt, for plain b and a"""
    if method != "pad" or is_recorded((b, a)):
        raise recording_error(
            "scipy.signal.filtfilt with method='gust' or recorded coefficients is not supported",
            "Use method='pad', or lfilter, whose coefficients may be recorded, forwards and backwards.",
        )
    b, a = np.atleast_1d(b), np.atleast_1d(a)
    start = sys.modules["scipy.signal"].lfilter_zi(b, a)
    once = lambda x: lfilter(b, a, x, zi=start * x[..., :1])[0]
    return _both_ways(once, x, axis, padtype, 3 * max(len(a), len(b)) if padlen is None else padlen)


def sosfiltfilt(sos: Any, x: Any, axis: int = -1, padtype: Any = "odd", padlen: Any = None) -> Any:
    """scipy.signal.sosfiltfilt, for plain sections"""
    if is_recorded(sos):
        raise recording_error(
            "scipy.signal.sosfiltfilt with recorded sections is not supported",
            "Use sosfilt, whose sections may be recorded, forwards and backwards.",
        )
    sos = np.asarray(sos, float)
    start = sys.modules["scipy.signal"].sosfilt_zi(sos)
    once = lambda x: sosfilt(sos, x, zi=[s * x[..., :1] for s in start])[0]
    taps = 2 * len(sos) + 1 - min(np.sum(sos[:, 2] == 0), np.sum(sos[:, 5] == 0))
    return _both_ways(once, x, axis, padtype, 3 * int(taps) if padlen is None else padlen)


def _both_ways(once: Any, x: Any, axis: int, padtype: Any, room: int) -> Array:
    require_one_of("padtype", padtype, ("odd", "even", "constant", None))
    x = np.moveaxis(as_arrays(x)[0], axis, -1)
    room = 0 if padtype is None else room
    if x.shape[-1] <= room:
        raise ValueError(f"the padding of {room} is not shorter than the axis of {x.shape[-1]}{at_line()}")
    left, right = x[..., room:0:-1], x[..., -2 : -room - 2 : -1]
    if padtype == "odd":
        left, right = 2.0 * x[..., :1] - left, 2.0 * x[..., -1:] - right
    elif padtype == "constant":
        left, right = x[..., :1] + 0.0 * left, x[..., -1:] + 0.0 * right
    y = once(once(np.concatenate([left, x, right], axis=-1))[..., ::-1])[..., ::-1]
    return np.moveaxis(y[..., room : room + x.shape[-1]], -1, axis)


# ── filters with a window, trends, other rates ────────────────────────────────────────────────────────────────
def savgol_filter(
    x: Any, window_length: int, polyorder: int, deriv: int = 0, delta: float = 1.0, axis: int = -1,
    mode: str = "interp", cval: float = 0.0,
) -> Any:  # fmt: skip
    """scipy.signal.savgol_filter"""
    require_one_of("mode", mode, ("mirror", "constant", "nearest", "wrap", "interp"))
    weights = sys.modules["scipy.signal"].savgol_coeffs(window_length, polyorder, deriv=deriv, delta=delta)
    x = np.moveaxis(as_arrays(x)[0] * 1.0, axis, -1)
    inner = filters.convolve1d(x, weights, -1, None, "constant" if mode == "interp" else mode, cval)
    if mode == "interp":
        if window_length > x.shape[-1]:
            raise ValueError(f"with mode='interp' the window of {window_length} must fit into {x.shape[-1]}{at_line()}")
        half, places = window_length // 2, np.arange(window_length)
        fit = np.linalg.pinv(np.polynomial.polynomial.polyvander(places, polyorder))
        derived = np.polynomial.polynomial.polyder(fit, deriv) if deriv else fit
        ends = np.polynomial.polynomial.polyval(places, derived).T / delta**deriv
        first, last = x[..., :window_length] @ ends[:half].T, x[..., -window_length:] @ ends[window_length - half :].T
        inner = np.concatenate([first, inner[..., half : x.shape[-1] - half], last], axis=-1)
    return np.moveaxis(inner, -1, axis)


def detrend(data: Any, axis: int = -1, type: str = "linear", bp: Any = 0, overwrite_data: bool = False) -> Any:
    """scipy.signal.detrend"""
    require_one_of("type", type, ("linear", "l", "constant", "c"))
    x = np.moveaxis(as_arrays(data)[0] * 1.0, axis, -1)
    if type in ("constant", "c"):
        return np.moveaxis(x - np.mean(x, axis=-1, keepdims=True), -1, axis)
    n = x.shape[-1]
    breaks = np.unique(np.concatenate([[0], np.atleast_1d(bp), [n]]))
    if np.any(breaks > n):
        raise ValueError(f"breakpoints must be less than the length of the axis, {n}{at_line()}")
    parts = []
    for low, high in itertools.pairwise(breaks):
        own, line = x[..., low:high], np.linalg.qr(np.vander(np.arange(1.0, high - low + 1) / (high - low), 2))[0]
        parts.append(own - (own @ line) @ line.T)
    return np.moveaxis(np.concatenate(parts, axis=-1), -1, axis)


def resample(x: Any, num: int, t: Any = None, axis: int = 0, window: Any = None, domain: str = "time") -> Any:
    """scipy.signal.resample of real samples"""
    if t is not None or window is not None or domain != "time":
        raise recording_error(
            "scipy.signal.resample with t=, window= or domain= is not supported on recorded values", "Leave it out."
        )
    x = np.moveaxis(as_arrays(x)[0], axis, -1)
    n = x.shape[-1]
    few = min(num, n)
    weights = np.ones(few // 2 + 1)
    if few % 2 == 0 and num != n:
        weights[-1] = 2.0 if num < n else 0.5
    bands = np.fft.rfft(x)[..., : few // 2 + 1] * weights
    return np.moveaxis(np.fft.irfft(bands, num) * (num / n), -1, axis)


def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """scipy.signal.convolve2d"""
    require_one_of("mode", mode, ("full", "same", "valid"))
    require_one_of("boundary", boundary, ("fill", "pad", "wrap", "circular", "symm", "symmetric"))
    x, y = as_arrays(in1, in2)
    if mode == "valid":
        return convolve(x, y, mode)
    room = [(m - 1, m - 1) for m in y.shape]
    how: Any = {"constant_values": fillvalue} if boundary in ("fill", "pad") else {
        "mode": "wrap" if boundary in ("wrap", "circular") else "symmetric"
    }  # fmt: skip
    full = convolve(np.pad(x, room, **how), y, "valid")
    if mode == "full":
        return full
    return full[tuple(slice((m - 1) // 2, (m - 1) // 2 + n) for n, m in zip(x.shape, y.shape, strict=True))]


def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """scipy.signal.correlate2d"""
    if mode == "same":
        x, y = as_arrays(in1, in2)
        full = correlate2d(x, y, "full", boundary, fillvalue)
        return full[tuple(slice(m // 2, m // 2 + n) for n, m in zip(x.shape, y.shape, strict=True))]
    return convolve2d(in1, np.flip(in2 if is_recorded(in2) else np.asarray(in2)), mode, boundary, fillvalue)


_OWN = (lfilter, sosfilt, filtfilt, sosfiltfilt, savgol_filter, detrend, resample, convolve2d, correlate2d)
when_imported("scipy.signal", functools.partial(register, "scipy.signal", {f.__name__: f for f in _OWN}))
