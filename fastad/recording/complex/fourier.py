"""Discrete Fourier transforms: the functions of np.fft, on real and complex recorded values.

A transform is one row. One of a length with a large prime factor is a convolution, by transforms of a length that has
none (Bluestein 1970, "A linear filtering approach to the computation of discrete Fourier transform"); one of real
numbers is a transform of half the length, whose even and odd numbers are the parts (Van Loan 1992, "Computational
Frameworks for the Fast Fourier Transform", section 4.3).
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from fastad.primitives.fourier import roots_of_unity
from fastad.recording.complex.calling import implements
from fastad.recording.complex.parts import to_complex
from fastad.recording.complex.value import RecordedComplex, pair
from fastad.recording.operands import as_recorded, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line

_LARGEST_FACTOR = 31  # prime factors up to this one have passes of their own


# ── one axis, without a scale ─────────────────────────────────────────────────────────────────────────────────
def _transformed(z: Any, axis: int, positive: bool) -> Any:
    """Σ z_j exp(±2πi jk/n) along an axis."""
    if _has_large_factor(z.shape[axis]):
        return _by_convolution(z, axis, positive)
    parts: Any = np.stack([z.real, z.imag], axis=axis)
    shape, recorder = z.shape, z.recorder
    outer, n, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    roots = recorder.const(roots_of_unity(n).astype(parts.dtype))
    statics = (outer, n, inner, int(positive))
    found = Recorded(recorder, recorder.emit("fourier", (parts.ref, roots), statics, parts.shape))
    return pair(_cut(found, axis, 0), _cut(found, axis, 1))


def _cut(x: Any, axis: int, key: Any) -> Any:
    """x[..., key, ...] along an axis."""
    return x[(slice(None),) * axis + (key,)]


def _along(numbers: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Numbers that stand along an axis."""
    return numbers.reshape((-1,) + (1,) * (ndim - axis - 1))


@lru_cache(maxsize=1024)
def _has_large_factor(n: int) -> bool:
    for r in range(2, _LARGEST_FACTOR + 1):
        while n % r == 0 and n > 1:
            n //= r
    return n > 1


def _by_convolution(z: Any, axis: int, positive: bool) -> Any:
    """With jk = (j² + k² - (k - j)²) / 2 a transform is a convolution with exp(∓πi j²/n)."""
    n, kind = z.shape[axis], z.dtype
    size = next(m for m in range(2 * n - 1, 4 * n) if not _has_large_factor(m) and m % 4 == 0)
    turns = np.arange(n) ** 2 % (2 * n)
    chirp = roots_of_unity(2 * n)[:, turns]
    own = chirp[0] + 1j * (chirp[1] if positive else -chirp[1])
    around = np.zeros(size, complex)
    around[:n] = own.conj()
    around[size - n + 1 :] = own[:0:-1].conj()
    spectrum = (np.fft.fft(around) / size).astype(kind)
    shaped = _along(own.astype(kind), axis, z.ndim)
    found = _transformed(_resized(z * shaped, axis, size), axis, False) * _along(spectrum, axis, z.ndim)
    return _cut(_transformed(found, axis, True), axis, slice(n)) * shaped


def _resized(x: Any, axis: int, n: int) -> Any:
    """x with n numbers along an axis: the first ones, or zeros behind them."""
    if n <= x.shape[axis]:
        return x if n == x.shape[axis] else _cut(x, axis, slice(n))
    return np.pad(x, [(0, n - m if d == axis else 0) for d, m in enumerate(x.shape)])


def _of_real(x: Any, axis: int) -> Any:
    """Σ x_j exp(-2πi jk/n) for k up to n/2, of real numbers."""
    n, half = x.shape[axis], x.shape[axis] // 2
    if n % 2:
        return _cut(_transformed(pair(x, None), axis, False), axis, slice(half + 1))
    z = _transformed(pair(_cut(x, axis, slice(0, None, 2)), _cut(x, axis, slice(1, None, 2))), axis, False)
    z = np.concatenate([z, _cut(z, axis, slice(1))], axis)
    back = np.flip(z, axis).conj()
    even, odd = (z + back) / 2, (z - back) / 2
    roots = roots_of_unity(n)[:, : half + 1]
    turn = (-roots[1] - 1j * roots[0]).astype(z.dtype)  # exp(-2πi k/n) / i
    return even + odd * _along(turn, axis, x.ndim)


def _to_real(z: Any, axis: int, n: int) -> Any:
    """Σ over -n/2 < k <= n/2 of z_k exp(2πi jk/n), real numbers, for z_{-k} = conj z_k."""
    z = _resized(z, axis, n // 2 + 1)
    inside = np.ones(n // 2 + 1)
    inside[0] = 0.0
    inside[n // 2] = n % 2  # NumPy looks at the real part only
    z = pair(z.real, z.imag * _along(inside.astype(z.real.dtype), axis, z.ndim))
    if n % 2:
        back = np.flip(_cut(z, axis, slice(1, None)), axis).conj()
        return _transformed(np.concatenate([z, back], axis), axis, True).real
    back = np.flip(z, axis).conj()
    roots = roots_of_unity(n)[:, : n // 2 + 1]
    turn = (-roots[1] + 1j * roots[0]).astype(z.dtype)  # i exp(2πi k/n)
    joined = (z + back) + (z - back) * _along(turn, axis, z.ndim)
    found = _transformed(_cut(joined, axis, slice(n // 2)), axis, True)
    both = np.stack([found.real, found.imag], axis + 1)
    return both.reshape((*z.shape[:axis], n, *z.shape[axis + 1 :]))


# ── NumPy's functions ─────────────────────────────────────────────────────────────────────────────────────────
def _operand(a: Any) -> Any:
    """An operand as a complex value, or as a real one of floats."""
    if type(a) is RecordedComplex:
        return a
    x = to_complex(a)
    return x if x._im is not None else as_recorded(x.real, recorder_of((x,)))


def _is_real(x: Any) -> bool:
    return type(x) is not RecordedComplex


def _scale(norm: str | None, n: int, inverse: bool) -> float | None:
    """The factor of a transform of n numbers; None for 1."""
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f'Invalid norm value {norm}; should be "backward","ortho" or "forward".')
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if inverse == (norm != "forward") else None


def _length(n: Any, x: Any, axis: int) -> int:
    found = x.shape[axis] if n is None else int(n)
    if found < 1:
        raise ValueError(f"Invalid number of FFT data points ({found}) specified.")
    return found


def _scaled(x: Any, factor: float | None) -> Any:
    return x if factor is None else x * factor


def _one(inverse: bool) -> Callable[..., Any]:
    def transform(a: Any, n: Any = None, axis: int = -1, norm: str | None = None) -> Any:
        x = _operand(a)
        axis = normalize_axis_index(axis, x.ndim)
        n = _length(n, x, axis)
        x = _resized(x, axis, n)
        if _is_real(x) and n % 2 == 0:
            half = _of_real(x, axis)
            found = np.concatenate([half, np.flip(_cut(half, axis, slice(1, n // 2)), axis).conj()], axis)
            found = found.conj() if inverse else found
        else:
            found = _transformed(pair(x, None) if _is_real(x) else x, axis, inverse)
        return _scaled(found, _scale(norm, n, inverse))

    return transform


fft, ifft = _one(inverse=False), _one(inverse=True)


def rfft(a: Any, n: Any = None, axis: int = -1, norm: str | None = None) -> Any:
    """np.fft.rfft"""
    x = _operand(a)
    if not _is_real(x):
        raise TypeError("np.fft.rfft of complex numbers would drop their imaginary parts; use np.fft.fft")
    axis = normalize_axis_index(axis, x.ndim)
    n = _length(n, x, axis)
    return _scaled(_of_real(_resized(x, axis, n), axis), _scale(norm, n, False))


def irfft(a: Any, n: Any = None, axis: int = -1, norm: str | None = None) -> Any:
    """np.fft.irfft"""
    z = to_complex(a)
    axis = normalize_axis_index(axis, z.ndim)
    n = 2 * (z.shape[axis] - 1) if n is None else int(n)
    return _scaled(_to_real(z, axis, _length(n, z, axis)), _scale(norm, n, True))


_SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def hfft(a: Any, n: Any = None, axis: int = -1, norm: str | None = None) -> Any:
    """np.fft.hfft"""
    return irfft(to_complex(a).conj(), n, axis, _SWAPPED[norm])


def ihfft(a: Any, n: Any = None, axis: int = -1, norm: str | None = None) -> Any:
    """np.fft.ihfft"""
    return rfft(a, n, axis, _SWAPPED[norm]).conj()


def _axes(x: Any, s: Any, axes: Any) -> tuple[list[Any], list[int]]:
    """Lengths (None: as they are) and axes."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    own = [normalize_axis_index(int(d), x.ndim) for d in axes]
    lengths = [None] * len(own) if s is None else [None if n in (None, -1) else int(n) for n in s]
    if len(lengths) != len(own):
        raise ValueError("Shape and axes have different lengths.")
    return lengths, own


def _many(one: Callable[..., Any], last: Callable[..., Any] | None = None, default: Any = None) -> Callable[..., Any]:
    """A transform along several axes, of which the last may have one of its own: the first to be done."""

    def transform(a: Any, s: Any = None, axes: Any = default, norm: str | None = None) -> Any:
        x = _operand(a)
        lengths, own = _axes(x, s, axes)
        for k, (n, axis) in reversed(list(enumerate(zip(lengths, own, strict=True)))):
            x = (last if last is not None and k == len(own) - 1 else one)(x, n, axis, norm)
        return x

    return transform


def _many_to_real(default: Any = None) -> Callable[..., Any]:
    def transform(a: Any, s: Any = None, axes: Any = default, norm: str | None = None) -> Any:
        x = _operand(a)
        lengths, own = _axes(x, s, axes)
        for n, axis in zip(lengths[:-1], own[:-1], strict=True):
            x = ifft(x, n, axis, norm)
        return irfft(x, lengths[-1], own[-1], norm)

    return transform


_TWO = (-2, -1)
TRANSFORMS: dict[str, Callable[..., Any]] = {
    "fft": fft, "ifft": ifft, "rfft": rfft, "irfft": irfft, "hfft": hfft, "ihfft": ihfft,
    "fftn": _many(fft), "ifftn": _many(ifft), "rfftn": _many(fft, rfft), "irfftn": _many_to_real(),
    "fft2": _many(fft, default=_TWO), "ifft2": _many(ifft, default=_TWO), "rfft2": _many(fft, rfft, _TWO),
    "irfft2": _many_to_real(_TWO),
}  # fmt: skip
for _name, _transform in TRANSFORMS.items():
    implements(getattr(np.fft, _name))(_transform)


def of_scipy(name: str) -> Callable[..., Any]:
    """A transform as scipy.fft has it, with arguments that say only how it is computed."""

    def transform(
        x: Any, *args: Any, norm: str | None = None, overwrite_x: bool = False, workers: Any = None, plan: Any = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        if len(args) > 2:
            norm, args = args[2], args[:2]
        return TRANSFORMS[name](x, *args, norm=norm, **options)

    return transform


# ── of SciPy's signals ────────────────────────────────────────────────────────────────────────────────────────
def convolved(x: Any, y: Any, axes: Sequence[int]) -> Any:
    """All of a convolution along some axes, by transforms."""
    sizes = [x.shape[d] + y.shape[d] - 1 for d in axes]
    lengths = [next(m for m in range(n, 2 * n + 1) if not _has_factor_above_5(m)) for n in sizes]
    real = _is_real(_operand(x)) and _is_real(_operand(y))
    forward, back = ("rfftn", "irfftn") if real else ("fftn", "ifftn")
    spectrum = TRANSFORMS[forward](x, lengths, axes) * TRANSFORMS[forward](y, lengths, axes)
    found = TRANSFORMS[back](spectrum, lengths, axes)
    for d, n in zip(axes, sizes, strict=True):
        found = _cut(found, d, slice(n))
    return found


@lru_cache(maxsize=1024)
def _has_factor_above_5(n: int) -> bool:
    for r in (2, 3, 5):
        while n % r == 0 and n > 1:
            n //= r
    return n > 1


def hilbert(x: Any, N: Any = None, axis: int = -1) -> Any:
    """scipy.signal.hilbert: the analytic signal"""
    if not _is_real(_operand(x)):
        raise ValueError(f"scipy.signal.hilbert takes real numbers{at_line()}; take z.real")
    spectrum = fft(x, N, axis)
    n = spectrum.shape[axis]
    weights = np.zeros(n)
    weights[0] = 1
    weights[1 : (n + 1) // 2] = 2
    if n % 2 == 0:
        weights[n // 2] = 1
    d = normalize_axis_index(axis, spectrum.ndim)
    return ifft(spectrum * _along(weights.astype(spectrum.real.dtype), d, spectrum.ndim), axis=axis)
