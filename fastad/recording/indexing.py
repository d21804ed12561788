"""Indexing of recorded arrays, for reading and writing: slices, integer arrays and masks, static or recorded."""

import math
from typing import Any

import numpy as np
from numpy import moveaxis as numpy_moveaxis
from numpy import transpose as numpy_transpose

from fastad.primitives.regions import contiguous_strides
from fastad.recording.blocks import block_numbers, blocks_of, write_blocks
from fastad.recording.casting import require_integers
from fastad.recording.elementwise import broadcast_ref, elementwise
from fastad.recording.geometry import copied, reframe
from fastad.recording.operands import as_recorded, is_recorded, path_value, recorder_of, to_ref
from fastad.recording.recorded import Frame, Recorded
from fastad.recording.recorder import Recorder, recording_error
from fastad.recording.repeated import repeated
from fastad.recording.source import at_line
from fastad.tables.columns import DTYPES

Shape = tuple[int, ...]
_BASIC = (slice, int, np.integer)


def getitem(x: Recorded, key: Any) -> Recorded:
    """x[key]"""
    if type(key) is int and x._base is None and not x._pending and type(x) is Recorded:
        recorder = x._recorder
        shape = recorder.kinds[recorder.types[x._ref]].shape
        if len(shape) == 1 and -shape[0] <= key < shape[0] and recorder.open:
            return Recorded(recorder, recorder.read(x._ref, (key if key >= 0 else key + shape[0], 1, 1), ()))
    keys = key if isinstance(key, tuple) else (key,)
    frame = _common(x.frame(), keys)
    if frame is not None:
        return x.part(frame)
    if _is_basic(keys):
        return _basic(x, keys)
    if _is_truth(keys):
        x, keys = x[None], _one_or_none(x, keys[0])
    if any(_is_mask(k) for k in keys):
        keys = _masks_to_indices(x, keys)
    return repeated(getitem, _advanced, (x, keys), {}, True)


def _advanced(x: Recorded, keys: tuple[Any, ...]) -> Recorded:
    """x[keys] with integer arrays"""
    view, indices, place = _split(x, keys)
    return _moved(_take(view, indices), place, _index_ndim(indices))


def setitem(x: Recorded, key: Any, value: Any) -> None:
    """x[key] = value"""
    keys = key if isinstance(key, tuple) else (key,)
    frame = x.frame() if key is Ellipsis else _common(x.frame(), keys)
    if frame is not None:
        if not (type(value) is Recorded and value._frame == frame and x.holds(value)):
            x.write(frame, _value_ref(x, value, frame[1]))
    elif len(keys) == 1 and _is_mask(keys[0]) and np.shape(keys[0]) == x.shape and _fits_mask(value):
        new = elementwise("where", keys[0], Recorded(x.recorder, _value_ref(x, value, ())), x)
        x.write(x.frame(), new.ref)
    elif _is_basic(keys):
        target = _subframe(x.frame(), keys)
        x.write(target, _value_ref(x, value, target[1]))
    else:
        if _is_truth(keys):
            x, keys = x[None], _one_or_none(x, keys[0])
        if any(_is_mask(k) for k in keys):
            keys = _masks_to_indices(x, keys)
        _scatter(x, keys, value)


def _fits_mask(value: Any) -> bool:
    return np.ndim(value) == 0 if not isinstance(value, Recorded) else value.ndim == 0


# ── basic ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _is_basic(keys: tuple[Any, ...]) -> bool:
    plain = [k for k in keys if k is not None and k is not Ellipsis]
    return all(isinstance(k, _BASIC) and not isinstance(k, bool | Recorded) for k in plain)


def _basic(x: Recorded, keys: tuple[Any, ...]) -> Recorded:
    return x.view(_subframe(x.frame(), keys), keep=any(k is Ellipsis for k in keys))


def _common(frame: Frame, keys: tuple[Any, ...]) -> Frame | None:
    """The frame of x[keys] in the common case that all keys are Python integers and slices; else None."""
    offset, shape, strides = frame
    kept, steps = [], []
    d = 0
    for k in keys:
        if d == len(shape):
            return None
        n, s = shape[d], strides[d]
        d += 1
        if type(k) is int:
            if not -n <= k < n:
                return None
            offset += (k if k >= 0 else k + n) * s
        elif type(k) is slice:
            start, stop, step = k.indices(n)
            count = max(stop - start, 0) if step == 1 else len(range(start, stop, step))
            if count:
                offset += start * s
            kept.append(count)
            steps.append(s * step)
        else:
            return None
    return offset, (*kept, *shape[d:]), (*steps, *strides[d:])


def _subframe(frame: Frame, keys: tuple[Any, ...]) -> Frame:
    """The frame of x[keys], given that of x."""
    offset, shape, strides = frame
    free = len(shape) - sum(k is not None and k is not Ellipsis for k in keys)
    if free < 0:
        raise IndexError(
            f"too many indices for array: array is {len(shape)}-dimensional, but {len(shape) - free} were indexed"
        )
    if sum(k is Ellipsis for k in keys) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    dims: list[tuple[int, int]] = []
    d = 0
    for k in keys:
        if k is None:
            dims.append((1, 0))
            continue
        if k is Ellipsis:
            dims.extend(zip(shape[d : d + free], strides[d : d + free], strict=True))
            d += free
            continue
        n, s = shape[d], strides[d]
        d += 1
        if isinstance(k, slice):
            start, stop, step = k.indices(n)
            count = len(range(start, stop, step))
            offset += start * s if count else 0
            dims.append((count, s * step))
        elif -n <= k < n:
            offset += int(k if k >= 0 else k + n) * s
        else:
            raise IndexError(f"index {k} is out of bounds for axis {d - 1} with size {n}")
    dims.extend(zip(shape[d:], strides[d:], strict=True))
    return offset, tuple(n for n, _ in dims), tuple(s for _, s in dims)


def _value_ref(x: Recorded, value: Any, shape: Shape) -> int:
    """The row of a value to be written into x, with x's dtype and the target's shape."""
    recorder = x.recorder
    if type(value) is Recorded and value._recorder is recorder:
        ref = value.ref
        if recorder.kinds[recorder.types[ref]] == (shape, recorder.kinds[recorder.types[x._ref]].dtype):
            return ref
    elif type(value) is float and recorder.builder.dtype(x._ref) == "d":
        return broadcast_ref(recorder, recorder.number(value), shape)
    other = value.recorder if isinstance(value, Recorded) else None
    if other is not None and other.level > recorder.level:
        raise recording_error(
            "a value recorded by an inner function is written into an array of an outer function",
            "Return it from the inner function, and write it outside.",
        )
    ref = to_ref(recorder, value)
    own, char = recorder.builder.type(ref)
    wanted = recorder.builder.dtype(x._ref)
    if own == shape and char == wanted:
        return ref
    if DTYPES[wanted].kind in "iu" and DTYPES[char].kind not in "iu":
        require_integers(value)
    while len(own) > len(shape) and own[0] == 1:
        own = own[1:]
    if len(own) > len(shape) or any(n not in (1, m) for n, m in zip(own[::-1], shape[::-1], strict=False)):
        raise ValueError(f"could not broadcast input array from shape {own} into shape {shape}")
    ref = recorder.convert(recorder.builder.reshape(ref, own), wanted)
    return broadcast_ref(recorder, ref, shape)


# ── integer arrays ────────────────────────────────────────────────────────────────────────────────────────────
def _is_mask(k: Any) -> bool:
    if isinstance(k, Recorded | np.ndarray):
        return k.dtype == bool
    return isinstance(k, bool | np.bool_) or (isinstance(k, list) and len(k) > 0 and isinstance(k[0], bool | np.bool_))


def _is_truth(keys: tuple[Any, ...]) -> bool:
    """Whether the key is one truth value, which selects all of the array or nothing."""
    return len(keys) == 1 and _is_mask(keys[0]) and np.ndim(keys[0]) == 0


def _one_or_none(x: Recorded, key: Any) -> tuple[np.ndarray]:
    """The indices into x[None] for a truth value as the key of x."""
    return (np.flatnonzero(path_value(key, x.recorder)),)


def _masks_to_indices(x: Recorded, keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Boolean masks as integer arrays. A recorded mask gets a guard, because the shape of the result depends on it."""
    out: list[Any] = []
    for k in keys:
        if _is_mask(k):
            mask, indices = _indices_of(k, x.recorder)
            axis = sum(1 for j in out if j is not None and j is not Ellipsis)
            if Ellipsis not in out and mask.shape != x.shape[axis : axis + mask.ndim]:
                raise IndexError(f"a boolean index of shape {mask.shape} does not fit an array of shape {x.shape}")
            out.extend(indices)
        else:
            out.append(k)
    return tuple(out)


def _indices_of(mask: Any, recorder: Recorder) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The values of a mask, which are held, and where it is true."""
    values = path_value(mask, recorder)
    if type(mask) is not np.ndarray or not mask.ndim:
        return values, np.nonzero(values)
    ref = to_ref(recorder, mask)
    found = recorder.masks.get(ref)
    if found is None:
        found = recorder.masks[ref] = np.nonzero(values)
    return values, found


def _split(x: Recorded, keys: tuple[Any, ...]) -> tuple[Recorded, list[Any], int]:
    """Apply the slices of a mixed index. Returns the array with its indexed axes first, their indices, and the position
    where NumPy puts the new axes."""
    advanced = [not (k is None or k is Ellipsis or isinstance(k, slice)) for k in keys]
    used = sum(1 for k in keys if k is not None and k is not Ellipsis)
    if used > x.ndim:
        raise IndexError(f"too many indices for array: array is {x.ndim}-dimensional, but {used} were indexed")
    spread: list[Any] = []
    for k, adv in zip(keys, advanced, strict=True):
        if k is Ellipsis:
            spread.extend([(slice(None), False)] * (x.ndim - used))
        else:
            spread.append((k, adv))
    spread.extend([(slice(None), False)] * (x.ndim - sum(1 for k, _ in spread if k is not None)))
    view = _basic(x, tuple(slice(None) if adv else k for k, adv in spread))
    axes = [i for i, (_, adv) in enumerate(spread) if adv]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    order = (*axes, *(i for i in range(view.ndim) if i not in axes))
    front = reframe(view, numpy_transpose, order)
    return front, [k for k, adv in spread if adv], axes[0] if adjacent else 0


def _index_ndim(indices: list[Any]) -> int:
    return max(k.ndim if isinstance(k, Recorded) else np.ndim(k) for k in indices)


def _flat_index(x: Recorded, indices: list[Any], strides: Shape) -> Any:
    """Indices of the first axes of x times their strides, summed; bounds are checked at every replay."""
    if not any(is_recorded(k) or (isinstance(k, np.ndarray) and k.size > 1) for k in indices):
        wrapped = [_wrapped(np.asarray(k), n) for k, n in zip(indices, x.shape, strict=False)]
        return sum(k * s for k, s in zip(wrapped, strides, strict=True))
    total: Any = None
    recorder = recorder_of((x, *indices))  # of a loop's body, say, that indexes an array of the function around it
    for k, n, s in zip(indices, x.shape, strides, strict=False):
        index = as_recorded(k if isinstance(k, Recorded | np.ndarray) else np.asarray(k), recorder)
        if index.dtype.kind not in "iu":
            raise _no_integer(index)
        ref = index.recorder.emit("wrap_index", (index.ref,), (n,), index.shape)
        blocks = Recorded(index.recorder, ref) if s == 1 else Recorded(index.recorder, ref) * s
        total = blocks if total is None else blocks + total
    return total


def _no_integer(k: Any) -> IndexError:
    fix = "use int(k), or k.astype(int)"
    if k.dtype.kind in "US":
        fix = "an array has no columns with names; a table of pandas is passed as a dict {name: table[name].to_numpy()}"
    return IndexError(f"indices of arrays must be of integer type{at_line()}; {fix}")


def _wrapped(k: np.ndarray, n: int) -> np.ndarray:
    if k.dtype.kind not in "iu" and k.size:
        raise _no_integer(k)
    k = k.astype(np.int64)
    if k.size and (k.min() < -n or k.max() >= n):
        raise IndexError(f"index {k.min() if k.min() < -n else k.max()} is out of bounds for axis of size {n}")
    return np.where(k < 0, k + n, k)


def _take(x: Recorded, indices: list[Any]) -> Recorded:
    count = len(indices)
    shape = (*np.broadcast_shapes(*map(_shape, indices)), *x.shape[count:])
    if 2 * math.prod(shape) < x.size and x.frame()[2] != contiguous_strides(x.shape):  # the rest is not copied
        blocks = blocks_of(x, count)
        source, index = x.root, _flat_index(x, indices, blocks.steps)
        return _gathered(copied(source), block_numbers(x.recorder, blocks, index), blocks.size, shape)
    index = _flat_index(x, indices, contiguous_strides(x.shape[:count]))
    return _gathered(copied(x), index, math.prod(x.shape[count:]), shape)


def _gathered(x: Recorded, index: Any, inner: int, shape: Shape) -> Recorded:
    """Blocks of x of so many elements."""
    if isinstance(index, Recorded):
        recorder, ref = index.recorder, index.ref
    else:
        recorder, ref = x.recorder, x.recorder.const(index)
    return Recorded(recorder, recorder.emit("gather", (to_ref(recorder, x), ref), (inner,), shape))


def _moved(x: Recorded, place: int, count: int) -> Recorded:
    """Move the first `count` axes to `place`."""
    if place == 0 or count == 0:
        return x
    return reframe(x, numpy_moveaxis, range(count), range(place, place + count))


def _scatter(x: Recorded, keys: tuple[Any, ...], value: Any) -> None:
    """Write at integer-array indices. Where an index is repeated the last value counts, as in NumPy."""
    _write_at("put_blocks", *_aligned(x, keys, value))


def _write_at(name: str, view: Recorded, indices: list[Any], values: Recorded) -> None:
    blocks = blocks_of(view, len(indices))
    places = _flat_index(view, indices, blocks.steps)
    if values.size:
        write_blocks(name, view, blocks, places, values)


def _aligned(x: Recorded, keys: tuple[Any, ...], value: Any) -> tuple[Recorded, list[Any], Recorded]:
    """x with its indexed axes first; their indices; the values in the order of these."""
    view, indices, place = _split(x, keys)
    count = _index_ndim(indices)
    rest = view.shape[len(indices) :]
    target = (*rest[:place], *np.broadcast_shapes(*map(_shape, indices)), *rest[place:])
    ref = _value_ref(x, value, target)
    ordered = reframe(Recorded(x.recorder, ref), numpy_moveaxis, range(place, place + count), range(count))
    return view, indices, ordered


def _shape(k: Any) -> Shape:
    return k.shape if isinstance(k, Recorded) else np.shape(k)


def accumulate(x: Recorded, key: Any, value: Any) -> None:
    """np.add.at(x, key, value): values at repeated indices are summed."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(_is_mask(k) for k in keys):
        keys = _masks_to_indices(x, keys)
    if _is_basic(keys):
        setitem(x, keys, elementwise("add", getitem(x, keys), value))
        return
    recorder = x.recorder
    if x.dtype.kind != "f" and as_recorded(value, recorder).dtype.kind == "f":
        raise recording_error(
            "floats are added at indices of an integer array, where NumPy truncates after every addition",
            "Use an array of floats, or integers.",
        )
    view, indices, values = _aligned(x, keys, value)
    if x.dtype == as_recorded(value, recorder).dtype or x.dtype.kind == "f":
        _write_at("add_blocks", view, indices, values)
    elif view.size and values.size:
        flat = _flat_index(view, indices, contiguous_strides(view.shape[: len(indices)]))
        index = to_ref(recorder, flat) if isinstance(flat, Recorded) else recorder.const(flat)
        inner = math.prod(view.shape[len(indices) :])
        added = recorder.emit("scatter_add", (values.ref, index), (inner,), view.shape)
        view.write(view.frame(), elementwise("add", view, Recorded(recorder, added)).ref)
