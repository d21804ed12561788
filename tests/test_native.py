"""Native code against the reference interpreter: every primitive, random programs, checks, threads, the cache."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_tools import Bound, Programs, run

from fastad.errors import IndexRangeError
from fastad.execution.kernel import raise_for
from fastad.execution.layout import layout_of
from fastad.execution.machine import cache
from fastad.execution.machine.symbols import vector_math
from fastad.execution.native import NativeKernel
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.program import NativeCode
from fastad.primitives.elementwise import DOMAINS
from fastad.primitives.regions import region
from fastad.primitives.row import elementwise_rows
from fastad.tables.builder import Builder
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.reference import Stopped, evaluate

SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-300, 1e300, -1e300, 710.0, -745.0]
)
NAMES = [row.name for row in elementwise_rows()]
ROWS = {row.name: row for row in elementwise_rows()}


def close(found, expected, ulps=16):
    """Equal up to some units in the last place of the larger of the result and the tiny numbers near zero."""
    found, expected = np.asarray(found).reshape(-1), np.asarray(expected, float).reshape(-1)
    np.testing.assert_allclose(found, expected, rtol=ulps * 2.3e-16, atol=1e-290)


def elementwise_table(name, size, scalar=None):
    """One elementwise row over `size` elements; operand `scalar` is a single number."""
    b = Builder()
    operands = [b.input(() if k == scalar else (size,)) for k in range(ROWS[name].arity)]
    return b.table([b.emit(name, operands, shape=(size,))])


def check(table, inputs, ulps=16, **options):
    code, results = run(table, inputs, **options)
    assert code == 0
    for found, expected in zip(results, evaluate(table, inputs), strict=True):
        close(found, expected, ulps)
    return results


def domain_points(row, size, rng):
    points = []
    for key in row.domain:
        low, high = np.array(DOMAINS[key])[rng.integers(len(DOMAINS[key]), size=size)].T
        points.append(rng.uniform(low, high))
    return points


# Relative errors grow where the value is small beside the terms it is made of.
LOOSE = {"digamma": 4000, "gamma_density": 4000, "log_expit": 64, "logit": 4000, "ndtr": 64, "entr": 64, "mod": 64,
         "logaddexp": 4000, "logaddexp2": 4000, "expit": 64, "gammaln": 4000, "xlogy": 64, "xlog1py": 64, "sinc": 64,
         "zeta": 64, "gamma": 64, "log": 64, "log2": 64, "log10": 64}  # fmt: skip


@pytest.mark.parametrize("size", [1, 5, 16, 17, 100])
@pytest.mark.parametrize("name", NAMES)
def test_elementwise_on_its_domain(name, size, rng):
    points = domain_points(ROWS[name], size, rng)
    check(elementwise_table(name, size), points, LOOSE.get(name, 16))


@pytest.mark.parametrize("name", [n for n in NAMES if ROWS[n].arity > 1])
def test_elementwise_with_a_scalar_operand(name, rng):
    for size in (7, 100):
        for scalar in range(ROWS[name].arity):
            points = domain_points(ROWS[name], size, rng)
            points[scalar] = points[scalar][0]
            check(elementwise_table(name, size, scalar), points, LOOSE.get(name, 16))


@pytest.mark.parametrize("vector", [True, False], ids=["libmvec", "libm"])
@pytest.mark.parametrize("name", NAMES)
def test_elementwise_on_special_values(name, vector):
    """NaN, infinities and huge numbers give NaN and infinities where NumPy does, and the same numbers elsewhere."""
    grids = np.meshgrid(*[SPECIAL] * ROWS[name].arity, indexing="ij")
    points = [g.reshape(-1) for g in grids]
    if name == "digamma":  # at -0.0 the sign of the infinity is a convention
        points = [p[p != 0] for p in points]
    if name == "gammaln":  # SciPy has -inf at -inf, C has inf, the limit of its peaks
        points = [p[p != -np.inf] for p in points]
    table = elementwise_table(name, len(points[0]))
    with vector_math(vector):
        code, (found,) = run(table, points)
    assert code == 0
    (expected,) = evaluate(table, points)
    same_kind = (np.isnan(found) == np.isnan(expected)) & (np.isposinf(found) == np.isposinf(expected))
    wrong = ~same_kind | (np.isneginf(found) != np.isneginf(expected))
    where = [tuple(p[i] for p in points) for i in np.flatnonzero(wrong)[:5]]
    assert not wrong.any(), (where, found[wrong][:5], expected[wrong][:5])
    finite = np.isfinite(expected)
    scale = np.maximum(np.abs(expected[finite]), 1e-290)
    assert np.all(np.abs(found[finite] - expected[finite]) <= max(LOOSE.get(name, 16), 64) * 2.3e-16 * scale)


@pytest.mark.parametrize("name", ["exp", "power", "arctan2", "tanh"])
def test_without_vector_functions(name, rng):
    points = domain_points(ROWS[name], 100, rng)
    with vector_math(False):
        check(elementwise_table(name, 100), points)


# ── array primitives ──────────────────────────────────────────────────────────────────────────────────────────
def array_cases():
    """(name, operand shapes, statics, result shape, integer operands with their bounds)."""
    for m in (2, 40):
        n = 3 * m * 5
        middle = (3, m, 5)
        yield "strided", [(n,)], (n - 1, m, -2), (m,), None
        yield "strided", [(m, 15)], (0, 15, m, 1, 15), (15, m), None
        yield "strided", [(m,)], (0, m, 7, 1, 0), (m, 7), None
        yield "strided_add", [(m, 3)], (1, m, 3, 2, 1), (3 * m,), None
        for name in ("sum", "amax", "amin", "argmax", "argmin"):
            yield name, [middle], middle, (3, 5), None
            yield name, [(3, m)], (3, m, 1), (3,), None
            yield name, [(m,)], (1, m, 1), (), None
        yield "argsort", [middle], middle, middle, None
        for reverse in (0, 1):
            yield "cumsum", [middle], (*middle, reverse), middle, None
            yield "linrec", [middle, middle], (*middle, reverse), middle, None
            yield "searchsorted", [(m,), (9,)], (reverse,), (9,), "sorted"
        yield "gather", [(m, 4), (6,)], (4,), (6, 4), m
        yield "gather", [(m,), (30,)], (1,), (30,), m
        yield "scatter_add", [(6, 4), (6,)], (4,), (m, 4), m
        yield "wrap_index", [(30,)], (m,), (30,), m
        yield "assemble", [(m,), (m, 2)], (1, 0, m, 1, 2, m, m, 2, 2, 1), (4 * m,), None
        for ta in (0, 1):
            for tb in (0, 1):
                for sx, sy in ((1, 1), (1, 0), (0, 1)):
                    x = (2, m, 3) if not ta else (2, 3, m)
                    y = (2, 3, 4) if not tb else (2, 4, 3)
                    yield "matmul", [x[1 - sx :], y[1 - sy :]], (2, m, 3, 4, ta, tb, sx, sy), (2, m, 4), None
    yield "matmul", [(60, 70), (70, 50)], (1, 60, 70, 50, 0, 0, 1, 1), (60, 50), None
    yield "matmul", [(600, 70), (70,)], (1, 600, 70, 1, 0, 0, 1, 1), (600,), None
    yield "matmul", [(600, 70), (600,)], (1, 70, 600, 1, 1, 0, 1, 1), (70,), None


def random_operands(shapes, last, rng):
    operands = [rng.standard_normal(shape) for shape in shapes]
    if last == "sorted":
        operands[0].sort()
    elif last is not None:
        operands[-1] = rng.integers(0, last, shapes[-1])
    return operands


@pytest.mark.parametrize("case", list(array_cases()), ids=lambda c: f"{c[0]}-{c[2]}")
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "computed"])
def test_array_primitive(case, inside, rng):
    """Alone, and between elementwise rows, so that its operands may be computed in loops."""
    name, shapes, statics, shape, last = case
    b = Builder()
    inputs = [b.input(s, "d") for s in shapes]
    operands = [b.emit("add", (b.emit("multiply", (x, x)), x)) if inside and last is None else x for x in inputs]
    result = b.emit(name, operands, statics, shape)
    if inside and b.type(result).dtype == "d":
        result = b.emit("multiply", (b.emit("sin", (result,)), result))
    table = b.table([result])
    values = random_operands(shapes, last, rng)
    code, (found,) = run(table, values)
    assert code == 0
    np.testing.assert_allclose(found, evaluate(table, values)[0].reshape(-1), rtol=1e-11, atol=1e-11)


def test_results_may_be_inputs_constants_parts_and_repeated(rng):
    b = Builder()
    x = b.input((40,))
    y = b.emit("sin", (x,))
    part = b.emit("strided", (y,), (3, 20, 1), (20,))
    outs = [x, b.const(np.arange(30.0)), b.const(2.0), y, y, part, b.reshape(y, (8, 5)), b.zeros((50,))]
    table = b.table(outs)
    for threshold in (None, 1, 257):
        check(table, [rng.standard_normal(40)], threshold=threshold)


@pytest.mark.parametrize("size", [0, 1, 17])
def test_empty_arrays(size):
    b = Builder()
    x, y = b.input((size, 0)), b.input((size,))
    total = b.emit("sum", (b.emit("exp", (x,)),), (size, 0, 1), (size,))
    product = b.emit("matmul", (x, b.emit("strided", (x,), (0, 0, 1), (0, 3))), (1, size, 0, 3, 0, 0, 1, 1), (size, 3))
    check(b.table([b.emit("sin", (x,)), b.emit("add", (total, y)), product]), [np.ones((size, 0)), np.ones(size)])


# ── random programs ───────────────────────────────────────────────────────────────────────────────────────────
@settings(max_examples=settings.default.max_examples // 2)
@given(st.integers(0, 10**9))
def test_random_programs(seed):
    programs = Programs(np.random.default_rng(seed))
    compare(programs.table(), programs.inputs())


@settings(max_examples=settings.default.max_examples // 2)
@given(st.integers(0, 10**9))
def test_derived_tables_of_random_programs(seed):
    programs = Programs(np.random.default_rng(seed), 6)
    table, inputs = programs.table(1), programs.inputs()
    adjoint = adjoint_table(table, [0, 1], seeds=[1.0] * len(table.outputs))
    compare(adjoint, inputs)
    tangent = tangent_table(table, [0])
    compare(tangent, [*inputs, programs.rng.standard_normal(programs.shapes[0])])


def compare(table, inputs):
    code, results = run(table, inputs)
    assert code == 0
    for found, expected in zip(results, evaluate(table, inputs), strict=True):
        scale = max(1.0, float(np.nanmax(np.abs(expected), initial=0)))
        np.testing.assert_allclose(found / scale, expected.reshape(-1) / scale, rtol=1e-9, atol=1e-11)


def scalar_program(rows, rng, size=1):
    b = Builder()
    x = b.input((10,)) if size == 1 else None
    registers = [b.emit("strided", (x,), (i, 1, 1), ()) if size == 1 else b.input((size,)) for i in range(10)]
    for _ in range(rows):
        i, j = rng.choice(10, 2, replace=False)
        name = str(rng.choice(["add", "subtract", "multiply", "sin", "tanh", "exp"]))
        operands = (registers[i], registers[j]) if name in ("add", "subtract", "multiply") else (registers[i],)
        value = b.emit(name, operands)
        registers[i] = b.emit("tanh", (value,)) if rng.random() < 0.3 or name == "exp" else value
    return b.table([b.add(*registers)])


@pytest.mark.parametrize("rows", [300, 5000])
def test_long_scalar_programs(rows, rng):
    """Whole and in chunks."""
    table = scalar_program(rows, rng)
    x = [rng.uniform(-1, 1, 10)]
    compare(table, x)
    compare(adjoint_table(table, [0], seeds=[1.0]), x)


def test_many_rows_in_one_loop(rng):
    compare(scalar_program(700, rng, 20), list(rng.uniform(-1, 1, (10, 20))))


# ── guards and indices ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("size", [1, 5, 50])
def test_guards_stop(size, rng):
    b = Builder()
    x = b.input((size,))
    b.emit("guard", (b.emit("greater", (x, b.const(0.0))), b.const(np.ones(size, bool))))
    y = b.emit("guard", (x, b.const(np.full(size, np.nan))))
    table = b.table([b.emit("log", (x,))])
    good, bad = np.full(size, np.nan), np.ones(size)
    assert run(table, [bad])[0] == y + 1
    bad[-1] = -1.0
    assert run(table, [bad])[0] == evaluate_code(table, [bad])
    with pytest.raises(Stopped):
        evaluate(table, [good])


def evaluate_code(table, inputs):
    try:
        evaluate(table, inputs)
    except Stopped as stop:
        return stop.row + 1
    return 0


def test_a_guard_comes_before_the_index_it_protects():
    b = Builder()
    x, i = b.input((5,)), b.input((), "i")
    b.emit("guard", (b.emit("less", (i, b.const(5.0))), b.const(True)))
    picked = b.emit("gather", (x, i), (1,), ())
    table = b.table([picked])
    assert run(table, [np.arange(5.0), 3])[0] == 0
    assert run(table, [np.arange(5.0), 7])[0] > 0
    assert run(table, [np.arange(5.0), -1])[0] == -(picked + 1)


@pytest.mark.parametrize("count", [1, 3, 30])
@pytest.mark.parametrize("bad", [-7.0, 6.0, 1.5, np.nan, np.inf, 1e300])
def test_bad_indices_are_errors(bad, count):
    b = Builder()
    x, i = b.input((6, 2)), b.input((count,), "i")
    wrapped = b.emit("wrap_index", (i,), (6,))
    table = b.table([b.emit("gather", (x, wrapped), (2,), (count, 2))])
    data = np.arange(12.0)
    index = np.full(count, -6.0)
    code, (found,) = run(table, [data, index])
    assert code == 0 and np.array_equal(found.reshape(-1, 2), np.tile(data[:2], (count, 1)))
    index[-1] = bad
    code, _ = run(table, [data, index])
    assert code == -(wrapped + 1)
    with pytest.raises(IndexRangeError):
        raise_for(code, table)


# ── threads, cache ────────────────────────────────────────────────────────────────────────────────────────────
def large_program(n):
    b = Builder()
    x, w = b.input((n,)), b.input((n // 100, 100))
    y = b.emit("multiply", (b.emit("sin", (x,)), b.emit("exp", (b.emit("negative", (b.emit("multiply", (x, x)),)),))))
    rows = b.emit("sum", (b.emit("tanh", (w,)),), (n // 100, 100, 1), (n // 100,))
    columns = b.emit("sum", (b.emit("exp", (w,)),), (1, n // 100, 100), (100,))
    return b.table([b.emit("sum", (y,), (1, n, 1), ()), y, rows, columns, b.emit("amax", (y,), (1, n, 1), ())])


def test_threads_do_not_change_results(rng):
    n = 300_000
    table, inputs = large_program(n), [rng.standard_normal(n), rng.standard_normal(n)]
    one, two = (run(table, inputs, threads=k)[1] for k in (1, 2))
    for a, b, expected in zip(one, two, evaluate(table, inputs), strict=True):
        assert np.array_equal(a, b)
        np.testing.assert_allclose(a, expected.reshape(-1), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 40, 10), (5, 30, 1), (5, 1, 9), (4, 33, 8), (3, 17, 70), (30, 1500, 10)])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "with rows and stores"])
def test_sums_of_columns(shape, inside, rng):
    """Results that vary in the innermost dimension: in registers where it is short."""
    outer, n, inner = shape
    b = Builder()
    x, w = b.input(shape), b.input((outer, n))
    spread = b.emit("strided", (w,), (0, outer * n, inner, 1, 0), shape)
    y = b.emit("sin", (b.emit("multiply", (x, spread)),))
    statics, small = (outer, n, inner), (outer, inner)
    found = [b.emit(name, (y,), statics, small) for name in ("sum", "amax", "amin")]
    if inside:
        found += [
            y,
            b.emit("sum", (y,), (outer * n, inner, 1), (outer, n)),
            b.emit("amax", (y,), (1, b.size(y), 1), ()),
        ]
    table, inputs = b.table(found), [rng.standard_normal(shape), rng.standard_normal((outer, n))]
    inputs[0].flat[3] = np.nan
    one, two = (run(table, inputs, threads=k)[1] for k in (1, 2))
    for first, second, expected in zip(one, two, evaluate(table, inputs), strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, expected.reshape(-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("inner", [2, 3, 4, 9])
@pytest.mark.parametrize("split", [(2, 9), (3, 12), (2, 2, 8)])
def test_sums_over_several_dimensions_of_a_part(rows, inner, split, rng):
    """The operand is read from a part of a larger array, so the axis that is summed over is walked in several
    dimensions; the results vary in a short one inside of them, as those of a convolution do in its filters."""
    n, whole = int(np.prod(split)), (rows, *split[:-1], split[-1] + 3)
    strides = [1]
    for size in reversed(whole[1:]):
        strides.insert(0, strides[0] * size)
    b = Builder()
    x, w = b.input(whole), b.input((n, inner))
    part = b.emit("strided", (x,), (1, rows, *split, inner, *strides, 0), (rows, *split, inner))
    flat = b.region(part, region(0, (rows, n, inner), (n * inner, inner, 1)), (rows, n, inner))
    spread = b.emit("strided", (w,), (0, rows, n, inner, 0, inner, 1), (rows, n, inner))
    y = b.emit("multiply", (flat, spread))
    statics, shape = (rows, n, inner), (rows, inner)
    table = b.table([b.emit(name, (y,), statics, shape) for name in ("sum", "amax")])
    inputs = [rng.standard_normal(whole), rng.standard_normal((n, inner))]
    for found, expected in zip(run(table, inputs)[1], evaluate(table, inputs), strict=True):
        np.testing.assert_allclose(found, expected.reshape(-1), rtol=1e-12, atol=1e-12)


def test_one_kernel_serves_two_threads(rng):
    n = 20_000
    kernel = NativeKernel(large_program(n))
    inputs = [[rng.standard_normal(n), rng.standard_normal(n)] for _ in range(2)]
    bounds = [Bound(kernel, x) for x in inputs]
    threads = [threading.Thread(target=lambda b=b: [b.run() for _ in range(50)]) for b in bounds]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for bound, x in zip(bounds, inputs, strict=True):
        for found, expected in zip(bound.results, evaluate(kernel.rows, x), strict=True):
            np.testing.assert_allclose(found, expected.reshape(-1), rtol=1e-11, atol=1e-11)


def test_a_damaged_cache_is_made_anew(tmp_path, monkeypatch, rng):
    monkeypatch.setenv("FASTAD_CACHE_DIR", str(tmp_path / "cache"))
    table, x = large_program(1000), [rng.standard_normal(1000), rng.standard_normal(1000)]
    assert not NativeKernel(table).from_cache
    assert NativeKernel(table).from_cache
    for path in (cache.folder() / "objects").iterdir():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    kernel = NativeKernel(table)
    assert not kernel.from_cache
    assert Bound(kernel, x).run() == 0


def test_loops_in_a_long_scalar_program(rng):
    """Chunks and loops are compiled apart and share the work arena."""
    b = Builder()
    x = b.input((300,))
    registers = [b.emit("strided", (x,), (i, 1, 1), ()) for i in range(20)]
    for k in range(2500):
        i, j = rng.choice(20, 2, replace=False)
        registers[i] = b.emit("sin", (b.emit("multiply", (registers[i], registers[j])),))
        if k % 500 == 250:
            y = b.emit("tanh", (b.emit("multiply", (x, registers[i])),))
            registers[j] = b.emit("sum", (y,), (1, 300, 1), ())
    table = b.table([b.add(*registers)])
    inputs = [rng.uniform(-1, 1, 300)]
    compare(table, inputs)
    compare(adjoint_table(table, [0], seeds=[1.0]), inputs)


@pytest.mark.parametrize(
    "sizes", [(1, 1, 3, 20), (1, 9, 1, 33), (3, 50, 40, 1), (2, 30, 64, 64), (7, 1, 8, 9), (2, 9, 1200, 10)]
)
@pytest.mark.parametrize("ta", [0, 1])
@pytest.mark.parametrize("tb", [0, 1])
@pytest.mark.parametrize("shared", [(1, 1), (0, 1), (1, 0)])
def test_matrix_products(sizes, ta, tb, shared, rng):
    """Shapes on both sides of what loops and BLAS do, and batches that share a matrix."""
    batch, m, k, n = sizes
    sx, sy = shared
    b = Builder()
    x, y = b.input((batch if sx else 1, m * k)), b.input((batch if sy else 1, k * n))
    table = b.table([b.emit("matmul", (x, y), (batch, m, k, n, ta, tb, sx, sy), (batch, m, n))])
    compare(table, [rng.standard_normal(b.shape(x)), rng.standard_normal(b.shape(y))])


@pytest.mark.parametrize("width", [2, 4])
def test_narrower_vectors(width, rng, monkeypatch):
    """What CPUs without AVX512 run."""
    from fastad.execution.native.code import products
    from fastad.execution.native.planning import nests

    monkeypatch.setattr(nests, "lanes", lambda: width)
    monkeypatch.setattr(products, "lanes", lambda: width)
    monkeypatch.setattr(cache, "cached", lambda key, make: make())  # the key does not tell what only a test changes
    for seed in range(4):
        programs = Programs(np.random.default_rng(seed))
        table = programs.table()
        compare(table, programs.inputs())
        compare(adjoint_table(table, [0], seeds=[1.0] * len(table.outputs)), programs.inputs())
    table = large_program(2000)
    compare(table, [rng.standard_normal(2000), rng.standard_normal(2000)])


# ── compile time grows with the program, not faster ───────────────────────────────────────────────────────────
def chain_table(n, size):
    """Adjoints of a chain of n vectors whose adjoint with respect to x is a sum of n terms."""
    b = Builder()
    x = y = b.input((size,))
    for _ in range(n):
        y = b.emit("add", (b.emit("sin", (y,)), b.emit("multiply", (x, y))))
    return adjoint_table(b.table([b.emit("sum", (y,), (1, size, 1), ())]), [0], seeds=[1.0])


def longest_function(table):
    parts = NativeCode(make_plan(table, layout_of(table))).parts
    texts = [text for part in parts for text in part.text.split("define ")]
    return max(text.count("\n") for text in texts if not text.startswith("i64 @kernel"))


@pytest.mark.parametrize("size", [2, 5, 40])
def test_no_function_grows_with_the_program(size):
    assert longest_function(chain_table(600, size)) <= longest_function(chain_table(300, size)) * 1.1
    check(chain_table(200, size), [np.linspace(0.1, 0.3, size)], ulps=400)


def test_sums_over_a_part_of_a_larger_array():
    """A reduction reads as many elements as its operand has, not as many as what that is a part of."""
    b = Builder()
    x = b.input((40, 20))
    y = b.emit("linrec", (x, x), (1, 40, 20, 0), (40, 20))  # in memory
    part = b.region(y, region(100, (200,), (1,)), (10, 20))
    table = b.table([b.emit("sum", (part,), (1, 10, 20), (20,)), b.emit("sum", (part,), (1, 200, 1), ())])
    given = np.random.default_rng(0).normal(size=(40, 20)) / 2
    code, found = run(table, [given])
    assert code == 0
    for own, wanted in zip(found, evaluate(table, [given]), strict=True):
        np.testing.assert_allclose(own, wanted.reshape(-1), rtol=1e-13)
