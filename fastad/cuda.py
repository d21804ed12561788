"""GPUs: whether there is one, arrays on it, streams. `device="cuda"` of a transformation runs there (docs/cuda.md)."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fastad.execution.cuda import device as devices
from fastad.execution.cuda.arrays import DeviceArray, as_device_array, is_device_array

__all__ = ["DeviceArray", "array", "is_available", "memory", "missing", "stream", "synchronize"]


def is_available() -> bool:
    """Whether `device="cuda"` can run here.

    >>> import fastad as fad
    >>> fad.cuda.is_available() == (fad.cuda.missing() is None)
    True
    """
    return missing() is None


def missing() -> str | None:
    """What is missing to run on a GPU, and what to do about it; None if nothing is."""
    return devices.what_is_missing()


def array(x: Any, dtype: Any = None) -> DeviceArray:
    """x on the device: a copy of an array of NumPy, or a view of another library's contiguous array there.

    The result has `__cuda_array_interface__` and `__dlpack__`, by which CuPy, Numba, JAX and PyTorch take it without a
    copy; `np.asarray(a)` copies it back. Raises DeviceError where there is no GPU, and DeviceMemoryError, with the
    bytes needed and free, where it has no room.
    """
    if is_device_array(x):
        return as_device_array(x, devices.current(), devices.current_stream())
    values = np.asarray(x, dtype)
    contiguous = np.ascontiguousarray(values).reshape(values.shape)
    return devices.array(devices.current(), contiguous, devices.current_stream())


def stream(s: Any) -> AbstractContextManager[None]:
    """Within the context all work on the device goes to the stream s: of CuPy, PyTorch, Numba, cuda.core, or the handle
    of CUDA's driver as an integer.

    Calls whose programs have no row that can fail do not wait for their results, where all arrays are on the device.
    """
    return devices.on_stream(s)


def synchronize(s: Any = None) -> None:
    """Wait until all work of a stream is done; of the one in use, by default."""
    found = devices.current_stream() if s is None else devices.stream_number(s)
    devices.current().synchronize(found)


def memory() -> tuple[int, int]:
    """Bytes of the device's memory that are free, and all of them."""
    return devices.current().memory()
