"""Factors that SciPy has made: incomplete ones, for preconditioners, and those of plain matrices."""

from typing import Any

import numpy as np

from fastad.errors import MatrixShapeError, SingularMatrixError
from fastad.primitives.sparse_values import Pattern as Parts
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.sparse.analysis import Analysis
from fastad.sparse.arrays import SparseArray, as_sparse
from fastad.sparse.factoring import SparseLU
from fastad.sparse.pattern import Pattern


def spilu(A: Any, drop_tol: float | None = None, fill_factor: float | None = None) -> SparseLU:
    """Incomplete factors of a sparse matrix, as scipy.sparse.linalg.spilu: a preconditioner for `cg`, `gmres` and
    `bicgstab`, which needs A nearly only.

    SciPy makes them of the numbers that A has now. A function that is recorded keeps them: a replay with other numbers
    is preconditioned by those of the first, and solves with its own.

    Parameters
    ----------
    A : (n, n) matrix of `fad.sparse`, or of SciPy.
    drop_tol : numbers of the factors that are smaller than this, relative to their column, are left out (1e-4).
    fill_factor : the largest number of entries, relative to A's (10).

    >>> import numpy as np, fastad as fad
    >>> A = fad.sparse.diags([np.full(50, 4.0), np.full(49, -1.0), np.full(49, -1.5)], [0, 1, -1])
    >>> x, info = fad.sparse.gmres(A, A @ np.ones(50), rtol=1e-10, M=fad.sparse.spilu(A))
    >>> bool(np.allclose(x, 1.0)), int(info)
    (True, 0)

    Source: Li & Shao (2011), "A supernodal approach to incomplete LU factorization with partial pivoting".
    """
    from scipy.sparse.linalg import spilu as scipy_spilu

    a = as_sparse(A)
    if not isinstance(a, SparseArray) or a.shape[0] != a.shape[1]:
        raise MatrixShapeError(f"spilu: {A!r} is no square sparse matrix{at_line()}. Use fad.sparse.csr_array.")
    numbers = np.asarray(a.data.value if isinstance(a.data, Recorded) else a.data, float)
    plain = a._with(numbers).toscipy().tocsc()
    try:
        lu = scipy_spilu(plain, drop_tol=drop_tol, fill_factor=fill_factor)
    except RuntimeError:
        raise SingularMatrixError(f"spilu: the incomplete factors are singular{at_line()}. Lower drop_tol.") from None
    return _factors(lu, plain)


def factors_of(lu: Any) -> SparseLU:
    """The factors that SciPy has made of a plain matrix: of this matrix, which is not differentiated."""
    plain = (lu.L @ lu.U).tocsr()[lu.perm_r][:, lu.perm_c].tocsc()
    plain.eliminate_zeros()
    return _factors(lu, plain)


def _factors(lu: Any, plain: Any) -> SparseLU:
    """SciPy's factors of this matrix."""
    lower, upper = lu.L.tocoo(), lu.U.tocoo()
    n = plain.shape[0]
    (first, below, low), (bounds, above, high) = (_strict(x, n, x is lower) for x in (lower, upper))
    rows, columns = plain.tocoo().coords
    pattern = Pattern.of(rows, columns, plain.shape)
    starts = np.concatenate([[0], np.cumsum(np.bincount(lu.perm_c[columns], minlength=n))])
    entries = np.argsort(lu.perm_c[columns], kind="stable")
    ones = np.ones(n, np.int64)
    parts = Parts(
        rows, columns, lu.perm_r, lu.perm_c, starts, entries, first, below, bounds, above, ones
    )  # fmt: skip
    packed, factors = parts.packed(), np.concatenate([[0.0], low, high, lu.U.diagonal()])
    for x in (packed, factors):
        x.flags.writeable = False
    sizes = n, len(rows), len(below), len(above)
    return SparseLU._made(plain.data, factors, pattern, Analysis(packed, sizes), _OfScipy(lu))


class _OfScipy:
    """SciPy's factors, called as `fastad.kernels.superlu.Factorisation` is."""

    def __init__(self, lu: Any) -> None:
        self._lu = lu

    def solve(self, b: np.ndarray, trans: int) -> np.ndarray:
        found: np.ndarray = self._lu.solve(np.ascontiguousarray(b), "T" if trans else "N")
        return found


def _strict(x: Any, n: int, below: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds, rows and numbers of a triangle without its diagonal, column by column."""
    keep = np.flatnonzero(x.row > x.col if below else x.row < x.col)
    keep = keep[np.lexsort((x.row[keep], x.col[keep]))]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(x.col[keep], minlength=n))])
    return bounds, x.row[keep].astype(np.int64), x.data[keep]
