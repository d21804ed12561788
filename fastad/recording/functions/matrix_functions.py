"""Functions of matrices, and systems with Cholesky factors and band matrices, as SciPy has them. They work on plain
arrays too."""

import functools
import math
from typing import Any

import numpy as np

from fastad.errors import MatrixShapeError, ShapeError
from fastad.recording.complex_operands import complex_package, has_complex
from fastad.recording.functions.linalg import System, cholesky, row_value, solve_triangular, square_matrices
from fastad.recording.functions.registry import lift
from fastad.recording.operands import is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line


def _of_matrices(name: str, A: Any) -> Any:
    """A row that maps every matrix of a stack to one of its size."""
    if has_complex((A,)):
        return complex_package().by_real_matrix(functools.partial(_of_matrices, name), A)
    A = square_matrices(A, name)
    n = A.shape[-1]
    found = row_value(name, (A if A.dtype.kind == "f" else A.astype(float),), (math.prod(A.shape[:-2]), n, n), A.shape)
    return _in_dtype(found, A)


def _in_dtype(found: Any, *given: Any) -> Any:
    """A result for plain arrays: of float32 where all of these are."""
    single = all(x.dtype == np.float32 for x in given)
    return found.astype(np.float32) if single and not isinstance(found, Recorded) else found


def expm(A: Any) -> Any:
    """The exponential of a matrix, exp(A) = I + A + A²/2 + …, as scipy.linalg.expm; stacks have leading axes.

    Parameters
    ----------
    A : (…, n, n) matrices.

    Returns
    -------
    (…, n, n). Derivatives of every order are those of the exact function: the direction E gives the block L of
    exp([[A, E], [0, A]]) = [[exp(A), L], [0, exp(A)]].

    >>> import numpy as np, fastad as fad
    >>> turn = lambda angle: fad.linalg.expm(angle * np.array([[0.0, -1.0], [1.0, 0.0]]))
    >>> fad.jacobian(turn)(0.0).round(12).tolist()
    [[0.0, -1.0], [1.0, 0.0]]

    Source: Al-Mohy & Higham (2009), "A new scaling and squaring algorithm for the matrix exponential", Algorithm 5.1,
    with ‖A⁴‖ and ‖A⁶‖ in the choice of the scaling; Higham (2008), Functions of Matrices, (3.16).
    """
    return _of_matrices("expm", A)


def sqrtm(A: Any) -> Any:
    """The principal square root of a matrix, R R = A with eigenvalues right of the imaginary axis, where it is real.

    Parameters
    ----------
    A : (…, n, n) matrices, symmetric or not, without eigenvalues on the negative real axis.

    Raises
    ------
    ConvergenceError : there is no real square root. The message names the eigenvalue.
    SingularMatrixError : a singular matrix, whose square root has no derivative.

    >>> import numpy as np, fastad as fad
    >>> A = np.array([[4.0, 1.0], [0.0, 9.0]])
    >>> fad.linalg.sqrtm(A).round(12).tolist()
    [[2.0, 0.2], [0.0, 3.0]]
    >>> fad.grad(lambda A: np.trace(fad.linalg.sqrtm(A)))(A).round(12).tolist()
    [[0.25, 0.0], [-0.016666666667, 0.166666666667]]

    Source: Higham (2008), Functions of Matrices, (6.29): the scaled iteration of Denman and Beavers, in product form.
    """
    return _of_matrices("sqrtm", A)


# ── Cholesky factors ──────────────────────────────────────────────────────────────────────────────────────────
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, bool]:
    """The Cholesky factor of a positive definite matrix and `lower`, for `cho_solve`, as scipy.linalg.cho_factor.

    Parameters
    ----------
    a : (…, n, n) matrices, of which one triangle is read: the lower one where `lower`, else the upper one.

    Returns
    -------
    c : (…, n, n), L with L Lᵀ = A where `lower`, else U with Uᵀ U = A; zeros in the other triangle.
    lower : as given.

    Raises
    ------
    NotPositiveDefiniteError : a matrix that is not positive definite.

    >>> import numpy as np, fastad as fad
    >>> c, lower = fad.linalg.cho_factor(np.array([[4.0, 2.0], [2.0, 5.0]]), lower=True)
    >>> c.tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    a = square_matrices(a, "cho_factor")
    return _in_dtype(cholesky(a, upper=not lower), a), lower


def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """x with A x = b by the factor of `cho_factor`, of which one triangle is read, as scipy.linalg.cho_solve.

    Parameters
    ----------
    c_and_lower : what `cho_factor` returned.
    b : (n,), (n, m) or (…, n, m); leading axes broadcast against those of the factor.

    >>> import numpy as np, fastad as fad
    >>> A = np.array([[4.0, 2.0], [2.0, 5.0]])
    >>> fad.linalg.cho_solve(fad.linalg.cho_factor(A), np.array([8.0, 12.0])).tolist()
    [1.0, 2.0]
    """
    c, lower = c_and_lower
    first, second = (0, 1) if lower else (1, 0)
    return solve_triangular(c, solve_triangular(c, b, trans=first, lower=lower), trans=second, lower=lower)


# ── band matrices ─────────────────────────────────────────────────────────────────────────────────────────────
def solve_banded(
    l_and_u: tuple[int, int], ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """x with A x = b for a band matrix, as scipy.linalg.solve_banded.

    Parameters
    ----------
    l_and_u : numbers of diagonals below and above the main one.
    ab : (…, l + u + 1, n); ab[…, u + i - j, j] is element (i, j) of the matrix. Other elements are not read.
    b : (n,), (n, m) or (…, n, m); leading axes broadcast against those of the matrices.

    Raises
    ------
    SingularMatrixError : a zero pivot.

    >>> import numpy as np, fastad as fad
    >>> ab = np.array([[0.0, 1.0, 1.0], [4.0, 4.0, 4.0], [1.0, 1.0, 0.0]])
    >>> fad.linalg.solve_banded((1, 1), ab, np.array([5.0, 6.0, 5.0])).tolist()
    [1.0, 1.0, 1.0]

    Source: LAPACK's dgbtrf and dgbtrs.
    """
    low, high = (int(k) for k in l_and_u)
    (ab,) = lift(ab) if is_recorded(ab) else (np.asarray(ab),)
    if ab.ndim < 2 or min(low, high) < 0 or ab.shape[-2] != low + high + 1:
        raise MatrixShapeError(
            f"solve_banded: diagonals of shape {ab.shape} for {low} below and {high} above the main one{at_line()}. "
            f"They must have the shape (…, {low + high + 1}, n)."
        )
    n = ab.shape[-1]
    system = System(_Square(ab.shape[:-2], n, ab.dtype), b, "solve_banded")
    ab = system.spread(ab, 2)
    ab, right = (x if x.dtype.kind == "f" else x.astype(float) for x in (ab, system.right))
    statics = (*system.sizes, low, high, 0, system.separate)
    return system.finished(row_value("banded_solve", (ab, right), statics, system.shape))


class _Square:
    """Shape and dtype of the matrices that diagonals stand for."""

    def __init__(self, lead: tuple[int, ...], n: int, dtype: Any) -> None:
        self.shape, self.dtype = (*lead, n, n), dtype


# ── matrices with structure ───────────────────────────────────────────────────────────────────────────────────
def _array(x: Any) -> Any:
    (x,) = lift(x) if is_recorded(x) else (np.asarray(x),)
    return x


def _vector(x: Any, name: str) -> Any:
    """One row of numbers, as SciPy flattens it."""
    x = _array(x)
    if x.ndim == 0:
        raise ShapeError(f"{name}: a number in place of a row of numbers{at_line()}. Pass an array.")
    return x.reshape(-1)


def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix with constant diagonals: first column c, first row r (c where left out; r[0] is not read), as
    scipy.linalg.toeplitz; stacks of vectors have leading axes.

    >>> import fastad as fad
    >>> fad.linalg.toeplitz([1.0, 2.0, 3.0], [1.0, 4.0]).tolist()
    [[1.0, 4.0], [2.0, 1.0], [3.0, 2.0]]
    """
    c = np.atleast_1d(_array(c))
    r = c if r is None else np.atleast_1d(_array(r))
    stack = np.broadcast_shapes(c.shape[:-1], r.shape[:-1])
    m, n = c.shape[-1], r.shape[-1]
    numbers = np.concatenate([np.broadcast_to(r, (*stack, n))[..., :0:-1], np.broadcast_to(c, (*stack, m))], axis=-1)
    i, j = np.ogrid[:m, :n]
    return numbers[..., i - j + n - 1]


def hankel(c: Any, r: Any = None) -> Any:
    """The matrix with constant antidiagonals: first column c, last row r (zeros where left out; r[0] is not read), as
    scipy.linalg.hankel.

    >>> import fastad as fad
    >>> fad.linalg.hankel([1.0, 2.0], [2.0, 3.0]).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    c = _vector(c, "hankel")
    r = np.zeros(len(c), c.dtype) if r is None else _vector(r, "hankel")
    numbers = np.concatenate([c, r[1:]])
    i, j = np.ogrid[: len(c), : len(r)]
    return numbers[i + j]


def circulant(c: Any) -> Any:
    """The matrix whose columns are c, each turned by one place more than the one before, as scipy.linalg.circulant.

    >>> import fastad as fad
    >>> fad.linalg.circulant([1.0, 2.0, 3.0]).tolist()
    [[1.0, 3.0, 2.0], [2.0, 1.0, 3.0], [3.0, 2.0, 1.0]]
    """
    (c,) = lift(c) if is_recorded(c) else (np.atleast_1d(c),)
    n = c.shape[-1]
    i, j = np.ogrid[:n, :n]
    return c[..., (i - j) % max(n, 1)]


def block_diag(*arrays: Any) -> Any:
    """The matrix of these matrices along its diagonal, and zeros elsewhere, as scipy.linalg.block_diag.

    Parameters
    ----------
    arrays : (…, m, n) matrices; a vector is one row, a number a matrix of one element.

    >>> import numpy as np, fastad as fad
    >>> fad.linalg.block_diag([[1.0, 2.0]], 3.0).tolist()
    [[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]
    """
    if not arrays:
        arrays = (np.zeros((1, 0)),)
    blocks = [np.atleast_2d(x) if is_recorded(x) else np.atleast_2d(np.asarray(x)) for x in arrays]
    lead = np.broadcast_shapes(*(x.shape[:-2] for x in blocks))
    columns = sum(x.shape[-1] for x in blocks)
    rows, start = [], 0
    for x in blocks:
        m, n = x.shape[-2:]
        full = x if x.shape[:-2] == lead else np.broadcast_to(x, (*lead, m, n))
        sides = np.zeros((*lead, m, start), x.dtype), np.zeros((*lead, m, columns - start - n), x.dtype)
        rows.append(np.concatenate([sides[0], full, sides[1]], axis=-1))
        start += n
    return np.concatenate(rows, axis=-2)
