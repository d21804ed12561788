"""Tables of plain numbers in which a function looks up by a recorded whole number: `inputs[int(t / dt)]`.

A plain array or list asks an index what number it is, which makes a path for each number that it can be. Where a
function has such paths, it is recorded once more with stand-ins in the places that it can reach: buffers for arrays,
and lists that take recorded indices, so that a lookup is a row; and `int` that keeps a recorded number recorded.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, SupportsIndex

import numpy as np

from fastad.recording.buffers import Buffer
from fastad.recording.capture import OutsideState
from fastad.recording.recorded import Recorded
from fastad.recording.standins import ABSENT, placed

_NUMBERS = frozenset([int, float])


class Lookups:
    """The places from which a function can take tables."""

    def __init__(self, function: Callable[..., Any]) -> None:
        state = OutsideState((function,))
        self._changes = [
            (holder, name, value, standin)
            for holder, name, value in state.held_values
            if (standin := _standin(value)) is not None
        ]
        self.any_tables = bool(self._changes)
        self._changes += [(space, name, ABSENT, _Int) for space, name, value in state.builtins if value is int]

    def in_place(self) -> AbstractContextManager[None]:
        """Within, tables take recorded indices."""
        return placed(self._changes)


def _standin(value: Any) -> Any:
    """What stands for a table; None for other values."""
    if type(value) is np.ndarray:
        return value.view(Buffer) if value.ndim and value.dtype.kind in "biuf" else None
    if type(value) in (list, tuple) and value and _NUMBERS.issuperset(map(type, value)):
        return (_List if type(value) is list else _Tuple)(value)
    if type(value) is tuple:  # the defaults of a function, or what a partial function holds
        found = [_standin(x) for x in value]
        if any(x is not None for x in found):
            return tuple([old if new is None else new for old, new in zip(value, found, strict=True)])
    return None


def _looked_up(numbers: Any, key: Recorded) -> Any:
    return np.asarray(list(numbers), like=key)[key]


class _List(list[Any]):
    """Stands for a list of numbers."""

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        return _looked_up(self, key) if isinstance(key, Recorded) else super().__getitem__(key)


class _Tuple(tuple[Any, ...]):
    """Stands for a tuple of numbers."""

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        return _looked_up(self, key) if isinstance(key, Recorded) else super().__getitem__(key)


class _Ints(type):
    """The type of what stands for `int`."""

    dtype = np.dtype(int)  # so that NumPy takes it for the dtype that it takes `int` for

    def __call__(cls, /, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], Recorded) and args[0].size == 1:
            return np.trunc(args[0]).astype(int).reshape(())
        return int(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, int)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return issubclass(subclass, int)

    def __getattr__(cls, name: str) -> Any:
        return getattr(int, name)


class _Int(metaclass=_Ints):
    """Stands for `int`."""
