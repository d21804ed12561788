"""x.flat of recorded arrays and of buffers: their elements in one row, to read and to write."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastad.recording.buffers import Buffer, plain, target_of, twin_of
from fastad.recording.functions.registry import Array
from fastad.recording.functions.selecting import write_flat
from fastad.recording.operands import is_recorded
from fastad.recording.recorded import Recorded


class Flat:
    """Stands for NumPy's flat iterator."""

    def __init__(self, array: Any) -> None:
        self.base = array

    @property
    def _elements(self) -> Array:
        return np.ravel(self.base)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._elements)

    def __len__(self) -> int:
        return self.base.size

    def __getitem__(self, key: Any) -> Any:
        return self._elements[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(self.base, Buffer) and twin_of(self.base) is None and not is_recorded(value):
            np.ndarray.flat.__get__(self.base)[key] = value
            return
        target = target_of(self.base, "writing a recorded value")
        index = key if isinstance(key, Recorded) else np.arange(target.size)[key].reshape(-1)
        values = value if is_recorded(value) else np.asarray(plain(value))
        write_flat(target, index, np.resize(values, np.shape(index)))


def _assign(self: Any, value: Any) -> None:
    Flat(self)[:] = value


for _kind, _name in ((Recorded, "flat"), (Buffer, "flat")):
    setattr(_kind, _name, property(Flat, _assign))
