"""Reductions and scans: sums, products, extrema and their cumulative forms, as NumPy defines them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.primitives.regions import contiguous_strides, region
from fastad.recording.dispatch import UFUNCS
from fastad.recording.elementwise import elementwise
from fastad.recording.functions.registry import (
    Array,
    along,
    axis_index,
    axis_set,
    axis_slice,
    constant,
    implements,
    implements_ufunc,
    lift,
)
from fastad.recording.geometry import reshape
from fastad.recording.operands import is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line

NO_VALUE = np._NoValue  # what NumPy passes for an option that the caller left out


def adjacent(x: Array, axes: tuple[int, ...]) -> tuple[Array, int]:
    """(x with the given axes joined into one, the position of that axis)."""
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        kept = [d for d in range(x.ndim) if d not in axes]
        x = np.transpose(x, [*kept, *axes])
        axes = tuple(range(len(kept), x.ndim))
    shape = x.shape
    n = math.prod(shape[d] for d in axes)
    return reshape(x, (*shape[: axes[0]], n, *shape[axes[-1] + 1 :])), axes[0]


def _kept(x: Array, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: Any) -> Array:
    if not keepdims or keepdims is NO_VALUE:
        return x
    return reshape(x, tuple(1 if d in axes else n for d, n in enumerate(shape)))


def _masked(x: Array, where: Any, neutral: Any) -> Array:
    if where is True or where is NO_VALUE:
        return x
    mask = lift(x, where)[1] if is_recorded(where) else np.asarray(where)
    if mask.dtype.kind != "b":
        raise TypeError(f"where must be an array of truth values{at_line()}, not of dtype {mask.dtype}")
    return np.where(mask, x, neutral)


def _given(value: Any) -> bool:
    return value is not None and value is not NO_VALUE


# ── sums and products ─────────────────────────────────────────────────────────────────────────────────────────
@implements(np.sum)
def sum_(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Array:
    """np.sum"""
    (x,) = lift(a)
    axes = axis_set(axis, x.ndim)
    x = _masked(x, where, 0) if dtype is None else _masked(x.astype(dtype), where, 0)
    total = _add_up(x, axes)
    total = total if dtype is None else total.astype(dtype)  # rows add up narrow integers as int64
    out = _kept(total, x.shape, axes, keepdims)
    return out + initial if _given(initial) else out


def _add_up(x: Array, axes: tuple[int, ...]) -> Array:
    """The sum over axes, one group of neighbouring axes after another, so that nothing is transposed."""
    if not axes:
        return x * 1
    while axes:
        first = len(axes) - 1
        while first and axes[first - 1] == axes[first] - 1:
            first -= 1
        joined, place = adjacent(x, axes[first:])
        x, axes = along("sum", joined, place, reduce=True), axes[:first]
    return x


@implements(np.prod)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Array:
    """np.prod, by a tree of products: the derivative is also right where factors are zero"""
    (x,) = lift(a)
    axes = axis_set(axis, x.ndim)
    x = _masked(x, where, 1) if dtype is None else _masked(x.astype(dtype), where, 1)
    x = _total(x) if dtype is None else x
    out = _kept(_tree(x, axes, np.multiply, 1), x.shape, axes, keepdims)
    return out * initial if _given(initial) else out


def _total(x: Array) -> Array:
    """What totals are of: NumPy's are as wide as int64 for truth values and narrow integers."""
    return x.astype(int) if x.dtype.kind in "iub" else x


def _tree(x: Array, axes: tuple[int, ...], combine: Callable[[Any, Any], Any], neutral: Any) -> Array:
    """Combine the elements along axes pairwise."""
    if not axes:
        return x.copy()
    x, place = adjacent(x, axes)
    if not x.shape[place]:
        shape = x.shape[:place] + x.shape[place + 1 :]
        return constant(x, np.full(shape, neutral, x.dtype))
    while (n := x.shape[place]) > 1:
        half = n // 2
        pairs = combine(axis_slice(x, place, 0, half), axis_slice(x, place, half, 2 * half))
        x = np.concatenate([pairs, axis_slice(x, place, 2 * half, n)], axis=place) if n % 2 else pairs
    return reshape(x, x.shape[:place] + x.shape[place + 1 :])


# ── extrema ───────────────────────────────────────────────────────────────────────────────────────────────────
def _extremum(name: str, combine: str, neutral: float) -> Callable[..., Array]:
    def reduce(
        a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True, dtype: Any = None
    ) -> Array:
        (x,) = lift(a)
        axes = axis_set(axis, x.ndim)
        if where is not True and where is not NO_VALUE:
            if not _given(initial):
                raise ValueError(
                    f"reduction operation '{combine}' does not have an identity, "
                    "so to use a where mask one has to specify 'initial'"
                )
            x = _masked(x, where, initial)
        if 0 in (x.shape[d] for d in axes):
            if not _given(initial):
                raise ValueError(f"zero-size array to reduction operation {combine} which has no identity")
            shape = tuple(n for d, n in enumerate(x.shape) if d not in axes)
            found = constant(x, np.full(shape, neutral, x.dtype if x.dtype.kind == "f" else float))
        elif not axes:
            found = x.copy()
        else:
            joined, place = adjacent(x, axes)
            found = along(name, joined, place, reduce=True)
        found = _kept(found, x.shape, axes, keepdims)
        return UFUNCS[combine](found, initial) if _given(initial) else found

    return reduce


amax = _extremum("amax", "maximum", -math.inf)
amin = _extremum("amin", "minimum", math.inf)
implements(np.max, np.amax)(amax)
implements(np.min, np.amin)(amin)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, keepdims: Any = False) -> Array:
    """np.ptp"""
    return amax(a, axis, keepdims) - amin(a, axis, keepdims)


def _position(name: str, worst: float) -> Callable[..., Array]:
    def find(a: Any, axis: Any = None, keepdims: Any = False) -> Array:
        (x,) = lift(a)
        own = x.shape
        axes = tuple(range(x.ndim)) if axis is None else (axis_index(axis, x.ndim),)
        x = reshape(x, -1) if axis is None else x
        place = 0 if axis is None else axes[0]
        if not x.shape[place]:
            raise ValueError(f"attempt to get {name} of an empty sequence")
        return _kept(along(name, x, place, reduce=True), own, axes, keepdims)

    return find


argmax, argmin = _position("argmax", -math.inf), _position("argmin", math.inf)
implements(np.argmax)(argmax)
implements(np.argmin)(argmin)


# ── truth values ──────────────────────────────────────────────────────────────────────────────────────────────
def _truth(x: Array) -> Array:
    return x if x.dtype == bool else elementwise("not_equal", x, 0)


@implements(np.all)
def all_(a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, dtype: Any = None) -> Array:
    """np.all"""
    (x,) = lift(a)
    failed = sum_(elementwise("logical_not", _truth(_masked(_truth(x), where, True))), axis, keepdims=keepdims)
    return elementwise("equal", failed, 0)


@implements(np.any)
def any_(a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, dtype: Any = None) -> Array:
    """np.any"""
    return elementwise(
        "not_equal", count_nonzero(_masked(_truth(lift(a)[0]), where, False), axis, keepdims=keepdims), 0
    )


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Array:
    """np.count_nonzero"""
    return sum_(_truth(lift(a)[0]), axis, keepdims=keepdims)


def _along_first(function: Callable[..., Array]) -> Callable[..., Array]:
    """The function with axis 0 as its default, as methods of ufuncs have it."""
    return lambda a, axis=0, dtype=None, **options: (
        function(a, axis, **options) if dtype is None else function(lift(a)[0].astype(dtype), axis, **options)
    )


for _name, _function in (
    ("add", sum_), ("multiply", prod), ("maximum", amax), ("minimum", amin), ("logical_and", all_), ("logical_or", any_)
):  # fmt: skip
    implements_ufunc(f"{_name}.reduce")(_along_first(_function))


# ── scans ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _flat_if(x: Array, axis: Any) -> tuple[Array, int]:
    if axis is None:
        return reshape(x, -1), 0
    return x, axis_index(axis, x.ndim)


@implements(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None) -> Array:
    """np.cumsum"""
    x, place = _flat_if(lift(a)[0] if dtype is None else lift(a)[0].astype(dtype), axis)
    return along("cumsum", x, place, 0)


@implements(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None) -> Array:
    """np.cumprod, as the recurrence z_k = x_k z_{k-1}"""
    x, place = _flat_if(lift(a)[0] if dtype is None else lift(a)[0].astype(dtype), axis)
    x = _total(x) if dtype is None else x
    # The first factor is the inhomogeneity, since x_0 z_{-1} = inf * 0 would be NaN for an infinite x_0.
    start, rest = axis_slice(x, place, 0, 1), axis_slice(x, place, 1)
    return along("linrec", _placed(rest, x.shape, place, 1), place, 0, operands=[_placed(start, x.shape, place, 0)])


def _placed(x: Array, shape: tuple[int, ...], axis: int, start: int) -> Array:
    """Zeros of this shape with x written at `start` along the axis."""
    strides = contiguous_strides(shape)
    own = region(start * strides[axis], x.shape, strides)
    statics = ((len(own) - 1) // 2, *own)
    return Recorded(x.recorder, x.recorder.emit("assemble", (x.ref,), statics, shape))


@implements_ufunc("add.accumulate")
def _add_accumulate(a: Any, axis: int = 0, dtype: Any = None) -> Array:
    return cumsum(a, axis, dtype)


@implements_ufunc("multiply.accumulate")
def _multiply_accumulate(a: Any, axis: int = 0, dtype: Any = None) -> Array:
    return cumprod(a, axis, dtype)


def _doubling(combine: str) -> Callable[..., Array]:
    """Accumulation by an associative function in log2(n) steps (Hillis & Steele 1986, Data parallel algorithms)."""

    def accumulate(a: Any, axis: int = 0, dtype: Any = None) -> Array:
        (x,) = lift(a)
        axis = axis_index(axis, x.ndim)
        n, step = x.shape[axis], 1
        while step < n:
            later = UFUNCS[combine](axis_slice(x, axis, step), axis_slice(x, axis, 0, n - step))
            x = np.concatenate([axis_slice(x, axis, 0, step), later], axis=axis)
            step *= 2
        return x.copy()

    return accumulate


for _name in ("maximum", "minimum", "fmax", "fmin", "logaddexp", "logaddexp2", "hypot", "logical_and", "logical_or"):
    implements_ufunc(f"{_name}.accumulate")(_doubling(_name))


def _folding(combine: str, neutral: Any) -> Callable[..., Array]:
    def reduce(
        a: Any, axis: Any = 0, dtype: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
    ) -> Array:
        (x,) = lift(a)
        axes = axis_set(axis, x.ndim)
        if neutral is None and 0 in (x.shape[d] for d in axes):
            raise ValueError(f"zero-size array to reduction operation {combine} which has no identity")
        x = _masked(x, where, neutral)
        out = _kept(_tree(x, axes, UFUNCS[combine], neutral), x.shape, axes, keepdims)
        return UFUNCS[combine](out, initial) if _given(initial) else out

    return reduce


for _name, _neutral in (
    ("fmax", None),
    ("fmin", None),
    ("logaddexp", -math.inf),
    ("logaddexp2", -math.inf),
    ("hypot", 0.0),
):
    implements_ufunc(f"{_name}.reduce")(_folding(_name, _neutral))


@implements("cumulative_sum")
def cumulative_sum(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Array:
    """np.cumulative_sum"""
    return _cumulative(cumsum, 0, x, axis, dtype, include_initial)


@implements("cumulative_prod")
def cumulative_prod(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Array:
    """np.cumulative_prod"""
    return _cumulative(cumprod, 1, x, axis, dtype, include_initial)


def _cumulative(scan: Any, first: int, x: Any, axis: Any, dtype: Any, include_initial: bool) -> Array:
    (x,) = lift(x)
    if x.ndim == 0:
        raise ValueError("Input arrays must be at least one dimensional, but input is 0 dimensional.")
    if axis is None:
        if x.ndim > 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = 0
    out = scan(x, axis, dtype)
    if not include_initial:
        return out
    shape = tuple(1 if d == axis_index(axis, x.ndim) else n for d, n in enumerate(x.shape))
    return np.concatenate([constant(x, np.full(shape, first, out.dtype)), out], axis=axis)
