"""What stands for an array from outside while a function is recorded, to see whether the function looks into it.

It is not an array itself: NumPy, Python and code in C can reach the elements only by asking it, and every such question
is noted. Recorded operations take it as the array that it stands for.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_GEOMETRY = "dtype flags itemsize nbytes ndim shape size strides"
# Functions and methods whose result is a view, or tells nothing of the elements.
_VIEWS = "reshape transpose ravel swapaxes squeeze"
_OF_GEOMETRY = frozenset([np.shape, np.ndim, np.size, np.result_type, np.zeros_like, np.ones_like, np.empty_like])
_OF_VIEWS = frozenset([
    np.reshape, np.transpose, np.ravel, np.swapaxes, np.squeeze, np.expand_dims, np.moveaxis, np.atleast_1d,
    np.atleast_2d, np.broadcast_to,
])  # fmt: skip
_CONVERSIONS = "__bool__ __int__ __float__ __complex__ __repr__ __str__ __format__ __contains__ __reduce_ex__"


_now: list["Watched"] = []  # those that have been put in place


class Watched(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for an array, or for a view of it."""

    __slots__ = ("_array", "_note")
    __hash__ = None  # type: ignore[assignment]
    base = None
    T = property(lambda self: self.after(np.transpose))

    def __init__(self, array: np.ndarray, note: Callable[[], None]) -> None:
        self._array, self._note = array, note

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return np.ndarray

    @property
    def array(self) -> np.ndarray:
        """The array, for something that does not look at its elements now."""
        return self._array

    def seen(self) -> np.ndarray:
        """The array, for something that may look at its elements now."""
        self._note()
        return self._array

    def after(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function(array)`: watched if it shows the same memory."""
        found = function(self._array, *args, **kwargs)
        if type(found) is np.ndarray and found.ndim and np.may_share_memory(found, self._array):
            return Watched(found, self._note)
        self._note()
        return found

    # ── NumPy's protocols ────────────────────────────────────────────────────────────────────────────────────
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.seen(), dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if any(map(_has_own_ufuncs, (*inputs, *out))):
            return NotImplemented
        given = {"out": tuple(map(_seen, out))} if out else {}
        found = getattr(ufunc, method)(*map(_seen, inputs), **given, **{k: _seen(v) for k, v in options.items()})
        return out[0] if len(out) == 1 else found

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(kind is not Watched and kind is not np.ndarray for kind in types):
            return NotImplemented
        if function in _OF_GEOMETRY:
            return function(*_mapped(args, unwatched), **_mapped(kwargs, unwatched))
        if function in _OF_VIEWS and args and type(args[0]) is Watched:
            return args[0].after(function, *args[1:], **kwargs)
        return function(*_mapped(args, _seen), **_mapped(kwargs, _seen))

    # ── elements ─────────────────────────────────────────────────────────────────────────────────────────────
    def __getitem__(self, key: Any) -> Any:
        return self.after(operator.getitem, _mapped(key, _seen))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.seen()[_mapped(key, _seen)] = _seen(value)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __index__(self) -> int:
        return operator.index(self.seen())

    def __copy__(self) -> np.ndarray:
        return self.seen().copy()

    def __deepcopy__(self, memo: Any) -> np.ndarray:
        return self.seen().copy()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._array, name)
        self._note()
        return found


@contextmanager
def all_watched(found: Iterable[Watched]) -> Iterator[None]:
    """Within, these have been put in place."""
    _now.extend(found)
    try:
        yield
    finally:
        _now.clear()


def are_watched() -> bool:
    """Whether some have been put in place."""
    return bool(_now)


def _forwarded(name: str) -> Callable[..., Any]:
    def call(self: Watched, *args: Any) -> Any:
        return getattr(self.seen(), name)(*args)

    return call


def _viewing(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def call(self: Watched, *args: Any, **kwargs: Any) -> Any:
        return self.after(function, *args, **kwargs)

    return call


for _name in _GEOMETRY.split():
    setattr(Watched, _name, property(operator.attrgetter(f"_array.{_name}")))
for _name in _VIEWS.split():
    setattr(Watched, _name, _viewing(_name))
for _name in _CONVERSIONS.split():
    setattr(Watched, _name, _forwarded(_name))


def look_into(arrays: Iterable[np.ndarray]) -> None:
    """Note that the recording holds the elements of these arrays."""
    for array in arrays:
        for watched in _now:
            if np.may_share_memory(array, watched._array):
                watched._note()


def _seen(x: Any) -> Any:
    return x.seen() if type(x) is Watched else x


def unwatched(x: Any) -> Any:
    """The array behind a `Watched`, for something that does not look at its elements now; other things as they are."""
    return x._array if type(x) is Watched else x


def _mapped(x: Any, function: Callable[[Any], Any]) -> Any:
    """Containers with the function applied to everything in them."""
    if type(x) in (list, tuple):
        return type(x)([_mapped(y, function) for y in x])
    return {k: _mapped(v, function) for k, v in x.items()} if type(x) is dict else function(x)


def _has_own_ufuncs(x: Any) -> bool:
    own = getattr(type(x), "__array_ufunc__", None)
    return own is not None and own is not np.ndarray.__array_ufunc__ and type(x) is not Watched
