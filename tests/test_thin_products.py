"""Products over an inner dimension of one, and of rows with one narrow matrix, are parts of loops in native code."""

import numpy as np
import pytest
from control_tools import equal_derivatives
from hypothesis import given, settings
from hypothesis import strategies as st
from native_tools import run

import fastad as fad
from fastad.errors import FastadError
from fastad.execution.layout import layout_of
from fastad.execution.native.code.vectors import lanes
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.planning.steps import COLLECTED, CallStep, LoopStep
from fastad.execution.native.planning.thin import without_thin_products
from fastad.tables.builder import Builder
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.reference import evaluate


def names(table):
    return [row.name for row in without_thin_products(table).rows()]


@settings(max_examples=60)
@given(st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 20)), st.integers(0, 7), st.integers(1, 4),
       st.integers(0, 9))  # fmt: skip
def test_products_of_all_forms(sizes, flags, count, seed):
    """Sums and bundles of products, of equal and of different operands, also as results."""
    m, k, n = sizes
    ta, tb, other = flags & 1, flags >> 1 & 1, flags >> 2
    rng, b = np.random.default_rng(seed), Builder()
    if seed % 3 == 0:
        k = 1
    elif seed % 3 == 1:
        m = 1
    y = b.input((k * n,))
    xs = [b.input((m * k,)) for _ in range(count)]
    z, statics = b.emit("sin", (y,)) if other else y, (1, m, k, n, ta, tb, 1, 1)
    products = [b.emit("matmul", (x, y), statics, (m, n)) for x in xs]
    others = [b.emit("matmul", (x, z), statics, (m * n,)) for x in xs]
    total = b.emit("tanh", (b.add(*products),)) if count > 1 else products[0]
    table = b.table([total, *others, products[-1], b.emit("sum", (total,), (1, m * n, 1), ())])
    given = [rng.normal(size=k * n), *(rng.normal(size=m * k) for _ in xs)]
    for program in (table, adjoint_table(table, list(range(1 + count)), seeds=[1.0] * len(table.outputs))):
        code, found = run(program, given)
        assert code == 0
        for own, wanted in zip(found, evaluate(program, given), strict=True):
            np.testing.assert_allclose(own, wanted.reshape(-1), rtol=1e-12, atol=1e-12)


def bundle(x, w):
    """A sum of outer products, in the manner of a convolution: its adjoint has products of rows with one matrix."""
    total = 0.0
    for k in range(len(w)):
        total = total + np.dot(x[:, k : k + 1], w[k : k + 1])
    return np.sum(np.tanh(total))


def data(rows=200, count=25, columns=6):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, count)), rng.normal(size=(count, columns))


def test_derivatives_are_those_of_one_product():
    x, w = data(40, 5, 3)
    plain = lambda x, w: np.sum(np.tanh(x @ w))
    equal_derivatives(bundle, plain, x, w, argnums=(0,), tier="native", second=False)
    equal_derivatives(lambda w: bundle(x, w), lambda w: plain(x, w), w, tier="native")


def test_they_are_loops_whose_results_stay_in_registers():
    x, w = data(columns=min(6, lanes()))  # of more vectors a long body is not written out
    table = without_thin_products(adjoint_table(fad.trace(lambda w: bundle(x, w), w), [0], seeds=[1.0]))
    plan = make_plan(table, layout_of(table))
    assert not any(isinstance(s, CallStep) and table.row(s.row).name == "matmul" for s in plan.steps)
    loops = [s for s in plan.steps if isinstance(s, LoopStep) and s.reductions]
    assert sum(len(s.reductions) for s in loops) >= 25
    for step in loops:
        collected = sum(table.row(r).statics[2] > 1 for r in step.reductions)
        assert collected <= COLLECTED
        assert plan.loops[step.index].nests[0].flat or not collected


@pytest.mark.parametrize("threads", (1, 2))
def test_threads_change_no_bit(threads):
    x, w = data(60_000, 7)
    table = adjoint_table(fad.trace(bundle, x, w), [1], seeds=[1.0])
    found = run(table, [x, w], threads=threads)[1]
    for own, wanted in zip(found, run(table, [x, w], threads=1)[1], strict=True):
        np.testing.assert_array_equal(own, wanted)


def test_others_are_left_alone():
    a, rng = np.ones((30, 40)), np.random.default_rng(0)
    assert names(fad.trace(lambda x: a @ x, np.ones((40, 3)))).count("matmul") == 1
    assert names(fad.trace(lambda x: x @ a, np.ones((3, 30)))).count("matmul") == 1
    assert names(fad.trace(lambda x: x @ a, np.ones(30))).count("matmul") == 1  # one row, a wide matrix
    assert names(fad.trace(lambda x: x @ a[:, :5], np.ones(30))).count("matmul") == 1  # alone
    single = rng.normal(size=(30, 1)).astype(np.float32)
    assert names(fad.trace(lambda x: x @ single.T, single)).count("matmul") == 1
    table = fad.trace(lambda x: np.outer(x, x) + np.outer(x, 2 * x), np.ones(30))
    assert names(table).count("matmul") == 0
    plain = fad.trace(lambda x: np.sin(x), np.ones(30))
    assert without_thin_products(plain) is plain


def test_guards_behind_them_name_their_lines():
    def f(x):
        y = np.outer(x, x) + np.outer(x, 3 * x)
        if y[0, 0] > 0:
            return np.sum(y)
        return np.sum(np.log(np.abs(y)))

    g = fad.grad(f, tier="native")
    x = np.linspace(1.0, 2.0, 20)
    for point in (x, x - 1.0, x):  # another path, and back
        np.testing.assert_allclose(g(point), fad.grad(f, tier="sweep")(point), rtol=1e-12)


def test_errors_behind_them_name_their_lines():
    def f(x):
        y = np.outer(x, x) + np.outer(x, 3 * x)
        return np.sum(np.linalg.solve(y, x))  # singular

    with pytest.raises(FastadError, match=r"test_thin_products\.py:\d+"):
        fad.jit(f, tier="native")(np.linspace(1.0, 2.0, 20))
