"""The sweeps: values against NumPy; derivatives against the derived tables, differences, and each other."""

import ctypes
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from thread_tools import in_threads

from fastad.errors import IndexRangeError
from fastad.execution.kernel import SIGNATURE, aligned, raise_for
from fastad.execution.machine.exported import kernel_homes
from fastad.execution.sweeps import kernel as sweeps
from fastad.execution.sweeps.kernel import SweepKernel
from fastad.execution.sweeps.source import is_swept_row
from fastad.primitives import PRIMITIVES, ArrayPrimitive, opcode, primitive
from fastad.primitives.elementwise import DOMAINS
from fastad.primitives.row import elementwise_rows
from fastad.tables.builder import Builder
from fastad.tables.columns import ValueType
from fastad.tables.passes.derive import adjoint_table, tangent_table

RNG = np.random.default_rng(5)


# ── running kernels, building tables ──────────────────────────────────────────────────────────────────────────
def run(kernel, *arguments):
    """Return code and the flat results of a kernel."""
    layout = kernel.layout
    inputs, outputs = aligned(max(layout.in_size, 1)), aligned(max(layout.out_size, 1))
    work, keep, results = aligned(kernel.work_size + 1), [], []
    work[:] = np.nan
    for slot, x in zip(layout.inputs, arguments, strict=True):
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        assert flat.size == slot.size
        if slot.by_reference:
            keep.append(flat)
            inputs.view(np.int64)[slot.offset] = flat.ctypes.data
        else:
            inputs[slot.offset : slot.offset + slot.size] = flat
    for slot in layout.outputs:
        if slot.by_reference:
            results.append(np.full(slot.size, np.nan))
            outputs.view(np.int64)[slot.offset] = results[-1].ctypes.data
        else:
            results.append(outputs[slot.offset : slot.offset + slot.size])
    call = SIGNATURE(kernel.address)
    work[kernel.work_size :] = 123.0
    code = call(kernel.context, *(x.ctypes.data_as(ctypes.c_void_p) for x in (inputs, outputs, work)))
    assert work[kernel.work_size] == 123.0, "a sweep wrote past its work vector"
    return code, results


def value(table, *arguments):
    code, results = run(SweepKernel(table), *arguments)
    assert code == 0
    return results


def append(b, name, operands, shape, statics=(), dtype=None):
    """A row as it is, without the builder's simplification."""
    row = primitive(name)
    kind = ValueType(tuple(shape), dtype or ("b" if row.result == "bool" else "i" if row.result == "int" else "d"))
    c = b._static_set(tuple(statics)) if statics else -1
    if isinstance(row, ArrayPrimitive):
        if row.is_pooled:
            start = len(b.operands)
            b.operands.extend(operands)
            return b._append(opcode(name), kind, start, len(operands), c)
        return b._append(opcode(name), kind, *(*operands, -1, -1)[:2], c)
    return b._append(opcode(name), kind, *(*operands, -1, -1, -1)[:3])


def one_row(name, shapes, shape, statics=()):
    b = Builder()
    return b.table([append(b, name, [b.input(s) for s in shapes], shape, statics)])


def draw(domain, shape):
    """Values from the intervals of a domain."""
    intervals = DOMAINS[domain]
    which = RNG.integers(len(intervals), size=shape)
    low, high = (np.array([interval[k] for interval in intervals])[which] for k in (0, 1))
    return low + (high - low) * RNG.random(shape)


def check_derivatives(table, wrt, arguments, differences=True, rtol=1e-12, owners=None):
    """Tangent and adjoint sweeps against the derived tables, the dot-product law, and central differences.

    With `owners`, wrt[i] is an input of result owners[i] alone, and the dot-product law holds for each result.
    """
    tangents = [RNG.normal(size=np.size(arguments[i])) for i in wrt]
    outputs = value(table, *arguments)
    seeds = [RNG.normal(size=len(out)) for out in outputs]
    count = len(outputs)

    swept = all(map(is_swept_row, set(table.columns["op"].tolist())))  # others are differentiated by derivation only
    sweep = lambda mode, derived: SweepKernel(table, mode, wrt) if swept else SweepKernel(derived(table, wrt))
    code, forward = run(sweep("tangent", tangent_table), *arguments, *tangents)
    assert code == 0
    close(forward, value(tangent_table(table, wrt), *arguments, *tangents), rtol)
    code, backward = run(sweep("adjoint", adjoint_table), *arguments, *seeds)
    assert code == 0
    close(backward, value(adjoint_table(table, wrt), *arguments, *seeds), rtol)
    close(forward[:count], outputs, 0)
    close(backward[:count], outputs, 0)
    along = np.array([u @ t for u, t in zip(seeds, forward[count:], strict=True)])
    against = np.array([g @ v for g, v in zip(backward[count:], tangents, strict=True)])
    if owners is None:
        np.testing.assert_allclose(along.sum(), against.sum(), rtol=1e-9, atol=1e-9)
    else:
        np.testing.assert_allclose(along, np.bincount(owners, against, count), rtol=1e-9, atol=1e-9)
    if differences:
        close(forward[count:], central(table, wrt, arguments, tangents), 1e-6)
    if not swept:
        return
    directions = [np.stack([t, -2 * t, 0 * t]) for t in tangents]
    code, several = run(SweepKernel(table, "tangent", wrt, directions=3), *arguments, *directions)
    for one, three in zip(forward[count:], several[count:], strict=True):
        close([three], [np.concatenate([one, -2 * one, 0 * one])], rtol)


def central(table, wrt, arguments, tangents, h=1e-6):
    ends = []
    for sign in (1, -1):
        moved = [np.array(x, float) for x in arguments]
        for i, t in zip(wrt, tangents, strict=True):
            moved[i] = moved[i] + sign * h * t.reshape(np.shape(arguments[i]))
        ends.append(value(table, *moved))
    return [(high - low) / (2 * h) for high, low in zip(*ends, strict=True)]


def close(found, expected, rtol):
    for x, y in zip(found, expected, strict=True):
        scale = np.max(np.abs(y[np.isfinite(y)]), initial=1.0)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale)


# ── elementwise rows ──────────────────────────────────────────────────────────────────────────────────────────
ROWS = [row for row in elementwise_rows() if not row.detached]


def patterns(arity):
    """Shapes of operands: numbers, arrays, and, of several operands, all mixtures of both."""
    mixed = list(itertools.product([(4,), ()], repeat=arity)) if arity > 1 else []
    return [((),) * arity, ((2, 3),) * arity, *mixed]


def choices(row):
    """Every set of operands by which a row can be differentiated."""
    known = [k for k in range(row.arity) if row.partials[k] != "nan"]
    able = list(filter(row.is_differentiable, known)) or known
    return [wrt for count in range(1, len(able) + 1) for wrt in itertools.combinations(able, count)]


@pytest.mark.parametrize("pattern", range(len(patterns(3))))
def test_elementwise(pattern):
    """All rows in one table; of each the pattern of shapes and the operands whose turn it is."""
    b, arguments, first, results = Builder(), [], [], []
    for row in ROWS:
        of_row = patterns(row.arity)
        shapes = of_row[pattern % len(of_row)]
        first.append(len(arguments))
        arguments += [draw(key, s) for key, s in zip(row.domain, shapes, strict=True)]
        results.append(append(b, row.name, [b.input(s) for s in shapes], max(shapes, key=len)))
    table = b.table(results)
    for row, start, found in zip(ROWS, first, value(table, *arguments), strict=True):
        expected = np.asarray(row.numpy(*arguments[start : start + row.arity]), float)
        np.testing.assert_allclose(found, expected.reshape(-1), rtol=3e-13, atol=1e-15, err_msg=row.name)
    for turn in range(max(len(choices(row)) for row in ROWS)):
        chosen = [choices(row)[turn % len(choices(row))] for row in ROWS]
        wrt = [start + k for start, own in zip(first, chosen, strict=True) for k in own]
        check_derivatives(table, wrt, arguments, owners=np.repeat(np.arange(len(ROWS)), [len(own) for own in chosen]))


@pytest.mark.parametrize("name", ["sin", "multiply", "where", "maximum", "expit"])
@pytest.mark.parametrize("size", [1023, 1024, 1025, 5000])
def test_long_arrays(name, size):
    row = primitive(name)
    shapes = [(size,) if k != 1 else () for k in range(row.arity)]
    arguments = [draw(key, s) for key, s in zip(row.domain, shapes, strict=True)]
    table = one_row(name, shapes, (size,))
    np.testing.assert_allclose(value(table, *arguments)[0], row.numpy(*arguments), rtol=1e-14)
    check_derivatives(table, range(row.arity), arguments, differences=False)


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e308, 5e-324]
# erfinv and friends beyond the ends of their domains, and IEEE corners that NumPy itself varies in between platforms.
LOOSE = {
    "mod", "floor_divide", "gammaln", "gamma", "digamma", "zeta", "logit", "xlogy", "xlog1py", "entr", "gamma_density",
}  # fmt: skip


@pytest.mark.parametrize("row", [r for r in ROWS if r.name not in LOOSE], ids=lambda row: row.name)
def test_special_numbers(row):
    cases = np.array(list(itertools.product(SPECIAL, repeat=row.arity))).T
    table = one_row(row.name, [(cases.shape[1],)] * row.arity, (cases.shape[1],))
    if row.name == "where":
        cases[0] = cases[0] != 0
    with np.errstate(all="ignore"):
        columns = [c.astype(bool) if key == "B" else c for c, key in zip(cases, row.domain, strict=True)]
        expected = np.asarray(row.numpy(*columns), float)
    np.testing.assert_allclose(value(table, *columns)[0], expected, rtol=1e-12, equal_nan=True)


def test_a_branch_not_taken_contributes_nothing():
    b = Builder()
    x = b.input(())
    table = b.table([b.emit("where", (b.emit("greater", (x, b.const(0.0))), x, b.emit("log", (x,))))])
    for kernel, given in ((SweepKernel(table, "adjoint", [0]), np.inf), (SweepKernel(table, "tangent", [0]), 2.0)):
        code, results = run(kernel, 0.5, given)
        assert code == 0 and results[1][0] == given


# ── array primitives ──────────────────────────────────────────────────────────────────────────────────────────
ARRAY_CASES = [
    ("strided", (0, 12, 1), [(3, 4)], (12,)),
    ("strided", (0, 4, 3, 1, 4), [(3, 4)], (4, 3)),
    ("strided", (11, 3, 4, -4, -1), [(3, 4)], (3, 4)),
    ("strided", (1, 2, 5, 0, 1), [(6,)], (2, 5)),
    ("strided", (0, 3, 3, 1, 1), [(6,)], (3, 3)),
    ("strided", (5, 1, 1), [(3, 4)], ()),
    ("strided", (0, 7, 0), [()], (7,)),
    ("strided_add", (0, 3, 3, 1, 1), [(3, 3)], (6,)),
    ("strided_add", (2, 4, 0), [(4,)], (3,)),
    ("sum", (2, 5, 3), [(2, 5, 3)], (2, 3)),
    ("sum", (1, 40, 1), [(40,)], ()),
    ("sum", (1, 0, 2), [(0, 2)], (2,)),
    ("amax", (2, 5, 3), [(2, 5, 3)], (2, 3)),
    ("amin", (1, 7, 1), [(7,)], ()),
    ("argmax", (2, 5, 3), [(2, 5, 3)], (2, 3)),
    ("argmin", (1, 7, 1), [(7,)], ()),
    ("argsort", (2, 5, 3), [(2, 5, 3)], (2, 5, 3)),
    ("cumsum", (2, 5, 3, 0), [(2, 5, 3)], (2, 5, 3)),
    ("cumsum", (1, 6, 1, 1), [(6,)], (6,)),
    ("linrec", (2, 4, 3, 0), [(2, 4, 3)] * 2, (2, 4, 3)),
    ("linrec", (1, 6, 1, 1), [(6,)] * 2, (6,)),
    ("linrec", (2, 1, 2, 0), [(2, 1, 2)] * 2, (2, 1, 2)),
    ("matmul", (1, 2, 3, 4, 0, 0, 1, 1), [(2, 3), (3, 4)], (2, 4)),
    ("matmul", (1, 2, 3, 4, 1, 1, 1, 1), [(3, 2), (4, 3)], (2, 4)),
    ("matmul", (3, 2, 3, 4, 0, 1, 1, 0), [(3, 2, 3), (4, 3)], (3, 2, 4)),
    ("matmul", (3, 2, 3, 4, 1, 0, 0, 1), [(3, 2), (3, 3, 4)], (3, 2, 4)),
    ("matmul", (1, 20, 21, 22, 0, 0, 1, 1), [(20, 21), (21, 22)], (20, 22)),
    ("gather", (2,), [(5, 2), "index 7 5"], (7, 2)),
    ("scatter_add", (2,), [(7, 2), "index 7 5"], (5, 2)),
    ("put_blocks", (2, 1), [(5, 2), (7, 2), "index 7 5"], (5, 2)),
    ("add_blocks", (2,), [(5, 2), (7, 2), "index 7 5"], (5, 2)),
    ("wrap_index", (5,), ["index 7 5"], (7,)),
    ("searchsorted", (0,), ["sorted 6", (3,)], (3,)),
    ("searchsorted", (1,), ["sorted 6", (3,)], (3,)),
    ("assemble", (1, 0, 6, 1, 1, 1, 2, 2, 1, 0, 1, 1), [(6,), (2,), ()], (6,)),
    ("assemble", (1, 1, 1, 1, 2, 2, 2, 2, 3, 1), [(), (2, 2)], (8,)),
    ("assemble", (1, 4, 4, -1), [(4,)], (6,)),
]  # fmt: skip


def operand(kind):
    if isinstance(kind, tuple):
        return kind, RNG.normal(size=kind)
    word, n, *top = kind.split()
    data = np.sort(RNG.normal(size=int(n))) if word == "sorted" else RNG.integers(int(top[0]), size=int(n))
    return (int(n),), data.astype(float)


@pytest.mark.parametrize(("name", "statics", "kinds", "shape"), ARRAY_CASES)
def test_array_row(name, statics, kinds, shape):
    shapes, arguments = zip(*map(operand, kinds), strict=True)
    row = primitive(name)
    b = Builder()
    integers = [isinstance(kind, str) and kind.startswith("index") for kind in kinds]
    inputs = [b.input(s, "i" if i else "d") for s, i in zip(shapes, integers, strict=True)]
    table = b.table([append(b, name, inputs, shape, statics)])
    expected = np.asarray(row.numpy(statics, shape, *arguments), float).reshape(-1)
    np.testing.assert_allclose(value(table, *arguments)[0], expected, rtol=1e-13, atol=1e-13)
    able = [k for k, i in enumerate(integers) if not i and row.adjoint is not None] or [0]
    for count in range(1, len(able) + 1):
        for wrt in itertools.combinations(able, count):
            check_derivatives(table, wrt, arguments, differences=row.tangent is not None)


def test_every_array_primitive_is_tested():
    own = {row.name for row in PRIMITIVES if getattr(row, "examples", ())}  # tested by the laws of test_linalg
    places = {"sparse_product", "sparse_sample", "sparse_lu", "sparse_lu_solve"}  # test_sparse.py
    tested = {case[0] for case in ARRAY_CASES} | own | places | {"input", "const", "guard", "call"}
    tested |= {"solved"}  # test_equations.py
    with_kernels = {row.name for row in PRIMITIVES if f"{row.name}_forward" in kernel_homes()}
    assert with_kernels <= tested


def test_ties_share_the_derivative():
    table = one_row("amax", [(4,)], (), (1, 4, 1))
    x = [1.0, 3.0, 3.0, 2.0]
    assert run(SweepKernel(table, "adjoint", [0]), x, 1.0)[1][1].tolist() == [0, 0.5, 0.5, 0]
    assert run(SweepKernel(table, "tangent", [0]), x, [1.0, 2.0, 4.0, 8.0])[1][1].tolist() == [3.0]


# ── programs ──────────────────────────────────────────────────────────────────────────────────────────────────
def random_program(rows, seed, inputs=4):
    rng, b = np.random.default_rng(seed), Builder()
    refs = [b.input(()) for _ in range(inputs)]
    while len(b) < rows:
        name = ["add", "subtract", "multiply", "sin", "tanh", "maximum", "arctan2", "square"][rng.integers(8)]
        near = [refs[-1 - int(k)] for k in rng.integers(min(len(refs), 30), size=2)]
        x = b.emit(name, near[: primitive(name).arity])
        refs.append(b.emit("tanh", (x,)) if name in ("multiply", "square") else x)
    total = b.emit("multiply", (refs[-1], b.const(0.5)))
    for ref in refs[-40:]:
        total = b.emit("add", (total, ref))
    return b.table([b.emit("tanh", (total,)), refs[-1], refs[len(refs) // 2]])


@pytest.mark.parametrize("seed", range(3))
def test_random_scalar_program(seed):
    table = random_program(5000, seed)
    assert all(k.size == 1 for k in table.types)
    check_derivatives(table, [0, 2, 3], RNG.normal(size=4) * 0.3, differences=False, rtol=1e-9)


def mixed_table():
    """Scalars read from arrays, constants of many numbers, and arrays assembled of scalars."""
    b = Builder()
    x, y = b.input((3, 300)), b.input(())
    weights = b.const(RNG.normal(size=(3, 300)))
    scaled = b.emit("multiply", (b.emit("tanh", (x,)), weights))
    first = b.emit("strided", (scaled,), (7, 1, 1), ())
    last = b.emit("strided", (x,), (899, 1, 1), ())
    both = b.emit("multiply", (b.emit("exp", (first,)), b.emit("add", (last, y))))
    small = b.assemble([first, both, y], [(0, 1, 1), (2, 1, 1), (1, 1, 1)], (3,))
    rows = b.emit("sum", (scaled,), (3, 300, 1), (3,))
    dot = b.emit("matmul", (small, rows), (1, 1, 3, 1, 0, 0, 1, 1), ())
    return b.table([dot, b.emit("multiply", (scaled, dot)), both])


def test_mixed_program():
    table = mixed_table()
    for wrt in ([0], [1], [0, 1], [1, 0]):
        check_derivatives(table, wrt, [RNG.normal(size=(3, 300)), 0.3], rtol=1e-11)


def test_constant_seeds_and_inline_layout():
    table = mixed_table()
    x = [RNG.normal(size=(3, 300)), 0.3]
    expected = value(adjoint_table(table, [0, 1], seeds=[1.0, -2.0, 0.5]), *x)
    for threshold in (None, 1, 257):
        kernel = SweepKernel(table, "adjoint", [0, 1], [1.0, -2.0, 0.5], threshold=threshold)
        by_reference = [slot.by_reference for slot in kernel.layout.inputs]
        assert by_reference == [threshold is not None and slot.size >= threshold for slot in kernel.layout.inputs]
        code, found = run(kernel, *x)
        assert code == 0
        close(found, expected, 1e-11)


def test_captured_arrays_follow_the_seeds():
    b = Builder()
    x, held = b.input((2,)), b.input((2,))
    data = np.array([3.0, 5.0])
    table = b.table([b.emit("multiply", (x, held))], [data])
    assert run(SweepKernel(table, "tangent", [0]), [1.0, 2.0], [10.0, 20.0], data)[1][1].tolist() == [30.0, 100.0]
    assert run(SweepKernel(table, "adjoint", [0]), [1.0, 2.0], [1.0, 2.0], data)[1][1].tolist() == [3.0, 10.0]


def test_results_that_are_inputs_constants_or_repeated():
    b = Builder()
    x, _, k = b.input((2,)), b.input((3,)), b.input((), "i")
    twice = b.emit("add", (x, x))
    c = b.const(np.array([1.0, 2.0]))
    table = b.table([x, twice, twice, c, k, b.emit("multiply", (twice, k))])
    arguments = [np.array([1.0, 2.0]), np.zeros(3), 4.0]
    check_derivatives(table, [0, 1], arguments)
    ones = [np.ones(n) for n in (2, 2, 2, 2, 1, 2)]
    found = run(SweepKernel(table, "adjoint", [0, 1, 2]), *arguments, *ones)[1]
    assert [x.tolist() for x in found[6:]] == [[13.0, 13.0], [0, 0, 0], [0.0]]
    close(found, value(adjoint_table(table, [0, 1, 2]), *arguments, *ones), 0)
    tangents = [np.ones(2), np.ones(3), 1.0]
    expected = value(tangent_table(table, [0, 1, 2]), *arguments, *tangents)
    close(run(SweepKernel(table, "tangent", [0, 1, 2]), *arguments, *tangents)[1], expected, 0)


def test_empty_arrays_and_empty_tables():
    b = Builder()
    x = b.input((0, 3))
    y = append(b, "sin", [x], (0, 3))
    table = b.table([y, append(b, "sum", [y], (3,), (1, 0, 3))])
    check_derivatives(table, [0], [np.zeros((0, 3))])
    assert run(SweepKernel(Builder().table([])))[0] == 0


# ── stops ─────────────────────────────────────────────────────────────────────────────────────────────────────
def guarded(shape):
    b = Builder()
    x = b.input(shape)
    positive = b.emit("greater", (x, b.const(0.0)))
    guard = b.emit("guard", (positive, b.const(np.ones(shape), "b")))
    return b.table([b.emit("sqrt", (x,))]), guard


@pytest.mark.parametrize("shape", [(), (3,)])
def test_guards_stop_a_replay(shape):
    table, guard = guarded(shape)
    for mode, extra in (("value", 0), ("tangent", 1), ("adjoint", 1)):
        kernel = SweepKernel(table, mode, [0] if extra else [])
        more = [np.ones(shape)] * extra
        assert run(kernel, np.ones(shape), *more)[0] == 0
        bad = np.ones(shape)
        bad[-1 if shape else ()] = -1.0
        assert run(kernel, bad, *more)[0] == guard + 1
        assert run(kernel, np.full(shape, np.nan), *more)[0] == guard + 1


def test_bad_indices_stop_a_replay():
    b = Builder()
    x, i = b.input((4,)), b.input((2,), "i")
    wrapped = b.emit("wrap_index", (i,), (4,))
    table = b.table([b.emit("gather", (x, wrapped), (1,), (2,))])
    assert value(table, np.arange(4.0), [-1, 0])[0].tolist() == [3.0, 0.0]
    for bad in ([4, 0], [0, -5], [0.5, 0], [np.nan, 0]):
        code, _ = run(SweepKernel(table, "adjoint", [0]), np.arange(4.0), bad, [1.0, 1.0])
        assert code == -(wrapped + 1)
        with pytest.raises(IndexRangeError, match="wrap_index"):
            raise_for(code, table)


# ── the machinery ─────────────────────────────────────────────────────────────────────────────────────────────
def test_threads_share_a_kernel():
    table = random_program(5000, 7)
    kernel = SweepKernel(table, "adjoint", range(4), [1.0, 0.0, 0.0])
    points = RNG.normal(size=(8, 4))
    expected = [run(kernel, *p)[1] for p in points]
    wrong = []

    def work(k):
        for _ in range(30):
            found = run(kernel, *points[k])[1]
            if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, expected[k], strict=True)):
                wrong.append(k)

    in_threads(work, 8)
    assert not wrong


def test_a_scalar_table_is_not_copied():
    from fastad.execution.sweeps.program import sweep_program

    table = random_program(200, 1)
    assert all(np.shares_memory(c, table.columns[n]) for c, n in zip(sweep_program(table).columns, "abc", strict=True))


def test_unknown_modes_are_refused():
    with pytest.raises(ValueError, match="adjoint"):
        SweepKernel(random_program(10, 1), "backward")


def test_warmup_reports_progress():
    seen = []
    sweeps.warmup(lambda message, done: seen.append((message, done)))
    assert [done for _, done in seen] == sorted(done for _, done in seen) and seen[-1][1] == 1.0


def test_scipy_special_is_imported_only_when_needed(tmp_path):
    code = (
        "import sys\nfrom fastad.execution.sweeps.kernel import SweepKernel, warmup\n"
        "from fastad.tables.builder import Builder\n"
        "warmup()\nb = Builder()\nx = b.input(())\nSweepKernel(b.table([b.emit('erf', (x,))]), 'adjoint', [0])\n"
        "assert 'scipy.special' not in sys.modules\n"
        "SweepKernel(b.table([b.emit('gammaln', (x,))]), 'adjoint', [0])\nassert 'scipy.special' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
