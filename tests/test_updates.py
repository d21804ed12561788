"""Writes into arrays in Python loops: plans write in place, and the cost is that of what is written.

Random programs of reads and writes hold the laws: their arithmetic is exact, so that values are NumPy's bit for bit.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_tools import Bound

import fastad as fad
from fastad.execution.layout import layout_of
from fastad.execution.native import NativeKernel
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.sweeps.kernel import SweepKernel
from fastad.execution.sweeps.program import activity
from fastad.execution.sweeps.source import is_swept_row
from fastad.tables.passes import arena
from fastad.tables.passes.arena import last_needs, make_arena
from fastad.tables.passes.derive import adjoint_table, disjoint_layers, tangent_table

SHAPE = (9, 7)
TIERS = pytest.mark.parametrize("tier", ["sweep", "native"])


@pytest.fixture(autouse=True)
def every_arena_shares(monkeypatch):
    monkeypatch.setattr(arena, "_WORTH", 0)


# ── random programs ───────────────────────────────────────────────────────────────────────────────────────────
def draw_slice(rng, n):
    step = int(rng.choice([1, 1, 1, 2, -1, -2]))
    low, high = sorted(rng.integers(0, n + 1, 2).tolist())
    return slice(low, high, step) if step > 0 else slice(high - 1 if high else None, low - 1 if low else None, step)


def draw_key(rng, shape):
    return tuple(int(rng.integers(n)) if rng.random() < 0.3 else draw_slice(rng, n) for n in shape)


def as_shape(value, shape):
    """The elements of an array, again and again, in another shape."""
    size = int(np.prod(shape, dtype=int))
    return np.resize(value, size).reshape(shape) if size and np.size(value) else np.zeros(shape)


class Program:
    """Statements that read and write arrays, all of them sums and products of small numbers."""

    def __init__(self, seed, count=12):
        self.seed, self.count = seed, count

    def __call__(self, x, z):
        rng = np.random.default_rng(self.seed)
        arrays = [x * 0.5, np.zeros(SHAPE), z + 1.0]
        views = [arrays[0][1:], arrays[1].T]
        kept = []
        for _ in range(self.count):
            self._statement(rng, arrays, views, kept, (x, z))
        return [*arrays, *(v * 1.0 for v in views), *kept]

    def _statement(self, rng, arrays, views, kept, given):
        targets = [*arrays, *views]
        target, source = (targets[int(rng.integers(len(targets)))] for _ in "ab")
        key, other = draw_key(rng, target.shape), draw_key(rng, source.shape)
        shape, kind = np.zeros(target.shape)[key].shape, int(rng.integers(9))
        read = source[other]
        if kind == 0:
            target[key] = as_shape(read, shape)
        elif kind == 1:
            target[key] += as_shape(read, shape)
        elif kind == 2:
            target[key] *= 0.5
        elif kind == 3:
            target[key] = 1.0 if rng.random() < 0.5 else as_shape(given[0], shape[1:])
        elif kind == 4:
            kept.append(np.sum(target[key] * as_shape(given[1], shape)))
        elif kind == 5:
            views.append(target[key]) if len(shape) == 2 and 0 not in shape else kept.append(read * 1.0)
        elif kind == 6:
            rows = rng.integers(0, target.shape[0], 4)
            target[rows] = as_shape(read, (4, *target.shape[1:]))
        elif kind == 7:
            target[key] = as_shape(read, shape) * as_shape(given[0], shape)
        else:
            target[...] = target[::-1] if rng.random() < 0.5 else target + 1.0


def numbers(seed):
    rng = np.random.default_rng(seed)
    return rng.integers(-2, 3, SHAPE).astype(float), rng.integers(-2, 3, SHAPE).astype(float)


def flat(program):
    return lambda *args: np.concatenate([np.reshape(y, -1) for y in program(*args)])


@settings(max_examples=12)
@given(st.integers(0, 10**9))
def test_values_are_those_of_numpy_bit_for_bit(seed):
    program = flat(Program(seed))
    wanted = program(*numbers(seed))
    for tier in ("sweep", "native"):
        np.testing.assert_array_equal(fad.jit(program, tier=tier)(*numbers(seed)), wanted)


def run(kernel, *inputs):
    bound = Bound(kernel, inputs)
    assert bound.run() == 0
    return bound.results


def derivatives(table, mode, *inputs):
    """Results of the sweep and of native code."""
    derived = {"tangent": tangent_table, "adjoint": adjoint_table}[mode](table, (0, 1))
    inputs = (*inputs, *table.captured)
    swept = all(map(is_swept_row, set(table.columns["op"].tolist())))  # others are differentiated by derivation only
    by_sweep = SweepKernel(table, mode, (0, 1)) if swept else SweepKernel(derived)
    return run(by_sweep, *inputs), run(NativeKernel(derived), *inputs)


@settings(max_examples=8)
@given(st.integers(0, 10**9))
def test_tangents_adjoints_and_batches(seed):
    program = flat(Program(seed))
    x, v = numbers(seed), numbers(seed + 1)
    step = 2.0**-10  # of polynomials of low degree
    high, low = (program(*(a + s * step * d for a, d in zip(x, v, strict=True))) for s in (1, -1))
    table = fad.trace(program, *x)
    (y, dy), (_, other) = derivatives(table, "tangent", *x, *v)
    np.testing.assert_array_equal(y, program(*x))
    np.testing.assert_array_equal(dy, other)
    np.testing.assert_allclose(dy, (high - low) / (2 * step), rtol=1e-3, atol=1e-3 * (1 + np.abs(dy).max()))
    u = np.random.default_rng(seed).integers(-2, 3, y.shape).astype(float)
    for _, *bars in derivatives(table, "adjoint", *x, u):
        assert u @ dy == sum(np.vdot(a, b) for a, b in zip(bars, v, strict=True))
    many = fad.jit(fad.vmap(program))(*(np.stack([a, 2 * a, a - 1]) for a in x))
    np.testing.assert_array_equal(many, [program(*x), program(*(2 * a for a in x)), program(*(a - 1 for a in x))])


@settings(max_examples=4)
@given(st.integers(0, 10**9))
def test_second_order(seed):
    """Products with the Hessian, by sweeps over the table of the gradient, and by native code."""
    program = Program(seed, 8)
    x, v, w = numbers(seed), numbers(seed + 1), numbers(seed + 2)
    table = fad.trace(lambda x, z: sum(np.sum(y**2) for y in program(x, z)), *x)
    gradient = adjoint_table(table, (0, 1), seeds=[1.0])
    along = [derivatives(gradient, "tangent", *x, *d) for d in (v, w)]
    for sweep, native in along:
        for one, other in zip(sweep, native, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)
    products = [sum(np.vdot(a, b) for a, b in zip(d, along[k][0][-2:], strict=True)) for k, d in enumerate((w, v))]
    assert np.isclose(*products, rtol=1e-12)


# ── cost ──────────────────────────────────────────────────────────────────────────────────────────────────────
def row_updates(x, c):
    c = c.copy()
    for i in range(len(x)):
        c[i, : i + 1] += x[i, i] * x[: i + 1, 0]
    return c


def recursive(x, c):
    y = np.zeros_like(x)
    y[:, 0] = x[:, 0]
    for j in range(1, x.shape[1]):
        y[:, j] = x[:, j] + 0.5 * y[:, j - 1]
    return y


def overlapping_writes(x, c):
    c = c.copy()
    for i in range(len(x)):
        c[i:, i] = c[i, i:] = x[i, i:] * x[i, 0]
    return c


def substitution(x, c):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = (c[i, 0] - x[i, :i] @ y[:i]) / (4 + x[i, i])
    return y


def products_of_rows(x, c):
    y = c[0]
    for i in range(len(x)):
        y = x[i] * y / (1 + c[i] ** 2)
    return y


KERNELS = pytest.mark.parametrize(
    "kernel", [row_updates, recursive, overlapping_writes, substitution, products_of_rows]
)


def program_of(kernel, n):
    rng = np.random.default_rng(n)
    args = rng.normal(size=(n, n)), rng.normal(size=(n, n))
    return lambda x, c: np.sum(kernel(x, c) ** 2), args


@KERNELS
def test_memory_is_linear_in_what_is_written(kernel):
    """Whole arrays are made a few times, not in every turn: in both arenas of the sweeps and in the work memory of
    native code."""
    for n in (24, 48):
        function, args = program_of(kernel, n)
        table = fad.trace(function, *args)
        bound = 24 * n * n
        shared = make_arena(table, activity(table, (0, 1)))
        assert shared.size(1) < bound
        derived = adjoint_table(table, (0, 1), seeds=[1.0])
        assert make_plan(derived, layout_of(derived)).work_size < bound


@TIERS
@KERNELS
def test_gradients_of_loops_that_write(kernel, tier):
    function, args = program_of(kernel, 20)
    gradient = fad.grad(function, (0, 1), tier=tier)(*args)
    direction = [np.random.default_rng(1).normal(size=a.shape) for a in args]
    ends = [function(*(a + s * 1e-6 * d for a, d in zip(args, direction, strict=True))) for s in (1, -1)]
    slope = sum(np.vdot(g, d) for g, d in zip(gradient, direction, strict=True))
    assert np.isclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)
    _, tangent = fad.jvp(fad.jit(function, tier=tier), args, tuple(direction))
    assert np.isclose(tangent, slope, rtol=1e-12)


@KERNELS
def test_no_kept_value_lies_where_a_read_is_made_again(kernel):
    """The sweep of tangents makes reads again when all values are there."""
    function, args = program_of(kernel, 48)
    table = fad.trace(function, *args)
    masks = activity(table, (0, 1))
    places, sizes = (found := make_arena(table, masks)).values.astype(int), table.sizes
    needed = last_needs(table, masks) >= 0
    for read in np.flatnonzero(found.again >= 0):
        later = np.flatnonzero(needed & (found.again < 0) & (np.arange(len(table)) > read))
        apart = (places[later] >= places[read] + sizes[read]) | (places[later] + sizes[later] <= places[read])
        assert apart.all()


def test_long_chains_of_writes_and_of_concatenations():
    """Reads look through as many assemblies as there are; a recursion would end at a thousand."""

    def shifted(x):
        y = x
        for _ in range(1500):
            y = np.concatenate([y[1:], y[:1]])
        return np.sum(y * x)

    def rows(x):
        y = np.zeros((4, len(x)))
        for k in range(1500):
            y[k % 4] = y[(k + 1) % 4] + x
            y[:, 1] += 1.0
        return y.sum()

    x = np.arange(5.0)
    assert np.allclose(fad.grad(shifted)(x), 2 * x)
    assert fad.jit(rows)(x) == rows(x)


def test_views_that_are_read_join_nothing():
    """A view that is up to date is read without assembling what is pending."""

    def f(x):
        y = np.zeros((30, 30))
        for k in range(30):
            part = y[k]
            y[k] = x
            part = part * 2.0
        return y.sum()

    table = fad.trace(f, np.ones(30))
    assert sum(row.name == "assemble" for row in table.rows()) == 1


@given(st.integers(0, 10**6))
def test_layers_hold_every_piece_once_and_no_two_overlap(seed):
    rng = np.random.default_rng(seed)
    size, regions = 40, {}
    for ref in range(30):
        start, count, step = int(rng.integers(0, 10)), int(rng.integers(1, 8)), int(rng.integers(1, 5))
        regions[start, count, step] = ref
    layers = disjoint_layers(regions, size)
    assert sorted(ref for layer in layers for _, ref in layer) == sorted(regions.values())
    for layer in layers:
        met = [start + k * step for (start, count, step), _ in layer for k in range(count)]
        assert len(met) == len(set(met))
