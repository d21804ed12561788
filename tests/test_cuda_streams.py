"""Arrays on a device and streams: work is in the order in which it was asked for, whoever asks."""

import numpy as np
import pytest
from device_double import HostDevice

import fastad as fad
from fastad.execution.cuda.arrays import as_device_array, is_device_array
from fastad.execution.cuda.device import array, using

X = np.random.default_rng(0).normal(size=(5, 3))


@pytest.fixture(autouse=True)
def device():
    """The device that calls go to, which notes the streams that copies use."""
    found = HostDevice()
    found.copies, download, upload = [], found.download, found.upload

    def noted(copy):
        return lambda a, b, stream: (found.copies.append(stream), copy(a, b, stream))[1]

    found.download, found.upload = noted(download), noted(upload)
    with using(found):
        yield found


def test_an_array_is_read_on_the_stream_that_wrote_it(device):
    with fad.cuda.stream(5):
        y = fad.vmap(np.sin, device="cuda", tier="native")(fad.cuda.array(X))
    device.copies.clear()
    np.testing.assert_allclose(np.asarray(y), np.sin(X))
    assert device.copies == [5] and not device.waited
    y.copy_to_host(stream=6)
    assert device.copies == [5, 6] and device.waited == [5]


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_memory_knows_the_streams_that_use_it(device, tier):
    x = fad.cuda.array(X)
    with fad.cuda.stream(5):
        y = fad.vmap(lambda x: np.sum(np.sin(x)), device="cuda", tier=tier)(x)
    assert 5 in x.memory.streams and 5 in y.memory.streams


def test_the_buffers_of_a_prepared_call_belong_to_its_stream(device):
    run = fad.vmap(np.sin, device="cuda", tier="native").prepare(X)
    assert device.waited == [0]  # the memory is there for all streams
    y = run(stream=7)
    device.copies.clear()
    run.inputs[0].copy_from_host(X + 1)  # after the run that reads it
    np.asarray(y)
    assert device.copies == [7, 7]


def test_consumers_of_no_stream_mean_the_default_one(device):
    for stream, waits in ((None, [5]), (1, [5]), (5, []), (-1, [])):
        device.waited.clear()
        array(device, X, 5).__dlpack__(stream=stream)
        assert device.waited == waits


class WithoutStream:
    """An array like PyTorch's: its array interface is of version 2, and does not say on which stream it was written."""

    def __init__(self, inner):
        self.inner, self.asked = inner, []

    @property
    def __cuda_array_interface__(self):
        return {**self.inner.__cuda_array_interface__, "version": 2, "stream": None}

    def __dlpack_device__(self):
        return self.inner.__dlpack_device__()

    def __dlpack__(self, stream=None):
        self.asked.append(stream)
        return self.inner.__dlpack__(stream=stream)


class NeedsGradient(WithoutStream):
    """Such an array that is part of another library's gradient: PyTorch raises."""

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad")

    def __dlpack__(self, stream=None):
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")


def test_libraries_that_tell_no_stream_are_asked_to_wait(device):
    x = WithoutStream(array(device, X, 3))
    assert is_device_array(x)
    found = as_device_array(x, device, 5)
    assert x.asked == [5] and device.waited == [3] and found.stream == 5
    np.testing.assert_array_equal(found.copy_to_host(), X)
    with pytest.raises(BufferError, match="detach"):
        fad.vmap(np.sin, device="cuda")(NeedsGradient(array(device, X)))
