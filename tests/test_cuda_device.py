"""The device by CUDA's driver: what it calls with what, on a driver of the tests whose memory is the processor's."""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fastad.errors import DeviceError, DeviceMemoryError
from fastad.execution.cuda import device as devices
from fastad.execution.cuda.arrays import as_device_array
from fastad.execution.cuda.device import array, what_is_missing
from fastad.execution.cuda.driver import CudaDevice

OK, OUT_OF_MEMORY, NO_DEVICE = 0, 2, 100
NAMES = {NO_DEVICE: "CUDA_ERROR_NO_DEVICE", 200: "CUDA_ERROR_INVALID_IMAGE", 700: "CUDA_ERROR_ILLEGAL_ADDRESS"}


class Names:
    """In place of enumerations: the names themselves."""

    def __getattr__(self, name):
        return name


class Properties:
    def __init__(self):
        self.location = SimpleNamespace()


class Driver(ModuleType):
    """The part of CUDA's driver that is called; functions return a status and their results. `calls` are all calls, but
    for those that only look."""

    CUresult = SimpleNamespace(CUDA_ERROR_OUT_OF_MEMORY=OUT_OF_MEMORY)
    CUdevice_attribute = CUmemPool_attribute = CUmemAllocationType = CUmemLocationType = Names()
    CUfunction_attribute = CUpointer_attribute = Names()
    CUevent_flags = SimpleNamespace(CU_EVENT_DISABLE_TIMING=2)
    CUmemPoolProps, cuuint64_t = Properties, int
    attributes = {"COMPUTE_CAPABILITY_MAJOR": 9, "COMPUTE_CAPABILITY_MINOR": 0, "MEMORY_POOLS_SUPPORTED": 1,
                  "MULTIPROCESSOR_COUNT": 132, "MAX_THREADS_PER_MULTIPROCESSOR": 2048}  # fmt: skip
    CONTEXT, POOL = 11, 12

    def __init__(self, count=1, start=OK, kinds=None):
        super().__init__("cuda.bindings.driver")
        self.count, self.start, self.free, self.kept = count, start, 1000, 0
        self.blocks, self.calls, self.contexts, self.sticky, self.home = {}, [], [], OK, 0
        if kinds is not None:  # the enumerations and structures of the package itself
            names = ("CUdevice_attribute", "CUmemPool_attribute", "CUmemAllocationType", "CUmemLocationType",
                     "CUfunction_attribute", "CUpointer_attribute", "CUevent_flags", "CUmemPoolProps", "cuuint64_t",
                     "CUresult")  # fmt: skip
            for name in names:
                setattr(self, name, getattr(kinds, name))

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if not name.startswith("cu") or name == "cuuint64_t":
            return found

        def call(*arguments):
            self.calls.append((name, *arguments))
            free = ("cuCtxPushCurrent", "cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuGetErrorName")
            assert self.contexts or name.startswith(("cuDevice", "cuDriver", *free)), f"{name} without a context"
            return (self.sticky, None) if self.sticky and name not in ("cuGetErrorName", *free) else found(*arguments)

        return call

    def called(self, *names):
        """The calls of these functions."""
        return [call for call in self.calls if call[0] in names]

    def cuInit(self, flags):
        return (self.start,)

    def cuDriverGetVersion(self):
        return OK, 12040

    def cuGetErrorName(self, status):
        return OK, NAMES.get(status, f"CUDA_ERROR_{status}").encode()

    def cuDeviceGetCount(self):
        return OK, self.count

    def cuDeviceGet(self, ordinal):
        return OK, ordinal

    def cuDevicePrimaryCtxRetain(self, device):
        return OK, self.CONTEXT

    def cuCtxPushCurrent(self, context):
        self.contexts.append(context)
        return (OK,)

    def cuCtxPopCurrent(self):
        return OK, self.contexts.pop()

    def cuCtxSynchronize(self):
        return (OK,)

    def cuDeviceGetName(self, length, device):
        return OK, b"Card\0\0\0"

    def cuDeviceGetAttribute(self, attribute, device):
        name = getattr(attribute, "name", attribute)
        return OK, self.attributes[name.removeprefix("CU_DEVICE_ATTRIBUTE_")]

    def cuFuncGetAttribute(self, attribute, function):
        return OK, 100_000

    def cuPointerGetAttribute(self, attribute, address):
        return OK, self.home

    def cuMemGetInfo(self):
        return OK, self.free, 2000

    def cuMemPoolCreate(self, kind):
        return OK, self.POOL

    def cuMemPoolSetAttribute(self, pool, attribute, value):
        return (OK,)

    def cuMemPoolGetAttribute(self, pool, attribute):
        name = getattr(attribute, "name", attribute)
        return OK, self.kept if "RESERVED" in name else 0

    def cuMemPoolTrimTo(self, pool, least):
        self.free, self.kept = self.free + self.kept, 0
        return (OK,)

    def cuMemAllocFromPoolAsync(self, nbytes, pool, stream):
        if nbytes > self.free:
            return OUT_OF_MEMORY, 0
        block = np.zeros(nbytes, np.uint8)
        self.blocks[block.ctypes.data] = block
        return OK, block.ctypes.data

    def cuMemFreeAsync(self, address, stream):
        del self.blocks[address]
        return (OK,)

    def _copy(self, target, source, nbytes, stream):
        ctypes.memmove(target, source, nbytes)
        return (OK,)

    cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = cuMemcpyDtoDAsync = _copy

    def cuMemsetD8Async(self, address, value, nbytes, stream):
        ctypes.memset(address, value, nbytes)
        return (OK,)

    def cuStreamSynchronize(self, stream):
        return (OK,)

    def cuStreamWaitEvent(self, stream, event, flags):
        return (OK,)

    def cuEventCreate(self, flags):
        return OK, 100 + len(self.called("cuEventCreate"))

    def cuEventRecord(self, event, stream):
        return (OK,)

    def cuEventDestroy(self, event):
        return (OK,)

    def cuModuleLoadData(self, image):
        return (OK, 13) if image else (200, None)

    def cuModuleUnload(self, module):
        return (OK,)

    def cuModuleGetFunction(self, module, name):
        return OK, 14

    def cuLaunchKernel(self, kernel, x, y, z, bx, by, bz, shared, stream, pointers, extra):
        assert (kernel, y, z, by, bz, shared, extra) == (14, 1, 1, 1, 1, 0, 0)
        first = ctypes.cast(pointers, ctypes.POINTER(ctypes.POINTER(ctypes.c_int64)))
        self.launched, self.words = (x, bx, stream), [first[k][0] for k in range(self.expected)]
        return (OK,)


@pytest.fixture
def driver(monkeypatch):
    return install(monkeypatch, Driver())


def install(monkeypatch, driver):
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    package.bindings, bindings.driver, package.__path__, bindings.__path__ = bindings, driver, [], []
    for module in (package, bindings, driver):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return driver


def test_memory(driver):
    device = CudaDevice(0)
    assert (device.name, device.arch, device.memory()) == ("Card", "sm_90", (1000, 2000))
    a = array(device, np.arange(5.0))
    np.testing.assert_array_equal(a.copy_to_host(), np.arange(5.0))
    device.clear(a.address, 16, 0)
    device.copy(a.address + 16, a.address + 24, 8, 3)
    np.testing.assert_array_equal(a.copy_to_host(stream=7), [0, 0, 3, 3, 4])
    assert driver.called("cuStreamSynchronize")[-1] == ("cuStreamSynchronize", 7)
    assert len(driver.blocks) == 1
    del a
    assert not driver.blocks and not driver.called("cuEventCreate")
    with pytest.raises(DeviceMemoryError, match=r"no room for 8,000 bytes: 1,000 of 2,000 are free"):
        array(device, np.zeros(1000))


def test_what_the_pool_keeps_is_free_memory(driver):
    device = CudaDevice(0)
    driver.kept = 500
    assert device.memory() == (1500, 2000)
    device.allocate(1400)
    assert device.memory() == (1500, 2000) and not driver.kept  # the double's free memory stays


def test_the_threads_own_context_is_there_again(driver):
    driver.contexts.append("of another library")
    device = CudaDevice(0)
    a = array(device, np.arange(5.0), stream=3)
    a.copy_to_host()
    del a
    with pytest.raises(DeviceError):
        device.load(b"", "entry")
    assert driver.contexts == ["of another library"]


def test_memory_goes_after_the_work_of_all_streams(driver):
    """Their handles may be gone by then: events stand for them, and the default stream gives it back."""
    device, driver.expected = CudaDevice(0), 1
    a, b = array(device, np.arange(5.0), stream=3), array(device, np.arange(5.0))
    kernel = device.load(b"image", "entry")
    device.launch(kernel, 5, [a, b], 4)
    device.launch(kernel, 5, [b], 0)
    events = {stream: event for _, event, stream in driver.called("cuEventRecord")}
    assert set(events) == {3, 4}
    made = len(driver.called("cuEventCreate"))
    assert made == 3  # two of a, one of b
    del a, b
    waits = driver.called("cuStreamWaitEvent")
    assert len(waits) == made and {call[1] for call in waits} == {0}
    assert {call[2] for call in driver.called("cuMemFreeAsync")} == {0}
    assert len(driver.called("cuEventDestroy")) == made
    del kernel
    assert driver.called("cuModuleUnload") == [("cuModuleUnload", 13)]


def test_launches(driver):
    device, driver.expected = CudaDevice(0), 4
    kernel = device.load(b"image", "entry")
    device.start(kernel, 300, [300, 1, -2, 2**40], 5)
    assert driver.launched == (3, 128, 5) and driver.words == [300, 1, -2, 2**40]
    device.start(kernel, 0, [], 5)
    assert len(driver.called("cuLaunchKernel")) == 1
    x = array(device, np.zeros((2, 3), np.float32))
    driver.expected = 11
    device.launch(kernel, 7, [x, 9], 0)
    assert driver.words == [7, 0, 0, 6, 4, x.address, 2, 3, 12, 4, 9]


def test_errors(driver, monkeypatch):
    device = CudaDevice(0)
    with pytest.raises(DeviceError, match=r"cuModuleLoadData failed: CUDA_ERROR_INVALID_IMAGE; the driver of Card "
                       r"\(sm_90\) is for CUDA 12.4; code is made by"):  # fmt: skip
        device.load(b"", "entry")
    kernel = device.load(b"image", "entry")
    monkeypatch.setattr(Driver, "cuLaunchKernel", lambda self, *_: (OUT_OF_MEMORY,))
    with pytest.raises(DeviceMemoryError, match=r"100,000 bytes of a thread's memory, .* 270,336 threads .*: "
                       r"27,033,600,000 bytes, and 1,000 of 2,000 are free"):  # fmt: skip
        device.start(kernel, 10, [1], 0)
    assert driver.called("cuMemPoolTrimTo")
    driver.sticky = 700
    with pytest.raises(DeviceError, match=r"ILLEGAL_ADDRESS; a kernel has failed, .* Start it again"):
        device.synchronize()


def test_arrays_of_another_gpu_are_refused(driver):
    device, driver.home = CudaDevice(0), 1
    theirs = SimpleNamespace(shape=(3,), typestr="<f8", data=(4096, False), strides=None, version=3)
    kind = type("Theirs", (), {"__cuda_array_interface__": property(lambda self: vars(theirs))})
    with pytest.raises(DeviceError, match=r"GPU of number 1.*CUDA_VISIBLE_DEVICES=1"):
        as_device_array(kind(), device)


def test_the_package_takes_all_calls(monkeypatch):
    """Those that the tests above make, with the package's own enumerations and structures: its functions turn arguments
    into C's before they look for the driver."""
    real = pytest.importorskip("cuda.bindings.driver")
    if what_is_missing() is None:
        pytest.skip("a GPU is there, for which the tests of the marker `gpu` are")
    driver = Driver(kinds=real)
    with monkeypatch.context() as patch:
        install(patch, driver)
        device, driver.expected = CudaDevice(0), 1
        device.memory()
        device.home(4096)
        kernel = device.load(b"image", "entry")
        device.start(kernel, 300, [300, 1, -2, 2**40], 5)
        a = array(device, np.arange(5.0), stream=3)
        device.clear(a.address, 16, 0)
        device.copy(a.address + 16, a.address + 24, 8, 3)
        a.copy_to_host()
        with device._inside:
            device._too_much(kernel)
            device._with_room("cuMemAllocFromPoolAsync", 10**9, driver.POOL, 0)
        del a, kernel
    calls = {call[0]: call[1:] for call in driver.calls}
    own = {name for name in vars(Driver) if name.startswith("cu")} - {"cuuint64_t", "cuGetErrorName"}
    assert set(calls) == own - {"cuDeviceGetCount", "cuDriverGetVersion"}
    for name, arguments in calls.items():
        with pytest.raises(Exception, match=r"libcuda|driver library|CUDA|cuda") as found:
            getattr(real, name)(*arguments)
        assert not isinstance(found.value, TypeError | AttributeError | ValueError | OverflowError), (name, arguments)


@pytest.mark.parametrize("driver, text", [
    (Driver(start=NO_DEVICE), "CUDA_ERROR_NO_DEVICE"), (Driver(count=0), "finds no GPU"), (Driver(), None),
])  # fmt: skip
def test_what_is_missing(driver, text, monkeypatch):
    install(monkeypatch, driver)
    found = what_is_missing()
    assert found is None if text is None else text in found


def test_packages_that_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert "pip install 'fastad[cuda]'" in what_is_missing()
    devices._first.cache_clear()
    with pytest.raises(DeviceError, match="not installed"):
        devices.current()


def test_streams_of_other_libraries():
    from fastad.execution.cuda.arrays import stream_number

    assert stream_number(None) == stream_number(0) == 0 and stream_number(12) == 12
    assert stream_number(SimpleNamespace(ptr=3)) == stream_number(SimpleNamespace(cuda_stream=3)) == 3
    assert stream_number(SimpleNamespace(handle=SimpleNamespace(value=3))) == 3
    assert stream_number(SimpleNamespace(handle=SimpleNamespace(value=None))) == 0
    assert stream_number(SimpleNamespace(__cuda_stream__=lambda: (0, 9))) == 9
