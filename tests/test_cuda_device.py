"""The device by CUDA's driver: what it calls with what, on a driver of the tests whose memory is the processor's."""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fastad.errors import DeviceError, DeviceMemoryError
from fastad.execution.cuda import device as devices
from fastad.execution.cuda.device import CudaDevice, array, what_is_missing

OK, OUT_OF_MEMORY, NO_DEVICE = 0, 2, 100


class Driver(ModuleType):
    """The part of CUDA's driver that is called; functions return a status and their results."""

    CUresult = SimpleNamespace(CUDA_ERROR_OUT_OF_MEMORY=OUT_OF_MEMORY)
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
    )

    def __init__(self, count=1, start=OK):
        super().__init__("cuda.bindings.driver")
        self.count, self.start, self.free = count, start, 1000
        self.blocks, self.launched, self.streams = {}, [], []

    def cuInit(self, flags):
        return (self.start,)

    def cuGetErrorName(self, status):
        return OK, f"CUDA_ERROR_{status}".encode()

    def cuDeviceGetCount(self):
        return OK, self.count

    def cuDeviceGet(self, ordinal):
        return OK, ordinal

    def cuDevicePrimaryCtxRetain(self, device):
        return OK, "context"

    def cuCtxSetCurrent(self, context):
        assert context == "context"
        return (OK,)

    def cuDeviceGetName(self, length, device):
        return OK, b"Card\0\0\0"

    def cuDeviceGetAttribute(self, attribute, device):
        return OK, {"major": 9, "minor": 0}[attribute]

    def cuMemGetInfo(self):
        return OK, self.free, 2000

    def cuMemAllocAsync(self, nbytes, stream):
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
        self.streams.append(stream)
        return (OK,)

    def cuModuleLoadData(self, image):
        return (OK, image) if image else (200, None)

    def cuModuleGetFunction(self, module, name):
        return OK, (module, name)

    def cuLaunchKernel(self, kernel, x, y, z, bx, by, bz, shared, stream, pointers, extra):
        assert (y, z, by, bz, shared, extra) == (1, 1, 1, 1, 0, 0)
        self.launched.append((kernel, x, bx, stream, pointers))
        first = ctypes.cast(pointers, ctypes.POINTER(ctypes.POINTER(ctypes.c_int64)))
        self.words = [first[k][0] for k in range(self.expected)]
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
    assert driver.streams[-1] == 7
    assert len(driver.blocks) == 1
    del a
    assert not driver.blocks
    with pytest.raises(DeviceMemoryError, match=r"no room for 8,000 bytes: 1,000 of 2,000 are free"):
        array(device, np.zeros(1000))


def test_launches(driver):
    device, driver.expected = CudaDevice(0), 4
    kernel = device.load(b"image", "entry")
    assert kernel == (b"image", b"entry")
    device.start(kernel, 300, [300, 1, -2, 2**40], 5)
    assert driver.launched[0][:4] == (kernel, 3, 128, 5) and driver.words == [300, 1, -2, 2**40]
    device.start(kernel, 0, [], 5)
    assert len(driver.launched) == 1
    x = array(device, np.zeros((2, 3), np.float32))
    driver.expected = 11
    device.launch(kernel, 7, [x, 9], 0)
    assert driver.words == [7, 0, 0, 6, 4, x.address, 2, 3, 12, 4, 9]


def test_errors(driver, monkeypatch):
    device = CudaDevice(0)
    with pytest.raises(DeviceError, match="cuModuleLoadData failed: CUDA_ERROR_200"):
        device.load(b"", "entry")
    monkeypatch.setattr(Driver, "cuLaunchKernel", lambda self, *_: (OUT_OF_MEMORY,))
    Driver.cuLaunchKernel.__name__ = "cuLaunchKernel"
    with pytest.raises(DeviceMemoryError, match=r"cuLaunchKernel: 1,000 of 2,000 bytes"):
        device.start("kernel", 10, [1], 0)


@pytest.mark.parametrize("driver, text", [
    (Driver(start=NO_DEVICE), "CUDA_ERROR_100"), (Driver(count=0), "finds no GPU"), (Driver(), None),
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
