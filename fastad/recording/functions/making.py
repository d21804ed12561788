"""NumPy's constructors while a function is recorded: arrays of recorded values are recorded, others are buffers.

Calls from NumPy's own modules and from other libraries get what the original gives.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.buffer_operators import WRITING, made
from fastad.recording.buffers import Buffer, plain
from fastad.recording.dispatch import FUNCTIONS
from fastad.recording.functions.registry import to_list
from fastad.recording.libraries import in_library
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.operators import call_function
from fastad.recording.operators import create as create_array
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import open_recordings
from fastad.recording.repeated import repeated
from fastad.recording.standins import StandIn, stands_in
from fastad.recording.watched import Watched

# Constructors that take elements, and those that take a shape, ends of a range, or another array.
_OF_ELEMENTS = "array asarray asanyarray ascontiguousarray asfortranarray require full arange"
_OTHERS = (
    "zeros empty ones eye identity tri linspace logspace geomspace fromfunction indices meshgrid diag diagflat vander "
    "tril triu zeros_like empty_like ones_like full_like copy concatenate stack vstack hstack dstack column_stack "
    "block tile repeat outer"
)
_CONVERSIONS = frozenset([np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.require])
_SIMPLE = frozenset([Recorded, int, float, bool, str, type(None)])  # what hides no recorded values and no buffers
_COPIED = (np.ndarray, np.generic, list, tuple, float, int)
# What is left uninitialised would make a table that is different each time.
_CLEARED: dict[Any, Any] = {np.empty: np.zeros, np.empty_like: np.zeros_like}


class Constructor(StandIn):
    """Stands for a function that makes arrays."""

    def __init__(self, original: Callable[..., Any], of_elements: bool) -> None:
        super().__init__(original)
        self.of_elements = of_elements
        self.make = _CLEARED.get(original, original)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if not open_recordings():
            return self.original(*args, **kwargs)
        if in_library(sys._getframe(1).f_code):
            if args and type(args[0]) is Buffer:  # what has a twin must not be read past it
                args = (plain(args[0]), *args[1:])
            return self.original(*args, **kwargs)
        values = (*args, *kwargs.values())
        if is_recorded(values):
            if self.of_elements and _is_numeric(args, kwargs):
                return self._create(plain(args), plain(kwargs))
            if self.original in FUNCTIONS:  # NumPy's protocol does not see what lists hold
                return call_function(self.original, plain(args), plain(kwargs))
        if self.original in _CONVERSIONS and args and type(args[0]) is Watched:
            return args[0].after(self.original, *args[1:], **kwargs)
        result = self.make(*plain(args), **plain(kwargs))
        if self.original in _CONVERSIONS and args and not isinstance(args[0], _COPIED):
            return result  # which may show the memory of the object
        return made(result, (args, kwargs))


    def _create(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def create(*args: Any, **kwargs: Any) -> Any:
            return create_array(self.original, recorder_of((*args, *kwargs.values())), args, kwargs)

        if args and type(args[0]) in (list, tuple):
            return repeated(self.original, create, args, kwargs)
        return create(*args, **kwargs)


def _is_numeric(args: Any, kwargs: Any) -> bool:
    """Whether an array of numbers is asked for, not one of Python objects."""
    dtype = kwargs.get("dtype", args[1] if len(args) > 1 and isinstance(args[1], type | np.dtype) else None)
    return dtype is None or np.dtype(dtype) != object


class Function(StandIn):
    """Stands for a function of arrays: NumPy's protocol does not see recorded values in lists."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if (
            args and type(args[0]) is Recorded and _SIMPLE.issuperset(map(type, args))
            and (not kwargs or ("out" not in kwargs and _SIMPLE.issuperset(map(type, kwargs.values()))))
        ):  # fmt: skip
            return call_function(self.original, args, kwargs)
        if "out" in kwargs or not open_recordings() or in_library(sys._getframe(1).f_code):
            return self.original(*args, **kwargs)
        if not is_recorded((*args, *kwargs.values())):
            return self.original(*args, **kwargs)
        return call_function(self.original, plain(args), plain(kwargs))


class FromIter(Constructor):
    """Stands for np.fromiter, whose iterator can be read only once."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if not open_recordings() or in_library(sys._getframe(1).f_code):
            return self.original(*args, **kwargs)
        items = list(args[0])[: args[2] if len(args) > 2 and args[2] >= 0 else None]
        dtype = args[1] if len(args) > 1 else kwargs["dtype"]
        if is_recorded(items):
            return np.stack(to_list(items)).astype(dtype)
        return made(self.original(items, *args[1:], **kwargs), (args, kwargs))


class Strided(StandIn):
    """Stands for as_strided, whose result does not say whose memory it shows."""

    def __call__(
        self, /, x: Any, shape: Any = None, strides: Any = None, subok: bool = False, writeable: bool = True,
        **options: Any,
    ) -> Any:  # fmt: skip
        if isinstance(x, Recorded):  # its elements in an array of objects would have another size
            offset, own, steps = x.frame()
            steps = steps if strides is None else tuple(n // x.itemsize for n in strides)
            found = x.view((offset, own if shape is None else tuple(shape), steps), keep=True)
            return found if writeable else found.read_only()
        if type(x) is not Buffer or not open_recordings():
            return self.original(x, shape, strides, subok, writeable, **options)
        return made(self.original(np.ndarray.view(x, np.ndarray), shape, strides, writeable=writeable, **options), x)


class Indexed(StandIn):
    """Stands for an object that makes arrays when it is indexed."""

    def __getitem__(self, key: Any) -> Any:
        found = self.original[key]  # type: ignore[index]
        if not open_recordings() or in_library(sys._getframe(1).f_code):
            return found
        return as_recorded(found) if is_recorded(found) else made(found, ())


for _names, _kind in ((_OF_ELEMENTS, True), (_OTHERS, False)):
    for _name in _names.split():
        stands_in("numpy", _name, Constructor(getattr(np, _name), _kind))
# np.vectorize and np.r_ convert what they are given by names that their modules have bound.
for _conversion in (np.asarray, np.asanyarray):
    stands_in(np.vectorize.__call__.__module__, _conversion.__name__, Constructor(_conversion, True))
stands_in(type(np.r_).__getitem__.__module__, "array", Constructor(np.array, True))
for _name in ("mgrid", "ogrid", "r_", "c_"):
    stands_in("numpy", _name, Indexed(getattr(np, _name)))
stands_in("numpy.lib.stride_tricks", "as_strided", Strided(np.lib.stride_tricks.as_strided))
stands_in("numpy", "fromiter", FromIter(np.fromiter, True))


def stand_in_for_functions() -> None:
    """Have stand-ins for all functions that the other modules have registered, those that write apart."""
    others = {*_OF_ELEMENTS.split(), *_OTHERS.split(), *(function.__name__ for function in WRITING)}
    for module in (np, np.linalg):
        for function in FUNCTIONS:
            name = function.__name__
            if name not in others and vars(module).get(name) is function:
                stands_in(module.__name__, name, Function(getattr(module, name)))
