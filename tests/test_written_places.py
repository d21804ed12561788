"""Writes at computed places: `y[index] = v`, `y[mask] = v`, `y[index] += v`, `np.add.at`. NumPy's values, the laws of
derivatives with repeated and recorded indices, and a cost that is that of what is written.
"""

import numpy as np
import pytest
from native_tools import Bound

import fastad as fad
from fastad.execution.layout import layout_of
from fastad.execution.native.kernel import NativeKernel
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.sweeps.kernel import SweepKernel
from fastad.primitives import opcode
from fastad.tables.builder import Builder
from fastad.tables.passes.arena import make_arena
from fastad.tables.passes.derive import adjoint_table

TIERS = pytest.mark.parametrize("tier", ["sweep", "native"])
REPEATED = np.array([1, 5, 1, 7, -1])


def repeats(x):
    y = x * 2.0
    y[REPEATED] = np.sin(x[:5])
    y[REPEATED[:2]] *= x[3]
    np.add.at(y, REPEATED, x[5:10] ** 2)
    return y


def of_two_dimensions(x):
    y = (x * 1.0).reshape(6, 10)
    y[3, [1, 2, 2]] = x[:3] * y[0, 0]
    y[:, [4, 1]] += x[4]
    y[[0, 2]] *= x[10:20]
    y[[[1], [4]], [0, 3]] = x[7] * x[:2]
    return y


def masks(x):
    y = (x * 1.0).reshape(6, 10)
    y[y[:, 0] > 0] *= 1.5
    y[y < -0.5] = x[3]
    return y


def recorded(x):
    y = x * 1.0
    order = np.argsort(x[:6])[:3]
    y[order] = x[20:23] ** 2
    y[np.concatenate([order, order])] *= np.sin(x[:6])  # the last ones count
    y[np.argmax(x[:20])] += x[50]
    return y


def in_a_loop(x):
    y = x * 1.0
    for k in range(12):
        y[[k + 3, 2 * k + 1, 40]] = y[[k, 0, k + 1]] * np.sin(x[:3])
    return y


def at_any_axis(x):
    y = (x * 1.0).reshape(3, 4, 5)
    some = np.array([3, 1, 3])
    y[:, some] = x[:3, None] * y[:, :3]
    y[1:, 1:3, [4, -1, 0]] *= np.sin(x[3:6])
    y[..., some] += x[6]
    y.T[some[:2], :, 1:] = x[7:9, None, None] * x[10:12]
    y[::-1, ::2][:, some[:2] - 2, 1::2] -= x[20:24].reshape(2, 2)
    y[2][np.argsort(x[:4])[:2]] *= x[30:35]
    y[:, np.concatenate([some, np.argsort(x[:2])])] += np.cos(x[40])
    np.add.at(y, (slice(None), some, slice(1, 4)), x[50:53])
    return y


PROGRAMS = [repeats, of_two_dimensions, masks, recorded, in_a_loop, at_any_axis]


@TIERS
@pytest.mark.parametrize("f", PROGRAMS)
def test_values_and_laws(f, tier):
    x = np.random.default_rng(3).normal(size=60)
    np.testing.assert_allclose(fad.jit(f, tier=tier)(x), f(x), rtol=1e-14)
    found = fad.jit(fad.grad(lambda x: np.sum(f(x) ** 2)), tier=tier)(x)
    step = 1e-6 * np.eye(60)
    wanted = [(np.sum(f(x + h) ** 2) - np.sum(f(x - h) ** 2)) / 2e-6 for h in step]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    fad.check_adjoint(f, (x,))
    fad.check_grads(lambda x: np.sum(f(x) ** 2), (x,), order=2)


@pytest.mark.parametrize("f", [repeats, of_two_dimensions, in_a_loop, at_any_axis])
def test_batches(f):
    x = np.random.default_rng(3).normal(size=(3, 60))
    np.testing.assert_allclose(fad.vmap(f)(x), [f(lane) for lane in x], rtol=1e-14)


def test_patterns_know_what_is_written():
    x = np.random.default_rng(3).normal(size=60)
    pattern = fad.jacobian_sparsity(repeats, x).toarray()
    assert not np.any((fad.jacfwd(repeats)(x) != 0) & ~pattern)
    assert pattern.sum() < 3 * 60


@pytest.mark.parametrize("name", ["put_blocks", "add_blocks"])
@pytest.mark.parametrize("known", [True, False])
def test_a_row_of_one_owner_is_done_in_place(name, known):
    n = 5_000
    b = Builder()
    x, v, given = b.input((n,)), b.input((3,)), b.input((3,), "i")
    index = b.const([7, 2, 7]) if known else given
    y = b.emit("sin", (x,))
    for _ in range(4):
        y = b.emit(name, (y, v, index), (1, 1) if name == "put_blocks" else (1,), (n,))
    table = b.table([b.total(b.emit("square", (y,)), ())])
    arguments = [np.linspace(0.0, 1.0, n), np.ones(3), np.array([7.0, 2.0, 7.0])]
    for own in (table, adjoint_table(table, [0, 1])):
        ops = own.columns["op"]
        writes = np.flatnonzero(np.isin(ops, [opcode("put_blocks"), opcode("add_blocks")])).tolist()
        slots = make_arena(own).values
        plan = make_plan(own, layout_of(own))
        for r in writes[1:4]:
            assert slots[r] == slots[own.row(r).operands[0]]
            assert plan.memory.in_place[r] == own.row(r).operands[0]
        values = [*arguments, *[np.ones(())] * (own is not table)]
        found = []
        for kernel in (SweepKernel(own), NativeKernel(own)):
            bound = Bound(kernel, values)
            assert bound.run() == 0
            found.append(np.concatenate(bound.results))
        np.testing.assert_allclose(found[0], found[1], rtol=1e-13)


COLUMNS = np.array([7, 2, 7])


@pytest.mark.parametrize(
    "key",
    [(slice(None), COLUMNS), (slice(1, 3), COLUMNS), (slice(3, None, -2), [7, 2]), (Ellipsis, 3, COLUMNS[:1])],
    ids=["columns", "some", "steps", "one"],
)  # fmt: skip
@pytest.mark.parametrize("update", ["put", "add"])
def test_places_of_any_axis_are_written_in_the_array(key, update):
    """Few rows of the gradient have the array's size and a place of their own, however many writes there are."""

    def f(x):
        y = x * 1.0
        for k in range(5):
            if update == "put":
                y[key] = x[k, k] * x[0, 0]
            else:
                y[key] += x[k, k]
        return np.sum(y[:, :9] ** 2)

    table = adjoint_table(fad.trace(f, np.random.default_rng(3).normal(size=(5, 4_000))), [0])
    arena = make_arena(table)
    large = [r for r in range(len(table)) if table.sizes[r] > 2_000]
    assert len({int(arena.values[r]) for r in large}) <= 6


@pytest.mark.parametrize("index", [[3, 60], [-61]])
def test_bad_places_are_refused(index):
    def f(x):
        y = x * 1.0
        y[index] = 0.0
        return y

    with pytest.raises(IndexError, match="out of bounds"):
        fad.jit(f)(np.ones(60))
