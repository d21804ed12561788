"""Functions that SciPy writes in Python, on recorded values, under their own names: they would convert these to plain
arrays. Each module's stand-ins are registered once the user has imported it."""

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import RecordingError
from fastad.recording.alternatives import refused_by
from fastad.recording.functions import fourier, scipy_linalg, special
from fastad.recording.functions.registry import where_recorded
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.recorder import open_recordings, recording_error
from fastad.recording.source import at_line
from fastad.recording.standins import StandIn, stands_in, stands_in_for_method, when_imported


class SciPyFunction(StandIn):
    """Stands for a function of arrays."""

    def __init__(self, original: Callable[..., Any], recorded: Callable[..., Any]) -> None:
        super().__init__(original)
        self.recorded = recorded

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        own = self.recorded if open_recordings() and is_recorded(given) else self.original
        return own(*args, **kwargs)


def register(module: str, functions: dict[str, Callable[..., Any]]) -> None:
    """Have these functions stand for those of a module that has been imported, where they exist."""
    for name, recorded in functions.items():
        original = getattr(sys.modules[module], name, None)
        if original is not None:
            stands_in(module, name, SciPyFunction(original, recorded))


# ── scipy.special and scipy.signal ────────────────────────────────────────────────────────────────────────────
def _of_special() -> None:
    names = ("logsumexp", "softmax", "log_softmax", "polygamma", "multigammaln")
    register("scipy.special", {name: getattr(special, name) for name in names})


_FEW = 64  # elements of the smaller array up to which convolutions are computed directly


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """scipy.signal.convolve, directly or, where both arrays are large, by Fourier transforms"""
    require_one_of("mode", mode, ("full", "same", "valid"))
    require_one_of("method", method, ("auto", "direct", "fft"))
    x, y = as_arrays(in1, in2)
    if x.ndim != y.ndim:
        raise ValueError("in1 and in2 should have the same dimensionality")
    if not x.ndim:
        return x * y
    if mode == "valid" and any(n < m for n, m in zip(x.shape, y.shape, strict=True)):
        x, y = y, x
        if any(n < m for n, m in zip(x.shape, y.shape, strict=True)):
            raise ValueError(
                f"with mode='valid' one array must be at least as large as the other along every axis{at_line()}; "
                f"their shapes are {y.shape} and {x.shape}"
            )
    if method == "fft" or (method == "auto" and min(x.size, y.size) >= _FEW):
        full = fourier.convolved(x, y)
    else:
        full = _correlated(np.pad(x, [(m - 1, m - 1) for m in y.shape]), np.flip(y))
    if mode == "full":
        return full
    wanted = x.shape if mode == "same" else tuple(n - m + 1 for n, m in zip(x.shape, y.shape, strict=True))
    start = [(n - k) // 2 for n, k in zip(full.shape, wanted, strict=True)]
    return full[tuple(slice(s, s + k) for s, k in zip(start, wanted, strict=True))]


def require_one_of(name: str, given: Any, known: Collection[Any]) -> None:
    """Raise ValueError for another value of an option."""
    if given not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}{at_line()}, not {given!r}")


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """scipy.signal.correlate"""
    x, y = as_arrays(in1, in2)
    return convolve(x, np.conj(np.flip(y)), mode, method)


def _correlated(x: Any, weights: Any) -> Any:
    """Σ weights · the windows of x of that shape."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weights.shape)
    axes = tuple(range(-weights.ndim, 0))
    return np.tensordot(windows, weights, axes=(axes, tuple(range(weights.ndim))))


_PADDING: dict[Any, Any] = {
    "reflect": "symmetric", "mirror": "reflect", "nearest": "edge", "wrap": "wrap", "grid-wrap": "wrap",
    "grid-mirror": "symmetric",
}  # fmt: skip


def filtered(name: str, turned: bool) -> Callable[..., Any]:
    """scipy.ndimage.correlate; with `turned`, scipy.ndimage.convolve."""

    def of_image(input: Any, weights: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0,
                 **axes: Any) -> Any:  # fmt: skip
        x, w = as_arrays(input, weights)
        if output is not None or np.any(np.asarray(origin) != 0) or axes.get("axes") is not None:
            raise recording_error(
                f"{name} with output=, origin= or axes= is not supported on recorded values", "Leave it out."
            )
        w = np.flip(w) if turned else w
        room: Any = [((m - 1) // 2, m // 2)[:: 1 if turned else -1] for m in w.shape]
        if mode in ("constant", "grid-constant"):
            return _correlated(np.pad(x, room, constant_values=cval), w)
        require_one_of("mode", mode, ("constant", "grid-constant", *_PADDING))
        return _correlated(np.pad(x, room, mode=_PADDING[mode]), w)

    return of_image


def _of_signal() -> None:
    register("scipy.signal", {"convolve": convolve, "correlate": correlate, "fftconvolve": _with_mode(convolve),
                          "oaconvolve": _with_mode(convolve), "hilbert": fourier.hilbert})  # fmt: skip


def _of_fourier() -> None:
    register("scipy.fft", {name: fourier.of_scipy(name) for name in fourier.NAMES})


def _with_mode(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda in1, in2, mode="full": f(in1, in2, mode)


def _of_images() -> None:
    names = {"correlate": False, "convolve": True}
    register("scipy.ndimage", {name: filtered(f"scipy.ndimage.{name}", turned) for name, turned in names.items()})


def _of_linalg() -> None:
    register("scipy.linalg", scipy_linalg.OF_LINALG)


def as_arrays(*arrays: Any) -> Any:
    """The arrays as recorded values in the innermost of their recorders."""
    recorder = recorder_of(arrays)
    return [as_recorded(x, recorder) for x in arrays]


# ── scipy.integrate and scipy.interpolate ─────────────────────────────────────────────────────────────────────
def _samples(y: Any, x: Any, dx: Any, axis: int) -> tuple[Any, Any]:
    """Samples along the last axis, and the steps between them."""
    y = np.moveaxis(as_arrays(y, x, dx)[0] if x is not None else as_arrays(y, dx)[0], axis, -1)
    if x is None:
        return y, dx * np.ones(y.shape[-1] - 1)
    x = x if np.ndim(x) == 1 else np.moveaxis(x, axis, -1)
    if np.shape(x)[-1] != y.shape[-1]:
        raise ValueError(f"x has {np.shape(x)[-1]} points along the axis, y has {y.shape[-1]} samples")
    return y, np.diff(x)


def cumulative_trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, initial: Any = None) -> Any:
    """scipy.integrate.cumulative_trapezoid"""
    y, steps = _samples(y, x, dx, axis)
    found = np.cumsum(steps * (y[..., 1:] + y[..., :-1]) / 2.0, axis=-1)
    if initial is not None:
        if initial != 0:
            raise ValueError("`initial` must be `None` or `0`.")
        found = np.concatenate([np.zeros((*found.shape[:-1], 1)), found], axis=-1)
    return np.moveaxis(found, -1, axis)


def simpson(y: Any, x: Any = None, *, dx: Any = 1.0, axis: int = -1) -> Any:
    """scipy.integrate.simpson, with Cartwright's correction (2017) for the last step of an odd number"""
    y, steps = _samples(y, x, dx, axis)
    n = steps.shape[-1]
    if n < 2:
        return np.sum(steps * (y[..., 1:] + y[..., :-1]) / 2.0, axis=-1)
    end = n - n % 2
    p, q = steps[..., 0:end:2], steps[..., 1:end:2]
    first, middle, last = y[..., 0:end:2], y[..., 1:end:2], y[..., 2 : end + 1 : 2]
    found = (p + q) / 6.0 * (first * (2.0 - q / p) + middle * (p + q) ** 2 / (p * q) + last * (2.0 - p / q))
    total = np.sum(found, axis=-1)
    if n == end:
        return total
    p, q = steps[..., -2], steps[..., -1]
    total = total + y[..., -1] * (2.0 * q**2 + 3.0 * p * q) / (6.0 * (p + q))
    return total + y[..., -2] * (q**2 + 3.0 * p * q) / (6.0 * p) - y[..., -3] * q**3 / (6.0 * p * (p + q))


def _of_integrate() -> None:
    trapezoid = lambda y, x=None, dx=1.0, axis=-1: np.trapezoid(y, x, dx, axis)
    rules = {"trapezoid": trapezoid, "simpson": simpson, "cumulative_trapezoid": cumulative_trapezoid}
    register("scipy.integrate", rules)


def _of_interpolate() -> None:
    from fastad.recording.functions import grids, interpolation, splines  # which few want

    interpolation.register()
    module = sys.modules["scipy.interpolate"]
    register("scipy.interpolate", {
        "splev": interpolation.splev, "interpn": grids.interpn(module), "splrep": splines.splrep(module, module.splrep),
        "make_interp_spline": splines.make_interp_spline(module, module.make_interp_spline),
    })  # fmt: skip


# ── scipy.stats ───────────────────────────────────────────────────────────────────────────────────────────────
def _method(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    from fastad.recording.functions import distributions

    def called(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        known = distributions.of(self)
        own = distributions.method(known, name)
        if own is None:
            return original(self, x, *args, **kwargs)  # which says that it cannot be recorded
        recorder = recorder_of((x, *args, *kwargs.values()))
        shapes, loc, scale = self._parse_args(*args, **kwargs)
        try:
            found = own(as_recorded(x, recorder) * 1.0, [as_recorded(s, recorder) * 1.0 for s in shapes], loc, scale)
        except (AttributeError, TypeError) as error:
            if isinstance(error, RecordingError) or known.name in distributions.DISTRIBUTIONS:
                raise
            raise refused_by(f"scipy.stats.{known.name}.{name}") from error  # in a formula of SciPy's
        numbers = (int, float, np.number)  # of which is known whether they are allowed
        given = [s if isinstance(s, numbers) else as_recorded(s, recorder) for s in (*shapes, scale)]
        defined = known.is_defined(given[:-1], given[-1])
        return found if defined is True else found * np.where(defined, 1.0, np.nan)  # the derivatives are NaN too

    return where_recorded(original, called)


def _of_stats() -> None:
    from fastad.recording.functions import distributions  # which takes time to import, and is wanted by few

    stats = sys.modules["scipy.stats"]
    for kind, names in (
        (stats.rv_continuous, "logpdf pdf cdf logcdf sf logsf ppf isf"),
        (stats.rv_discrete, "logpmf pmf cdf logcdf sf logsf"),
    ):  # fmt: skip
        for name in names.split():
            stands_in_for_method(kind, name, _method(name, vars(kind)[name]))
    for single, logarithm in (
        (stats.multivariate_normal, distributions.multivariate_normal), (stats.dirichlet, distributions.dirichlet),
    ):  # fmt: skip
        kind = type(single)
        for name in ("logpdf", "pdf", "__call__"):
            stands_in_for_method(kind, name, _of_many(vars(kind)[name], getattr(_Many(logarithm), name)))


@dataclass(frozen=True)
class _Many:
    """A distribution of vectors, some of whose parameters may be given before the point is."""

    logarithm: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> "_Many":
        return _Many(lambda x: self.logarithm(x, *args, **kwargs))

    def logpdf(self, *args: Any, **kwargs: Any) -> Any:
        return self.logarithm(*args, **kwargs)

    def pdf(self, *args: Any, **kwargs: Any) -> Any:
        return np.exp(self.logarithm(*args, **kwargs))


def _of_many(original: Callable[..., Any], recorded: Callable[..., Any]) -> Callable[..., Any]:
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        return recorded(*args, **{name: x for name, x in kwargs.items() if name not in ("allow_singular", "seed")})

    return where_recorded(original, called)


for _module, _register in (
    ("scipy.special", _of_special), ("scipy.signal", _of_signal), ("scipy.fft", _of_fourier),
    ("scipy.ndimage", _of_images), ("scipy.stats", _of_stats), ("scipy.linalg", _of_linalg),
    ("scipy.integrate", _of_integrate), ("scipy.interpolate", _of_interpolate),
):  # fmt: skip
    when_imported(_module, _register)
