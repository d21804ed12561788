"""Ufuncs without an elementwise row of their own, ufuncs on truth values and integers, and methods of ufuncs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording import indexing
from fastad.recording.buffers import target_of
from fastad.recording.dispatch import UFUNCS
from fastad.recording.elementwise import binary, elementwise, result_char
from fastad.recording.functions.registry import Array, implements_ufunc, lift
from fastad.recording.geometry import reshape
from fastad.recording.operands import is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error


def _is_bool(*operands: Any) -> bool:
    return all(
        x.dtype == bool if isinstance(x, Recorded | np.ndarray) else isinstance(x, bool | np.bool_) for x in operands
    )


def _is_integer(*operands: Any) -> bool:
    return all(
        x.dtype.kind in "iub" if isinstance(x, Recorded | np.ndarray) else isinstance(x, int | np.integer | np.bool_)
        for x in operands
    )


# ── truth values ──────────────────────────────────────────────────────────────────────────────────────────────
def _bitwise(name: str, logical: str) -> None:
    def implementation(*operands: Any) -> Array:
        if not _is_bool(*operands):
            raise recording_error(
                f"np.{name} is supported on truth values only",
                f"Use np.{logical} or comparisons for conditions. Bits of plain integers have no derivative: take them "
                "from an array that the function captures, not from an argument, or compute them before.",
            )
        return elementwise(logical, *operands)

    implements_ufunc(name)(implementation)


for _name, _logical in (("and", "logical_and"), ("or", "logical_or"), ("xor", "logical_xor")):
    _bitwise(f"bitwise_{_name}", _logical)


@implements_ufunc("invert")
def _invert(x: Any) -> Array:
    (x,) = lift(x)
    if x.dtype.kind == "f":
        raise TypeError("ufunc 'invert' not supported for the input types")
    return elementwise("logical_not", x) if x.dtype == bool else -1 - x


@implements_ufunc("left_shift")
def _left_shift(x: Any, n: Any) -> Array:
    return _shifted("left_shift", x, n, UFUNCS["multiply"])


@implements_ufunc("right_shift")
def _right_shift(x: Any, n: Any) -> Array:
    return _shifted("right_shift", x, n, UFUNCS["floor_divide"])


def _shifted(name: str, x: Any, n: Any, by_power: Callable[..., Any]) -> Array:
    """The bits of integers moved by n places: a product with 2ⁿ, or the floor of a quotient."""
    if not _is_integer(x, n):
        raise TypeError(f"ufunc '{name}' not supported for the input types")
    found = by_power(x, np.power(2, n))
    return Recorded(found.recorder, found.recorder.convert(found.ref, result_char((x, n))))


@implements_ufunc("positive")
def _positive(x: Any) -> Array:
    if _is_bool(x):
        raise TypeError("ufunc 'positive' did not contain a loop with signature matching types bool -> None")
    return lift(x)[0].frozen()


# ── other conventions ─────────────────────────────────────────────────────────────────────────────────────────
@implements_ufunc("conjugate")
def _conjugate(x: Any) -> Array:
    (x,) = lift(x)
    return x.astype(int) if x.dtype == bool else x.frozen()


@implements_ufunc("reciprocal")
def _reciprocal(x: Any) -> Array:
    return (1 / x).astype(np.promote_types(x.dtype, np.int8)) if _is_integer(x) else elementwise("reciprocal", x)


@implements_ufunc("power")
def _power(x: Any, y: Any) -> Array:
    if type(y) is float or (type(y) is int and y >= 0):
        return binary("power", x, y)
    if _is_integer(x, y) and bool(np.any(y < 0)):  # a guard, if y is recorded
        raise ValueError("Integers to negative integer powers are not allowed.")
    return elementwise("power", x, y)


def _as_float(x: Any) -> Any:
    (x,) = lift(x) if is_recorded(x) else (np.asarray(x, float)[()],)
    return x if x.dtype == float else x.astype(float)


@implements_ufunc("float_power")
def _float_power(x: Any, y: Any) -> Array:
    return elementwise("power", _as_float(x), _as_float(y))


def _of_floats(row: str) -> Callable[..., Array]:
    """An elementwise primitive that makes floats of integers."""
    return lambda *operands: elementwise(row, *(map(_as_float, operands) if _is_integer(*operands) else operands))


for _name, _row in (("fabs", "absolute"), ("heaviside", "heaviside"), ("rint", "rint")):
    implements_ufunc(_name)(_of_floats(_row))


def _rounding(name: str) -> None:
    """Register floor, ceil or trunc: integers are returned as they are."""
    implements_ufunc(name)(lambda x: lift(x)[0].frozen() if _is_integer(x) else elementwise(name, x))


for _name in ("floor", "ceil", "trunc"):
    _rounding(_name)


@implements_ufunc("divmod")
def _divmod(x: Any, y: Any) -> tuple[Recorded, Array]:
    return UFUNCS["floor_divide"](x, y), UFUNCS["remainder"](x, y)


@implements_ufunc("modf")
def _modf(x: Any) -> tuple[Recorded, Array]:
    (x,) = lift(_as_float(x) if _is_integer(x) else x)
    whole = elementwise("trunc", x)
    fraction = elementwise("where", np.isinf(x), 0.0, x - whole)
    return np.copysign(fraction, x), whole


@implements_ufunc("ldexp")
def _ldexp(x: Any, n: Any) -> Array:
    out = x * np.exp2(n * 1.0)
    return out.astype(x.dtype) if isinstance(x, Recorded) and x.dtype.kind == "f" else out


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────
def _outer(name: str) -> Callable[..., Any]:
    def outer(a: Any, b: Any, **options: Any) -> Any:
        x, y = lift(a, b)
        return UFUNCS[name](reshape(x, (*x.shape, *(1,) * y.ndim)), y)

    return outer


for _name in list(UFUNCS):
    if getattr(getattr(np, _name, None), "nin", 0) == 2 and getattr(np, _name).signature is None:
        implements_ufunc(f"{_name}.outer")(_outer(_name))


@implements_ufunc("add.at")
def _add_at(a: Any, indices: Any, b: Any) -> None:
    indexing.accumulate(target_of(a, "np.add.at of a recorded value"), indices, b)


@implements_ufunc("subtract.at")
def _subtract_at(a: Any, indices: Any, b: Any) -> None:
    indexing.accumulate(target_of(a, "np.subtract.at of a recorded value"), indices, np.subtract(0, b))
