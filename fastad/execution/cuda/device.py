"""The device: memory, copies, streams and launches.

`current()` is the device that work goes to. Everything above it goes through the `Device` protocol, of which
`fastad.execution.cuda.driver` has the one for GPUs and the tests one that runs on the processor.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastad.errors import DeviceError
from fastad.execution.cuda.arrays import DeviceArray, Memory, stream_number
from fastad.execution.cuda.interpreter.building import Source
from fastad.execution.layout import Layout
from fastad.execution.request import Request
from fastad.recording.source import at_line
from fastad.tables.table import Table


class Device(Protocol):
    """A device that runs kernels. Addresses and streams are integers, stream 0 is the default one."""

    name: str
    arch: str  # as in "sm_90"
    ordinal: int

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all bytes."""

    def home(self, address: int) -> int:
        """The number of the device whose memory has an address."""

    def allocate(self, nbytes: int, stream: int = 0) -> Memory:
        """Uninitialised memory. Raises DeviceMemoryError."""

    def upload(self, address: int, source: np.ndarray, stream: int) -> None:
        """Copy from a contiguous NumPy array, which may change afterwards."""

    def download(self, target: np.ndarray, address: int, stream: int) -> None:
        """Copy to a contiguous NumPy array, which has the numbers when this returns."""

    def clear(self, address: int, nbytes: int, stream: int) -> None:
        """Fill with zero bytes."""

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy within the device's memory."""

    def function(self, source: Source) -> Any:
        """The kernel of a source text, compiled once."""

    def launch(self, function: Any, threads: int, arguments: Sequence[DeviceArray | int], stream: int) -> None:
        """Run a kernel of `function` by so many threads."""

    def load(self, image: bytes, entry: str) -> Any:
        """A kernel of compiled code, whose arguments are integers of 64 bits."""

    def compiled(self, request: Request, inputs: str, outputs: str, precision: str, steps: int | None) -> "LaneKernel":
        """The compiled kernel of a request; see `fastad.execution.cuda.compiled.code`."""

    def start(self, kernel: Any, threads: int, arguments: Sequence[int], stream: int) -> None:
        """Run a kernel of `load` by so many threads."""

    def synchronize(self, stream: int = 0) -> None:
        """Wait for all work of a stream."""


class LaneKernel(NamedTuple):
    """A compiled kernel on a device, and what `Code` says of it; `nbytes` are those of a thread's local memory."""

    kernel: Any
    layout: Layout
    rows: Table
    steps: int | None
    nbytes: int
    counts: bool


def array(device: Device, values: np.ndarray, stream: int = 0) -> DeviceArray:
    """A copy of a NumPy array on the device."""
    found = empty(device, values.shape, values.dtype, stream)
    found.copy_from_host(values, stream)
    return found


def empty(device: Device, shape: Sequence[int], dtype: Any, stream: int = 0) -> DeviceArray:
    """An uninitialised array on the device."""
    size = int(np.prod(shape, dtype=np.int64))
    memory = device.allocate(max(size * np.dtype(dtype).itemsize, 1), stream)
    return DeviceArray(memory, shape, dtype, stream=stream)


# ── which device ──────────────────────────────────────────────────────────────────────────────────────────────
_chosen: ContextVar[Device | None] = ContextVar("device", default=None)


def current() -> Device:
    """The device that work goes to. Raises DeviceError, which says what is missing."""
    return _chosen.get() or _first()


@contextlib.contextmanager
def using(device: Device) -> Iterator[None]:
    """Within the context work goes to this device."""
    token = _chosen.set(device)
    try:
        yield
    finally:
        _chosen.reset(token)


_stream: ContextVar[int] = ContextVar("stream", default=0)


def current_stream() -> int:
    """The stream that work goes to."""
    return _stream.get()


@contextlib.contextmanager
def on_stream(stream: Any) -> Iterator[None]:
    """Within the context work goes to this stream, of CUDA's driver, CuPy, PyTorch, Numba or cuda.core."""
    token = _stream.set(stream_number(stream))
    try:
        yield
    finally:
        _stream.reset(token)


@functools.cache
def _first() -> Device:
    missing = what_is_missing()
    if missing is not None:
        raise DeviceError(f'device="cuda": {missing}{at_line()}')
    from fastad.execution.cuda.driver import CudaDevice  # which is a Device

    return CudaDevice(0)


def what_is_missing() -> str | None:
    """Why no GPU can be used here, and what to do about it; None if one can."""
    try:
        from cuda.bindings import driver
    except ImportError:
        return "the package cuda-bindings is not installed; pip install 'fastad[cuda]' brings it"
    try:
        status, *_ = driver.cuInit(0)
    except Exception:  # of the loader, of several kinds
        return "there is no CUDA driver (libcuda) on this machine; install NVIDIA's driver for the GPU"
    if int(status):
        return f"CUDA's driver does not start ({named(driver, status)}); is there an NVIDIA GPU in this machine?"
    count = driver.cuDeviceGetCount()[1]
    if not count:
        return "CUDA's driver finds no GPU (look at CUDA_VISIBLE_DEVICES and nvidia-smi)"
    return None


def named(driver: Any, status: Any) -> str:
    """The name of a status of CUDA's driver."""
    name = driver.cuGetErrorName(status)[1]
    return name.decode() if isinstance(name, bytes) else str(status)
