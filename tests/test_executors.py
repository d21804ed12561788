"""Executors: whoever has the three functions is chosen by `tier=`, and runs everything.

The toy below runs tables row by row with NumPy. It is all in this file; nothing in fastad knows of it.
"""

import ctypes

import numpy as np
import pytest
from random_programs import draw_program
from transform_tools import same

import fastad as fad
from fastad.errors import IndexRangeError
from fastad.execution.composites.calling import kernel_of
from fastad.execution.executors import EXECUTORS, NATIVE, SWEEP, Executor, policy
from fastad.execution.kernel import SIGNATURE
from fastad.execution.layout import layout_of
from fastad.execution.marshalling import run_part
from fastad.execution.pending import keep_error
from fastad.execution.request import Request
from fastad.tables.reference import Stopped, steps


# ── the toy ───────────────────────────────────────────────────────────────────────────────────────────────────
class ToyKernel:
    """A table as a C function that calls back to the reference interpreter."""

    context, work_size, callees, chosen = 0, 1, (), None

    def __init__(self, table, threshold):
        self.rows, self.layout, self.runs = table, layout_of(table, threshold), 0
        self._function = SIGNATURE(self._run)
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value

    def _run(self, context, vector_in, vector_out, work):
        self.runs += 1
        table, values = self.rows, []
        try:
            inputs = [_at(vector_in, s).reshape(k.shape) for s, k in zip(self.layout.inputs, table.inputs, strict=True)]
            for _, _, value in steps(table, inputs):
                values.append(value)
        except Stopped as stopped:
            return stopped.row + 1
        except IndexError:
            return -(len(values) + 1)
        except BaseException as error:
            keep_error(error)
            return -1
        for slot, row in zip(self.layout.outputs, table.outputs, strict=True):
            _at(vector_out, slot)[...] = values[row].reshape(-1)
        return 0


def _at(vector, slot):
    """The elements of a value."""
    place = vector + 8 * slot.offset
    if slot.by_reference:
        place = ctypes.c_int64.from_address(place).value
    return np.frombuffer((ctypes.c_double * slot.size).from_address(place)) if slot.size else np.empty(0)


TOY = Executor(
    "toy",
    estimate=lambda request: 0.0,
    is_cached=lambda request, threads: True,
    kernel=lambda request, threads, threshold: ToyKernel(request.table, threshold),
)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(EXECUTORS, "toy", TOY)


# ── it is chosen by its name ──────────────────────────────────────────────────────────────────────────────────
W = np.linspace(-1.0, 1.0, 12).reshape(3, 4)


def layer(x):
    return np.tanh(W @ x) * np.sum(x)


def looped(x):
    return fad.scan(lambda y, w: (np.sin(w * y) + x[0], y[1]), x, np.linspace(0.5, 1.5, 9))


TRANSFORMED = {
    "jit": lambda tier: fad.jit(layer, tier=tier),
    "grad": lambda tier: fad.value_and_grad(lambda x: np.sum(layer(x)), tier=tier),
    "hessian": lambda tier: fad.hessian(lambda x: np.sum(layer(x)), tier=tier),
    "jacfwd": lambda tier: fad.jacfwd(layer, tier=tier),
    "vmap": lambda tier: fad.vmap(lambda x: x * np.sin(x), tier=tier),
    "large": lambda tier: fad.grad(lambda x: np.sum(np.outer(np.repeat(x, 100), x) ** 2), tier=tier),
    "scan": lambda tier: fad.jit(looped, tier=tier),
    "scan gradient": lambda tier: fad.grad(lambda x: np.sum(looped(x)[1]), tier=tier),
    "while": lambda tier: fad.jit(lambda x: fad.while_loop(lambda y: y[0] < 9.0, lambda y: 1.5 * y, x), tier=tier),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_a_stranger_runs_every_transformation(name):
    x = np.array([0.3, -0.2, 0.9, 0.4])
    f = TRANSFORMED[name]("toy")
    for _ in range(3):  # recorded, replayed, replayed by the shortest way
        same(f(x), TRANSFORMED[name]("sweep")(x))
        x = x + 0.1
    assert {table["tier"] for table in f.stats()["tables"]} == {"toy"}
    assert all(path.compiled._kernel.runs for path in f.all_paths())


@pytest.mark.parametrize("seed", range(25))
def test_a_stranger_runs_random_programs(seed):
    program = draw_program(seed)
    arguments = tuple(range(len(program.inputs)))
    for f, options in ((program.function, {}), (program.loss, {"argnums": arguments})):
        transformation = fad.value_and_grad if options else fad.jit
        found, wanted = (transformation(f, tier=tier, **options) for tier in ("toy", "sweep"))
        for inputs in (program.inputs, program.other_inputs(0)):
            try:
                expected = wanted(*inputs)
            except (IndexError, ValueError):  # the shapes after a mask depend on the values
                continue
            same(found(*inputs), expected, 1e-10)


def test_parts_of_a_loop_are_run_by_what_is_handed_down():
    (loop,) = fad.trace(looped, np.ones(4)).subs
    x = np.random.default_rng(1).normal(size=loop.n_in)
    kernel = kernel_of(loop, TOY.part)
    wanted = run_part(kernel_of(loop, SWEEP.part), loop, x)
    np.testing.assert_allclose(run_part(kernel, loop, x), wanted, rtol=1e-14)
    bodies = [part for part in kernel._held if isinstance(part, ToyKernel)]
    assert [body.runs for body in bodies] == [9]


def test_other_paths_are_followed():
    f = fad.grad(lambda x: x * x if x > 0 else -x, tier="toy")
    assert [float(f(x)) for x in (2.0, -1.0, 3.0, -4.0)] == [4.0, -1.0, 6.0, -1.0]
    assert f.stats()["paths"] == 2


def test_errors_name_the_line():
    f = fad.jit(lambda x, i: x[i], tier="toy")
    f(np.ones(3), np.array(1))
    with pytest.raises(IndexRangeError, match=r"test_executors.py:\d+"):
        f(np.ones(3), np.array(7))


def test_prepared_calls_and_numba_functions():
    numba = pytest.importorskip("numba")
    f = fad.grad(lambda x: np.sum(x**3), tier="toy")
    run = f.prepare(np.ones(3))
    run.inputs[0][:] = [1.0, 2.0, 3.0]
    np.testing.assert_allclose(run(), [3.0, 12.0, 27.0])
    g = f.numba_function
    np.testing.assert_allclose(numba.njit(lambda x: g(x) + 1.0)(np.full(3, 2.0)), np.full(3, 13.0))


def test_what_python_code_of_a_kernel_raises_reaches_the_caller(monkeypatch):
    f = fad.jit(np.sin, tier="toy")
    monkeypatch.setattr("test_executors.steps", lambda table, inputs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        f(1.0)


# ── the choice ────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_unknown_tier_is_an_error_that_lists_the_known_ones():
    for make in (lambda: fad.jit(np.sin, tier="fast"), lambda: policy("fast"), lambda: fad.grad(np.sin, tier="TOY")):
        with pytest.raises(ValueError, match="'auto', 'sweep', 'native', 'toy', not"):
            make()


def test_auto_goes_over_when_the_first_has_cost_as_much_as_the_next(monkeypatch):
    ready = set()
    slow = Executor("slow", lambda request: 0.0, lambda request, threads: True, SWEEP.kernel)
    fast = Executor("fast", lambda request: 5.0, lambda request, threads: request in ready, NATIVE.kernel)
    monkeypatch.setitem(EXECUTORS, "sweep", slow)
    monkeypatch.setitem(EXECUTORS, "native", fast)
    f = fad.jit(lambda x: np.sum(np.sin(x)))
    f(np.ones(3))
    (path,) = f.all_paths()
    assert path.compiled.tier_in_use == "slow" and path.compiled.interpreted_seconds > 0
    path.compiled.interpreted_seconds = 4.9
    f(np.ones(3))
    assert path.compiled.tier_in_use == "slow"
    path.compiled.interpreted_seconds = 5.0
    f(np.ones(3))
    assert path.compiled.tier_in_use == "fast" and path.compiled.is_settled
    assert policy("auto").start(Request(fad.trace(np.sin, 1.0)), 1) is slow


def test_what_is_ready_is_used_at_once():
    request = Request(fad.trace(np.sin, 1.0))
    first, then = (Executor(name, lambda request: 1.0, lambda request, threads: True, None) for name in "ab")
    assert type(policy("auto"))(first, then).start(request, 1) is then
    waiting = Executor("b", lambda request: 1.0, lambda request, threads: False, None)
    assert type(policy("auto"))(first, waiting).start(request, 1) is first
