"""The interpreter for GPUs compiled by numba.cuda and assembled by NVIDIA's nvJitLink, which needs no GPU."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_tools import ARCHITECTURES, needs_assembler
from device_double import HostDevice

from fastad.execution.cuda import ptx
from fastad.execution.cuda.device import empty
from fastad.execution.cuda.interpreter.building import interpreter, mover
from fastad.execution.cuda.interpreter.compiling import entry_name, words
from fastad.execution.cuda.interpreter.compiling import ptx as ptx_of

# The most registers and bytes of spills, for sm_90 and later; and for sm_80, where these are more.
SOURCES = {
    "values": (interpreter("values", False, "d"), 64, 0),
    "values, float32": (interpreter("values", False, "f"), 48, 0),
    "adjoints": (interpreter("adjoints", False, "d"), 80, 0),
    "tangents": (interpreter("tangents", False, "d"), 72, 0),
    "load": (mover("load", "f", "d"), 40, 0),
    "store": (mover("store", "?", "f"), 40, 0),
    "values, arrays": (interpreter("values", True, "d"), 176, 0),
    "adjoints, arrays": (interpreter("adjoints", True, "d"), 255, 64),
    "tangents, arrays": (interpreter("tangents", True, "d"), 184, 0),
}
OLDER = {"values, arrays": (232, 0), "adjoints, arrays": (255, 192), "tangents, arrays": (232, 0)}
SHORT = {"values", "load", "store"}  # assembled for all architectures each time, the others for one of them
LONG = {"adjoints", "tangents", "values, arrays", "tangents, arrays"}  # parts of what the others have, or like it


@pytest.fixture
def compiler(monkeypatch):
    """numba.cuda's compiler asks the GPU at hand for its architecture; here it is one that there is not."""
    pytest.importorskip("numba_cuda")
    from numba.cuda import dispatcher

    there = SimpleNamespace(compute_capability=None)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: there)
    return lambda arch: setattr(there, "compute_capability", divmod(int(arch.removeprefix("sm_")), 10))


@needs_assembler
@pytest.mark.parametrize("name, architectures", [
    *((name, ARCHITECTURES if name in SHORT else ARCHITECTURES[1:2]) for name in SOURCES if name not in LONG),
    *(pytest.param(name, ARCHITECTURES, marks=pytest.mark.slow) for name in SOURCES if name not in SHORT),
])  # fmt: skip
def test_registers_and_spills(name, architectures, compiler):
    """What is compiled for sm_80 is assembled for later ones too."""
    source, *bounds = SOURCES[name]
    compiler(ARCHITECTURES[0])
    text = ptx_of(source, ARCHITECTURES[0])
    for arch in architectures:
        found = ptx.assembled(text.encode(), arch)
        registers, spilled = OLDER.get(name, bounds) if arch == ARCHITECTURES[0] else bounds
        assert found.registers <= registers and found.spilled <= spilled, (arch, found.registers, found.spilled)
    assert len(parameters(text)) == len(words(1, arguments(source)))


def parameters(text):
    """The parameters of the kernel."""
    start = text.index("(", text.index(f".entry {entry_name(text)}"))
    return re.findall(r"\.param \.[bu]64", text[start : text.index(")", start)])


def arguments(source):
    """Arguments as a call has them."""
    device = HostDevice()
    return [empty(device, (2,) * ndim, dtype) if ndim else 3 for dtype, ndim in source.types]


def test_words_of_arguments():
    x = empty(HostDevice(), (2, 3), np.float32)
    assert words(7, [x, 5]) == [7, 0, 0, 6, 4, x.address, 2, 3, 12, 4, 5]
