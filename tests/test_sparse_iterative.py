"""Sparse systems by iteration: SciPy's calls, derivatives against those of the direct solve."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spl

import fastad as fad

RNG = np.random.default_rng(5)
N = 24
TIERS = ("sweep", "native")
_L = sp.diags_array([np.full(N, 2.5), np.full(N - 1, -1.0), np.full(N - 1, -1.0), np.full(N - 4, 0.2),
                     np.full(N - 4, 0.2)], offsets=[0, 1, -1, 4, -4]).tocsr()  # fmt: skip
SYMMETRIC = _L.data
GENERAL = SYMMETRIC * (1.0 + 0.2 * RNG.normal(size=_L.nnz))
B = RNG.normal(size=N)
METHODS = {"cg": (fad.sparse.cg, SYMMETRIC), "bicgstab": (fad.sparse.bicgstab, GENERAL),
           "gmres": (fad.sparse.gmres, GENERAL)}  # fmt: skip
PRECONDITIONERS = {
    "none": lambda A: None,
    "jacobi": fad.sparse.jacobi,
    "factors": fad.sparse.splu,
    "incomplete": lambda A: fad.sparse.spilu(A, drop_tol=0.1),
    "function": lambda A: lambda v: v / A.diagonal(),
}


def matrix(data):
    return fad.sparse.csr_array(data, _L.indices, _L.indptr, _L.shape)


def direct(data, b):
    return fad.sparse.spsolve(matrix(data), b)


def close(found, wanted):
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("way", PRECONDITIONERS)
@pytest.mark.parametrize("name", METHODS)
def test_solutions_and_derivatives_are_those_of_the_direct_solve(name, way):
    method, data = METHODS[name]

    def solved(data, b):
        A = matrix(data)
        x, info = method(A, b, rtol=1e-12, M=PRECONDITIONERS[way](A))
        return x, info

    slopes = fad.grad(lambda d, b: np.sum(np.sin(direct(d, b))), argnums=(0, 1))(data, B)
    for tier in TIERS if way == "jacobi" else ("auto",):
        x, info = fad.jit(solved, tier=tier)(data, B)
        assert info == 0
        close([x], [direct(data, B)])
        close(fad.grad(lambda d, b: np.sum(np.sin(solved(d, b)[0])), argnums=(0, 1), tier=tier)(data, B), slopes)


@pytest.mark.parametrize("name", METHODS)
def test_functions_second_order_and_lanes(name):
    """A function refers to what it is differentiated by."""
    method, data = METHODS[name]

    def solved(data, b):
        return method(lambda v: matrix(data) @ v, b, rtol=1e-12)[0]

    close([solved(data, B)], [direct(data, B)])
    direction = np.cos(data)
    products = (fad.hvp(lambda d, f=f: np.sum(np.sin(f(d, B))), data, direction) for f in (solved, direct))
    close([next(products)], [next(products)])
    sides = RNG.normal(size=(2, N))
    slope = fad.vmap(fad.grad(lambda d, b: np.sum(solved(d, b) ** 2)), in_axes=(None, 0))(data, sides)
    close(slope, [fad.grad(lambda d, b=b: np.sum(direct(d, b) ** 2))(data) for b in sides])
    _, moved = fad.jvp(lambda d: solved(d, B), (data,), (direction,))
    u = RNG.normal(size=N)
    assert u @ moved == pytest.approx(fad.vjp(lambda d: solved(d, B), data)[1](u)[0] @ direction, rel=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_the_calls_are_scipys(name):
    """Tolerances and info as documented there; the residual is the true one."""
    method, data = METHODS[name]
    A, theirs = matrix(data), getattr(spl, name)
    plain = A.toscipy()
    for options in ({"rtol": 1e-3}, {"rtol": 0.0, "atol": 1e-2}, {"rtol": 1e-9, "x0": B}):
        x, info = method(A, B, **options)
        assert info == 0 == theirs(plain, B, **options)[1]
        assert np.linalg.norm(B - plain @ x) <= 1.01 * max(options["rtol"] * np.linalg.norm(B), options.get("atol", 0))
    limited = {"restart": 1} if name == "gmres" else {}
    x, info = method(A, B, rtol=1e-12, maxiter=2, **limited)
    assert info == 2 == theirs(plain, B, rtol=1e-12, maxiter=2, **limited)[1]
    np.testing.assert_array_equal(method(A, np.zeros(N))[0], np.zeros(N))
    np.testing.assert_allclose(method(plain.toarray(), B, rtol=1e-10)[0], direct(data, B), rtol=1e-7)
    assert method(matrix(data.astype(np.float32)), B.astype(np.float32))[0].dtype == np.float32


def test_gmres_with_restarts_and_hard_cases():
    x, info = fad.sparse.gmres(matrix(GENERAL), B, rtol=1e-10, restart=4)
    assert info == 0
    close([x], [direct(GENERAL, B)])
    # A cyclic shift: no progress until the last of n steps.
    x, info = fad.sparse.gmres(lambda v: np.roll(v, 1), np.eye(8)[0], rtol=1e-10)
    assert info == 0
    np.testing.assert_allclose(x, np.eye(8)[7], atol=1e-9)
    # No solution.
    assert fad.sparse.gmres(lambda v: 0.0 * v, B, rtol=1e-10)[1] > 0


def test_derivatives_of_what_was_not_solved_are_errors():
    def unsolved(data):
        return np.sum(fad.sparse.cg(matrix(data), B, rtol=1e-12, maxiter=2)[0])

    assert np.isfinite(unsolved(SYMMETRIC))
    with pytest.raises(fad.ConvergenceError, match=r"test_sparse_iterative\.py"):
        fad.grad(unsolved)(SYMMETRIC)
    with pytest.raises(fad.ShapeError):
        fad.sparse.cg(matrix(SYMMETRIC), np.ones((N, 1)))
    with pytest.raises(fad.ShapeError):
        fad.sparse.cg(lambda v: v[:3], B)


def test_they_survive_files(tmp_path):
    f = fad.jit(lambda data, b: fad.sparse.gmres(matrix(data), b, rtol=1e-12)[0])
    f(GENERAL, B)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    close([loaded(GENERAL, B)], [direct(GENERAL, B)])
    close([fad.grad(lambda d: np.sum(loaded(d, B)))(GENERAL)], [fad.grad(lambda d: np.sum(direct(d, B)))(GENERAL)])
