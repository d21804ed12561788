"""Memory of reverse mode: calls take what `table.cost()` predicts."""

import tracemalloc

import numpy as np
import pytest

import fastad as fad
from fastad.execution.native import NativeKernel, work_bytes
from fastad.execution.work_memory import WORK
from fastad.tables.passes.derive import adjoint_table

RNG = np.random.default_rng(8)
X, W = RNG.normal(size=(800, 30)), RNG.normal(size=(30, 40)) / 6
LONG = RNG.normal(size=60_000)


def mixture(x, w):
    """Matrix product, softmax along rows, and a sum over what was computed before it."""
    h = np.tanh(x @ w)
    p = np.exp(h - np.max(h, axis=1, keepdims=True))
    return np.sum(np.log(np.sum(p, axis=1))) + np.sum(h * h)


FUNCTIONS = {
    "fused into one loop": (lambda x: np.sum(np.sin(x) * np.exp(-x * x)), (LONG,)),
    "values kept for the way back": (lambda x: np.sum(np.sin(np.cumsum(np.cos(np.cumsum(x))))), (LONG,)),
    "products": (mixture, (X, W)),
    "indices": (lambda x: np.sum(x[np.arange(0, x.size, 3) // 2] ** 3) + np.sum(np.sort(x) ** 2), (LONG,)),
    "a captured array": (lambda w: np.sum((X @ w) ** 2), (W,)),
}


def peak(function, args):
    """Most bytes that NumPy holds for a prepared call, its preparation included."""
    function(*args)  # recorded, and ready to run
    WORK.clear()
    tracemalloc.start()
    try:
        run = function.prepare(*args)
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_reverse_mode_takes_what_the_cost_predicts(name, tier):
    f, args = FUNCTIONS[name]
    adjoint = fad.trace(f, *args).cost().adjoint
    predicted = adjoint.sweep_bytes if tier == "sweep" else adjoint.native_bytes
    measured = peak(fad.value_and_grad(f, tuple(range(len(args))), tier=tier), args)
    assert measured == pytest.approx(predicted, rel=0.1)


def test_only_what_is_differentiated_counts():
    table = fad.trace(mixture, X, W)
    measured = peak(fad.value_and_grad(mixture, 1, tier="native"), (X, W))
    assert measured == pytest.approx(table.cost([1]).adjoint.native_bytes, rel=0.1)
    assert table.cost([1]).adjoint.native_bytes < table.cost().adjoint.native_bytes


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_plan_is_that_of_the_kernel(name):
    f, args = FUNCTIONS[name]
    table = fad.trace(f, *args)
    for program in (table, adjoint_table(table, [0])):
        assert work_bytes(program) == 8 * NativeKernel(program).work_size


def test_work_of_called_programs_counts():
    """A call allocates its sub-program's work memory while it runs."""

    def block(x):
        return np.cumsum(np.sin(np.cumsum(x)))

    plain, called = (fad.trace(lambda x, f=f: np.sum(f(x)), LONG) for f in (block, fad.checkpoint(block)))
    inside = max(work_bytes(sub.table) for sub in called.subs)
    assert inside >= 8 * LONG.size
    assert work_bytes(called) == 8 * NativeKernel(called).work_size + inside
    assert plain.cost().value.native_bytes < called.cost().value.native_bytes


def test_a_sum_of_products_keeps_a_few_of_them():
    """However many there are: the loop that adds them up would else wait for all."""
    rows, columns, count = 600, 40, 24
    x, w = RNG.normal(size=(rows, columns)), RNG.normal(size=(count, columns, columns))

    def total(x, w):
        found = 0.0
        for k in range(count):
            found = found + x @ w[k]
        return found

    np.testing.assert_allclose(fad.jit(total, tier="native")(x, w), total(x, w), rtol=1e-12, atol=1e-10)
    table = fad.trace(total, x, w)
    for program in (table, adjoint_table(table, [0])):
        assert work_bytes(program) <= 8 * x.nbytes
