"""The functions of `math`, `cmath` and `statistics` on recorded scalars, while a function is recorded."""

import cmath
import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastad.recording.dispatch import UFUNCS, Function
from fastad.recording.functions.registry import Array
from fastad.recording.number_operators import plain_number
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import Number
from fastad.recording.recorder import open_recordings
from fastad.recording.source import at_line
from fastad.recording.standins import StandIn, stands_in

_PYTHON_NUMBERS = frozenset([Number, float, int, bool])


class ScalarFunction(StandIn):
    """Stands for a function of Python numbers, and takes recorded scalars too, whoever calls it."""

    def __init__(self, original: Callable[..., Any], recorded: Callable[..., Any]) -> None:
        super().__init__(original)
        self.recorded = recorded

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if open_recordings():
            if args and hasattr(args[0], "__next__"):  # it can be read only once
                args = (list(args[0]), *args[1:])
            if is_recorded((*args, *kwargs.values())):
                result = self.recorded(*args, **kwargs)
                return self._of_numbers(result, args) if set(map(type, args)) <= _PYTHON_NUMBERS else result
        return self.original(*args, **kwargs)

    def _of_numbers(self, result: Any, args: tuple[Any, ...]) -> Any:
        """The result as a number of Python's, which has no infinities but errors."""
        if isinstance(result, tuple):
            return tuple([self._of_numbers(x, args) for x in result])
        if result.dtype.kind == "b":
            return bool(result)
        is_defined = bool(np.isfinite(result)) or not all(map(math.isfinite, map(plain_number, args)))
        return Number(result.recorder, result.ref) if is_defined else self.original(*map(plain_number, args))


def _replaces(module: Any, *names: str) -> Callable[[Function], Function]:
    """Register what functions of a module do with recorded values. Not every Python release has all of them."""

    def register(implementation: Function) -> Function:
        for name in names:
            if hasattr(module, name):
                standin = ScalarFunction(getattr(module, name), implementation)
                stands_in(module.__name__, name, standin)
        return implementation

    return register


def _scalar(x: Any) -> Any:
    """A number as `math` sees it: without axes, in double precision."""
    if not isinstance(x, Recorded):
        return x
    if x.size != 1:
        raise TypeError(f"functions of math take one number, not an array{at_line()}; use NumPy's, such as np.exp")
    x = x.reshape(()) if x.shape else x
    return x.astype(np.float64) if x.dtype == np.float32 else x


def _vector(data: Iterable[Any], *others: Any) -> Array:
    """Numbers as one recorded array; they, or `others`, are recorded."""
    items = data if isinstance(data, Recorded) else list(data)
    return as_recorded(items, recorder_of((items, *others)))


# ── math ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _elementwise(name: str, ufunc: str) -> None:
    _replaces(math, name)(lambda *args: UFUNCS[ufunc](*map(_scalar, args)))


_SAME = (
    "sin cos tan sinh cosh tanh exp exp2 expm1 log1p log2 log10 sqrt cbrt degrees radians fabs copysign fmod isnan "
    "isinf isfinite ldexp modf erf erfc gamma"
)
_OTHERS = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "atan2": "arctan2", "pow": "float_power", "lgamma": "gammaln",
}  # fmt: skip
for _name, _ufunc in {**{name: name for name in _SAME.split()}, **_OTHERS}.items():
    _elementwise(_name, _ufunc)


@_replaces(math, "log")
def _log(x: Any, base: Any = None) -> Array:
    return np.log(_scalar(x)) if base is None else np.log(_scalar(x)) / np.log(_scalar(base))


@_replaces(math, "hypot")
def _hypot(*coordinates: Any) -> Array:
    values = [_scalar(x) for x in coordinates]
    return np.hypot(*values) if len(values) == 2 else np.linalg.norm(_vector(values))


@_replaces(math, "dist")
def _dist(p: Any, q: Any) -> Array:
    return _hypot(*(x - y for x, y in zip(p, q, strict=True)))


@_replaces(math, "remainder")
def _remainder(x: Any, y: Any) -> Array:
    x, y = _scalar(x), _scalar(y)
    return x - np.rint(x / y) * y


@_replaces(math, "isclose")
def _isclose(a: Any, b: Any, *, rel_tol: Any = 1e-9, abs_tol: Any = 0.0) -> Array:
    a, b = _scalar(a), _scalar(b)
    bound = np.maximum(rel_tol * np.maximum(np.abs(a), np.abs(b)), abs_tol)
    return np.logical_or(a == b, np.logical_and(np.abs(a - b) <= bound, np.isfinite(a - b)))


@_replaces(math, "fsum")
def _fsum(seq: Any) -> Array:
    return np.sum(_vector(seq))


@_replaces(math, "sumprod")
def _sumprod(p: Any, q: Any) -> Array:
    p, q = list(p), list(q)
    return np.dot(_vector(p, q), _vector(q, p))


@_replaces(math, "fma")
def _fma(x: Any, y: Any, z: Any) -> Array:
    return _scalar(x) * _scalar(y) + _scalar(z)


# ── statistics ────────────────────────────────────────────────────────────────────────────────────────────────
@_replaces(statistics, "mean")
def _mean(data: Any) -> Array:
    return np.mean(_vector(data))


@_replaces(statistics, "fmean")
def _fmean(data: Any, weights: Any = None) -> Array:
    return np.average(_vector(data, weights), weights=weights)


@_replaces(statistics, "geometric_mean")
def _geometric_mean(data: Any) -> Array:
    return np.exp(np.mean(np.log(_vector(data))))


@_replaces(statistics, "harmonic_mean")
def _harmonic_mean(data: Any, weights: Any = None) -> Array:
    return 1.0 / np.average(1.0 / _vector(data, weights), weights=weights)


@_replaces(statistics, "median")
def _median(data: Any) -> Array:
    return np.median(_vector(data))


def _spread(name: str, parameter: str, ddof: int, root: bool) -> None:
    def spread(data: Any, center: Any = None, **options: Any) -> Array:
        center = options.get(parameter, center)
        x = _vector(data, center)
        squares = (x - (np.mean(x) if center is None else center)) ** 2
        variance = np.sum(squares) / (x.size - ddof)
        return np.sqrt(variance) if root else variance

    _replaces(statistics, name)(spread)


_spread("variance", "xbar", 1, False)
_spread("pvariance", "mu", 0, False)
_spread("stdev", "xbar", 1, True)
_spread("pstdev", "mu", 0, True)


# ── cmath ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _complex(x: Any) -> Any:
    """A number as `cmath` sees it: real ones have an imaginary part, so that roots of negative ones are found."""
    if not is_recorded((x,)):
        return complex(x)
    if np.size(x) != 1:
        raise TypeError(f"functions of cmath take one number, not an array{at_line()}; use NumPy's, such as np.exp")
    z = x + 0j
    return z.reshape(()) if z.shape else z


def _elementwise_of_complex(name: str, ufunc: str) -> None:
    _replaces(cmath, name)(lambda z: getattr(np, ufunc)(_complex(z)))


_SAME = "sin cos tan sinh cosh tanh exp log10 sqrt isnan isinf isfinite"
_OTHERS = {"atan": "arctan", "atanh": "arctanh", "phase": "angle"}
for _name, _ufunc in {**{name: name for name in _SAME.split()}, **_OTHERS}.items():
    _elementwise_of_complex(_name, _ufunc)


@_replaces(cmath, "log")
def _complex_log(z: Any, base: Any = None) -> Any:
    found = np.log(_complex(z))
    return found if base is None else found / np.log(_complex(base))


@_replaces(cmath, "polar")
def _polar(z: Any) -> Any:
    z = _complex(z)
    return np.abs(z), np.angle(z)


@_replaces(cmath, "rect")
def _rect(r: Any, phi: Any) -> Any:
    return r * np.exp(1j * phi)


@_replaces(cmath, "isclose")
def _complex_isclose(a: Any, b: Any, *, rel_tol: Any = 1e-9, abs_tol: Any = 0.0) -> Any:
    bound = np.maximum(rel_tol * np.maximum(np.abs(a), np.abs(b)), abs_tol)
    return np.abs(a - b) <= bound
