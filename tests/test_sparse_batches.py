"""Several matrices with one pattern, as vmap gives them: each is what the function gives for its lane. Products with
SciPy's matrices."""

import numpy as np
import pytest
import scipy.sparse as sp

import fastad as fad

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 6))
I, J, DATA = np.array([0, 2, 1, 0, 3, 2]), np.array([0, 2, 3, 1, 0, 2]), RNG.normal(size=6)


def chain(x):
    return x[1:] * x[:-1] ** 2


def solved(x):
    A = fad.sparse_jacobian(lambda x: 3 * x + x * np.roll(x, 1))(x)
    return A, fad.sparse.spsolve(A, x)


@pytest.mark.parametrize("make", [fad.sparse_jacobian, lambda f, **o: fad.sparse_hessian(lambda x: np.sum(f(x)), **o)])
@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_each_lane_is_the_matrix_of_the_function(make, tier):
    one = make(chain)
    for found in (fad.vmap(make(chain), tier=tier)(X), fad.jit(fad.vmap(one), tier=tier)(X)):
        each = [one(x) for x in X]
        assert len(found) == 4 and found.shape == (4, *each[0].shape) and found.nnz == each[0].nnz
        assert found.data.shape == (4, found.nnz) and found.dtype == float
        np.testing.assert_allclose(found.toarray(), [A.toarray() for A in each], atol=1e-14)
        for own, scipy, wanted in zip(found, found.toscipy(), each, strict=True):
            np.testing.assert_array_equal(own.toscipy().indices, wanted.indices)
            np.testing.assert_allclose(scipy.toarray(), wanted.toarray(), atol=1e-14)
        np.testing.assert_array_equal(found[1:3].data, found.data[1:3])
        np.testing.assert_array_equal(found[[2, 0]][1].data, found.data[0])


def test_batches_go_through_vmap_and_derivatives():
    batch = fad.vmap(fad.sparse_jacobian(chain))(X)
    products = fad.vmap(lambda A, x: A @ x)(batch, X)
    np.testing.assert_allclose(products, [A @ x for A, x in zip(batch, X, strict=True)])
    again = fad.vmap(lambda A: 2 * A)(batch)
    np.testing.assert_allclose(again.toarray(), 2 * batch.toarray())
    slope = fad.grad(lambda B: np.sum(fad.vmap(lambda A, x: np.sum(A @ x))(B, X)))(batch)
    np.testing.assert_allclose(slope[0].data, X[0][slope[0].col])

    def total(X):
        return np.sum(fad.vmap(fad.sparse_jacobian(chain))(X).toarray() ** 2)

    wanted = [fad.grad(lambda x: np.sum(fad.jacobian(chain)(x) ** 2))(x) for x in X]
    np.testing.assert_allclose(fad.grad(total)(X), wanted)


def test_nested_and_beside_others():
    twice = fad.vmap(fad.vmap(fad.sparse_jacobian(chain)))(X.reshape(2, 2, 6))
    assert twice.shape == (2, 2, 5, 6) and twice[1].shape == (2, 5, 6)
    np.testing.assert_array_equal(twice[1, 0].toarray(), twice.toarray()[1, 0])
    matrices, solutions = fad.vmap(solved)(X)
    for A, x, b in zip(matrices, solutions, X, strict=True):
        np.testing.assert_allclose(A @ x, b, atol=1e-9)


def test_what_is_meant_is_asked_for():
    batch = fad.vmap(fad.sparse_jacobian(chain))(X)
    for wrong in (lambda: batch @ X[0], lambda: X @ batch, lambda: batch + batch, lambda: np.asarray(batch)):
        with pytest.raises(TypeError, match=r"fad\.vmap"):
            wrong()
    assert repr(batch) == "<4 sparse csr arrays of 5 × 6, 10 entries of float64>"


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_scipy_matrices_mix_with_ours(form):
    S = sp.random_array((6, 4), density=0.5, rng=RNG).asformat(form)
    A = fad.sparse.coo_array(DATA, I, J, (4, 4))
    full, own = S.toarray(), A.toarray()
    for found, wanted in ((S @ A, full @ own), (A @ S.T, own @ full.T), (S.T @ S + A, full.T @ full + own)):
        assert isinstance(found, fad.sparse.csr_array)
        np.testing.assert_allclose(found.toarray(), wanted, atol=1e-13)
    slope = fad.grad(lambda d: np.sum((S @ fad.sparse.coo_array(d, I, J, (4, 4))).toarray() ** 2))(DATA)
    np.testing.assert_allclose(slope, (2 * full.T @ full @ own)[I, J], atol=1e-12)
    with pytest.raises(TypeError, match="toarray"):
        np.asarray(A)
