"""Choosing, writing, inserting and deleting elements. Conditions that shapes depend on get a guard."""

from typing import Any

import numpy as np

from fastad.primitives.regions import region
from fastad.recording.buffers import target_of
from fastad.recording.casting import require_cast, require_integers
from fastad.recording.elementwise import elementwise, result_char
from fastad.recording.functions.registry import Array, axis_index, constant, implements, lift, pick
from fastad.recording.geometry import reshape
from fastad.recording.operands import as_recorded, is_recorded, path_value, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error
from fastad.tables.builder import dtype_char


@implements(np.where)
def where(condition: Any, *branches: Any, **named: Any) -> Any:
    """np.where"""
    x, y = branches if branches else (named.get("x"), named.get("y"))
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    if not isinstance(condition, Recorded) or condition.dtype != bool:
        recorder = recorder_of((condition, x, y))
        condition = elementwise("not_equal", as_recorded(condition, recorder), 0)
    return elementwise("where", condition, x, y)


@implements(np.nonzero)
def nonzero(a: Any) -> tuple[np.ndarray, ...]:
    """np.nonzero: plain index arrays; which elements are zero gets a guard"""
    (x,) = lift(a)
    mask = x if x.dtype == bool else elementwise("not_equal", x, 0)
    return np.nonzero(path_value(mask, mask.recorder))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> np.ndarray:
    """np.flatnonzero"""
    return nonzero(reshape(lift(a)[0], -1))[0]


@implements(np.argwhere)
def argwhere(a: Any) -> np.ndarray:
    """np.argwhere"""
    (x,) = lift(a)
    return np.transpose(nonzero(x)) if x.ndim else np.argwhere(path_value(x != 0, x.recorder))


# ── taking ────────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Array:
    """np.take"""
    (x, *_) = lift(a, indices) if is_recorded(indices) else lift(a)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_index(axis, x.ndim))
    index: Any = as_recorded(indices) if is_recorded(indices) else np.asarray(indices)
    n = x.shape[axis]
    if mode == "wrap":
        index = index % n
    elif mode == "clip":
        index = np.clip(index, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    if isinstance(index, np.ndarray) and index.ndim == 0:
        index = int(index) if index.dtype.kind in "iu" else index
    return x[(slice(None),) * axis + (index,)]


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None) -> Array:
    """np.compress"""
    recorder = recorder_of((condition, a))
    mask = path_value(condition, recorder)
    if mask.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return take(lift(a)[0] if is_recorded(a) else as_recorded(a, recorder_of((condition,))), np.flatnonzero(mask), axis)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Array:
    """np.extract"""
    x = as_recorded(arr, recorder_of((condition, arr)))
    return take(reshape(x, -1), np.flatnonzero(path_value(condition, x.recorder)))


@implements(np.choose)
def choose(a: Any, choices: Any, mode: str = "raise") -> Array:
    """np.choose"""
    index, *options = lift(a, *choices)
    count = len(options)
    if mode == "raise":
        index = Recorded(index.recorder, index.recorder.emit("wrap_index", (index.ref,), (count,), index.shape))
    else:
        index = index % count if mode == "wrap" else np.clip(index, 0, count - 1)
    out = options[-1]
    for k in range(count - 2, -1, -1):
        out = np.where(index == k, options[k], out)
    return np.broadcast_to(out, np.broadcast_shapes(index.shape, *(x.shape for x in options))).copy()


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Array:
    """np.select"""
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError("list of cases must be same length as list of conditions")
    recorder = recorder_of((condlist, choicelist, default))
    out = as_recorded(default, recorder)
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        out = where(condition, choice, out)
    char = result_char([x if np.isscalar(x) or is_recorded(x) else np.asarray(x) for x in (*choicelist, default)])
    return Recorded(recorder, recorder.convert(out.ref, char))


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kwargs: Any) -> Array:
    """np.piecewise: each function gets only its own elements, so the conditions get guards"""
    (x,) = lift(x)
    listed = isinstance(condlist, list | tuple) and (np.ndim(condlist[0]) > 0 or x.ndim == 0)
    conditions = [path_value(c, x.recorder).astype(bool) for c in (condlist if listed else [condlist])]
    if len(funclist) == len(conditions) + 1:
        conditions.append(~np.any(conditions, axis=0))
    elif len(funclist) != len(conditions):
        n = len(conditions)
        raise ValueError(f"with {n} condition(s), either {n} or {n + 1} functions are expected")
    out = constant(x, np.zeros(x.shape, x.dtype))
    for condition, function in zip(conditions, funclist):
        if x.ndim == 0:
            if condition:
                out = (
                    function(x, *args, **kwargs) if callable(function) else constant(x, np.asarray(function, x.dtype))
                ) + x * 0
        elif condition.any():
            index = np.nonzero(condition)
            out[index] = function(x[index], *args, **kwargs) if callable(function) else function
    return out


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """np.copyto; an object array as target (from np.full of a recorded value) gets recorded scalars"""
    if isinstance(dst, np.ndarray) and dst.dtype == object and where is True:
        (x,) = lift(src)
        spread = np.broadcast_to(x, dst.shape)
        for place in np.ndindex(dst.shape):
            dst[place] = spread[place]
        return
    target = target_of(dst, "np.copyto of a recorded value")
    source = as_recorded(src, target.recorder) if not isinstance(src, Recorded) else src
    require_cast(source.dtype, target.dtype, casting)
    if where is True:
        target[...] = source
    else:
        target[...] = np.where(where, source, target)


@implements(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """np.put"""
    target = target_of(a, "np.put of a recorded value")
    index = ind if isinstance(ind, Recorded) else np.asarray(ind)
    if mode != "raise":
        index = index % target.size if mode == "wrap" else np.clip(index, 0, target.size - 1)
    flat = reshape(index, -1) if isinstance(index, Recorded) else index.reshape(-1)
    write_flat(target, flat, _repeated(v, flat.shape, target))


def _repeated(values: Any, shape: tuple[int, ...], target: Array) -> Any:
    """The values over and over, as an array of this shape, to be written into the target."""
    if target.dtype.kind in "iu":
        require_integers(values)
    return np.resize(values, shape)


def write_flat(target: Array, index: Any, values: Any) -> None:
    """target.flat[index] = values"""
    if not isinstance(index, Recorded):
        if index.size and (index.min() < -target.size or index.max() >= target.size):
            raise IndexError(f"an index is out of bounds for an array of size {target.size}")
        reshaped = target if target.ndim else target[None]
        reshaped[np.unravel_index(index % max(target.size, 1), reshaped.shape)] = values
        return
    flat = reshape(target, -1).frozen()
    flat[index] = values
    target[...] = reshape(flat, target.shape)


@implements(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    """np.place"""
    target = target_of(arr, "np.place of a recorded value")
    index = np.flatnonzero(path_value(mask, target.recorder))
    _require_safe(vals, target)
    if index.size:
        write_flat(target, index, _repeated(vals, index.shape, target))


def _require_safe(values: Any, target: Array) -> None:
    """The rule of np.place and np.putmask, which convert arrays only where nothing can be lost."""
    if isinstance(values, np.ndarray) or (isinstance(values, Recorded) and values.ndim):
        require_cast(values.dtype, target.dtype, "safe")


@implements(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    """np.putmask"""
    target = target_of(a, "np.putmask of a recorded value")
    _require_safe(values, target)
    target[...] = np.where(mask, _repeated(values, target.shape, target), target)


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """np.fill_diagonal"""
    x = target_of(a, "np.fill_diagonal of a recorded value")
    if x.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if x.ndim > 2 and len(set(x.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    if wrap:
        raise recording_error("np.fill_diagonal with wrap=True is not supported on recorded values", "Leave it out.")
    index = np.arange(min(x.shape))
    values = val if np.ndim(val) == 0 else np.resize(val, index.shape)
    x[(index,) * x.ndim] = values


# ── diagonals and triangles ───────────────────────────────────────────────────────────────────────────────────
@implements(np.diag)
def diag(v: Any, k: int = 0) -> Array:
    """np.diag"""
    (x,) = lift(v)
    if x.ndim == 1:
        n = x.size + abs(k)
        place = region(max(-k, 0) * n + max(k, 0), x.shape, (n + 1,))
        ref = x.recorder.emit("assemble", (x.ref,), (1, *place), (n, n), dtype_char(x.dtype))
        return Recorded(x.recorder, ref)
    if x.ndim != 2:
        raise ValueError("Input must be 1- or 2-d.")
    return np.diagonal(x, k)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Array:
    """np.diagflat"""
    return diag(reshape(lift(v)[0], -1), k)


def _triangle(x: Array, keep: Any) -> Array:
    return where(constant(x, keep), x, constant(x, np.zeros((), x.dtype)))


def _lower(x: Array, k: int) -> np.ndarray:
    """Mask of the lower triangle. A vector stands for a square matrix with this vector as every row."""
    rows, columns = (x.shape * 2)[-2:] if x.ndim == 1 else x.shape[-2:]
    return np.tri(rows, columns, k=k, dtype=np.bool_)


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Array:
    """np.tril"""
    (x,) = lift(m)
    return _triangle(x, _lower(x, k))


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Array:
    """np.triu"""
    (x,) = lift(m)
    return _triangle(x, ~_lower(x, k - 1))


# ── by place ──────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Array:
    """np.delete"""
    x, axis = _flat_or_axis(arr, axis)
    if not isinstance(obj, slice):
        obj = path_value(obj, x.recorder)
    return pick(x, np.delete(np.arange(x.shape[axis]), obj), axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Array:
    """np.insert; recorded positions get a guard"""
    recorder = recorder_of((arr, obj, values))
    x, axis = _flat_or_axis(as_recorded(arr, recorder), axis)
    obj = obj if isinstance(obj, slice) else path_value(obj, recorder)
    n = x.shape[axis]
    v: Any = as_recorded(values, recorder)
    v = v if v.dtype == x.dtype else v.astype(x.dtype)
    single = not isinstance(obj, slice) and np.ndim(obj) == 0
    v = reshape(v, (1,) * (x.ndim - v.ndim) + v.shape) if v.ndim < x.ndim else v
    if single and x.ndim > 1:  # as in NumPy: for a single position the first axis of values is the inserted one
        v = np.moveaxis(v, 0, axis)
    places = np.insert(np.arange(n), obj, np.full(v.shape[axis] if single else 1, -1))
    count = len(places) - n
    v = np.broadcast_to(v, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    order = np.insert(np.arange(n), obj, n + np.arange(count))
    return pick(np.concatenate([x, v], axis=axis), order, axis)


def _flat_or_axis(a: Any, axis: Any) -> tuple[Array, int]:
    (x,) = lift(a)
    return (reshape(x, -1), 0) if axis is None else (x, axis_index(axis, x.ndim))
