"""scipy.linalg's functions inside a function that is recorded: SciPy's values with SciPy's arguments, and derivatives
that differences and the adjoint identity confirm."""

import numpy as np
import pytest
import scipy.linalg
from scipy.linalg import cho_factor, cho_solve, solve_banded

import fastad as fad

A = np.array([[4.0, 1.0, 0.3], [0.5, 3.0, -0.4], [0.2, 0.7, 2.0]])
SYMMETRIC = A + A.T
B = np.array([1.0, -2.0, 0.5])
BANDS = np.array([[0.0, 0.5, -0.3], [4.0, 3.0, 5.0], [1.0, 0.2, 0.0]])

CALLS = {
    "solve": (lambda a: scipy.linalg.solve(a, B, assume_a="gen", check_finite=False), A),
    "solve transposed": (lambda a: scipy.linalg.solve(a, B, transposed=True), A),
    "inv": (lambda a: scipy.linalg.inv(a, overwrite_a=False), A),
    "det": (scipy.linalg.det, A),
    "pinv": (scipy.linalg.pinv, A[:, :2]),
    "expm": (scipy.linalg.expm, A),
    "sqrtm": (scipy.linalg.sqrtm, SYMMETRIC),
    "cholesky": (scipy.linalg.cholesky, SYMMETRIC),
    "cholesky lower": (lambda a: scipy.linalg.cholesky(a, lower=True, check_finite=False), SYMMETRIC),
    "lu": (lambda a: scipy.linalg.lu_solve(scipy.linalg.lu_factor(a), B), A),
    "cho": (lambda a: cho_solve(cho_factor(a, lower=True), B), SYMMETRIC),
    "triangular": (lambda a: scipy.linalg.solve_triangular(a, B, lower=True, trans=1), A),
    "banded": (lambda ab: solve_banded((1, 1), ab, B), BANDS),
    "eigh": (lambda a: scipy.linalg.eigh(a)[0], SYMMETRIC),
    "eigvalsh": (lambda a: scipy.linalg.eigvalsh(a, lower=False), SYMMETRIC),
    "svd": (lambda a: scipy.linalg.svd(a, compute_uv=False), A),
    "norm": (scipy.linalg.norm, A),
    "toeplitz": (scipy.linalg.toeplitz, B),
    "block_diag": (lambda a: scipy.linalg.block_diag(a, np.eye(2)), A),
}


@pytest.mark.parametrize("name", CALLS)
def test_scipys_values_and_exact_derivatives(name):
    call, x = CALLS[name]
    np.testing.assert_allclose(fad.jit(call)(x), call(x), rtol=1e-12, atol=1e-13)
    fad.check_grads(call, (x,), order=1)
    fad.check_adjoint(call, (x,))


def test_triangle_that_scipy_reads():
    for lower in (False, True):
        call = lambda a, lower=lower: scipy.linalg.cholesky(a, lower=lower)
        np.testing.assert_allclose(fad.jit(call)(A + 3 * np.eye(3)), call(A + 3 * np.eye(3)), rtol=1e-13)


def test_plain_arrays_are_scipys_own():
    assert np.iscomplexobj(fad.jit(lambda x: (x, scipy.linalg.sqrtm(-np.eye(2)).real.sum()))(1.0)) is False
    np.testing.assert_array_equal(scipy.linalg.sqrtm(-np.eye(2)), 1j * np.eye(2))


def test_other_options_name_the_function():
    with pytest.raises(fad.RecordingError, match=r"scipy\.linalg\.eigh with these options.*test_scipy_linalg"):
        fad.grad(lambda a: scipy.linalg.eigh(a, subset_by_index=[0, 1])[0].sum())(SYMMETRIC)


def test_equations_of_control():
    """The fixes that the errors name."""
    from fastad.recording.alternatives import _EQUATIONS

    R, Q = np.eye(1), np.eye(3)
    given = {"are": (A, B[:, None], Q, R), "lyapunov": (A, Q), "sylvester": (A, SYMMETRIC, Q)}
    for name, residual in _EQUATIONS.items():
        args = given[name.rpartition("_")[2]]
        args = (args[0] / 6.0, *args[1:]) if "discrete" in name else args
        solve = fad.implicit(getattr(scipy.linalg, name), eval(residual, {"np": np}))
        fad.check_grads(lambda a, solve=solve, args=args: np.sum(solve(a, *args[1:]) ** 2), (args[0],), order=1)
