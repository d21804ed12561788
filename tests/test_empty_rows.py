"""Rows whose operands or results have no elements, of every array primitive: as a builder simplifies them, and as they
may stand in a file. Both executors compute what the reference does, and write all of every result."""

from itertools import product

import numpy as np
import pytest
from native_tools import Bound

from fastad.execution.native import NativeKernel
from fastad.execution.sweeps.kernel import SweepKernel
from fastad.primitives import array_rows, primitive
from fastad.tables import builder
from fastad.tables.builder import Builder
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.reference import evaluate

DIMENSIONS = [dims for dims in product((0, 2), repeat=3) if 0 in dims]
FLAGS = [(ta, tb) for ta in (0, 1) for tb in (0, 1)]
NOTHING = (0, 0, 1)  # a region


def _middle(dims, operands=1, more=(), reduced=False):
    outer, _, inner = dims
    return (*dims, *more), (outer, inner) if reduced else dims, [dims] * operands


def _solve(batch, n, m, *more):
    return (batch, n, m, *more), (batch, n, m)


def _of_no_matrices(row):
    """The examples of a row for stacks of two matrices, for a stack of none."""
    for statics, shape, shapes in row.examples:
        none = [(0, *own[1:]) if own[:1] == (2,) else own for own in (shape, *shapes)]
        sizes = [int(np.prod(own)) for own in none]
        if statics[0] == 2 and row.check((0, *statics[1:]), sizes[0], sizes[1:]) is None:
            yield (0, *statics[1:]), none[0], none[1:]


# Of each row: (statics, shape, shapes of operands). Examples serve the other rows that have some.
CASES = {
    "strided": [(NOTHING, (0,), [(3,)]), (NOTHING, (0, 2), [(0,)]), ((0, 3, 0, 2, 0, 2, 1), (3, 0, 2), [(0, 4)])],
    "strided_add": [(NOTHING, (3,), [(0,)]), (NOTHING, (0,), [(0, 2)]), ((0, 3, 0, 1, 1), (4,), [(3, 0)])],
    "sum": [_middle(d, reduced=True) for d in DIMENSIONS],
    "amax": [_middle(d, reduced=True) for d in DIMENSIONS],
    "amin": [_middle(d, reduced=True) for d in DIMENSIONS],
    "argmax": [_middle(d, reduced=True) for d in DIMENSIONS if d[1]],
    "argmin": [_middle(d, reduced=True) for d in DIMENSIONS if d[1]],
    "argsort": [_middle(d) for d in DIMENSIONS],
    "cumsum": [_middle(d, 1, (reverse,)) for d in DIMENSIONS for reverse in (0, 1)],
    "linrec": [_middle(d, 2, (reverse,)) for d in DIMENSIONS for reverse in (0, 1)],
    "matmul": [
        ((batch, m, k, n, ta, tb, sx, sy), (batch, m, n), [(batch if sx else 1, m, k), (batch if sy else 1, k, n)])
        for batch, m, k, n in product((0, 1, 2), (0, 3), (0, 20), (0, 2)) if 0 in (batch, m, k, n)
        for ta, tb in FLAGS for sx, sy in ((1, 1), (0, 1), (1, 0))
    ],
    "gather": [((2,), (0, 2), [(3, 2), (0,)]), ((1,), (0,), [(0,), (0,)])],
    "scatter_add": [((2,), (3, 2), [(0, 2), (0,)]), ((1,), (0,), [(0,), (0,)])],
    "put_blocks": [((2, 1), (3, 2), [(3, 2), (0, 2), (0,)]), ((1, 1), (0,), [(0,)] * 3)],
    "add_blocks": [((2,), (3, 2), [(3, 2), (0, 2), (0,)]), ((1,), (0,), [(0,)] * 3)],
    "wrap_index": [((3,), (0,), [(0,)]), ((0,), (0,), [(0,)])],
    "searchsorted": [((right,), (m,), [(n,), (m,)]) for right in (0, 1) for n, m in ((0, 3), (3, 0), (0, 0))],
    "assemble": [
        ((), (3,), []), ((1, *NOTHING), (3,), [(0,)]), ((1, 0, 3, 1, 1, *NOTHING), (3,), [(3,), (0,)]),
        ((1, *NOTHING, 1, 1, 2, 1), (4,), [(0,), (2,)]), ((1, *NOTHING, 1, *NOTHING), (0, 2), [(0,), (0,)]),
        ((2, 0, 2, 0, 1, 1, 1, 5, 30, 1), (40,), [(2, 0), (30,)]), ((1, *NOTHING), (40,), [(0,)]),
    ],
    "guard": [((), (0,), [(0,), (0,)])],
    "lu": [((batch, n), (batch, n * (n + 1)), [(batch, n, n)]) for batch, n in ((0, 2), (2, 0), (1, 0))],
    "permute_rows": [
        (*_solve(batch, n, m, inverse, 1), [(batch, n), (batch, n, m)])
        for batch, n, m in DIMENSIONS for inverse in (0, 1)
    ],
    "triangular_solve": [
        (*_solve(batch, n, m, lower, trans, 0, separate), [(batch if separate else 1, n, n), (batch, n, m)])
        for batch, n, m in DIMENSIONS for lower, trans in FLAGS for separate in (0, 1)
    ],
    "lu_solve": [
        (*_solve(batch, n, m, trans, separate),
         [(batch if separate else 1, n, n), (batch if separate else 1, n * (n + 1)), (batch, n, m)])
        for batch, n, m in DIMENSIONS for trans, separate in FLAGS
    ],
    "determinant_sign": [((batch, n), (batch,), [(batch, n * (n + 1))]) for batch, n in ((0, 2), (2, 0))],
    "log_determinant": [
        ((batch, n), (batch,), [(batch, n, n), (batch, n * (n + 1))]) for batch, n in ((0, 2), (2, 0))
    ],
    "cholesky": [((batch, n), (batch, n, n), [(batch, n, n)]) for batch, n in ((0, 2), (2, 0))],
    "fourier": [
        ((*d, positive), (d[0], 2, *d[1:]), [(d[0], 2, *d[1:]), (2, d[1])]) for d in DIMENSIONS for positive in (0, 1)
    ],
    "solved": [((0, 2, 2, 1), (0, 2), [(0, 2), (0, 2), (0,)])],
    "sparse_product": [((1, 0, 3, 2, 1, 0, 0, 0), (3,), [(0,), (0,), (2,)])],
    "sparse_sample": [((1, 0, 3, 2, 1, 0, 0, 0), (0,), [(0,), (3,), (2,)])],
}  # fmt: skip
CASES |= {row.name: list(_of_no_matrices(row)) for row in array_rows() if row.examples and row.name not in CASES}
ELSEWHERE = {"sparse_lu", "sparse_lu_solve"}  # a pattern is no array of any numbers: test_sparse.py
EACH = [(name, k) for name, cases in CASES.items() for k in range(len(cases))]


def program(name, k):
    """A table with the row, its double and a number as results, and the inputs for it."""
    statics, shape, operands = CASES[name][k]
    b, row = Builder(), primitive(name)
    kinds = ["i" if key in ("index", "pivots") else "d" for key in row.domain] or ["d"] * len(operands)
    inputs = [b.input(own, kind) for own, kind in zip(operands, kinds, strict=True)]
    found = b.emit(name, inputs, statics, shape)
    twice = b.emit("add", (found, found), shape=shape)
    table = b.table([found, twice, b.emit("multiply", (b.total(twice, ()), b.const(2.0)))])
    values = [np.ones(own) + np.eye(*own[-2:]) if len(own) > 1 else np.ones(own) for own in operands]
    return table, [np.zeros(x.shape) if kind == "i" else x for x, kind in zip(values, kinds, strict=True)]


def executed(kernel, inputs):
    bound = Bound(kernel, inputs)
    assert bound.run() == 0
    return bound.results


def agree(table, inputs):
    """Both executors compute what the reference interpreter does."""
    wanted = evaluate(table, inputs)
    for kernel in (SweepKernel(table), NativeKernel(table)):
        for a, b in zip(executed(kernel, inputs), wanted, strict=True):
            np.testing.assert_array_equal(a, b.reshape(-1), f"{type(kernel).__name__}:\n{table}")


def with_derivatives(table, inputs):
    """The table, its tangent and its adjoint."""
    wrt = [i for i, kind in enumerate(table.inputs) if kind.dtype == "d"]
    moved = [np.ones(table.inputs[i].shape) for i in wrt]
    yield table, inputs
    yield tangent_table(table, wrt), [*inputs, *moved]
    yield adjoint_table(table, wrt), [*inputs, *(np.ones(table.type_of(r).shape) for r in table.outputs)]


@pytest.mark.parametrize("name, k", EACH, ids=lambda x: str(x))
def test_rows_of_nothing(name, k):
    for table, inputs in with_derivatives(*program(name, k)):
        agree(table, inputs)


@pytest.mark.parametrize("name, k", EACH, ids=lambda x: str(x))
def test_rows_of_nothing_from_files(name, k, monkeypatch):
    """A builder leaves such rows out, so a file is the only place for them."""
    table, inputs = program(name, k)
    with monkeypatch.context() as patch:
        patch.setattr(builder, "simplify", lambda *arguments: None)
        raw, _ = program(name, k)
    if name in ("amax", "amin") and not CASES[name][k][0][1]:
        return  # NumPy has no maximum of nothing
    for a, b in zip(evaluate(table, inputs), evaluate(raw, inputs), strict=True):
        np.testing.assert_array_equal(a, b)
    agree(raw, inputs)


def test_every_array_primitive_is_here():
    assert all(CASES.values())
    assert {row.name for row in array_rows() if row.numpy is not None} == (set(CASES) | ELSEWHERE) - {"guard"}


def test_builders_leave_out_rows_of_nothing():
    """What a recording makes has no row that computes from nothing, or makes nothing."""
    for name, k in EACH:
        for table, _ in with_derivatives(*program(name, k)):
            for row in table.rows():
                computed = row.operands and row.name != "searchsorted"
                assert not computed or (row.size and any(table.sizes[x] for x in row.operands)), f"{name} {k}: {row}"
