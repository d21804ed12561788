"""A second try of a recording that failed because a recorded value was written into a plain array.

The array may still be one that the function has made: by `data.copy()` or `2 * data` of an array from outside, or by
`np.ndarray(shape)`. No stand-in sees these. In the second try the arrays that the function refers to are buffers that
show the same memory, so that what NumPy makes of them are buffers, too. Objects of C code that have refused a recorded
value (factors of SciPy's) have others in their places.
"""

from collections.abc import Callable, Iterable
from types import BuiltinMethodType, ModuleType
from typing import Any, TypeVar

import numpy as np

from fastad.errors import RecordingError
from fastad.recording.buffers import Buffer, as_buffer
from fastad.recording.capture import OutsideState
from fastad.recording.recorded import Recorded
from fastad.recording.standins import placed

T = TypeVar("T")

_substitutes: dict[type, Callable[[Any], Any]] = {}  # for objects of other libraries, by their class


def substitute(kind: type, make: Callable[[Any], Any]) -> None:
    """Have `make(x)` stand in a second try for an object x of this class, and for a method of x in C."""
    _substitutes[kind] = make


def takes_plain_numbers_only(error: TypeError) -> bool:
    """Whether code in C has refused a recorded value."""
    return str(error).endswith(f"not {Recorded.__name__}")


def with_second_try(record: Callable[[], T], reached: Iterable[OutsideState]) -> T:
    """`record()`, again with buffers in the places that it can reach if it failed at a plain array."""
    try:
        return record()
    except RecordingError as error:
        places = [place for state in reached for place in state.held_values] if error.at_plain_array else []
        changes = [change for place in places if (change := (*place, _substitute(place[2])))[3] is not None]
        if not changes:
            raise
    with placed(changes):
        return record()


def _substitute(value: Any) -> Any:
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return value.view(Buffer)
    owner = value.__self__ if isinstance(value, BuiltinMethodType) else value
    if type(owner) in _substitutes:
        return _substitutes[type(owner)](value)
    return _NUMPY if value is np else _Array if value is np.ndarray else None


class _Arrays(type):
    """The type of what stands for the class np.ndarray."""

    def __call__(cls, shape: Any, dtype: Any = float, buffer: Any = None, *args: Any, **kwargs: Any) -> Any:
        if buffer is not None:
            return np.ndarray(shape, dtype, buffer, *args, **kwargs)
        return as_buffer(np.zeros(shape, dtype, kwargs.get("order", "C")))

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, np.ndarray)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return issubclass(subclass, np.ndarray)


class _Array(metaclass=_Arrays):
    """Stands for np.ndarray."""


class _Numpy(ModuleType):
    """Stands for NumPy, whose class `ndarray` cannot be replaced for everyone."""

    ndarray = _Array

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


_NUMPY = _Numpy("numpy")
