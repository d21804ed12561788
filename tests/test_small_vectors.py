"""Programs of vectors of a few numbers: gathers at places that are known, and which rows are written out."""

import numpy as np
import pytest
from native_tools import run

import fastad as fad
from fastad.errors import IndexRangeError
from fastad.execution.kernel import raise_for
from fastad.execution.layout import layout_of
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.planning.steps import LoopStep, ScalarStep
from fastad.primitives.regions import evenly, parts
from fastad.tables.builder import Builder
from fastad.tables.passes.derive import adjoint_table

TIERS = pytest.mark.parametrize("tier", ["sweep", "native"])
EVEN = ([0, 1, 2], [5], [1, 4, 7], [3, 4])
UNEVEN = ([2, 0, 1], [4, 4, 4], [7, 1, -1, 3], [0, 2, 3, 3, 0, 6, 5, 1], [0, 1, 2, 4, 8, 3, 1, 1, 0, 5, 2])


# ── places that are known ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize("places", [[0], [4], [0, 1], [2, 5, 8], [0, 9], [1, 2, 3, 4]])
def test_evenly_spread_blocks_are_a_region(places, inner):
    size = 10 * inner
    found = np.arange(size).reshape(-1, inner)[places].ravel()
    offset, shape, strides = parts(evenly(places, inner, size))
    region = np.lib.stride_tricks.as_strided(np.arange(size)[offset:], shape, [8 * s for s in strides])
    np.testing.assert_array_equal(region.ravel(), found)


NEITHER = (
    [1, 0], [3, 3], [0, 1, 3], [-1, 0], [8, 9, 10], [0.5, 1.5],
    *([0, bad] for bad in (np.nan, np.inf)), [np.nan], [np.nan] * 2, [np.inf], [-np.inf, 1],
)  # fmt: skip


@pytest.mark.parametrize("places", NEITHER, ids=str)
def test_others_are_none(places):
    assert evenly(places, 1, 10) is None


@TIERS
@pytest.mark.parametrize("size", [9, 24, 100])
@pytest.mark.parametrize("places", [*EVEN, *UNEVEN], ids=str)
def test_gathers_have_numpys_values_and_a_transpose(places, size, tier):
    """Repeated places, and the same array read at several: what is added to one element is the sum."""

    def f(x):
        rows = x.reshape(-1, 1) * np.array([1.0, -2.0])
        return x[places] * 2.0 + np.sum(x[[1, 2, 8]]) + rows[places, 1] * x[places[0]], rows[places]

    rng = np.random.default_rng(0)
    x, v = rng.normal(size=size), rng.normal(size=size)
    found, tangents = fad.jit(lambda x: fad.jvp(f, (x,), (v,)), tier=tier)(x)
    for own, wanted in zip(found, f(x), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-14)
    u = [rng.normal(size=own.shape) for own in found]
    bar = fad.jit(lambda x: fad.vjp(f, x)[1](tuple(u))[0], tier=tier)(x)
    np.testing.assert_allclose(sum(np.sum(a * b) for a, b in zip(u, tangents, strict=True)), bar @ v, rtol=1e-12)


@TIERS
def test_second_derivatives_of_gathers(tier):
    places = [3, 0, 3, 11]

    def f(x):
        return np.sum(np.sin(x[places]) * x[[1, 5]][0]) * np.sum(x[places] ** 2)

    x, v, step = np.linspace(0.2, 1.4, 40), np.cos(np.arange(40.0)), 1e-6
    gradient = fad.grad(f, tier="sweep")
    central = (gradient(x + step * v) - gradient(x - step * v)) / (2 * step)
    np.testing.assert_allclose(fad.jit(lambda x: fad.hvp(f, x, v), tier=tier)(x), central, rtol=1e-7, atol=1e-8)


def test_known_places_take_no_row_at_run_time():
    """Even ones are views; what is added to few others is written once."""
    names = lambda f: [row.name for row in adjoint_table(fad.trace(f, np.ones(50)), [0], seeds=[1.0]).rows()]
    even = names(lambda x: np.sum(x[[1, 2, 3]] * x[[10, 20, 30]]))
    assert "gather" not in even and "scatter_add" not in even
    uneven = names(lambda x: sum(np.sum(x[[k, k + 5, k + 1]] ** 2) for k in range(20)))
    assert not {"scatter_add", "add_blocks"} & set(uneven) and uneven.count("assemble") == 1


@pytest.mark.parametrize("bad", [[0.0, 1.0, 9.0], [2.0, -1.0], [0.5], [np.nan]])
def test_wrong_constant_places_are_errors(bad):
    b = Builder()
    x = b.input((9,))
    picked = b.emit("gather", (x, b.const(np.array(bad))), (1,), (len(bad),))
    table = b.table([picked])
    code, _ = run(table, [np.arange(9.0)])
    assert code == -(picked + 1)
    with pytest.raises(IndexRangeError):
        raise_for(code, table)


# ── which rows are written out ────────────────────────────────────────────────────────────────────────────────
def steps(f, x):
    table = adjoint_table(fad.trace(fad.jit(f, roll=False), x), [0], seeds=[1.0])
    return make_plan(table, layout_of(table)).steps


def orbits(x):
    """Cross and inner products and norms of vectors of three numbers."""
    p, v, total = x[:3], x[3:], 0.0
    for _ in range(60):
        v = v + 0.01 * (np.cross(np.array([0.1, 0.2, 0.3]), v) - p / np.sqrt(p @ p + 0.1) ** 3)
        p = p + 0.01 * v
        total = total + p @ v
    return total


def layers(x):
    """Elementwise functions of vectors."""
    y = x
    for k in range(60):
        y = np.tanh(y * x + 0.1 * k) - x / (1.5 + y * y)
    return np.sum(y)


def test_what_would_end_loops_is_written_out_in_long_programs():
    x = np.array([0.3, -0.2, 0.9, 0.5, 0.1, -0.7])
    assert all(isinstance(step, ScalarStep) for step in steps(orbits, x))
    assert any(isinstance(step, LoopStep) for step in steps(layers, np.linspace(0.1, 0.9, 16)))


@pytest.mark.parametrize(("f", "n"), [(orbits, 6), (layers, 3), (layers, 16)])
def test_both_give_what_sweeps_give(f, n):
    x = np.linspace(-0.5, 0.8, n)
    native, sweep = (fad.value_and_grad(f, tier=tier, roll=False)(x) for tier in ("native", "sweep"))
    np.testing.assert_allclose(native[0], sweep[0], rtol=1e-12)
    np.testing.assert_allclose(native[1], sweep[1], rtol=1e-9, atol=1e-12)


def test_integers_beyond_what_float64_holds_are_found_among_many():
    table = np.arange(60).reshape(20, 3)

    def f(x):
        return sum(np.sum(x[table[k] % 40]) for k in range(20))

    g = fad.jit(lambda x, *rows: sum(np.sum(x[: len(row)] * row) for row in rows))
    x = np.linspace(0.0, 1.0, 40)
    np.testing.assert_allclose(fad.jit(f)(x), f(x))
    rows = [np.arange(k, k + 3) for k in range(20)]
    np.testing.assert_allclose(g(x, *rows), sum(np.sum(x[:3] * row) for row in rows))
    for bad in (2**53, -(2**53)):
        rows[7][1] = bad
        with pytest.raises(OverflowError, match="2⁵³"):
            g(x, *rows)
    rows[7][1] = 2**53 - 1
    g(x, *rows)


# ── rows of tables ────────────────────────────────────────────────────────────────────────────────────────────
def over_rows(table, index):
    def f(x):
        total = 0.0
        for k in range(len(table)):
            total = total + np.sum((x[: table.shape[1]] - table[k]) ** 2 * x[index[k]])
        return total

    return f


LAYOUTS = {
    "rows": lambda t: t, "columns": lambda t: np.asfortranarray(t), "backwards": lambda t: t[::-1, ::-1],
    "every other": lambda t: np.repeat(t, 2, axis=1)[:, ::2], "float32": lambda t: t.astype(np.float32),
    "another order": lambda t: t.astype(">f8"), "read only": lambda t: np.frombuffer(t.tobytes()).reshape(t.shape),
}  # fmt: skip


@TIERS
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_rows_of_tables_are_read_anew_at_every_call(layout, tier):
    rng = np.random.default_rng(3)
    table, index = layout(rng.normal(size=(20, 3))), rng.integers(-5, 5, size=(20, 3))
    f = over_rows(table, index)
    g = fad.value_and_grad(f, tier=tier)
    for turn in range(4):
        x = rng.normal(size=12)
        value, gradient = g(x)
        np.testing.assert_allclose(value, f(x), rtol=1e-6 if table.dtype == np.float32 else 1e-12)
        step = 1e-6 * np.eye(12)[turn]
        central = (f(x + step) - f(x - step)) / 2e-6
        np.testing.assert_allclose(gradient[turn], central, rtol=1e-5, atol=1e-5)
        if table.flags.writeable:
            table[turn] += 1.0
        index[turn, 0] = turn


@TIERS
def test_functions_of_other_tables_take_turns(tier):
    """More often than parts of tables are looked for."""
    rng = np.random.default_rng(4)
    tables = [(rng.normal(size=(20, 3)), rng.integers(0, 5, size=(20, 3))) for _ in range(3)]
    functions = [over_rows(*table) for table in tables]
    gradients = [fad.value_and_grad(f, tier=tier) for f in functions]
    for _ in range(4):
        for f, g in zip(functions, gradients, strict=True):
            x = rng.normal(size=12)
            np.testing.assert_allclose(g(x)[0], f(x), rtol=1e-12)
