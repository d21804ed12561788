"""Dense linear algebra on stacks of matrices. The functions that NumPy gives no way in work on plain arrays too."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.errors import FastadError, MatrixShapeError, ShapeError
from fastad.primitives import primitive
from fastad.primitives.regions import region
from fastad.recording.functions.registry import Array, implements, lift
from fastad.recording.geometry import reshape
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line

Shape = tuple[int, ...]


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────
def row_value(name: str, operands: Sequence[Any], statics: Sequence[int], shape: Shape) -> Any:
    """The value of a row; of plain arrays, its definition."""
    if not is_recorded(list(operands)):
        try:
            return primitive(name).numpy(tuple(statics), shape, *operands)
        except FastadError as error:
            raise type(error)(f"{error}{at_line()}") from None
    # What can fail stays where it stands; other rows of outer values alone are computed once, outside.
    inner = current_recorder() if primitive(name).error is not None else None
    values = lift(*operands) if inner is None else [as_recorded(x, inner) for x in operands]
    return Recorded(values[0].recorder, values[0].recorder.emit(name, [x.ref for x in values], statics, shape))


def row_results(name: str, value: Any, statics: Sequence[int], lead: Shape) -> list[Any]:
    """The results of a row that has several, each over these leading axes."""
    batch, parts = primitive(name).parts(tuple(statics))
    sizes = [math.prod(part.shape) for part in parts]
    found: list[Any] = []
    start = 0
    for part, size in zip(parts, sizes, strict=True):
        shape = (*lead, *part.shape)
        if isinstance(value, Recorded):
            own = region(start, (batch, size), (sum(sizes), 1))
            ref = value.recorder.builder.region(value.ref, own, shape, part.dtype if part.dtype == "i" else None)
            found.append(Recorded(value.recorder, ref))
        else:
            found.append(np.reshape(value, (batch, sum(sizes)))[:, start : start + size].reshape(shape))
        start += size
    return found


def square_matrices(a: Any, name: str) -> Any:
    """A stack of square matrices."""
    (a,) = lift(a) if is_recorded(a) else (np.asarray(a),)
    if a.ndim < 2:
        raise MatrixShapeError(
            f"{name}: an array of shape {a.shape}, which is no matrix{at_line()}. Give it two axes, as np.diag(a)."
        )
    if a.shape[-1] != a.shape[-2]:
        fix = "Pass a square one; least squares have the matrix a.T @ a and the right side a.T @ b."
        raise MatrixShapeError(f"{name}: a matrix of shape {a.shape}, which is not square{at_line()}. {fix}")
    return a


def factored(a: Any) -> Any:
    """The row of the factors of a stack, where it stands: outside of a branch that is not taken it would be
    differentiated all the same, and a singular matrix has no derivative of its factors.
    """
    lead, n = a.shape[:-2], a.shape[-1]
    a = as_recorded(a, current_recorder()) if is_recorded(a) else a
    return row_value("lu", (a,), (math.prod(lead), n), (*lead, n * n + n))


def _unequal(name: str, a: Shape, b: Shape, what: str) -> ShapeError:
    """The error for right sides that do not fit the matrices. In NumPy only what has one axis is a vector."""
    needed = (a[-1],) if len(b) == 1 else (*a[:-1], "k")
    fix = f"The right side must have the shape {needed}".replace("'", "")
    return ShapeError(f"{name}: matrices of shape {a} and right sides of shape {b} have {what}{at_line()}. {fix}.")


class System:
    """The right sides of systems with a stack of matrices, broadcast against each other."""

    def __init__(self, a: Any, b: Any, name: str) -> None:
        (b,) = lift(b) if is_recorded(b) else (np.asarray(b),)
        if b.ndim == 0:
            raise ShapeError(f"{name}: the right side is a number{at_line()}. Pass an array of {a.shape[-1]} elements.")
        self.is_vector, given, self.dtype = b.ndim == 1, b.shape, np.result_type(a.dtype, b.dtype, np.float32)
        b = b.reshape(b.shape[0], 1) if self.is_vector else b
        if b.shape[-2] != a.shape[-1]:
            raise _unequal(name, a.shape, given, f"{a.shape[-1]} rows, but right sides of {b.shape[-2]}")
        try:
            self.lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise _unequal(name, a.shape, given, "leading axes that do not broadcast") from None
        self.separate = int(math.prod(a.shape[:-2]) != 1)
        self.shape = (*self.lead, *b.shape[-2:])
        self.right = b if b.shape == self.shape else np.broadcast_to(b, self.shape)
        self.sizes = (math.prod(self.lead), *b.shape[-2:])

    def spread(self, x: Any, core: int) -> Any:
        """An operand of the matrices' own, over all systems, unless they share it."""
        full = (*self.lead, *x.shape[x.ndim - core :])
        return x if not self.separate or x.shape == full else np.broadcast_to(x, full)

    def finished(self, x: Any) -> Any:
        if isinstance(x, Recorded):
            return reshape(x, x.shape[:-1]) if self.is_vector else x
        return (x[..., 0] if self.is_vector else x).astype(self.dtype, copy=False)


# ── NumPy's functions ─────────────────────────────────────────────────────────────────────────────────────────
@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Array:
    """np.linalg.solve"""
    a = square_matrices(a, "solve")
    system = System(a, b, "solve")
    a = system.spread(a, 2)
    statics = (*system.sizes, 0, system.separate)
    return system.finished(row_value("lu_solve", (a, factored(a), system.right), statics, system.shape))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """np.linalg.slogdet"""
    a = square_matrices(a, "slogdet")
    lead, statics, factors = a.shape[:-2], (math.prod(a.shape[:-2]), a.shape[-1]), factored(a)
    result = type(np.linalg.slogdet(np.eye(1)))
    sign = row_value("determinant_sign", (factors,), statics, lead)
    return result(sign, row_value("log_determinant", (a, factors), statics, lead))


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Array:
    """np.linalg.cholesky"""
    a = square_matrices(a, "cholesky")
    if upper:
        return np.swapaxes(cholesky(np.swapaxes(a, -1, -2)), -1, -2)
    return row_value("cholesky", (a,), (math.prod(a.shape[:-2]), a.shape[-1]), a.shape)


# ── SciPy's functions: it gives recorded values no way in, so they are offered here ───────────────────────────
def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, Any]:
    """The factors of A = P L U and the pivots, as scipy.linalg.lu_factor; stacks of matrices have leading axes.

    Parameters
    ----------
    a : (…, n, n) matrices.
    overwrite_a, check_finite : accepted as SciPy's, without effect: nothing is overwritten, and NaN passes through.

    Returns
    -------
    lu : (…, n, n), L below the diagonal (its own diagonal is 1), U on and above it.
    piv : (…, n) integers: row k of the matrix was swapped with row piv[k].

    >>> import numpy as np, fastad as fad
    >>> lu, piv = fad.linalg.lu_factor(np.array([[0.0, 2.0], [4.0, 1.0]]))
    >>> lu.tolist(), piv.tolist()
    ([[4.0, 1.0], [0.0, 2.0]], [1, 1])

    Source: Golub & Van Loan (2013), Matrix Computations, Algorithm 3.4.1; LAPACK's dgetrf.
    """
    a = square_matrices(a, "lu_factor")
    lead, statics = a.shape[:-2], (math.prod(a.shape[:-2]), a.shape[-1])
    lu, piv = row_results("lu", factored(a), statics, lead)
    if isinstance(lu, Recorded):
        return lu, piv
    return lu.astype(np.float32) if a.dtype == np.float32 else lu, piv.astype(np.int64)


def lu_solve(lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """x with A x = b (trans=0) or Aᵀ x = b (trans=1, 2) by the factors of `lu_factor`, as scipy.linalg.lu_solve.

    Parameters
    ----------
    lu_and_piv : what `lu_factor` returned.
    b : (n,), (n, m) or (…, n, m); leading axes broadcast against those of the factors.

    Raises
    ------
    SingularMatrixError : a zero on the diagonal of U.

    >>> import numpy as np, fastad as fad
    >>> A, b = np.array([[4.0, 1.0], [2.0, 3.0]]), np.array([1.0, 2.0])
    >>> x = fad.linalg.lu_solve(fad.linalg.lu_factor(A), b)
    >>> bool(np.allclose(A @ x, b))
    True
    """
    lu, piv = lu_and_piv
    if trans not in (0, 1, 2):
        raise ValueError(f"lu_solve: trans is 0, 1 or 2, not {trans!r}")
    lu = square_matrices(lu, "lu_solve")
    system, back = System(lu, b, "lu_solve"), int(trans != 0)
    piv = np.asarray(piv) if not isinstance(piv, Recorded) else piv
    if piv.shape != lu.shape[:-1]:
        shapes = f"pivots of shape {piv.shape} for factors of shape {lu.shape}"
        raise ShapeError(f"lu_solve: {shapes}{at_line()}. Pass both that lu_factor gave.")
    lu, piv = system.spread(lu, 2), system.spread(piv, 1)
    swaps = (*system.sizes, back, system.separate)
    x = system.right if back else row_value("permute_rows", (piv, system.right), swaps, system.shape)
    for lower in (1 - back, back):
        statics = (*system.sizes, lower, back, lower, system.separate)
        x = row_value("triangular_solve", (lu, x), statics, system.shape)
    return system.finished(row_value("permute_rows", (piv, x), swaps, system.shape) if back else x)


def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False, overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """x with op(A) x = b for a triangular A, of which only the triangle is read, as scipy.linalg.solve_triangular.

    Parameters
    ----------
    a : (…, n, n) matrices.
    b : (n,), (n, m) or (…, n, m).
    trans : 0 or "N" for A, 1 or "T" (2 or "C") for its transpose.
    lower : whether A is a lower triangle.
    unit_diagonal : whether its diagonal counts as ones, whatever stands there.

    Raises
    ------
    SingularMatrixError : a zero on the diagonal.

    >>> import numpy as np, fastad as fad
    >>> fad.linalg.solve_triangular(np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 9.0]), lower=True).tolist()
    [1.0, 2.0]
    """
    if not any(trans is known or trans == known for known in (0, 1, 2, "N", "T", "C")):
        raise ValueError(f"solve_triangular: trans is 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    back = int(trans not in (0, "N"))
    a = square_matrices(a, "solve_triangular")
    system = System(a, b, "solve_triangular")
    statics = (*system.sizes, int(lower), back, int(unit_diagonal), system.separate)
    return system.finished(row_value("triangular_solve", (system.spread(a, 2), system.right), statics, system.shape))
