"""Arrays in the memory of a device: what results are, and views of those of other libraries, without a copy."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fastad.errors import DeviceError
from fastad.execution.cuda import dlpack
from fastad.recording.source import at_line


class Memory(Protocol):
    """Bytes on a device; they are freed when nobody holds the object."""

    @property
    def address(self) -> int:
        """Where they begin."""

    @property
    def owner(self) -> "Copies":
        """The device."""

    def used(self, stream: int) -> None:
        """Work that a stream has by now reads or writes the memory, which is not given back before that has ended."""


class Copies(Protocol):
    """What an array needs of its device."""

    ordinal: int

    def synchronize(self, stream: int = 0) -> None:
        """Wait for all work of a stream."""

    def download(self, target: np.ndarray, address: int, stream: int) -> None:
        """Copy to a contiguous NumPy array, which has the numbers when this returns."""

    def upload(self, address: int, source: np.ndarray, stream: int) -> None:
        """Copy from a contiguous NumPy array, which may change afterwards."""


class DeviceArray:
    """A contiguous array in the memory of a GPU, which other libraries use without a copy.

    CuPy, Numba, JAX and PyTorch take it as it is: `cupy.asarray(a)`, `torch.as_tensor(a, device="cuda")`,
    `jax.dlpack.from_dlpack(a)`. `np.asarray(a)` copies it to the processor's memory.

    References: the CUDA Array Interface, version 3 (Numba's documentation); DLPack 0.8 (the Python array API).
    """

    def __init__(
        self, memory: Memory, shape: Sequence[int], dtype: Any, address: int | None = None, stream: int = 0
    ) -> None:
        self.memory, self.shape, self.dtype = memory, tuple(shape), np.dtype(dtype)
        self.address = memory.address if address is None else address
        self.stream = stream  # on which it was written last

    @property
    def device(self) -> Any:
        """The device whose memory it is in."""
        return self.memory.owner

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def reshape(self, *shape: int) -> "DeviceArray":
        """The same numbers in another shape."""
        known = math.prod(n for n in shape if n >= 0)
        full = tuple(self.size // max(known, 1) if n < 0 else n for n in shape)
        if math.prod(full) != self.size:
            raise ValueError(f"an array of shape {self.shape} has no shape {full}")
        return DeviceArray(self.memory, full, self.dtype, self.address, self.stream)

    def copy_to_host(self, stream: Any = None) -> np.ndarray:
        """A NumPy array with the same numbers, copied on a stream: by default that on which they were written."""
        out = np.empty(self.shape, self.dtype)
        if out.nbytes:
            self.device.download(out, self.address, self._after(stream))
        return out

    def copy_from_host(self, values: Any, stream: Any = None) -> None:
        """Fill with the numbers of a NumPy array, which is broadcast, on a stream: by default that on which the array
        was written."""
        source = np.ascontiguousarray(np.broadcast_to(np.asarray(values, self.dtype), self.shape))
        if source.nbytes:
            self.device.upload(self.address, source, self._after(stream))

    def _after(self, stream: Any) -> int:
        """The number of a stream whose work comes after that by which the array was written."""
        if stream is None:
            return self.stream
        if (number := stream_number(stream)) != self.stream:
            self.device.synchronize(self.stream)
        return number

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on a device cannot be read without a copy")
        return self.copy_to_host().astype(dtype or self.dtype, copy=False)

    def __float__(self) -> float:
        return float(self.copy_to_host())

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "strides": None,
            "version": 3, "stream": self.stream or _LEGACY,
        }  # fmt: skip

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        if stream != -1 and int(stream or _LEGACY) != (self.stream or _LEGACY):  # None: the default one
            self.device.synchronize(self.stream)
        return dlpack.capsule(self, self.address, self.shape, self.dtype, self.__dlpack_device__())

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.device.ordinal

    def __repr__(self) -> str:
        return f"<fastad array on {self.device.name}, {self.dtype.name}{list(self.shape)}>"


_LEGACY = 1  # the default stream, in these protocols
_WITH_STREAM = 3  # version of the array interface


def stream_number(stream: Any) -> int:
    """The handle of a stream: None or 0 for the default one, an integer, or a stream of CuPy, PyTorch, Numba or
    cuda.core."""
    if stream is None:
        return 0
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for name in ("ptr", "cuda_stream", "handle"):  # CuPy, PyTorch, Numba and cuda.core
        if hasattr(stream, name):
            found = getattr(stream, name)
            return int(getattr(found, "value", found) or 0)
    return int(stream)


class _Foreign:
    """The memory of another library's array, which is kept as long as somebody looks at it. When that library uses it
    again is its own matter: it does so on the stream that it was asked for."""

    def __init__(self, owner: Any, address: int, keeper: Any) -> None:
        self.owner, self.address, self.keeper = owner, address, keeper

    def used(self, stream: int) -> None:
        pass


def is_device_array(x: Any) -> bool:
    """Whether x is an array in the memory of a GPU."""
    if isinstance(x, DeviceArray):
        return True
    kind = type(x)
    if hasattr(kind, "__cuda_array_interface__") and _interface(x) is not None:
        return True
    if kind is np.ndarray or not hasattr(kind, "__dlpack_device__") or isinstance(x, np.ndarray):
        return False
    return int(x.__dlpack_device__()[0]) in dlpack.ON_DEVICE


def _interface(x: Any) -> Any:
    try:  # PyTorch's attribute raises for tensors of the processor
        return x.__cuda_array_interface__
    except (AttributeError, RuntimeError, TypeError):
        return None


def as_device_array(x: Any, device: Any, stream: int = 0) -> DeviceArray:
    """A view of another library's array on this device, which work on a stream may read. Raises ValueError unless it is
    contiguous, and DeviceError if it lies on another device.

    The array interface tells since version 3 on which stream an array was written; of those that tell less (PyTorch's)
    DLPack is asked, by which the other library makes the stream wait."""
    if isinstance(x, DeviceArray):
        if x.stream != stream:
            device.synchronize(x.stream)
        return x
    found = _interface(x)
    if found is not None and (found.get("version", 0) >= _WITH_STREAM or not hasattr(type(x), "__dlpack__")):
        address, shape, dtype = int(found["data"][0]), tuple(found["shape"]), np.dtype(found["typestr"])
        strides = found.get("strides")
        keeper: Any = x
        if (writer := found.get("stream")) is not None and writer != (stream or _LEGACY):
            device.synchronize(0 if writer == _LEGACY else int(writer))
        home = device.home(address) if math.prod(shape) else device.ordinal
    else:
        home = int(x.__dlpack_device__()[1])
        address, shape, dtype, strides, keeper = dlpack.read(x, stream or _LEGACY)
    if home != device.ordinal:
        raise DeviceError(
            f"an array lies on the GPU of number {home}{at_line()}, and fastad works on that of number "
            f"{device.ordinal}: move it there, or set CUDA_VISIBLE_DEVICES={home} before the process starts"
        )
    if strides is not None and not _is_contiguous(shape, strides, dtype.itemsize):
        raise ValueError(f"an array on the device has the strides {strides}; make it contiguous first")
    return DeviceArray(_Foreign(device, address, keeper), shape, dtype, stream=stream)


def _is_contiguous(shape: Sequence[int], strides: Sequence[int], width: int) -> bool:
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and stride != width:
            return math.prod(shape) == 0
        width *= n
    return True
