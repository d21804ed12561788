"""Arrays on a device as arguments: they stand in calls as arrays of NumPy of the same shape, which hold no numbers."""

from typing import Any

import numpy as np

from fastad.execution.cuda.arrays import DeviceArray, as_device_array, is_device_array
from fastad.execution.cuda.device import current, current_stream


class OnDevice(np.ndarray):
    """Stands for an array on a device: its shape and dtype, and zeros that take no memory. `source` is the array."""

    source: DeviceArray

    def __array_finalize__(self, other: Any) -> None:
        if isinstance(other, OnDevice):
            self.source = other.source


def stand_in(x: Any) -> Any:
    """What stands for an array on a device; other values as they are."""
    if not is_device_array(x):
        return x
    source = as_device_array(x, current(), current_stream())
    found = np.broadcast_to(np.zeros((), source.dtype), source.shape).view(OnDevice)
    found.source = source
    return found


def on_host(x: Any) -> Any:
    """The numbers that it stands for, copied to the processor's memory."""
    return x.source.copy_to_host() if isinstance(x, OnDevice) else x
