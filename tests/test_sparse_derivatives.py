"""Sparse Jacobians and Hessians: equal to the dense ones in both tiers, in place, inside other functions, at kinks."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_tools import each_tier

import fastad as fad


def brusselator(y):
    """On a periodic grid, with two species."""
    n = round((y.size // 2) ** 0.5)
    u, v = y.reshape(2, n, n)

    def laplacian(z):
        return np.roll(z, 1, 0) + np.roll(z, -1, 0) + np.roll(z, 1, 1) + np.roll(z, -1, 1) - 4 * z

    return np.stack([1 + u * u * v - 4.4 * u + laplacian(u), 3.4 * u - u * u * v + laplacian(v)]).reshape(-1)


def arrow(x):
    return np.concatenate([[np.sum(x**2)], x[1:] ** 2 * x[0]])


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


JACOBIANS = {
    "brusselator": (brusselator, np.linspace(0.5, 2.0, 50)),
    "arrow": (arrow, np.linspace(0.5, 2.0, 9)),
    "few results": (lambda x: np.stack([np.sum(x[::2] ** 2), np.sum(x[1::2])]), np.linspace(0.5, 2.0, 9)),
    "scan": (lambda x: fad.scan(lambda c, e: (c * 0 + e, c * e), x[0], x[1:])[1], np.linspace(0.5, 2.0, 5)),
    "linear": (lambda x: 3 * x[::-1], np.ones(4)),
    "empty": (lambda x: 0.0 * np.ones(3), np.ones(2)),
    "of nothing": (lambda x: x**2, np.ones(0)),
    "of a number": (lambda x: x**2, 3.0),
}


@each_tier
@pytest.mark.parametrize("kind", ["auto", "column", "row", "bidirectional"])
@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians(name, kind, tier):
    f, x = JACOBIANS[name]
    found = fad.sparse_jacobian(f, kind=kind, tier=tier)(x)
    assert type(found) is sp.csr_array and found.dtype == np.float64
    dense = np.reshape(fad.jacobian(f)(x), (np.size(f(x)), np.size(x)))
    np.testing.assert_allclose(found.toarray(), dense, rtol=1e-12, atol=1e-12)
    pattern = fad.jacobian_sparsity(f, x)
    assert np.array_equal(found.indices, pattern.indices) and np.array_equal(found.indptr, pattern.indptr)


@st.composite
def sums_of_products(draw):
    """A function with a random sparse Hessian, and a point."""
    n = draw(st.integers(1, 10))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pairs = rng.integers(n, size=(2, draw(st.integers(0, 25))))
    return (lambda x: np.sum(np.sin(x[pairs[0]] * x[pairs[1]])) + np.sum(x)), rng.normal(size=n)


@pytest.mark.parametrize("kind", ["star", "acyclic", "column", "auto"])
@given(sums_of_products())
@settings(max_examples=8)
def test_hessians(kind, case):
    f, x = case
    found = fad.sparse_hessian(f, kind=kind, tier="sweep")(x)
    np.testing.assert_allclose(found.toarray(), fad.hessian(f)(x), rtol=1e-10, atol=1e-12)


@each_tier
def test_hessian_by_few_products(tier):
    x = np.linspace(0.5, 2.0, 40)
    for kind in ("star", "acyclic"):
        H = fad.sparse_hessian(rosenbrock, kind=kind, tier=tier)(x)
        np.testing.assert_allclose(H.toarray(), fad.hessian(rosenbrock)(x), rtol=1e-10, atol=1e-10)
        assert H.nnz == 3 * 40 - 2


@each_tier
def test_prepared_runs_write_into_one_matrix(tier):
    x = np.linspace(0.5, 2.0, 50)
    J = fad.sparse_jacobian(brusselator, tier=tier)
    run = J.prepare(x)
    first = run()
    run.inputs[0][:] = 2 * x
    assert run() is first
    np.testing.assert_allclose(first.toarray(), fad.jacobian(brusselator)(2 * x), rtol=1e-12)


def test_results_are_the_callers():
    J, x = fad.sparse_jacobian(arrow), np.linspace(0.5, 2.0, 9)
    first = J(x)
    wanted = copy.deepcopy(first)
    first.data[:], first.indices[:] = 0, 0
    assert np.array_equal(J(x).toarray(), wanted.toarray())


def test_branches_have_patterns_of_their_own():
    def f(x):
        return x[1:] * x[0] if x[0] > 0 else x[1:] ** 2

    J, x = fad.sparse_jacobian(f), np.array([1.0, 2.0, 3.0])
    run = J.prepare(x)
    for point in (x, -x, x):
        assert np.array_equal(J(point).toarray(), fad.jacobian(f)(point))
        run.inputs[0][:] = point
        assert np.array_equal(run().toarray(), fad.jacobian(f)(point))
    assert J(x).nnz == 4 and J(-x).nnz == 2


def test_captured_indices_may_change():
    index = np.array([2, 0, 1])

    def f(x):
        return x[index] ** 2

    J, x = fad.sparse_jacobian(f), np.array([1.0, 2.0, 3.0])
    for order in ([2, 0, 1], [0, 1, 2], [1, 1, 1]):
        index[:] = order
        assert np.array_equal(J(x).toarray(), fad.jacobian(f)(x)) and J(x).nnz == 3


# ── inside other functions ────────────────────────────────────────────────────────────────────────────────────────
@each_tier
def test_elements_are_differentiated_mapped_and_looped_over(tier):
    def f(x):
        return x[1:] * x[:-1] ** 2

    elements, x = fad.sparse_jacobian(f).elements, np.array([1.0, 2.0, 3.0])
    structure = elements.structure(x)
    assert structure.indices.tolist() == [0, 1, 1, 2] and structure.columns == 3

    def total(x):
        return np.sum(elements(x) ** 3)

    def dense(x):
        return np.sum(fad.jacobian(f)(x) ** 3)

    for made in (fad.grad, fad.hessian, lambda f, tier: fad.grad(lambda x: np.sum(fad.grad(f)(x) ** 2), tier=tier)):
        np.testing.assert_allclose(made(total, tier=tier)(x), made(dense, tier=tier)(x), rtol=1e-12)
    lanes = np.stack([x, 2 * x])
    np.testing.assert_allclose(fad.vmap(elements, tier=tier)(lanes), [elements(lane) for lane in lanes], rtol=1e-12)

    def step(x):
        d = elements(x)  # [[d0, d1, .], [., d2, d3]]
        return x - 0.1 * np.stack([d[0], d[1] + d[2], d[3]])

    found = fad.jit(lambda x: fad.while_loop(lambda x: x[2] > 1.0, step, x), tier=tier)(x)
    wanted = x
    while wanted[2] > 1.0:
        wanted = step(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@each_tier
def test_matrices_inside_recorded_functions(tier):
    """There they are those of `fad.sparse`."""

    def f(x):
        return x[1:] * x[:-1] ** 2

    J, x = fad.sparse_jacobian(f), np.array([1.0, 2.0, 3.0])

    def squares(x):
        product = J(x) @ x
        return product @ product

    def dense(x):
        return np.sum((fad.jacobian(f)(x) @ x) ** 2)

    np.testing.assert_allclose(fad.grad(squares, tier=tier)(x), fad.grad(dense)(x), rtol=1e-12)
    np.testing.assert_allclose(fad.hessian(squares, tier=tier)(x), fad.hessian(dense)(x), rtol=1e-12)

    def newton(x):
        A = fad.sparse_jacobian(lambda x: x**3 + 0.1 * np.roll(x, 1))(x)
        return x - fad.sparse.spsolve(A, x**3 + 0.1 * np.roll(x, 1) - 1.0)

    found = fad.jit(lambda x: fad.fori_loop(0, 20, lambda k, x: newton(x), x), tier=tier)(np.ones(4))
    np.testing.assert_allclose(found**3 + 0.1 * np.roll(found, 1), 1.0, rtol=1e-12)

    matrix = fad.jit(lambda x: J(x), tier=tier)(x)
    assert isinstance(matrix, fad.sparse.csr_array)
    np.testing.assert_array_equal(matrix.toarray(), J(x).toarray())
    assert type(fad.jit(J, tier=tier)(x)) is sp.csr_array
    _, tangent = fad.jvp(J, (x,), (np.ones(3),))
    np.testing.assert_allclose(tangent.toarray(), fad.jvp(fad.jacobian(f), (x,), (np.ones(3),))[1], rtol=1e-12)
    assert np.shape(fad.vmap(J, tier=tier)(np.stack([x, x])).data) == (2, 4)
    assert np.shape(fad.jacobian(J, tier=tier)(x).data) == (4, 3)


def test_what_has_no_matrix():
    J, x = fad.sparse_jacobian(lambda x: x[1:] * x[:-1]), np.ones(3)
    with pytest.raises(fad.TableError, match="sparse matrix"):
        J(x)
        J.save("nowhere")
    with pytest.raises(fad.DerivativeError, match="integers or truth values"):
        fad.sparse_jacobian(lambda x: x > 0)(x)
    with pytest.raises(fad.DerivativeError, match="one scalar result"):
        fad.sparse_hessian(lambda x: x)(x)
    with pytest.raises(ValueError, match="kind must be"):
        fad.sparse_jacobian(lambda x: x, kind="rainbow")


def test_single_precision_kinks_and_nan():
    x = np.ones(3, np.float32)
    assert fad.sparse_jacobian(lambda x: x**2)(x).dtype == np.float32
    assert fad.sparse_hessian(lambda x: np.sum(x**3))(x).dtype == np.float32
    norms = fad.sparse_hessian(lambda x: np.sum(x[:2] ** 2) + np.linalg.norm(x) ** 2)(np.zeros(3))
    np.testing.assert_allclose(norms.toarray(), np.diag([4.0, 4.0, 2.0]), atol=1e-12)
    odd = np.array([1.0, np.nan, np.inf])
    np.testing.assert_array_equal(fad.sparse_jacobian(lambda x: x**2)(odd).toarray()[[0, 1, 2], [0, 1, 2]], 2 * odd)


def test_several_arguments():
    def f(x, p):
        return x * p["a"] + p["b"]

    J = fad.sparse_jacobian(f, argnums=(0, 1))
    args = np.array([1.0, 2.0]), {"a": np.array([3.0, 4.0]), "b": 5.0}
    assert J(*args).toarray().tolist() == [[3.0, 0.0, 1.0, 0.0, 1.0], [0.0, 4.0, 0.0, 2.0, 1.0]]
    assert fad.sparse_jacobian(f, argnums=1)(*args).shape == (2, 3)
