"""Kernels for GPUs on this CPU, beside the CPU's own; and their PTX, where what assembles it is installed."""

import contextlib
import functools

import numpy as np
import pytest

from fastad.errors import CompileError, FastadError
from fastad.execution.compiled import Compiled
from fastad.execution.cuda import ptx
from fastad.execution.cuda.compiled import DeviceText, text_of
from fastad.execution.cuda.device import array, current, empty, what_is_missing
from fastad.execution.cuda.executors import Kernel
from fastad.execution.cuda.host import HostCode
from fastad.execution.cuda.interpreter.program import Strided
from fastad.execution.kernel import GuardFailed
from fastad.execution.machine import compiling
from fastad.execution.request import Request

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


@functools.cache
def _missing():
    try:
        ptx.libdevice_path()
        ptx._nvjitlink()
    except CompileError as error:
        return str(error)
    return ""


def needs_assembler(test):
    """For tests that need NVIDIA's packages; they need no GPU."""
    return pytest.mark.skipif(bool(_missing()), reason=_missing())(test)


def assembled(request, architectures=ARCHITECTURES, **options):
    """The cubins of a request, by architecture."""
    text, _ = text_of(request, **options)
    return {name: ptx.assembled(ptx.ptx_of(text.device, name, text.calls_libdevice), name) for name in architectures}


def seconds(request, architecture="sm_90"):
    """Seconds of processor time from the request to its cubin."""
    import time

    start = time.thread_time()
    text, _ = text_of(request)
    device = text.device
    where = f"{architecture} {ptx.libdevice_path()}"
    made, inside = compiling.compiled(device, ptx.LEVEL, device=where)
    ptx.assembled(made, architecture)
    return time.thread_time() - start + inside


def on_host(request, arrays, count, level=2, **options):
    """Codes and results of the GPU's kernel; inputs have an axis of instances in front, or none. Run on this CPU, and
    on the GPU in tests of the marker `gpu`."""
    if (device := _device[0]) is not None:
        return on_device(device, request, arrays, count, **options)
    text, _ = text_of(request, **options)
    return HostCode(text, level).run([*arrays, *request.base.captured], count)


_device = [None]  # which runs the kernels instead of this CPU


@contextlib.contextmanager
def kernels_on(device):
    """Within, `on_host` is `on_device`."""
    _device[0] = device
    try:
        yield
    finally:
        _device[0] = None


def here_and_on_gpus():
    """A fixture for modules of tests by `on_host`: they run on this CPU, and once more on a GPU where there is one."""
    gpu = [] if what_is_missing() else [pytest.param("gpu", marks=pytest.mark.gpu)]

    @pytest.fixture(scope="module", autouse=True, params=["cpu", *gpu])
    def runs_on(request):
        with contextlib.nullcontext() if request.param == "cpu" else kernels_on(current()):
            yield

    return runs_on


def on_device(device, request, arrays, count, inputs=None, outputs=None, precision="d", steps=None):
    """As `on_host`, by what runs calls with device="cuda"."""
    kinds = inputs or precision * len(request.inputs), outputs or precision * len(request.results)
    runner = Kernel(device, request, kinds, precision, steps)
    given = []
    for x, slot, kind in zip([*arrays, *request.base.captured], runner.made.layout.inputs, kinds[0], strict=True):
        own = np.ascontiguousarray(x, kind)
        given.append(Strided(array(device, own), slot.size if own.size == count * slot.size and own.ndim else 0))
    sizes = [slot.size for slot in runner.made.layout.outputs][: len(request.results)]
    results = [empty(device, (count, size), kind) for size, kind in zip(sizes, kinds[1], strict=True)]
    with runner.space(count, 0) as space:
        runner.run(space, count, given, [Strided(x, x.shape[1]) for x in results], 0)
        codes = space.status.copy_to_host(0)
    return codes, [x.copy_to_host(0) for x in results]


def check_instances(request, inputs, count, tolerance=1e-12, level=2, native=None, **options):
    """Every instance computes what native code computes, or ends in an error with it. Returns the codes."""
    codes, results = on_host(request, inputs, count, level, **options)
    native = native or Compiled(request, "native")
    slots = [np.asarray(x).shape[1:] if np.ndim(x) and np.shape(x)[0] == count else None for x in inputs]
    for i in range(count):
        own = [x if shape is None else np.asarray(x)[i] for x, shape in zip(inputs, slots, strict=True)]
        try:
            wanted = native([*own, *request.base.captured])
        except (FastadError, GuardFailed):
            assert codes[i] != 0
            continue
        assert codes[i] == 0, (i, codes[i])
        for found, y in zip(results, wanted, strict=True):
            same(found[i], np.ravel(y), tolerance)
    return codes


def same(found, wanted, tolerance):
    wanted = np.asarray(wanted, float)
    scale = np.max(np.abs(np.nan_to_num(wanted, posinf=0, neginf=0)), initial=0)
    np.testing.assert_allclose(np.asarray(found, float), wanted, rtol=tolerance, atol=tolerance * scale + 1e-300)


def adjoint(table, wrt=None):
    """The request for values and adjoints, all seeds 1."""
    floats = tuple(i for i, kind in enumerate(table.inputs[: table.explicit_inputs]) if kind.dtype in "df")
    return Request(table, "adjoint", floats if wrt is None else tuple(wrt), (1.0,) * len(table.outputs))


__all__ = ["DeviceText", "adjoint", "assembled", "check_instances", "needs_assembler", "on_host", "same", "seconds"]
