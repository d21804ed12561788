"""The device: memory, copies, streams and launches, by CUDA's driver (the package cuda-bindings, NVIDIA's own).

`current()` is the device that work goes to. Everything above it goes through the `Device` protocol, of which the tests
have one that runs on the processor.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastad.errors import DeviceError, DeviceMemoryError
from fastad.execution.cuda.arrays import DeviceArray, Memory, stream_number
from fastad.execution.cuda.interpreter.building import Source
from fastad.execution.layout import Layout
from fastad.execution.request import Request
from fastad.recording.source import at_line
from fastad.tables.table import Table

THREADS = 128  # of a block


class Device(Protocol):
    """A device that runs kernels. Addresses and streams are integers, stream 0 is the default one."""

    name: str
    arch: str  # as in "sm_90"
    ordinal: int

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all bytes."""

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
        return f"CUDA's driver does not start ({_named(driver, status)}); is there an NVIDIA GPU in this machine?"
    count = driver.cuDeviceGetCount()[1]
    if not count:
        return "CUDA's driver finds no GPU (look at CUDA_VISIBLE_DEVICES and nvidia-smi)"
    return None


def _named(driver: Any, status: Any) -> str:
    name = driver.cuGetErrorName(status)[1]
    return name.decode() if isinstance(name, bytes) else str(status)


# ── CUDA's driver ─────────────────────────────────────────────────────────────────────────────────────────────
class _Allocated:
    """Memory of a device, in the order of a stream."""

    def __init__(self, owner: "CudaDevice", address: int, stream: int) -> None:
        self.owner, self.address, self.stream = owner, address, stream

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process the driver may be gone
            self.owner.free(self.address, self.stream)


class CudaDevice:
    """A GPU, by the primary context of its driver, which CuPy, Numba, JAX and PyTorch share."""

    def __init__(self, ordinal: int) -> None:
        from cuda.bindings import driver

        self.ordinal, self._driver = ordinal, driver
        self._call(driver.cuInit, 0)
        self._device = self._call(driver.cuDeviceGet, ordinal)
        self._context = self._call(driver.cuDevicePrimaryCtxRetain, self._device)
        self._enter()
        self.name = self._call(driver.cuDeviceGetName, 100, self._device).split(b"\0")[0].decode()
        kind = driver.CUdevice_attribute
        major, minor = (
            self._call(driver.cuDeviceGetAttribute, attribute, self._device)
            for attribute in (
                kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )  # fmt: skip
        self.arch = f"sm_{major}{minor}"
        self._functions: dict[str, Any] = {}

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a function of the driver; raises DeviceError."""
        status, *results = function(*arguments)
        if int(status) == int(self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY):
            free, total = self._driver.cuMemGetInfo()[1:]
            raise DeviceMemoryError(
                f"{self.name} has too little memory for {function.__name__}: {free:,} of {total:,} bytes are free, and "
                "the driver keeps the local memory of all threads that run at once. Store fewer states (checkpoint=)"
            )
        if int(status):
            raise DeviceError(f"CUDA's {function.__name__} failed: {_named(self._driver, status)}")
        return results[0] if len(results) == 1 else results

    def _enter(self) -> None:
        """Threads of the process have their current context each."""
        self._call(self._driver.cuCtxSetCurrent, self._context)

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────
    def memory(self) -> tuple[int, int]:
        self._enter()
        free, total = self._call(self._driver.cuMemGetInfo)
        return int(free), int(total)

    def allocate(self, nbytes: int, stream: int = 0) -> Memory:
        self._enter()
        status, address = self._driver.cuMemAllocAsync(nbytes, stream)
        if int(status) == int(self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY):
            free, total = self.memory()
            raise DeviceMemoryError(
                f"{self.name} has no room for {nbytes:,} bytes: {free:,} of {total:,} are free. Free arrays, take "
                "fewer lanes in a call, or float32"
            )
        self._call(lambda: (status, address))
        return _Allocated(self, int(address), stream)

    def free(self, address: int, stream: int) -> None:
        """Give memory back once all work of the stream that was begun before has ended."""
        self._enter()
        self._call(self._driver.cuMemFreeAsync, address, stream)

    def upload(self, address: int, source: np.ndarray, stream: int) -> None:
        self._enter()
        self._call(self._driver.cuMemcpyHtoDAsync, address, source.ctypes.data, source.nbytes, stream)
        self.synchronize(stream)

    def download(self, target: np.ndarray, address: int, stream: int) -> None:
        self._enter()
        self._call(self._driver.cuMemcpyDtoHAsync, target.ctypes.data, address, target.nbytes, stream)
        self.synchronize(stream)

    def clear(self, address: int, nbytes: int, stream: int) -> None:
        if nbytes:
            self._enter()
            self._call(self._driver.cuMemsetD8Async, address, 0, nbytes, stream)

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._enter()
        self._call(self._driver.cuMemcpyDtoDAsync, target, source, nbytes, stream)

    def synchronize(self, stream: int = 0) -> None:
        self._enter()
        self._call(self._driver.cuStreamSynchronize, stream)

    # ── kernels ──────────────────────────────────────────────────────────────────────────────────────────────
    def function(self, source: Source) -> Any:
        from fastad.execution.cuda.interpreter import compiling

        if source.name not in self._functions:
            image, entry = compiling.assembled(source, self.arch)
            self._functions[source.name] = self.load(image, entry)
        return self._functions[source.name]

    def load(self, image: bytes, entry: str) -> Any:
        self._enter()
        module = self._call(self._driver.cuModuleLoadData, image)
        return self._call(self._driver.cuModuleGetFunction, module, entry.encode())

    def compiled(self, request: Request, inputs: str, outputs: str, precision: str, steps: int | None) -> LaneKernel:
        from fastad.execution.cuda.compiled import code

        made = code(request, self.arch, inputs, outputs, precision, steps)
        return LaneKernel(self.load(made.cubin, made.entry), made.layout, made.rows, made.steps, made.local_bytes)

    def launch(self, function: Any, threads: int, arguments: Sequence[DeviceArray | int], stream: int) -> None:
        from fastad.execution.cuda.interpreter import compiling

        self.start(function, threads, compiling.words(threads, arguments), stream)

    def start(self, kernel: Any, threads: int, arguments: Sequence[int], stream: int) -> None:
        if threads == 0:
            return
        self._enter()
        values = np.array(arguments, np.int64)
        pointers = np.arange(len(values), dtype=np.uint64) * 8 + values.ctypes.data
        blocks = -(-threads // THREADS)
        self._call(self._driver.cuLaunchKernel, kernel, blocks, 1, 1, THREADS, 1, 1, 0, stream, pointers.ctypes.data, 0)
