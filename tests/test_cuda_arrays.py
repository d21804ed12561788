"""Kernels for GPUs of array primitives and of random NumPy programs, on this CPU by the same text."""

import numpy as np
import pytest
from cuda_tools import adjoint, check_instances, here_and_on_gpus, on_host
from hypothesis import given, settings
from random_programs import programs
from recording_tools import record
from test_linalg import EXAMPLES, one_row, wrt_of
from test_sweeps import ARRAY_CASES, append, operand

from fastad.execution.request import Request
from fastad.primitives.row import array_rows, primitive
from fastad.tables.builder import Builder

runs_on = here_and_on_gpus()


def check(request, values, tolerance=1e-9):
    check_instances(request, [np.asarray(x)[None] for x in values], 1, tolerance, level=1)


# The signs of eigenvectors and singular vectors are free; their laws stand below.
FREE = ("eigh", "svd")


@pytest.mark.parametrize(("name", "number"), [case for case in EXAMPLES if not case[0].startswith(FREE)])
def test_linear_algebra(name, number):
    """Every example of every row of linear algebra, and its adjoint."""
    table, values = one_row(name, number)
    check(Request(table), values)
    wrt = wrt_of(table, name)
    if primitive(name).adjoint is not None and wrt:
        check(adjoint(table, wrt), values, 1e-7)


@pytest.mark.parametrize(("name", "statics", "kinds", "shape"), ARRAY_CASES)
def test_array_rows(name, statics, kinds, shape):
    shapes, values = zip(*map(operand, kinds), strict=True)
    b = Builder()
    integers = [isinstance(kind, str) and kind.startswith("index") for kind in kinds]
    inputs = [b.input(s, "i" if i else "d") for s, i in zip(shapes, integers, strict=True)]
    table = b.table([append(b, name, inputs, shape, statics)])
    check(Request(table), values)
    if primitive(name).adjoint is not None:
        check(adjoint(table), values)


def test_an_index_out_of_bounds_is_an_error_of_its_instance():
    table, *_ = record(lambda x, k: x[k.astype(int)] * 2, np.arange(5.0), np.array([1.0]))
    codes = check_instances(Request(table), [np.arange(10.0).reshape(2, 5), np.array([[3.0], [7.0]])], 2)
    assert codes[0] == 0 and codes[1] < 0


def test_all_rows_have_been_looked_at():
    """Rows without an example here are those of composite programs, inputs and checks."""
    tested = {name for name, _ in EXAMPLES} | {name for name, *_ in ARRAY_CASES}
    left = {row.name for row in array_rows()} - tested
    assert len(left) <= 12, sorted(left)


@given(programs())
@settings(max_examples=25)
def test_any_program_and_its_gradient(program):
    """As they are written with NumPy: in-place updates, branches, masks and indices included."""
    with np.errstate(all="ignore"):
        table, *_ = record(program.namespace()["loss"], *program.inputs)
        inputs = [x[None] for x in program.inputs]
        check_instances(Request(table), inputs, 1, 1e-9, level=0)
        check_instances(adjoint(table), inputs, 1, 1e-8, level=0)


# ── laws of the loops that stand for LAPACK ───────────────────────────────────────────────────────────────────
MATRICES = {
    "full rank": np.random.default_rng(3).normal(size=(3, 5)), "rank 1": np.outer([1.0, 2.0, -1.0], np.arange(5.0)),
    "zeros": np.zeros((3, 5)), "equal values": np.eye(3, 5),
}  # fmt: skip


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("turned", [False, True])
def test_singular_vectors_are_orthogonal_and_make_the_matrix(kind, turned):
    """All of them, those of a null space included."""
    a = MATRICES[kind].T if turned else MATRICES[kind]

    def f(x):
        u, s, vt = np.linalg.svd(x, full_matrices=True)
        return u, s, vt

    table, *_ = record(f, np.random.default_rng(4).normal(size=a.shape))
    codes, (u, s, vt) = on_host(Request(table), [a[None]], 1)
    assert not codes.any()
    m, n = a.shape
    u, s, vt = u.reshape(m, m), s.ravel(), vt.reshape(n, n)
    np.testing.assert_allclose(u.T @ u, np.eye(m), atol=1e-13)
    np.testing.assert_allclose(vt @ vt.T, np.eye(n), atol=1e-13)
    np.testing.assert_allclose((u[:, : s.size] * s) @ vt[: s.size], a, atol=1e-13)
    np.testing.assert_allclose(s, np.linalg.svd(a, compute_uv=False), atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_eigenvectors_are_orthogonal_and_make_the_matrix(n):
    a = np.random.default_rng(n).normal(size=(n, n))
    a = a + a.T
    a[:, 0] = a[0] = 0.0  # a row of zeros, and an eigenvalue 0
    table, *_ = record(lambda x: tuple(np.linalg.eigh(x)), a + np.eye(n))
    _, (w, v) = on_host(Request(table), [a[None]], 1)
    w, v = w.ravel(), v.reshape(n, n)
    np.testing.assert_allclose((v * w) @ v.T, a, atol=1e-13 * n)
    np.testing.assert_allclose(v.T @ v, np.eye(n), atol=1e-13)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(a), atol=1e-13 * n)
