"""The text of native code grows with what a program says, not with the sizes of its arrays or with repetitions."""

import numpy as np
import pytest
from native_tools import run

import fastad as fad
from fastad.execution.layout import layout_of
from fastad.execution.machine.llvm_ir import STRAIGHT
from fastad.execution.native import NativeKernel
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.program import NativeCode
from fastad.tables.builder import Builder


def parts(f, *args):
    program = fad.trace(fad.grad(f, roll=False), *args)
    return NativeCode(make_plan(program, layout_of(program, None))).parts


def optimised(found):
    """Lines of what LLVM optimises."""
    return sum(len(part.text.splitlines()) for part in found if part.level)


@pytest.mark.parametrize("shape", [(64, 500), (3, 200)])
def test_outer_products_are_loops(shape):
    m, n = shape
    x = np.linspace(0.0, 1.0, 8 * n)
    loss = lambda A: np.sum(np.tanh(A @ x[: A.shape[1]]))
    small, large = (parts(loss, np.ones((m, n * k))) for k in (1, 8))
    assert optimised(large) < 1.5 * optimised(small)


def layers(count, size=20):
    rng = np.random.default_rng(count)

    def loss(weights):
        h = np.linspace(-1.0, 1.0, 32 * size).reshape(32, size)
        for w in weights:
            h = np.tanh(h @ w)
        return np.sum(h * h)

    return loss, [rng.normal(size=(size, size)) / size**0.5 for _ in range(count)]


def test_equal_layers_are_one_text():
    few, many = (optimised(parts(*layers(count))) for count in (20, 80))
    assert many == few


@pytest.mark.parametrize("count", [2, 9, 24])
def test_shared_functions_give_what_sweeps_give(count):
    loss, weights = layers(count)
    native, sweep = (fad.grad(loss, tier=tier, roll=False)(weights) for tier in ("native", "sweep"))
    for a, b in zip(native, sweep, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_steps_that_stop_among_many():
    """A guard, an index and a singular matrix in a program of many steps stop it where they stand."""

    def f(x, k):
        h = x
        for _ in range(40):
            h = np.tanh(h @ x) + h
        first = h[k]
        return np.sum(np.linalg.solve(x, first))

    x = np.random.default_rng(3).normal(size=(20, 20)) / 5
    g = fad.jit(f, tier="native", roll=False)
    expected = f(x, 3)
    np.testing.assert_allclose(g(x, 3), expected, rtol=1e-9)
    with pytest.raises(np.linalg.LinAlgError):
        g(np.zeros((20, 20)), 3)
    np.testing.assert_allclose(g(x, 3), expected, rtol=1e-9)


def test_shared_loops_among_many_steps():
    """Loops that threads share stand beside shared functions, which another module calls."""

    def f(x):
        h = x
        for _ in range(20):
            h = np.sin(h) * np.cumsum(h)[::-1] / h.size + x
        return h

    x = np.linspace(0.1, 1.0, 50_000)
    program = fad.trace(fad.jit(f, roll=False), x)
    kernel = NativeKernel(program, threads=2)
    assert kernel.address
    np.testing.assert_allclose(fad.jit(f, tier="native", roll=False)(x), f(x), rtol=1e-9)


SIZES = (1, 64, 1, 100, 0, 0), (1, 40, 3, 70, 1, 0), (1, 9, 33, 90, 0, 1), (5, 7, 20, 33, 0, 0)


@pytest.mark.parametrize("sizes", SIZES)
def test_products_in_rows_and_in_columns_of_tiles(sizes):
    batch, m, k, n, ta, tb = sizes
    rng = np.random.default_rng(sum(sizes))
    x, y = rng.normal(size=(batch, m, k)), rng.normal(size=(batch, k, n))
    b = Builder()
    given = x.swapaxes(1, 2) if ta else x, y.swapaxes(1, 2) if tb else y
    refs = [b.input(a.shape) for a in given]
    out = b.emit("matmul", tuple(refs), (batch, m, k, n, ta, tb, 1, 1), (batch, m, n))
    code, (found,) = run(b.table([out]), [np.ascontiguousarray(a) for a in given])
    assert code == 0
    np.testing.assert_allclose(found.reshape(batch, m, n), x @ y, rtol=1e-13, atol=1e-13)


# ── straight-line code ────────────────────────────────────────────────────────────────────────────────────────
def straight(operations, seed=5):
    """A function of about so many operations on single numbers, none of which repeat themselves."""
    rng = np.random.default_rng(seed)
    kinds, weights = rng.integers(0, 4, operations), rng.uniform(0.1, 0.9, operations)

    def f(x):
        a, b, total = x[0], x[1], 0.0
        for kind, w in zip(kinds, weights, strict=True):
            if kind == 0:
                a = w * a + 0.1 * b
            elif kind == 1:
                b = np.sin(b) + w
            elif kind == 2:
                a = a / (1.0 + b * b)
            else:
                total = total + w * a * b
        return total

    return f


@pytest.mark.parametrize(("operations", "level"), [(30, 2), (300, STRAIGHT), (2000, 0)])
def test_straight_line_code_goes_through_passes_only_where_it_is_short(operations, level):
    found = parts(straight(operations), np.array([0.4, 0.7]))
    longest = max(found, key=lambda part: len(part.text))
    assert longest.level == level
    assert sum(len(part.text) for part in found if part.level in (1, 2, 3)) < 60_000


@pytest.mark.parametrize("operations", [30, 300, 2000])
def test_straight_line_code_of_every_length_gives_what_sweeps_give(operations):
    f, x, v = straight(operations), np.array([0.4, 0.7]), np.array([0.3, -1.1])
    twice = lambda tier: (fad.jit(lambda x: fad.hvp(f, x, v), tier=tier)(x),)
    for call in (lambda tier: fad.value_and_grad(f, tier=tier)(x), twice):
        for a, b in zip(call("native"), call("sweep"), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


def test_loops_and_long_straight_line_code_in_one_program():
    """A loop over 1,000 elements between straight-line code: modules of both call and are called."""

    def f(x):
        y = np.linspace(0.0, 1.0, 1000) * straight(400)(x)
        return straight(400, seed=6)(x * np.sum(np.tanh(y)) / 1000)

    x = np.array([0.4, 0.7])
    native, sweep = (fad.grad(f, tier=tier)(x) for tier in ("native", "sweep"))
    np.testing.assert_allclose(native, sweep, rtol=1e-10)
