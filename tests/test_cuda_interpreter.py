"""The interpreter for GPUs: every primitive that it knows, and random programs, against the sweeps of the processor.

The same checks run over the text as Python here, and in numba's CUDA simulator in a process of its own; with a GPU
(marker `gpu`) on that.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from device_double import HostDevice, SimulatedDevice
from device_tools import LANES, check, on_device
from native_tools import Programs
from test_sweeps import draw, one_row

import fastad as fad
from fastad.errors import CompileError
from fastad.execution.cuda.device import what_is_missing
from fastad.execution.cuda.driver import CudaDevice
from fastad.execution.cuda.interpreter.source import is_interpreted, refusals
from fastad.execution.request import Request
from fastad.primitives import array_rows, elementwise_rows
from fastad.primitives.row import Form
from fastad.tables.builder import Builder

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
GPU = pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(what_is_missing() is not None, reason="no GPU")])


@pytest.fixture(scope="module", params=["simulator"] if SIMULATED else ["python", GPU])
def device(request):
    """The device under test."""
    kinds = {"python": HostDevice, "simulator": SimulatedDevice, "gpu": lambda: CudaDevice(0)}
    return kinds[request.param]()


def differentiable(row):
    return [k for k in range(row.arity) if row.is_differentiable(k)]


@pytest.mark.parametrize("row", elementwise_rows(), ids=lambda row: row.name)
def test_elementwise(device, row):
    for shapes in ([()] * row.arity, [(3,)] * row.arity, *([[(3,), (), ()][: row.arity]] if row.arity > 1 else [])):
        table = one_row(row.name, shapes, shapes[0])
        inputs = [draw(domain, (LANES, *shape)) for domain, shape in zip(row.domain, shapes, strict=True)]
        try:
            check(device, table, differentiable(row), inputs, rtol=1e-9)
        except CompileError as error:  # which names the function that libdevice has not
            assert "no " in str(error) and "(" in str(error)


def test_what_is_not_interpreted_is_said():
    own = [row for row in array_rows() if is_interpreted(row)]
    assert {"strided", "sum", "matmul", "gather", "assemble"} < {row.name for row in own}
    for row in array_rows():
        assert list(refusals("adjoints", [row.code], [])) == ([] if row in own else [row.name])


def write(x, k):
    y = np.zeros(5)
    y[1:4] = x[::-1]
    y[k] += x[0]
    return y * y


# What records every array primitive that the interpreter knows, as functions of (x, k): three numbers and an index.
PROGRAMS = {
    "transposed": lambda x, k: np.outer(x, x).T[1:] * x,
    "sum": lambda x, k: np.sum(np.outer(x, x + 1), axis=0) + np.sum(x),
    "extremes": lambda x, k: np.max(x) - np.min(np.outer(x, x), axis=1),
    "where they are": lambda x, k: x[np.argmax(x)] * np.argmin(np.outer(x, x), axis=0),
    "order": lambda x, k: np.sort(x) * np.argsort(x),
    "running": lambda x, k: np.cumsum(np.outer(x, x), axis=0) + np.cumsum(x),
    "product": lambda x, k: np.outer(x, x) @ x + np.outer(x, x + 1) @ np.outer(x, x - 1) @ x,
    "large product": lambda x, k: (np.outer(np.tile(x, 2), np.tile(x, 2)) @ np.outer(np.tile(x, 2), np.tile(x, 2)))[0],
    "index": lambda x, k: x[k] * x[np.stack([k, k - 1])],
    "writes": write,
    "search": lambda x, k: np.searchsorted(np.sort(x), x) * x,
    "joined": lambda x, k: np.concatenate([x, np.sin(x), x[:1]]),
    "rolled": lambda x, k: np.roll(x, 1) * np.diff(x, append=0.0),
    "adjoint": lambda x, k: fad.grad(lambda y: np.sum(np.cumsum(y[:2]) ** 2) + y[k] * np.sum(np.roll(y, 1) * y))(x),
    "by rows": lambda x, k: fad.vmap(lambda a, b: np.cumsum(a) * b)(np.outer(x, x), x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_arrays(device, name):
    table = fad.trace(PROGRAMS[name], np.array([0.3, 1.2, -0.7]), np.array(1))
    rng = np.random.default_rng(5)
    check(device, table, [0], [rng.normal(size=(LANES, 3)), np.arange(LANES)], rtol=1e-12)


def test_a_lane_that_fails_says_so_for_itself(device):
    table = fad.trace(lambda x, k: x[k], np.ones(3), np.array(1))
    found, status = on_device(device, Request(table), [np.ones((4, 3)), np.array([0, 3, 2, -4])])
    assert [bool(code) for code in status] == [False, True, False, True] and (status <= 0).all()
    np.testing.assert_array_equal(found[0][[0, 2]], 1.0)


def test_guards(device):
    table = fad.trace(lambda x: x * 2 if x > 0 else -x, 1.0)
    _, status = on_device(device, Request(table), [np.array([1.0, -1.0, 3.0])])
    assert status[1] > 0 and status[0] == status[2] == 0
    assert table.row(int(status[1]) - 1).form is Form.GUARD


def test_loops_are_refused():
    table = fad.trace(lambda x: fad.scan(lambda c, _: (np.sin(c), None), x, None, length=5)[0], 1.0)
    with pytest.raises(CompileError, match="compiled kernels"):
        on_device(HostDevice(), Request(table), [np.ones(3)])


@pytest.mark.parametrize("seed", range(24))
def test_random_tables(device, seed):
    rng = np.random.default_rng(seed)
    program = Programs(rng, steps=10)
    inputs = [np.stack([np.asarray(x) * (1.0 + 0.01 * lane) for lane in range(LANES)]) for x in program.inputs()]
    table = program.table()
    if SIMULATED and int(table.sizes.sum()) > 2000:
        pytest.skip("the simulator takes seconds for thousands of numbers; the same text runs them as Python")
    wrt = [k for k, kind in enumerate(table.inputs) if kind.dtype == "d"]
    check(device, table, wrt, inputs, rtol=1e-9)


def test_single_precision(device):
    rng = np.random.default_rng(0)
    b = Builder()
    x, y = b.input((4,)), b.input(())
    table = b.table([b.emit("sin", (b.emit("multiply", (x, y), shape=(4,)),))])
    check(device, table, [0, 1], [rng.normal(size=(LANES, 4)), rng.normal(size=LANES)], real="f", rtol=3e-6)


@pytest.mark.skipif(SIMULATED, reason="this is that process")
def test_the_same_in_the_simulator():
    pytest.importorskip("numba.cuda")
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", str(Path(__file__))]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    if importlib.util.find_spec("xdist") is None:
        command.remove("-n0")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
