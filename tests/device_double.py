"""Devices for tests without a GPU, over NumPy arrays: the same texts and calls as on a GPU, run on the processor.

`HostDevice` runs the interpreter's text as Python, one thread after the other. `SimulatedDevice` runs it in numba's
CUDA simulator, in a process that was started with NUMBA_ENABLE_CUDASIM=1.
"""

import ctypes

import numpy as np

from fastad.errors import DeviceMemoryError
from fastad.execution.cuda.arrays import DeviceArray
from fastad.execution.cuda.compiled import text_of
from fastad.execution.cuda.device import LaneKernel
from fastad.execution.cuda.host import HostCode
from fastad.execution.cuda.instances import LEADING, are_in_memory
from fastad.execution.cuda.interpreter import compiling
from fastad.execution.cuda.interpreter.building import thread


class _Memory:
    def __init__(self, owner, nbytes):
        self.owner, self.data = owner, np.full(nbytes + 64, 0xFF, np.uint8)  # NaN where nothing is written
        self.address = (self.data.ctypes.data + 63) // 64 * 64
        self.nbytes = nbytes
        owner.used += nbytes
        self.streams = set()

    def used(self, stream):
        self.streams.add(stream)

    def __del__(self):
        self.owner.used -= self.nbytes


def _view(address, shape, dtype):
    """NumPy's view of memory."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if not size:
        return np.zeros(shape, dtype)
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype).reshape(shape)


class _Double:
    name, arch, ordinal = "a double", "sm_90", 0

    def __init__(self, total=2**33):
        self.used, self.total, self.launches, self.waited, self.orders = 0, total, [], [], []
        self._functions = {}

    def memory(self):
        return self.total - self.used, self.total

    def allocate(self, nbytes, stream=0):
        free, total = self.memory()
        if nbytes > free:
            raise DeviceMemoryError(f"{self.name} has no room for {nbytes:,} bytes: {free:,} of {total:,} are free")
        return _Memory(self, nbytes)

    def upload(self, address, source, stream):
        _view(address, (source.nbytes,), np.uint8)[...] = source.reshape(-1).view(np.uint8)

    def download(self, target, address, stream):
        target.reshape(-1).view(np.uint8)[...] = _view(address, (target.nbytes,), np.uint8)

    def clear(self, address, nbytes, stream):
        _view(address, (nbytes,), np.uint8)[...] = 0

    def copy(self, target, source, nbytes, stream):
        _view(target, (nbytes,), np.uint8)[...] = _view(source, (nbytes,), np.uint8)

    def synchronize(self, stream=0):
        self.waited.append(stream)

    def home(self, address):
        return self.ordinal

    def function(self, source):
        if source.name not in self._functions:
            self._functions[source.name] = source, self._built(source)
        return self._functions[source.name]

    def compiled(self, request, inputs, outputs, precision, steps):
        text, steps = text_of(request, inputs, outputs, precision, steps, counts=True)
        counts = len(text.outputs) > len(request.results)
        return LaneKernel(HostCode(text, level=0), text.layout, text.rows, steps, text.vectors, counts)

    def start(self, kernel, threads, arguments, stream):
        self.launches.append(("compiled", threads, stream))
        count, order, codes, *words = arguments
        arrays = len(kernel.text.inputs) + len(kernel.text.outputs)
        if are_in_memory(LEADING + 3 * arrays):
            words = _view(words[0], (3 * arrays,), np.int64).tolist()
        self.orders.append(_view(order, (count,), np.int32).copy() if order else None)
        if threads:
            kernel.launch(count, order, codes, words)

    def launch(self, function, threads, arguments, stream):
        source, run = function
        given = [_view(x.address, x.shape, x.dtype) if isinstance(x, DeviceArray) else int(x) for x in arguments]
        for x, (dtype, ndim) in zip(given, source.types, strict=True):
            assert (x.dtype, x.ndim) == (dtype, ndim) if isinstance(x, np.ndarray) else ndim == 0
        self.launches.append((source.name, threads, stream))
        if threads:
            self._run(run, threads, given)


class HostDevice(_Double):
    """The texts as Python."""

    def _built(self, source):
        return thread(source, _as_it_is, _plain())

    def _run(self, run, threads, given):
        with np.errstate(all="ignore"):
            for i in range(threads):
                run(i, *given)


class SimulatedDevice(_Double):
    """The texts in numba's simulator."""

    def _built(self, source):
        from numba import cuda

        return cuda.jit(compiling.kernel(source, cuda.jit(device=True), _plain()))

    def _run(self, run, threads, given):
        with np.errstate(all="ignore"):  # each thread is one of Python's, idle ones too
            run[-(-threads // 2), 2](threads, *given)


def _as_it_is(function):
    return function


def _plain():
    """NumPy's and SciPy's functions."""
    from fastad.primitives import elementwise_rows

    return {str(row.symbol): row.numpy for row in elementwise_rows() if row.is_leaf and row.symbol}
