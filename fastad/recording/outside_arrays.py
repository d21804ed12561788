"""Arrays that a function refers to: their elements at one moment, and where one array stands inside another."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


def owner_of(a: np.ndarray) -> np.ndarray:
    """The array whose memory this one is, or is a part of."""
    while isinstance(base := a.base, np.ndarray | _Memory):
        a = base.base if isinstance(base, _Memory) else base
    return a


def address(a: np.ndarray) -> int:
    """Address of the first element."""
    return int(a.__array_interface__["data"][0])


def layout(a: np.ndarray) -> tuple[Any, ...]:
    """What can be set of an array that a walk has found, apart from its shape."""
    return a.strides, a.dtype, a.flags.num, a.base is None


class Elements:
    """The elements of an array at one moment."""

    __slots__ = ("_saved",)

    def __init__(self, found: np.ndarray) -> None:
        self._saved = found.tobytes()

    @property
    def nbytes(self) -> int:
        """Bytes of the copy."""
        return len(self._saved)

    def are_those_of(self, a: np.ndarray) -> bool:
        """Whether the array has these elements."""
        saved = self._saved
        if len(saved) < 10_000 or a.nbytes != len(saved) or not a.flags.c_contiguous:
            return a.tobytes() == saved
        kind = np.uint8 if a.nbytes % 8 else np.int64  # words are compared faster than bytes
        return bool(np.array_equal(a.reshape(-1).view(kind), np.frombuffer(saved, kind)))


class Part(NamedTuple):
    """An array as a part of the array number `number` of a list: all of it, or a view, `offset` bytes from its
    start."""

    number: int
    view: tuple[int, tuple[int, ...], tuple[int, ...], str] | None

    def of(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The array, where the list holds these."""
        a = arrays[self.number]
        return a if self.view is None else _view(a, *self.view)


class _Memory:
    """Memory as NumPy reads it."""

    def __init__(self, base: np.ndarray, interface: dict[str, Any]) -> None:
        self.base, self.__array_interface__ = base, interface


def _view(a: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], kind: str) -> np.ndarray:
    interface = {"data": (address(a) + offset, not a.flags.writeable), "shape": shape, "strides": strides}
    return np.asarray(_Memory(a, {**interface, "typestr": kind, "version": 3}))


def part_of(a: np.ndarray, arrays: Sequence[np.ndarray]) -> Part | None:
    """Where an array stands among others: it is one of them, or lies inside one."""
    for number, other in enumerate(arrays):
        if other is a:
            return Part(number, None)
    root = owner_of(a)
    low, high = np.lib.array_utils.byte_bounds(a)
    for number, other in enumerate(arrays):
        if owner_of(other) is root:
            first, last = np.lib.array_utils.byte_bounds(other)
            if first <= low and high <= last:
                return Part(number, (address(a) - address(other), a.shape, a.strides, a.dtype.str))
    return None
