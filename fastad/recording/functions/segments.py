"""Methods of ufuncs that take indices: `reduceat` over segments, and `at` at places that may be repeated.

What they read and write depends on the indices alone. They are plain, or get a guard.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.buffers import target_of
from fastad.recording.dispatch import UFUNC_METHODS, UFUNCS
from fastad.recording.functions.registry import Array, axis_index, implements_ufunc, lift, pick
from fastad.recording.geometry import reshape
from fastad.recording.operands import as_recorded, is_recorded, path_value, recorder_of
from fastad.recording.recorded import Recorded


def _reduceat(name: str) -> Callable[..., Array]:
    """Each segment starts at an index and ends before the next one; it is a single element where that is no larger."""

    def reduceat(array: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Array:
        recorder = recorder_of((array, indices))
        x = as_recorded(array, recorder)
        x = x if dtype is None else x.astype(dtype)
        axis = axis_index(axis, x.ndim)
        starts, n = path_value(indices, recorder), x.shape[axis]
        if starts.dtype.kind not in "iu":
            raise TypeError("Cannot cast array data to dtype('int64') according to the rule 'safe'")
        for start in starts[(starts < 0) | (starts >= n)]:
            raise IndexError(f"index {start} out-of-bounds in {name}.reduceat [0, {n})")
        return _over_segments(name, x, starts, axis)

    return reduceat


def _over_segments(name: str, x: Array, starts: np.ndarray, axis: int) -> Array:
    """Segments of equal lengths are reduced at once."""
    ends = np.append(starts[1:], x.shape[axis])
    lengths = np.where(starts < ends, ends - starts, 1)
    parts, order = [], []
    for length in np.unique(lengths).tolist():
        own = np.flatnonzero(lengths == length)
        read = pick(x, (starts[own, None] + np.arange(length)).reshape(-1), axis)
        read = reshape(read, (*x.shape[:axis], len(own), length, *x.shape[axis + 1 :]))
        parts.append(UFUNC_METHODS[f"{name}.reduce"](read, axis=axis + 1))
        order.append(own)
    if not parts:
        return UFUNC_METHODS[f"{name}.reduce"](pick(x, starts, axis)[..., None], axis=-1)
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)
    return joined if len(parts) == 1 else pick(joined, np.argsort(np.concatenate(order)), axis)


def _at(name: str) -> Callable[..., None]:
    """y = ufunc(y, b) at one place after another, where y has been changed before if the place is repeated."""

    def at(a: Any, indices: Any, *more: Any) -> None:
        x = target_of(a, f"np.{name}.at of a recorded value")
        found = np.arange(x.size).reshape(x.shape)[_plain_index(indices, x.recorder)]
        places = np.reshape(found, -1)
        others = [np.reshape(np.broadcast_to(lift(x, b)[1], found.shape), -1) for b in more]
        if f"{name}.reduceat" in UFUNC_METHODS:
            order = np.argsort(places, kind="stable")
            places, starts = np.unique(places[order], return_index=True)
            if len(places):
                others = [_over_segments(name, pick(b, order, 0), starts, 0) for b in others]
            _changed(name, x, places, others)
            return
        for turn in _turns(places):
            _changed(name, x, places[turn], [pick(b, turn, 0) for b in others])

    return at


def _plain_index(indices: Any, recorder: Any) -> Any:
    if isinstance(indices, tuple):
        return tuple(_plain_index(k, recorder) for k in indices)
    return path_value(indices, recorder) if is_recorded(indices) else indices


def _turns(places: np.ndarray) -> list[np.ndarray]:
    """The positions of first occurrences, of second ones, and so on."""
    order = np.argsort(places, kind="stable")
    _, first, counts = np.unique(places[order], return_index=True, return_counts=True)
    turn = np.empty(len(places), int)
    turn[order] = np.arange(len(places)) - np.repeat(first, counts)
    return [np.flatnonzero(turn == k) for k in range(counts.max(initial=0))]


def _changed(name: str, x: Array, places: np.ndarray, others: list[Any]) -> None:
    if not len(places):
        return
    at = np.unravel_index(places, x.shape)
    found = UFUNCS[name](x[at], *others)
    if isinstance(found, Recorded) and not np.can_cast(found.dtype, x.dtype, "same_kind"):
        raise TypeError(f"Cannot cast ufunc '{name}' output from {found.dtype!r} to {x.dtype!r} with casting rule "
                        "'same_kind'")  # fmt: skip
    x[at] = found


for _method in [method for method in UFUNC_METHODS if method.endswith(".reduce")]:
    _name = _method.removesuffix(".reduce")
    implements_ufunc(f"{_name}.reduceat")(_reduceat(_name))
for _name in list(UFUNCS):
    _ufunc = getattr(np, _name, None)
    if (
        isinstance(_ufunc, np.ufunc) and _ufunc.signature is None and _ufunc.nout == 1
        and f"{_name}.at" not in UFUNC_METHODS
    ):  # fmt: skip
        implements_ufunc(f"{_name}.at")(_at(_name))
