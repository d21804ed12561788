"""Sparse systems: factors that are used again, and their solutions with derivatives on the pattern of the matrix."""

from typing import Any

import numpy as np
import optree

from fastad.errors import MatrixShapeError, ShapeError, SingularMatrixError
from fastad.kernels import superlu
from fastad.recording import sparse as rows
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line
from fastad.sparse.analysis import Analysis, analysis
from fastad.sparse.arguments import typed
from fastad.sparse.arrays import SparseArray, as_sparse
from fastad.sparse.pattern import Pattern
from fastad.transforms.call import NAMESPACE


class SparseLU:
    """The factors of a sparse matrix; see `splu`. A pytree of the numbers of the matrix and of its factors."""

    __slots__ = ("_analysis", "_data", "_factors", "_pattern", "_plain")
    _plain: Any  # SuperLU's own factors, where it has made these of plain numbers
    _data: Any
    _factors: Any
    _pattern: Pattern
    _analysis: Analysis

    @classmethod
    def _made(cls, data: Any, factors: Any, pattern: Pattern, own: Analysis, plain: Any = None) -> "SparseLU":
        found = object.__new__(cls)
        found._data, found._factors, found._pattern, found._analysis = data, factors, pattern, own
        found._plain = plain
        return found

    @property
    def _fastad_parts(self) -> Any:
        """What a recording that refers to the factors depends on."""
        return _Fixed(self._pattern, self._analysis), (self._data, self._factors)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        return self._pattern.shape

    @property
    def nnz(self) -> int:
        """Numbers in L and U together, the ones on L's diagonal included."""
        n, _, lower, upper = self._analysis.sizes
        return lower + upper + 2 * n

    def solve(self, b: Any, trans: str | int = "N") -> Any:
        """x with A x = b (trans "N"), or Aᵀ x = b (trans "T"), for a vector (n,) or a matrix (n, m).

        Raises SingularMatrixError where A is singular, also to the last digit.
        """
        if trans not in (0, 1, 2, "N", "T", "H"):
            raise ValueError(f"solve: trans is 'N', 'T' or 'H', not {trans!r}")
        b = as_recorded(b) if is_recorded(b) else np.asarray(b)
        n = self.shape[0]
        if b.ndim not in (1, 2) or b.shape[0] != n:
            fix = f"Pass a vector ({n},) or a matrix ({n}, m)."
            raise ShapeError(f"solve: a right side of shape {b.shape} for a matrix of {n} rows{at_line()}. {fix}")
        b = b if b.dtype.kind == "f" else b.astype(float)
        back = int(trans not in (0, "N"))
        own = self._analysis
        if current_recorder() is None and self._plain is not None:
            return typed(self._solved(np.asarray(b, float), back), self._data, b)
        return typed(rows.solution(own.packed, self._data, self._factors, b, own.sizes, back), self._data, b)

    def _solved(self, b: np.ndarray, trans: int) -> np.ndarray:
        """The solution for plain numbers, by SuperLU's own factors."""
        if not np.all(np.isfinite(self._data)) or not b.size:
            return np.full(b.shape, np.nan)
        try:
            if self._factors[0]:
                self._plain.check()
            found: np.ndarray = self._plain.solve(b, trans)
            return found
        except superlu.SingularError as error:
            raise SingularMatrixError(f"solve: the sparse matrix is singular ({error}){at_line()}") from None

    def __repr__(self) -> str:
        return f"<factors of a sparse matrix of {self.shape[0]} rows, {self.nnz} numbers>"


class _Fixed:
    """What of factors is no leaf: compared by the pattern and the order of elimination."""

    def __init__(self, pattern: Any, own: Analysis) -> None:
        self.pattern, self.analysis = pattern, own

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fixed) and self.pattern == other.pattern and (
            self.analysis is other.analysis or np.array_equal(self.analysis.packed, other.analysis.packed)
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.pattern, self.analysis.sizes))


def _leaves(lu: Any) -> Any:
    return (lu._data, lu._factors), _Fixed(lu._pattern, lu._analysis)


def _rebuilt(fixed: Any, leaves: Any) -> Any:
    data, factors = leaves
    return SparseLU._made(data, factors, fixed.pattern, fixed.analysis)


_register: Any = optree.register_pytree_node
_register(SparseLU, _leaves, _rebuilt, namespace=NAMESPACE)


def splu(A: Any) -> SparseLU:
    """The factors of a square sparse matrix, as scipy.sparse.linalg.splu: one factorisation for many solves.

    The first matrix of a pattern is analysed by SuperLU, which chooses the order of elimination and the pivots. Later
    ones are factorised again in the same order, natively; where these pivots would lose digits, SuperLU is called to
    choose new ones. Derivatives go by way of A's numbers, entry by entry, and use the same factors.

    Parameters
    ----------
    A : (n, n) matrix of `fad.sparse`, or of SciPy.

    Returns
    -------
    An object with `solve(b, trans="N")`. Made outside of a function that is recorded, it is not factorised again there.

    >>> import numpy as np, fastad as fad
    >>> A = fad.sparse.coo_array(np.array([4.0, 2.0, 1.0]), np.array([0, 1, 0]), np.array([0, 1, 1]), (2, 2))
    >>> lu = fad.sparse.splu(A)
    >>> lu.solve(np.array([5.0, 2.0])).tolist(), lu.solve(np.array([4.0, 3.0]), "T").tolist()
    ([1.0, 1.0], [1.0, 1.0])

    Sources: Davis (2006), Direct Methods for Sparse Linear Systems, chapter 6; Li (2005), "An overview of SuperLU".
    """
    a = as_sparse(A)
    if not isinstance(a, SparseArray):
        fix = "Use np.linalg.solve, or fad.sparse.csr_array."
        raise MatrixShapeError(f"splu: a {type(A).__name__} is no sparse matrix{at_line()}. {fix}")
    data = a.data
    recorder = current_recorder()
    if isinstance(data, Recorded):
        data = as_recorded(data, recorder)
        own = analysis(a.pattern, np.asarray(data.value))
        return SparseLU._made(data, rows.factors(own.packed, data, own.sizes), a.pattern, own)
    data = _fixed(data)  # the factors are those of the numbers now
    own = analysis(a.pattern, data)
    plain = None
    if data.size and np.all(np.isfinite(data)):
        plain = superlu.factorisation(a.pattern.rows, a.pattern.columns, data.astype(float), a.shape[0])
    return SparseLU._made(data, _fixed(rows.factors(own.packed, data, own.sizes)), a.pattern, own, plain)


def _fixed(x: Any) -> np.ndarray:
    x = np.array(x)
    x.flags.writeable = False
    return x


def spsolve(A: Any, b: Any) -> Any:
    """x with A x = b, as scipy.sparse.linalg.spsolve: for a vector (n,) or a matrix (n, m), or a sparse one.

    Parameters
    ----------
    A : (n, n) matrix of `fad.sparse`, or of SciPy.
    b : (n,) or (n, m).

    Raises
    ------
    SingularMatrixError : A is singular, or so to the last digit; it has the estimated condition number.

    >>> import numpy as np, fastad as fad
    >>> def x0(data):
    ...     A = fad.sparse.coo_array(data, np.array([0, 1, 0]), np.array([0, 1, 1]), (2, 2))
    ...     return fad.sparse.spsolve(A, np.array([5.0, 2.0]))[0]
    >>> fad.grad(x0)(np.array([4.0, 2.0, 1.0])).tolist()
    [-0.25, 0.125, -0.25]

    Source: with Aᵀ r = x̄, b̄ = r and Ā_ij = −r_i x_j on A's entries: Giles (2008), "Collected matrix derivative results
    for forward and reverse mode".
    """
    b = as_sparse(b)
    return splu(A).solve(b.toarray() if isinstance(b, SparseArray) else b)
