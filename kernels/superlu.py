"""SuperLU, as SciPy has it, for what the kernels of sparse systems cannot do: choose pivots. Needs no numba.

Kernels keep to the pivots that were chosen for the first matrix of a pattern. Where these would lose digits, they call
back to Python, which factorises the matrix anew. Compiled code finds the address of the function in a table of its own
symbol, `TABLE`.
"""

import ctypes
import threading

import numpy as np

TABLE = "fastad_superlu_table"
_KEPT = 8  # factorisations that are remembered
_CONDITION_LIMIT = 1 / np.finfo(float).eps

_lock = threading.Lock()
_known = []  # the last factorisations, the newest first


class SingularError(ValueError):
    """A matrix without an inverse; the text says how far it is from one."""


class Factorisation:
    """A matrix, factorised by SuperLU with pivots of its own choice."""

    def __init__(self, rows, columns, data, n):
        self.given = rows, columns, data
        self.n = n
        self.matrix = _matrix(rows, columns, data, n)
        try:
            self.lu = _splu(self.matrix)
        except RuntimeError:  # "Factor is exactly singular"
            self.lu = None
        self._condition = None

    def holds(self, rows, columns, data, n):
        """Whether it is that of the matrix with these entries."""
        pairs = zip(self.given, (rows, columns, data), strict=True)
        return n == self.n and all(x is y or (len(x) == len(y) and np.array_equal(x, y)) for x, y in pairs)

    @property
    def condition(self):
        """Estimated condition number, in the 1-norm, of the matrix with rows and columns scaled to a largest number of
        1: what is left of it then cannot be helped by other units. Source: Higham & Tisseur (2000)."""
        if self._condition is None:
            self._condition = np.inf if self.lu is None else _estimate(self.matrix, self.lu)
        return self._condition

    def check(self):
        """SingularError if the matrix is singular, or so to all digits."""
        if not self.condition < _CONDITION_LIMIT:
            raise SingularError(f"estimated condition number {self.condition:.1e}")

    def solve(self, b, trans):
        """op(A)⁻¹ B."""
        if self.lu is None:
            raise SingularError("estimated condition number inf")
        return self.lu.solve(np.ascontiguousarray(b), "T" if trans else "N")


def _matrix(rows, columns, data, n):
    from scipy.sparse import coo_array

    places = np.asarray(rows).astype(np.int32), np.asarray(columns).astype(np.int32)
    return coo_array((np.asarray(data, float), places), shape=(n, n)).tocsc()


def _splu(matrix):
    """SuperLU's factors. Where the pattern is symmetric, minimum degree on it leaves half of the fill; but not where
    small diagonal elements, as of multipliers, make it exchange rows: there the order of columns is often better."""
    from scipy.sparse.linalg import splu

    if not _is_symmetric(matrix):
        return splu(matrix)
    found = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.1, options={"SymmetricMode": True})
    if np.array_equal(found.perm_r, found.perm_c):
        return found
    other = splu(matrix)
    return min(found, other, key=lambda lu: lu.nnz)


def _is_symmetric(matrix):
    """Whether a square CSC matrix has an entry (j, i) for every (i, j)."""
    other = matrix.T.tocsc()
    other.sort_indices()
    matrix.sort_indices()
    return np.array_equal(matrix.indptr, other.indptr) and np.array_equal(matrix.indices, other.indices)


def _estimate(matrix, lu):
    from scipy.sparse.linalg import LinearOperator

    n = matrix.shape[0]
    size = abs(matrix)
    rows = 1 / _positive(size.max(axis=1).toarray())
    columns = 1 / _positive((size * rows[:, None]).tocsc().max(axis=0).toarray())
    scaled = (matrix * rows[:, None] * columns[None, :]).tocsc()
    inverse = LinearOperator(
        (n, n), dtype=float,
        matvec=lambda x: lu.solve(np.ravel(x) / rows) / columns,
        rmatvec=lambda x: lu.solve(np.ravel(x) / columns, "T") / rows,
    )  # fmt: skip
    norm = abs(scaled).sum(axis=0).max()
    with np.errstate(all="ignore"):
        return float(norm * (_estimated_norm(inverse) if n > 4 else _norm(inverse, n)))


def _estimated_norm(inverse):
    """Higham's estimate of the 1-norm. With one column it draws no random numbers: NumPy's generator is the user's."""
    from scipy.sparse.linalg import onenormest

    return onenormest(inverse, t=1)


def _norm(inverse, n):
    return np.abs(np.column_stack([inverse.matvec(e) for e in np.eye(n)])).sum(axis=0).max()


def _positive(x):
    return np.where(np.ravel(x) > 0, np.ravel(x), 1.0)


def factorisation(rows, columns, data, n):
    """SuperLU's factorisation of the matrix with these entries, which is remembered for a while."""
    with _lock:
        for k, found in enumerate(_known):
            if found.holds(rows, columns, data, n):
                _known.insert(0, _known.pop(k))
                return found
    new = Factorisation(*(np.array(x) for x in (rows, columns, data)), n)
    with _lock:
        _known.insert(0, new)
        del _known[_KEPT:]
    return new


def solved(rows, columns, data, b, trans):
    """op(A)⁻¹ B with new pivots; SingularError if the matrix is singular. Numbers that are not finite give NaN."""
    if not (np.all(np.isfinite(data)) and len(b)):
        return np.full(b.shape, np.nan)
    found = factorisation(rows, columns, data, len(b))
    found.check()
    return found.solve(b, trans)


def _array(address, size):
    if size == 0:
        return np.empty(0)
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_double)), (size,))


def _solve(places, n, entries, data, b, out, m, trans):
    """0, or 1 for a singular matrix."""
    try:
        rows, columns = _array(places, entries).view(np.int32).reshape(entries, 2).T.astype(np.int64)
        x = solved(rows, columns, _array(data, entries), _array(b, n * m).reshape(n, m), trans)
        _array(out, n * m)[...] = np.reshape(x, -1)
    except Exception:  # whatever it is: the row's definition finds it again, and raises it
        return 1
    return 0


_callback = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 8)(_solve)
_table = (ctypes.c_int64 * 1)(ctypes.cast(_callback, ctypes.c_void_p).value or 0)


def table_address():
    """Where the address of `_solve` lies."""
    return ctypes.addressof(_table)
