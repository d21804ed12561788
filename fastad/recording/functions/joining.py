"""Joining, repeating, rolling and padding arrays."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.primitives.regions import Region, contiguous_strides, region
from fastad.recording.casting import require_cast
from fastad.recording.functions.registry import Array, axis_index, axis_slice, constant, implements, lift, pick, to_list
from fastad.recording.geometry import reshape
from fastad.recording.operands import path_value, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error
from fastad.tables.builder import dtype_char

Shape = tuple[int, ...]


# ── joining ───────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.concatenate, "concat")
def concatenate(arrays: Any, axis: Any = 0, dtype: Any = None, casting: str = "same_kind") -> Array:
    """np.concatenate: one row that writes the pieces next to each other"""
    values = to_list(arrays)
    if axis is None:
        values, axis = [reshape(x, -1) for x in values], 0
    if any(x.ndim == 0 for x in values):
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    axis = axis_index(axis, values[0].ndim)
    shape = _joined_shape([x.shape for x in values], axis)
    strides = contiguous_strides(shape)
    regions, start = [], 0
    for x in values:
        regions.append(region(start * strides[axis], x.shape, strides))
        start += x.shape[axis]
    return _assembled(values, regions, shape, dtype, casting)


def _assembled(values: list[Array], regions: list[Region], shape: Shape, dtype: Any, casting: str) -> Array:
    """One row that writes values into their regions of a new array."""
    kind = np.result_type(*(x.dtype for x in values)) if dtype is None else np.dtype(dtype)
    if dtype is not None:
        for x in values:
            require_cast(x.dtype, kind, casting)
        values = [x.astype(kind) for x in values]
    refs, statics = [], []
    for x, own in zip(values, regions, strict=True):
        refs.append(x.ref)
        statics += [(len(own) - 1) // 2, *own]
    recorder = recorder_of(values)
    return Recorded(recorder, recorder.emit("assemble", refs, statics, shape, dtype_char(kind)))


def _joined_shape(shapes: list[Shape], axis: int) -> Shape:
    rule = "all the input array dimensions except for the concatenation axis must match exactly"
    first = shapes[0]
    for i, own in enumerate(shapes):
        if len(own) != len(first):
            raise ValueError(
                f"{rule}: the array at index 0 has {len(first)} dimension(s), the array at index {i} has {len(own)}"
            )
        for d, (m, n) in enumerate(zip(first, own, strict=True)):
            if d != axis and m != n:
                raise ValueError(
                    f"{rule}, but along dimension {d}, the array at index 0 has size {m} and the array at index {i} "
                    f"has size {n}"
                )
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """np.stack"""
    values = to_list(arrays)
    if any(x.shape != values[0].shape for x in values):
        raise ValueError("all input arrays must have the same shape")
    axis = axis_index(axis, values[0].ndim + 1)
    own = values[0].shape
    shape = (*own[:axis], len(values), *own[axis:])
    strides = contiguous_strides(shape)
    step, rest = strides[axis], (*strides[:axis], *strides[axis + 1 :])
    return _assembled(values, [region(k * step, own, rest) for k in range(len(values))], shape, dtype, casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """np.vstack"""
    return concatenate([np.atleast_2d(x) for x in to_list(tup)], 0, dtype, casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """np.hstack"""
    values = [np.atleast_1d(x) for x in to_list(tup)]
    return concatenate(values, 0 if values[0].ndim == 1 else 1, dtype, casting)


@implements(np.dstack)
def dstack(tup: Any) -> Array:
    """np.dstack"""
    return concatenate([np.atleast_3d(x) for x in to_list(tup)], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Array:
    """np.column_stack"""
    return concatenate([x if x.ndim > 1 else reshape(x, (x.size, 1)) for x in to_list(tup)], 1)


@implements(np.block)
def block(arrays: Any) -> Array:
    """np.block"""
    recorder_of((arrays,))
    depth = _depth(arrays)
    return _block(arrays, depth, max(depth, _block_ndim(arrays)))


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(x) for x in arrays}
    if not arrays:
        raise ValueError("List at arrays cannot be empty")
    if len(depths) > 1:
        raise ValueError("List depths are mismatched.")
    return depths.pop() + 1


def _block_ndim(arrays: Any) -> int:
    return max(_block_ndim(x) for x in arrays) if isinstance(arrays, list) else np.ndim(arrays)


def _block(arrays: Any, depth: int, ndim: int) -> Any:
    if not isinstance(arrays, list):
        shape = np.shape(arrays)
        return np.reshape(arrays, (1,) * (ndim - len(shape)) + shape)
    parts = [_block(x, depth - 1, ndim) for x in arrays]
    return np.concatenate(parts, axis=-depth)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Array:
    """np.append"""
    return concatenate(lift(arr, values), axis)


# ── repeating ─────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.tile)
def tile(A: Any, reps: Any) -> Array:
    """np.tile: every axis is broadcast to (repetitions, own length), and the two are joined"""
    (x,) = lift(A)
    counts = tuple(int(n) for n in np.atleast_1d(reps))
    nd = max(x.ndim, len(counts))
    own = (1,) * (nd - x.ndim) + x.shape
    counts = (1,) * (nd - len(counts)) + counts
    spread = reshape(x, tuple(m for n in own for m in (1, n)))
    full: Any = np.broadcast_to(spread, tuple(m for c, n in zip(counts, own) for m in (c, n)))
    return reshape(full, tuple(c * n for c, n in zip(counts, own))).copy()


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Array:
    """np.repeat; recorded numbers of repetitions get a guard"""
    x, *_ = lift(a, repeats) if isinstance(repeats, Recorded) else lift(a)
    repeats = path_value(repeats, x.recorder)
    if axis is None or not x.ndim:
        x, axis = reshape(x, -1), axis_index(axis or 0, 1)
    axis = axis_index(axis, x.ndim)
    if np.ndim(repeats) == 0 or np.size(repeats) == 1:
        count = int(np.reshape(repeats, ()))
        if count < 0:
            raise ValueError("repeats may not contain negative values.")
        shape = x.shape
        spread = reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
        full: Any = np.broadcast_to(spread, (*shape[: axis + 1], count, *shape[axis + 1 :]))
        return reshape(full, (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])).copy()
    return pick(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Array:
    """np.roll; recorded shifts get a guard"""
    (x,) = lift(a)
    if isinstance(shift, Recorded):
        shift = shift.recorder.guard(shift.ref)
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), x.shape)
    out = x.copy()
    for s, d in np.broadcast(shift, axis):
        d = axis_index(int(d), x.ndim)
        n = out.shape[d]
        k = int(s) % n if n else 0
        if k:
            out = concatenate([axis_slice(out, d, n - k), axis_slice(out, d, 0, n - k)], d)
    return out


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Array:
    """np.resize"""
    (x,) = lift(a)
    shape = tuple(np.atleast_1d(new_shape).tolist())
    total = math.prod(shape)
    if not x.size:
        return constant(x, np.zeros(shape, x.dtype))
    return reshape(pick(reshape(x, -1), np.arange(total) % x.size, 0), shape)


# ── padding ───────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Array:
    """np.pad with constants, with repeated, reflected or wrapped elements, with ramps and statistics"""
    (x,) = lift(array)
    if isinstance(pad_width, dict):
        pad_width = [pad_width.get(d, pad_width.get(d - x.ndim, (0, 0))) for d in range(x.ndim)]
        pad_width = [(w, w) if np.ndim(w) == 0 else w for w in pad_width]
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    if any(n < 0 for pair in widths for n in pair):
        raise ValueError("index can't contain negative values")
    if mode == "constant":
        return _pad_constant(x, widths, options.get("constant_values", 0))
    if mode in ("linear_ramp", *_STATISTICS):
        return _pad_by_edges(x, widths, mode, **options)
    if mode not in ("edge", "reflect", "symmetric", "wrap", "empty") or options.get("reflect_type", "even") != "even":
        given = ", ".join(f"{name}={value!r}" for name, value in {"mode": mode, **options}.items())
        raise recording_error(
            f"np.pad with {given} is not supported on recorded values",
            "Use a mode of np.pad by name, and reflect_type=\"even\".",
        )
    for d, (before, after) in enumerate(widths):
        if before or after:
            index = np.pad(np.arange(x.shape[d]), (before, after), mode="edge" if mode == "empty" else mode)
            x = pick(x, index, d)
    return x


def _pad_constant(x: Array, widths: list[list[int]], values: Any) -> Array:
    if not isinstance(values, Recorded) and np.ndim(values) == 0:
        shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths))
        out = constant(x, np.full(shape, values, x.dtype))
        out[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths))] = x
        return out
    if not isinstance(values, Recorded):
        values = np.broadcast_to(np.asarray(values, object if _is_nested(values) else None), (x.ndim, 2))
    else:
        values = np.broadcast_to(values, (x.ndim, 2))
    for d, (before, after) in enumerate(widths):
        first = _filled(x, d, before, values[d, 0])
        last = _filled(x, d, after, values[d, 1])
        x = concatenate([first, x, last], d, x.dtype, "unsafe")
    return x


_STATISTICS = ("mean", "median", np.maximum.__name__, np.minimum.__name__)


def _pad_by_edges(x: Array, widths: list[list[int]], mode: str, stat_length: Any = None, end_values: Any = 0) -> Array:
    """Ramps from given values to the edges, or a statistic of the elements at either edge, one axis after another."""
    lengths = np.broadcast_to(np.asarray([stat_length]), (x.ndim, 2))
    ends = np.broadcast_to(np.asarray(end_values), (x.ndim, 2))
    for d, (before, after) in enumerate(widths):
        n, sides = x.shape[d], []
        for side, width in enumerate((before, after)):
            if mode == "linear_ramp":
                edge = axis_slice(x, d, n - 1 if side else 0, n if side else 1)
                share = np.arange(width)[:: -1 if side else 1].reshape([-1] + [1] * (x.ndim - d - 1)) / max(width, 1)
                sides.append(ends[d, side] + (edge - ends[d, side]) * share)
            else:
                taken = n if lengths[d, side] is None else min(int(lengths[d, side]), n)
                read = axis_slice(x, d, n - taken if side else 0, n if side else taken)
                value = getattr(np, mode.removesuffix("imum"))(read, axis=d, keepdims=True)
                sides.append(np.broadcast_to(value, (*x.shape[:d], width, *x.shape[d + 1 :])))
        x = concatenate([sides[0], x, sides[1]], d, x.dtype, "unsafe")
    return x


def _is_nested(values: Any) -> bool:
    from fastad.recording.operands import is_recorded

    return is_recorded(values)


def _filled(x: Array, axis: int, n: int, value: Any) -> Any:
    shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
    (value,) = lift(value) if isinstance(value, Recorded) else (constant(x, np.asarray(value, x.dtype)),)
    return np.broadcast_to(value, shape)


@implements(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Array:
    """np.fft.fftshift"""
    return _by_halves(lift(x)[0], axes, lambda n: n // 2)


@implements(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Array:
    """np.fft.ifftshift"""
    return _by_halves(lift(x)[0], axes, lambda n: -(n // 2))


def _by_halves(x: Array, axes: Any, shift: Callable[[int], int]) -> Array:
    axes = tuple(range(x.ndim)) if axes is None else tuple(np.atleast_1d(axes).tolist())
    return np.roll(x, [shift(x.shape[k]) for k in axes], axes)
