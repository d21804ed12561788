"""Arrays that a function refers to, as inputs of its recording."""

from typing import Any

import numpy as np
from numpy import asarray  # NumPy's own, whatever stands for it during a recording

from fastad.recording.identity import same_bytes
from fastad.recording.outside_arrays import address
from fastad.tables.builder import Ref


def root_of(array: np.ndarray) -> Any:
    """What the memory of an array belongs to: the array, or that of which it is a view."""
    return array if array.base is None else array.base


def memory_of(array: np.ndarray) -> Any:
    """What an array shows, for views: two of them may show the same."""
    if array.base is None:
        return id(array)
    return id(array.base), address(array), array.shape, array.strides, array.dtype


class Capture:
    """An array that the function refers to: the array, its input row, a snapshot from when it was used."""

    def __init__(self, array: np.ndarray, ref: Ref, snapshot: Any) -> None:
        self.array, self.ref, self.snapshot = array, ref, snapshot
        self._bytes: tuple[int, int, int, np.dtype[Any], tuple[int, ...]] | None = None
        if type(array) is np.ndarray and array.flags.c_contiguous and array.ndim:
            self._bytes = address(array), address(snapshot), array.nbytes, array.dtype, array.shape

    def unchanged(self) -> bool:
        """Whether the array has the shape and the elements of the snapshot still."""
        if self._bytes is not None:
            here, there, size, kind, shape = self._bytes
            if self.array.dtype is kind and self.array.shape == shape and same_bytes(here, there, size):
                return True
        array = np.ndarray.view(self.array, np.ndarray)  # the elements themselves, whatever a subclass makes of them
        return np.array_equal(array, self.snapshot, equal_nan=array.dtype.kind == "f")

    def refer_to_snapshot(self) -> None:
        """The array has lost its elements."""
        self._bytes = None
        self.array = asarray(self.snapshot)  # that of an array without axes is a number
