"""The sweeps read large inputs and constants where they lie: the same numbers, and nothing is written there."""

import numpy as np
import pytest

import fastad as fad
from fastad.execution.request import Request
from fastad.execution.sweeps.kernel import SweepKernel
from fastad.tables.passes.arena import make_arena

RNG = np.random.default_rng(5)
N = 5000  # of smaller arenas every row has its slot
TABLE = RNG.normal(size=(100, 60))


def written(x, y):
    z = np.zeros(N)
    z[:10] = y[:10]
    w = z + x
    w[5:20] = x[5:20] * y[:15]
    return np.sum(w * x)


def over(x, y):
    z = x + 0.0
    z[1:] = z[1:] * y[:-1]
    return np.sum(z)


PROGRAMS = {
    "elementwise": lambda x, y: np.sum(np.sin(x) * y),
    "one number": lambda x, y: x[3] * np.sum(y * y) + y[-1],
    "one number beside": lambda x, y: np.sum(x[3] * y + x),
    "pieces": lambda x, y: np.sum(np.concatenate([x, y[:50], x[10:20]]) ** 2),
    "views": lambda x, y: np.sum(np.sin(x[::2]) * y[N // 2 :] * x[1::2]),
    "product": lambda x, y: np.sum(np.tanh(x[: N // 10 * 10].reshape(-1, 10).T @ y[: N // 10 * 10].reshape(-1, 10))),
    "gather": lambda x, y: np.sum(x[np.argsort(TABLE[0])] ** 2) * np.mean(y),
    "constant": lambda x, y: np.sum(np.sin(x.reshape(100, 50).T @ TABLE)) * y[0],
    "written": written,
    "over": over,
    "sum": lambda x, y: np.cumsum(x)[-1] * np.max(y),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_numbers_and_nothing_is_written(name):
    function, x, y = PROGRAMS[name], RNG.normal(size=N), RNG.normal(size=N)
    dx, dy = RNG.normal(size=N), RNG.normal(size=N)
    kept = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    found, gradient = fad.value_and_grad(function, (0, 1), tier="sweep")(x, y)
    assert np.isclose(found, function(x, y), rtol=1e-13)
    native = fad.grad(function, (0, 1), tier="native")(x, y)
    for ours, other in zip(gradient, native, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-12)
    _, tangent = fad.jvp(fad.jit(function, tier="sweep"), (x, y), (dx, dy))
    assert np.isclose(tangent, np.vdot(gradient[0], dx) + np.vdot(gradient[1], dy), rtol=1e-11)
    assert np.array_equal(x, kept[0]) and np.array_equal(y, kept[1])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float64])
def test_arrays_of_other_kinds_are_converted_for_each_call(dtype):
    def f(x):
        return np.sum(x * x) + x[2]

    gradient = fad.grad(f, tier="sweep") if dtype != np.int64 else None
    for base in (RNG.normal(size=(N, 2)) * 9, RNG.normal(size=(N, 2)) * 9):
        x = base.astype(dtype)[:, 1]  # its numbers do not lie beside each other
        assert np.isclose(fad.jit(f, tier="sweep")(x), f(x), rtol=1e-6)
        if gradient is not None:
            np.testing.assert_allclose(gradient(x), 2 * x + (np.arange(N) == 2), rtol=1e-6)


def test_results_that_are_inputs_are_arrays_of_their_own():
    x = RNG.normal(size=N)
    same, other = fad.jit(lambda x: (x, x + 1), tier="sweep")(x)
    assert np.array_equal(same, x) and not np.shares_memory(same, x) and np.array_equal(other, x + 1)


def test_inputs_and_constants_take_no_room():
    table = fad.trace(lambda x, y: np.sum(x * y * TABLE.ravel()[:N]), np.zeros(N), np.zeros(N))
    copying, referring = make_arena(table), make_arena(table, is_referring=True)
    assert len(referring.referred) == 3
    assert referring.size(0) <= copying.size(0) - 2 * N + 16  # the product was written over a copy
    kernel = SweepKernel(Request(table, "adjoint", (0, 1), (1.0,)).base, "adjoint", (0, 1), (1.0,))
    assert kernel.work_size < 5 * N  # two products, and three adjoints that share


def test_steps_of_loops_read_large_carries():
    def f(x, y):
        def step(state, _):
            return np.roll(state, 1) * y, np.sum(state)

        last, sums = fad.scan(step, x, np.zeros(4))
        return np.sum(last) + np.sum(sums)

    x, y = RNG.normal(size=N), RNG.normal(size=N)
    found, expected = (fad.grad(f, (0, 1), tier=tier)(x, y) for tier in ("sweep", "native"))
    for ours, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-12)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────
def adjoint_work(f, *x):
    """Numbers of work memory that the sweeps take for a gradient, in those of an array."""
    every = tuple(range(len(x)))
    return SweepKernel(fad.trace(f, *x), "adjoint", every, (1.0,)).work_size / N


def chain(x):
    for _ in range(6):
        x = np.abs(x - 0.5) + 0.25  # of `abs` the operand is kept
    return np.sum(x)


def sums(*x):
    y = x[0]
    for z in x[1:]:
        y = y + z
    return np.sum(y)


def layer(x, w):
    return np.sum(np.tanh(x @ w))


def test_elementwise_rows_are_written_over_their_operands():
    table = fad.trace(lambda x: np.sum(np.cos(np.exp(np.sin(x) * x) + np.sqrt(x * x))), np.ones(N))
    assert make_arena(table, is_referring=True).size(0) <= 2 * N + 32
    assert adjoint_work(chain, np.ones(N)) < 8.1  # six values that are kept, and two adjoints


def test_adjoints_of_sums_are_handed_on():
    """Those of all the partial sums are one array, and the summands' are made where the results are to be."""
    assert adjoint_work(sums, *np.ones((8, N))) < 1.1


def test_adjoints_are_made_where_the_results_are_to_be():
    w, data = RNG.normal(size=(N // 100, 10)), RNG.normal(size=(100, N // 100))
    assert adjoint_work(layer, data, w) < 0.7
    assert adjoint_work(lambda w: layer(data, w), w) < 0.7  # that of the data is not made


@pytest.mark.parametrize("argnums", [(0, 0, 1), (1, 0, 1), (1, 1)])
def test_arguments_may_be_asked_for_twice(argnums):
    def f(x, y):
        return np.sum((x - y) * x - y) + np.sum(x + y) + layer(x, y[0, :50].reshape(50, 1) * y[:50, :10])

    x, y = RNG.normal(size=(2, 100, 50))
    found, expected = (fad.grad(f, argnums, tier=tier)(x, y) for tier in ("sweep", "native"))
    for ours, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-12)
