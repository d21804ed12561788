"""Which objects hold nothing but attributes, and the names of those in slots."""

import functools
import types
from collections import deque
from typing import Any

import numpy as np

_BUILT_IN = (list, tuple, dict, set, frozenset, deque, int, float, str, bytes, np.ndarray)
_HEAP_TYPE = 1 << 9  # the bit of `type.__flags__` of classes that were made at run time


@functools.lru_cache(maxsize=4096)
def is_plain(kind: type) -> bool:
    """Whether instances of a class hold nothing but attributes: all else is a state in C, which takes room."""
    if kind is types.SimpleNamespace:
        return True
    fields = len(all_slots(kind))
    fields += sum(bool(offset) for offset in (kind.__dictoffset__, kind.__weakrefoffset__))
    heap = all(base.__flags__ & _HEAP_TYPE for base in kind.__mro__[:-1])
    return heap and not kind.__itemsize__ and kind.__basicsize__ <= object.__basicsize__ + 8 * fields


@functools.lru_cache(maxsize=4096)
def is_users(kind: type) -> bool:
    """Whether instances of a class hold nothing but attributes, and are not fastad's own."""
    return is_plain(kind) and not str(kind.__module__).startswith("fastad.")  # of Cython's it is a descriptor


@functools.lru_cache(maxsize=4096)
def extends_built_in(kind: type[Any]) -> bool:
    """Whether instances of a class have the value of a built-in one, and attributes."""
    return issubclass(kind, _BUILT_IN) and kind not in _BUILT_IN


@functools.lru_cache(maxsize=4096)
def all_slots(kind: type) -> tuple[str, ...]:
    """The names of attributes in slots, of a class and those that it inherits from."""
    return tuple([name for base in kind.__mro__ for name in _slot_names(base)])


def _slot_names(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    found = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(_mangled(kind, name) for name in found if name not in ("__dict__", "__weakref__"))


def _mangled(kind: type, name: str) -> str:
    """The name that Python gives a private attribute of a class."""
    private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if private else name
