"""scipy.linalg under its own names, on recorded values: values are SciPy's, derivatives by laws."""

import numpy as np
import pytest
import scipy.linalg as sl
from optree import tree_leaves

import fastad as fad

RNG = np.random.default_rng(0)
A, B, TALL = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 2)), RNG.normal(size=(6, 4))
S = A @ A.T + 4 * np.eye(4)
DISTANCE = np.subtract.outer(np.arange(4), np.arange(4))
BAND = A[:3] + 5 * (np.arange(3) == 1)[:, None]

FUNCTIONS = {
    "solve": (sl.solve, A, B),
    "solve, transposed": (lambda a, b: sl.solve(a, b, transposed=True, check_finite=False), A, B),
    "solve, positive": (lambda a, b: sl.solve(a, b, assume_a="pos"), S, B),
    "solve, symmetric": (lambda a, b: sl.solve(np.tril(a), b, lower=True, assume_a="sym"), S, B),
    "solve, triangular": (lambda a, b: sl.solve(np.tril(a), b, assume_a="lower triangular"), S, B),
    **{
        f"solve, {kind}": (lambda a, b, kind=kind: sl.solve(a, b, assume_a=kind), S * (abs(DISTANCE) <= width), B)
        for kind, width in (("banded", 2), ("tridiagonal", 1), ("diagonal", 0))
    },
    "inv": (sl.inv, A),
    "det": (sl.det, A),
    "cholesky": (lambda a: sl.cholesky(a), S),
    "cholesky of the upper triangle": (lambda a: sl.cholesky(np.triu(a)), S),
    "cholesky of the lower triangle": (lambda a: sl.cholesky(np.tril(a), lower=True), S),
    "eigh": (lambda a: (sl.eigh(a)[0], abs(sl.eigh(a)[1])), S),
    "eigh of the upper triangle": (lambda a: sl.eigh(np.triu(a), lower=False, eigvals_only=True), A),
    "eigh of two": (lambda a, b: (sl.eigh(a, b)[0], abs(sl.eigh(a, b)[1])), A, S),
    "eigh of two upper triangles": (lambda a, b: abs(sl.eigh(a, b, lower=False)[1]), np.triu(A), np.triu(S)),
    "some of eigh": (lambda a, b: abs(sl.eigh(a, b, subset_by_index=[1, 2])[1]), A, S),
    "eigvalsh of two": (lambda a: sl.eigvalsh(a, S, subset_by_index=(0, 1)), A),
    "eigvalsh": (sl.eigvalsh, S),
    "svd": (lambda a: sl.svd(a, full_matrices=False)[1], TALL),
    "svd, by place": (lambda a: sl.svd(a, False, False, True, False, "gesvd"), TALL),
    "svdvals": (sl.svdvals, TALL),
    "qr": (lambda a: abs(sl.qr(a)[1]), A),
    "qr, economic": (lambda a: abs(sl.qr(a, mode="economic")[1]), TALL),
    "qr, the factor alone": (lambda a: abs(sl.qr(a, mode="r")[0]), TALL),
    "norm": (lambda a: (sl.norm(a), sl.norm(a, 1), sl.norm(a, axis=1)), A),
    "lstsq": (lambda a, b: sl.lstsq(a, b)[0], TALL, TALL[:, 0] + 1),
    "lstsq, residuals of vectors": (lambda a, b: sl.lstsq(a, b)[1], TALL, TALL[:, 0] ** 2),
    "lstsq, residuals of matrices": (lambda a, b: sl.lstsq(a, b, None, True, True, False)[1], TALL, TALL**2),
    "pinv": (sl.pinv, TALL),
    "lu_solve": (lambda a, b: sl.lu_solve(sl.lu_factor(a), b), A, B),
    "cho_solve": (lambda a, b: sl.cho_solve(sl.cho_factor(a, lower=True), b), S, B),
    "solve_triangular": (lambda a, b: sl.solve_triangular(a, b, trans="T"), S, B),
    "solve_banded": (lambda a, b: sl.solve_banded((1, 1), a, b), BAND, B),
    "expm": (sl.expm, A),
    "sqrtm": (sl.sqrtm, S),
    "toeplitz": (sl.toeplitz, B[:, 0]),
    "toeplitz of a number": (lambda x: sl.toeplitz(x), np.array(3.0)),
    "hankel": (sl.hankel, B[:, 0]),
    "circulant": (sl.circulant, B[:, 0]),
    "block_diag": (lambda a, b: sl.block_diag(a, b, 1.0), A, B),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    f, *args = FUNCTIONS[name]
    expected, found = f(*args), fad.jit(f)(*args)
    assert type(found) is type(expected)
    for x, y in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("start", range(0, len(FUNCTIONS), 12))
def test_derivatives(start):
    """Of twelve functions at a time, each of arguments of its own."""
    functions, arguments = zip(*((f, args) for f, *args in list(FUNCTIONS.values())[start : start + 12]), strict=True)
    one = lambda f, args: sum(np.sum(np.sin(y)) for y in tree_leaves(f(*args)))
    every_one = lambda *a: [one(f, args) for f, args in zip(functions, a, strict=True)]
    fad.check_grads(every_one, arguments, order=2)


@pytest.mark.parametrize("f, keyword", [
    (lambda a: sl.eigh(a, a, type=2)[0], "type="), (lambda a: sl.qr(a, pivoting=True)[1], "pivoting="),
    (lambda a: sl.eigh(a, subset_by_value=[0, 1])[0], "subset_by_value="),
    (lambda a: sl.solve(a, a, assume_a="square"), "assume_a='square'"), (lambda a: sl.qr(a, mode="q")[0], "mode='q'"),
])  # fmt: skip
def test_keywords_that_change_results_are_refused(f, keyword):
    with pytest.raises(fad.RecordingError, match=rf"{keyword}.* \(at .*test_scipy_linalg.py:\d+"):
        fad.jit(f)(S)


def test_stacks_of_rows_are_those_of_single_ones():
    """SciPy takes stacks from version 1.17 on."""
    rows, columns = RNG.normal(size=(3, 1, 4)), RNG.normal(size=(2, 5))
    found = fad.jit(sl.toeplitz)(columns, rows)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_array_equal(found[i, j], sl.toeplitz(columns[j], rows[i, 0]))
    fad.check_grads(lambda c, r: np.sum(np.sin(sl.toeplitz(c, r))), (columns, rows), order=1)


def test_other_functions_are_named():
    for f in (sl.logm, sl.schur, sl.lu):
        with pytest.raises(fad.RecordingError, match=f"scipy.linalg.{f.__name__} converts"):
            fad.jit(f)(S)


def test_errors_of_equations_of_control_give_the_residual():
    from fastad.recording.alternatives import EQUATIONS

    R, Q = np.eye(1), np.eye(4)
    given = {"are": (A, B[:, :1], Q, R), "lyapunov": (A, Q), "sylvester": (A, S, Q)}
    for name, residual in EQUATIONS.items():
        solver, args = getattr(sl, name), given[name.rpartition("_")[2]]
        args = (args[0] / 6.0, *args[1:]) if "discrete" in name else args
        with pytest.raises(fad.RecordingError, match=r"solve_.*test_scipy_linalg.*fad.implicit\(scipy.linalg.solve_"):
            fad.grad(lambda a, solver=solver, args=args: solver(a, *args[1:])[0, 0])(args[0])
        solve = fad.implicit(solver, eval(residual, {"np": np}))
        fad.check_grads(lambda a, solve=solve, args=args: np.sum(solve(a, *args[1:]) ** 2), (args[0],), order=1)
