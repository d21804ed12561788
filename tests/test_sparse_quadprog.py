"""`quadprog` and linear constraints with sparse matrices give what dense ones give, and stay sparse."""

import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from transform_tools import central, each_tier

import fastad as fad
from fastad.optimize.curvature import lowest_curvature

N = 40
P = sp.diags_array([np.full(N - 1, -1.0), 2.5 + np.sin(np.arange(N)), np.full(N - 1, -1.0)], offsets=[-1, 0, 1]).tocsr()
Q = np.cos(np.arange(N))
G, H = sp.vstack([-sp.eye_array(N), sp.eye_array(N)]).tocsr(), np.concatenate([np.full(N, 0.3), np.full(N, 0.2)])
A, B = sp.eye_array(N).tocsr()[::4] + sp.eye_array(N).tocsr()[1::4], np.full(N // 4, 0.05)
WEIGHTS = np.sin(2.0 * np.arange(N))


def of_numbers(p, q, h, b):
    """The solution, by the entries of P and the vectors."""
    matrix = fad.sparse.csr_array(p, P.indices, P.indptr, P.shape)
    return fad.quadprog(matrix, q, G, h, A, b).x @ WEIGHTS


def dense(p, q, h, b):
    rows, columns = np.repeat(np.arange(N), np.diff(P.indptr)), P.indices
    matrix = fad.sparse.coo_array(p, rows, columns, P.shape).toarray()
    return fad.quadprog(matrix, q, G.toarray(), h, A.toarray(), b).x @ WEIGHTS


def test_solutions_and_derivatives_are_those_of_dense_matrices():
    found, peer = fad.quadprog(P, Q, G, H, A, B), fad.quadprog(P.toarray(), Q, G.toarray(), H, A.toarray(), B)
    assert found.success and np.any(found.active[0] != 0)
    np.testing.assert_allclose(found.x, peer.x, atol=1e-10)
    for own, other in zip((*found.multipliers, *found.active), (*peer.multipliers, *peer.active), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-9)
    every, given = (0, 1, 2, 3), (P.data, Q, H, B)
    for own, other in zip(fad.grad(of_numbers, every)(*given), fad.grad(dense, every)(*given), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-9)


@each_tier
def test_derivatives_are_differences(tier):
    move = np.cos(3.0 * np.arange(P.nnz))
    along = fad.jit(lambda t: of_numbers(P.data + t * move, Q, H, B), tier=tier)
    slope = fad.grad(along)(0.0)
    assert abs(slope - central(lambda t: of_numbers(P.data + t * move, Q, H, B), 0.0, 1.0, 1e-5)) < 1e-7
    second = fad.grad(fad.grad(along))(0.0)
    assert abs(second - central(fad.grad(along), 0.0, 1.0, 1e-4)) < 1e-5


def test_no_dense_factors_are_made():
    names = {row.name for row in fad.trace(fad.grad(lambda q: of_numbers(P.data, q, H, B)), Q).primitives}
    assert "sparse_lu" in names and "lu" not in names


def test_a_matrix_that_is_not_semidefinite_and_a_sparse_vector():
    assert "not positive semidefinite" in fad.quadprog(P - 3.0 * sp.eye_array(N), Q, G, H).message
    assert fad.quadprog(sp.csr_array((N, N)), Q, G, H).success  # a linear programme
    with pytest.raises(fad.ShapeError, match="dense vector"):
        fad.quadprog(P, sp.csr_array(Q[None]), G, H)


def test_lanczos():
    values = np.linspace(-1.0, 3.0, 12)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    matrix = turn @ np.diag(values) @ turn.T
    assert abs(lowest_curvature(lambda v: matrix @ v, 12)[0] + 1.0) < 1e-9
    assert abs(lowest_curvature(lambda v: 2.0 * v, 5)[0] - 2.0) < 1e-12  # every direction is an eigenvector


def test_linear_constraints_stay_sparse(monkeypatch):
    n = 41
    monkeypatch.setattr("fastad.equations.sparse._FEW", n - 1)
    rows = sp.eye_array(n).tocsr()[:-1:4] + sp.eye_array(n).tocsr()[1::4]

    def solve(p, matrix):
        limits = so.LinearConstraint(matrix, 0.1, 0.4)
        return fad.minimize(lambda x: np.sum((x - p) ** 2) + np.sum((x[1:] - x[:-1]) ** 2), np.zeros(n),
                            constraints=limits).x  # fmt: skip

    point, weights = np.sin(np.arange(n)), np.cos(2.0 * np.arange(n))
    np.testing.assert_allclose(solve(point, rows), solve(point, rows.toarray()), atol=1e-8)
    slopes = [fad.grad(lambda p, m=m: solve(p, m) @ weights)(point) for m in (rows, rows.toarray())]
    np.testing.assert_allclose(*slopes, atol=1e-8)
    names = {row.name for row in fad.trace(fad.grad(lambda p: solve(p, rows) @ weights), point).primitives}
    assert "sparse_lu" in names and "lu" not in names
