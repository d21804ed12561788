"""A GPU by CUDA's driver (the package cuda-bindings, NVIDIA's own).

Memory comes from a pool of its own, in the order of streams (CUDA C++ Programming Guide, Stream Ordered Memory
Allocator). Other libraries' streams do not wait for the default one if they were made so (PyTorch's are), and may be
gone when memory is: so memory has an event for every other stream whose work uses it, and is given back after these.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.errors import DeviceError, DeviceMemoryError
from fastad.execution.cuda.arrays import DeviceArray, Memory
from fastad.execution.cuda.device import LaneKernel, named
from fastad.execution.cuda.interpreter.building import Source
from fastad.execution.request import Request

THREADS = 128  # of a block
_KEPT = 4  # the part 1/_KEPT of the memory that the pool keeps for the next calls; the system's own memory is slow

_STICKY = (
    "a kernel has failed, of this call or of one before, or of another library: this process cannot use the GPU any "
    "more. Start it again"
)
_GONE = "is the stream still there, and of this GPU?"
_FORKED = "CUDA had been started when this process was forked: start processes by the method 'spawn'"
_HINTS = {
    "ILLEGAL_ADDRESS": _STICKY, "LAUNCH_FAILED": _STICKY, "MISALIGNED_ADDRESS": _STICKY,
    "ILLEGAL_INSTRUCTION": _STICKY, "INVALID_PC": _STICKY, "INVALID_ADDRESS_SPACE": _STICKY,
    "HARDWARE_STACK_ERROR": _STICKY, "ECC_UNCORRECTABLE": _STICKY, "LAUNCH_TIMEOUT": _STICKY,
    "INVALID_HANDLE": _GONE, "CONTEXT_IS_DESTROYED": _GONE, "NOT_INITIALIZED": _FORKED,
}  # fmt: skip
_REFUSED = ("NO_BINARY_FOR_GPU", "INVALID_IMAGE", "UNSUPPORTED_PTX_VERSION", "INVALID_SOURCE")


class _Allocated:
    """Memory of a device."""

    def __init__(self, owner: "CudaDevice", address: int) -> None:
        self.owner, self.address = owner, address
        self.events: dict[int, Any] = {}  # by stream

    def used(self, stream: int) -> None:
        """Work that a stream has by now reads or writes this memory."""
        if stream:
            self.owner.mark(self.events, stream)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process the driver may be gone
            self.owner.free(self.address, self.events)


class _Loaded:
    """A kernel, whose code leaves the device with it."""

    def __init__(self, owner: "CudaDevice", module: Any, function: Any) -> None:
        self.owner, self.module, self.function = owner, module, function

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.owner.unload(self.module)


class _Inside:
    """Within this context a GPU's is the current one of this thread; then that is again which was before: other
    libraries take theirs from there."""

    def __init__(self, owner: "CudaDevice") -> None:
        self._owner = owner

    def __enter__(self) -> None:
        self._owner.call("cuCtxPushCurrent", self._owner.context)

    def __exit__(self, *_: Any) -> None:
        self._owner.call("cuCtxPopCurrent")


class CudaDevice:
    """A GPU, by the primary context of its driver, which CuPy, Numba, JAX and PyTorch share."""

    def __init__(self, ordinal: int) -> None:
        from cuda.bindings import driver

        self.ordinal, self._driver = ordinal, driver
        self.call("cuInit", 0)
        self._device = self.call("cuDeviceGet", ordinal)
        self.context = self.call("cuDevicePrimaryCtxRetain", self._device)
        self._inside = _Inside(self)
        self.name = self.call("cuDeviceGetName", 100, self._device).split(b"\0")[0].decode()
        major, minor = (self._attribute(f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR"))
        self.arch = f"sm_{major}{minor}"
        self._functions: dict[str, Any] = {}
        with self._inside:
            self._pool = self._new_pool()

    def _attribute(self, name: str) -> int:
        which = getattr(self._driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.call("cuDeviceGetAttribute", which, self._device))

    def _new_pool(self) -> Any:
        """A pool of this device's memory that keeps some of what is given back."""
        driver = self._driver
        if not self._attribute("MEMORY_POOLS_SUPPORTED"):
            raise DeviceError(f"{self.name} has no memory pools, as some virtual GPUs have not: fastad cannot use it")
        kind = driver.CUmemPoolProps()
        kind.allocType = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        kind.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        kind.location.id = self.ordinal
        pool = self.call("cuMemPoolCreate", kind)
        kept = driver.cuuint64_t(self.call("cuMemGetInfo")[1] // _KEPT)
        self.call("cuMemPoolSetAttribute", pool, self._of_pool("RELEASE_THRESHOLD"), kept)
        return pool

    def _of_pool(self, name: str) -> Any:
        return getattr(self._driver.CUmemPool_attribute, f"CU_MEMPOOL_ATTR_{name}")

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────
    def call(self, name: str, *arguments: Any) -> Any:
        """The result of a function of the driver; raises DeviceError."""
        return self._result(name, getattr(self._driver, name)(*arguments))

    def _result(self, name: str, found: Sequence[Any]) -> Any:
        status, *results = found
        if int(status):
            raise DeviceError(f"CUDA's {name} failed: {self._complaint(named(self._driver, status))}")
        return results[0] if len(results) == 1 else results

    def _complaint(self, status: str) -> str:
        short = status.removeprefix("CUDA_ERROR_")
        hint = _HINTS.get(short)
        if short in _REFUSED:
            version = self._driver.cuDriverGetVersion()[1]
            hint = (
                f"the driver of {self.name} ({self.arch}) is for CUDA {version // 1000}.{version % 1000 // 10}; code "
                "is made by the package nvidia-nvjitlink, which may not be of a later major version"
            )
        return status if hint is None else f"{status}; {hint}"

    def _with_room(self, name: str, *arguments: Any) -> Any:
        """As `call`, but None where there is too little memory, even without what the pool keeps."""
        call: Callable[..., Any] = getattr(self._driver, name)
        out = int(self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY)
        found = call(*arguments)
        if int(found[0]) == out:
            self.call("cuCtxSynchronize")
            self.call("cuMemPoolTrimTo", self._pool, 0)
            found = call(*arguments)
        return None if int(found[0]) == out else self._result(name, found)

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────
    def memory(self) -> tuple[int, int]:
        with self._inside:
            free, total = self.call("cuMemGetInfo")
            kept, used = (
                int(self.call("cuMemPoolGetAttribute", self._pool, self._of_pool(name)))
                for name in ("RESERVED_MEM_CURRENT", "USED_MEM_CURRENT")
            )
        return int(free) + kept - used, int(total)

    def home(self, address: int) -> int:
        which = self._driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        with self._inside:
            return int(self.call("cuPointerGetAttribute", which, address))

    def allocate(self, nbytes: int, stream: int = 0) -> Memory:
        with self._inside:
            address = self._with_room("cuMemAllocFromPoolAsync", nbytes, self._pool, stream)
        if address is None:
            free, total = self.memory()
            raise DeviceMemoryError(
                f"{self.name} has no room for {nbytes:,} bytes: {free:,} of {total:,} are free. Free arrays, take "
                "fewer lanes in a call, or float32"
            )
        found = _Allocated(self, int(address))
        found.used(stream)
        return found

    def mark(self, events: dict[int, Any], stream: int) -> None:
        """Have an event among these for all work that a stream has by now."""
        with self._inside:
            if stream not in events:
                flag = self._driver.CUevent_flags.CU_EVENT_DISABLE_TIMING
                events[stream] = self.call("cuEventCreate", int(flag))
            self.call("cuEventRecord", events[stream], stream)

    def free(self, address: int, events: dict[int, Any]) -> None:
        """Give memory back once all work that uses it has ended."""
        with self._inside:
            for event in events.values():
                self.call("cuStreamWaitEvent", 0, event, 0)
                self.call("cuEventDestroy", event)
            self.call("cuMemFreeAsync", address, 0)

    def upload(self, address: int, source: np.ndarray, stream: int) -> None:
        with self._inside:
            self.call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, stream)
            self.call("cuStreamSynchronize", stream)

    def download(self, target: np.ndarray, address: int, stream: int) -> None:
        with self._inside:
            self.call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, stream)
            self.call("cuStreamSynchronize", stream)

    def clear(self, address: int, nbytes: int, stream: int) -> None:
        if nbytes:
            with self._inside:
                self.call("cuMemsetD8Async", address, 0, nbytes, stream)

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        with self._inside:
            self.call("cuMemcpyDtoDAsync", target, source, nbytes, stream)

    def synchronize(self, stream: int = 0) -> None:
        with self._inside:
            self.call("cuStreamSynchronize", stream)

    # ── kernels ──────────────────────────────────────────────────────────────────────────────────────────────
    def function(self, source: Source) -> Any:
        from fastad.execution.cuda.interpreter import compiling

        if source.name not in self._functions:
            image, entry = compiling.assembled(source, self.arch)
            self._functions[source.name] = self.load(image, entry)
        return self._functions[source.name]

    def load(self, image: bytes, entry: str) -> Any:
        with self._inside:
            module = self.call("cuModuleLoadData", image)
            return _Loaded(self, module, self.call("cuModuleGetFunction", module, entry.encode()))

    def unload(self, module: Any) -> None:
        """Remove code from the device."""
        with self._inside:
            self.call("cuModuleUnload", module)

    def compiled(self, request: Request, inputs: str, outputs: str, precision: str, steps: int | None) -> LaneKernel:
        from fastad.execution.cuda.compiled import code

        made = code(request, self.arch, inputs, outputs, precision, steps)
        kernel = self.load(made.cubin, made.entry)
        return LaneKernel(kernel, made.layout, made.rows, made.steps, made.local_bytes, made.counts)

    def launch(self, function: Any, threads: int, arguments: Sequence[DeviceArray | int], stream: int) -> None:
        from fastad.execution.cuda.interpreter import compiling

        self.start(function, threads, compiling.words(threads, arguments), stream)
        for x in arguments:
            if isinstance(x, DeviceArray):
                x.memory.used(stream)

    def start(self, kernel: Any, threads: int, arguments: Sequence[int], stream: int) -> None:
        if threads == 0:
            return
        values = np.array(arguments, np.int64)
        pointers = np.arange(len(values), dtype=np.uint64) * 8 + values.ctypes.data
        size = -(-threads // THREADS), 1, 1, THREADS, 1, 1, 0
        with self._inside:
            found = self._with_room("cuLaunchKernel", kernel.function, *size, stream, pointers.ctypes.data, 0)
            if found is None:
                raise DeviceMemoryError(self._too_much(kernel))

    def _too_much(self, kernel: _Loaded) -> str:
        """A kernel has more local memory than there is."""
        which = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES
        local = int(self.call("cuFuncGetAttribute", which, kernel.function))
        threads = self._attribute("MULTIPROCESSOR_COUNT") * self._attribute("MAX_THREADS_PER_MULTIPROCESSOR")
        free, total = self.memory()
        return (
            f"a lane of this program takes {local:,} bytes of a thread's memory, which the driver keeps for all "
            f"{threads:,} threads that run at once: {local * threads:,} bytes, and {free:,} of {total:,} are free on "
            f"{self.name}. Store fewer states (checkpoint=), or make the arrays smaller"
        )
