"""Sparse matrices whose numbers may be recorded. The places of the entries are fixed."""

from typing import Any

import numpy as np
import optree

from fastad.errors import ShapeError
from fastad.recording import sparse as rows
from fastad.recording.operands import is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import SCIPY_PRODUCT, asked_by_scipy, at_line
from fastad.sparse import combining, structure
from fastad.sparse.arguments import compressed, dense, no_attribute, no_writes, numbers, sizes, spread, typed
from fastad.sparse.batches import SparseBatch
from fastad.sparse.pattern import Pattern, places
from fastad.transforms.call import NAMESPACE


class SparseArray:
    """A matrix by its entries: `data`, numbers or recorded values, at the places of a pattern.

    It mixes with NumPy's arrays and recorded values: `A @ x`, `x @ A`, `A @ B`, `A + B`, `A - B`, `c * A`, `A / c`,
    `-A`, `A.T`; with a vector or matrix that broadcasts, `*` scales rows or columns, as in NumPy. Derivatives are by
    `data`, entry by entry: entries at the same place, and stored zeros, each have their own. It is a pytree of `data`
    alone, so it goes through `fad.jit`, `fad.grad` and `fad.vmap` as an argument and as a result.
    """

    __slots__ = ("_data", "_pattern")
    __array_ufunc__ = None  # NumPy's arrays leave operators to this class
    __array_priority__ = 2000.0
    __hash__ = None  # type: ignore[assignment]
    format = "coo"
    ndim = 2

    _data: Any
    _pattern: Pattern

    @classmethod
    def _made(cls, data: Any, pattern: Pattern) -> Any:
        """A matrix of this class; nothing is checked."""
        found = object.__new__(cls)
        found._data, found._pattern = data, pattern
        return found

    @property
    def _fastad_parts(self) -> Any:
        """What a recording that refers to the matrix depends on."""
        return self._pattern, (self._data,)

    # ── what it is ───────────────────────────────────────────────────────────────────────────────────────────
    @property
    def data(self) -> Any:
        """The numbers of the entries, in the caller's order."""
        return self._data

    @property
    def pattern(self) -> Pattern:
        """The places of the entries."""
        return self._pattern

    @property
    def row(self) -> np.ndarray:
        """The rows of the entries."""
        return self._pattern.rows

    @property
    def col(self) -> np.ndarray:
        """The columns of the entries."""
        return self._pattern.columns

    @property
    def shape(self) -> tuple[int, int]:
        return self._pattern.shape

    @property
    def nnz(self) -> int:
        """The number of entries, stored zeros and those at the same place included."""
        return self._pattern.size

    @property
    def dtype(self) -> np.dtype:
        kind: np.dtype = self._data.dtype
        return kind

    def __repr__(self) -> str:
        what = "recorded " if isinstance(self._data, Recorded) else ""
        height, width = self.shape
        kind = getattr(self._data, "dtype", type(self._data).__name__)
        return f"<{what}sparse {self.format} array of {height} × {width}, {self.nnz} entries of {kind}>"

    def __reduce__(self) -> Any:
        if isinstance(self._data, Recorded):
            raise TypeError("a sparse array of recorded numbers cannot be pickled; return it from the function instead")
        return _unpickled, (type(self), self._data, self._pattern)

    def __len__(self) -> int:
        raise TypeError("the length of a sparse array is ambiguous; use A.shape[0] or A.nnz")

    def __iter__(self) -> Any:
        raise TypeError("a sparse array cannot be iterated over; use A[i] or A.toarray()")

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        if asked_by_scipy(SCIPY_PRODUCT):  # S @ A
            return np.array(None)
        raise TypeError(f"np.asarray of a fad.sparse array would make a dense one{at_line()}; call A.toarray()")

    # ── other forms ──────────────────────────────────────────────────────────────────────────────────────────
    def toarray(self) -> Any:
        """The dense matrix."""
        height, width = self.shape
        i, j = self._pattern.both
        return structure.summed(self._data, i * width + j, height * width).reshape(height, width)

    todense = toarray

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(name)

    def __setitem__(self, *given: Any) -> None:
        raise no_writes()

    def toscipy(self) -> Any:
        """SciPy's csr_array, of plain numbers."""
        if isinstance(self._data, Recorded):
            raise TypeError("toscipy of a matrix with recorded numbers would lose their derivatives")
        found = self._pattern.as_scipy(self._data).copy()
        found.sum_duplicates()
        return found

    @property
    def T(self) -> Any:
        """The transposed matrix, with the same numbers in the same order."""
        return _TRANSPOSED.get(type(self), coo_array)._made(self._data, self._pattern.transposed)

    def transpose(self) -> Any:
        """The same as `T`."""
        return self.T

    def tocsr(self) -> Any:
        """The matrix with its entries sorted by row, then column; those at the same place are added up."""
        return self if type(self) is csr_array else self.sum_duplicates()

    def tocsc(self) -> Any:
        """The matrix with its entries sorted by column, then row; those at the same place are added up."""
        return self if type(self) is csc_array else self.T.sum_duplicates().T

    def tocoo(self) -> Any:
        """The same entries without an order."""
        return coo_array._made(self._data, self._pattern)

    def sum_duplicates(self) -> Any:
        """The same, also of one whose entries are sorted by row."""
        pattern, groups = structure.canonical(self._pattern)
        if pattern is self._pattern:
            return csr_array._made(self._data, pattern)
        return csr_array._made(structure.summed(self._data, groups, pattern.size), pattern)

    def copy(self) -> Any:
        return self._with(np.copy(self._data) if not isinstance(self._data, Recorded) else self._data.copy())

    def astype(self, dtype: Any) -> Any:
        return self._with(self._data.astype(dtype))

    def _with(self, data: Any) -> Any:
        """A matrix with the same places and other numbers."""
        return type(self)._made(data, self._pattern)

    # ── products ─────────────────────────────────────────────────────────────────────────────────────────────
    def __matmul__(self, other: Any) -> Any:
        other = as_sparse(other)
        if isinstance(other, SparseArray):
            return csr_array._made(*combining.product(self, other))
        return _times(self, other, "A @ x")

    def __rmatmul__(self, other: Any) -> Any:
        other = as_sparse(other)
        if isinstance(other, SparseArray):
            return other @ self
        x = dense(other)
        return _times(self.T, x.T, "x @ A").T

    dot = __matmul__

    # ── elementwise ──────────────────────────────────────────────────────────────────────────────────────────
    def __mul__(self, other: Any) -> Any:
        other = as_sparse(other)
        if isinstance(other, SparseArray):
            return csr_array._made(*combining.multiplied(self, other))
        return self._with(self._data * spread(self, other))

    __rmul__ = __mul__
    multiply = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._with(self._data / spread(self, other))

    def __neg__(self) -> Any:
        return self._with(-self._data)

    def __pos__(self) -> Any:
        return self

    def __add__(self, other: Any) -> Any:
        other = as_sparse(other)
        if isinstance(other, SparseArray):
            return self._plus(other)
        if np.ndim(other) == 0 and not isinstance(other, Recorded) and other == 0:  # sum([A, B])
            return self
        return self.toarray() + other

    __radd__ = __add__

    def _plus(self, other: "SparseArray") -> Any:
        same = self._pattern == other._pattern
        return self._with(self._data + other._data) if same else csr_array._made(*combining.added(self, other))

    def __sub__(self, other: Any) -> Any:
        other = as_sparse(other)
        return self._plus(-other) if isinstance(other, SparseArray) else self.toarray() - other

    def __rsub__(self, other: Any) -> Any:
        return (-self) + other

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────
    def diagonal(self, k: int = 0) -> Any:
        """The numbers on a diagonal, k above the main one."""
        chosen, places, size = structure.on_diagonal(self._pattern, int(k))
        return structure.summed(self._data[chosen], places, size)

    def trace(self, offset: int = 0) -> Any:
        """The sum of a diagonal."""
        return np.sum(self.diagonal(offset))

    def mean(self, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
        """The mean of all elements, of every column (axis 0) or of every row (axis 1)."""
        height, width = self.shape
        count = height * width if axis is None else (height if axis in (0, -2) else width)
        return self.sum(axis, dtype, out) / count

    def sum(self, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
        """The sum of all numbers, of every column (axis 0) or of every row (axis 1); np.sum(A) is the same."""
        if dtype is not None or out is not None:
            raise TypeError("the sum of a sparse array takes no dtype and no out: use A.astype(dtype).sum()")
        if axis is None:
            return np.sum(self._data)
        if axis not in (0, 1, -1, -2):
            raise ValueError(f"axis {axis} of a matrix; give 0 or 1")
        along = self.col if axis in (0, -2) else self.row
        return structure.summed(self._data, along, self.shape[1] if axis in (0, -2) else self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        """A[rows, columns] as NumPy's A[rows][:, columns]: slices, arrays of indices or of truth values, integers. Two
        integers give a number, one integer a dense vector."""
        height, width = self.shape
        first, second = key if isinstance(key, tuple) else (key, slice(None))
        i, own_row = structure.chosen(first, height)
        j, own_column = structure.chosen(second, width)
        taken, pattern = structure.part(self._pattern, i, j)
        found = coo_array._made(self._data[taken], pattern)
        if own_row and own_column:
            return np.sum(found._data)
        if own_row or own_column:
            return found.sum(axis=0 if own_row else 1)
        return found.sum_duplicates() if isinstance(self, csr_array) else found


class csr_array(SparseArray):
    """A sparse matrix by rows: row i has `data[indptr[i]:indptr[i+1]]` in the columns `indices[indptr[i]:indptr[i+1]]`.

    Parameters
    ----------
    data : (k,) numbers; recorded values carry derivatives.
    indices : (k,) integers, the columns: in any order, also several times the same.
    indptr : (n + 1,) integers, where every row starts.
    shape : (n, m).

    A function that makes a matrix is recorded again where `indices` or `indptr` have changed.

    >>> import numpy as np, fastad as fad
    >>> indices, indptr = np.array([0, 1, 1]), np.array([0, 2, 3])
    >>> def f(data):
    ...     A = fad.sparse.csr_array(data, indices, indptr, (2, 2))
    ...     return np.sum(A @ np.array([1.0, 10.0]))
    >>> fad.grad(f)(np.array([2.0, 3.0, 4.0])).tolist()
    [1.0, 10.0, 10.0]
    """

    __slots__ = ()
    format = "csr"

    def __new__(cls, data: Any, indices: Any = None, indptr: Any = None, shape: Any = None) -> Any:
        if indices is None:
            return as_sparse(data).tocsr()
        height, width, along = compressed("csr_array", data, indices, indptr, shape, 0)
        columns = places(indices, "csr_array", "indices", width)
        return cls._made(numbers(data, len(columns), "csr_array"), Pattern.of(along, columns, (height, width)))

    @property
    def indices(self) -> np.ndarray:
        """The columns of the entries."""
        return self.col

    @property
    def indptr(self) -> np.ndarray:
        """Where every row starts."""
        return structure.starts(self.row, self.shape[0])


class csc_array(SparseArray):
    """A sparse matrix by columns: column j has `data[indptr[j]:indptr[j+1]]` in the rows
    `indices[indptr[j]:indptr[j+1]]`. Arguments as of `csr_array`.

    >>> import numpy as np, fastad as fad
    >>> A = fad.sparse.csc_array(np.array([1.0, 2.0]), np.array([1, 0]), np.array([0, 1, 2]), (2, 2))
    >>> A.toarray().tolist()
    [[0.0, 2.0], [1.0, 0.0]]
    """

    __slots__ = ()
    format = "csc"

    def __new__(cls, data: Any, indices: Any, indptr: Any, shape: Any) -> Any:
        height, width, along = compressed("csc_array", data, indices, indptr, shape, 1)
        rows = places(indices, "csc_array", "indices", height)
        return cls._made(numbers(data, len(rows), "csc_array"), Pattern.of(rows, along, (height, width)))

    @property
    def indices(self) -> np.ndarray:
        """The rows of the entries."""
        return self.row

    @property
    def indptr(self) -> np.ndarray:
        """Where every column starts."""
        return structure.starts(self.col, self.shape[1])


class coo_array(SparseArray):
    """A sparse matrix entry by entry: `data[k]` at (rows[k], columns[k]), in any order; those at the same place add up.

    >>> import numpy as np, fastad as fad
    >>> A = fad.sparse.coo_array(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]), np.array([0, 1, 0]), (2, 2))
    >>> A.toarray().tolist()
    [[0.0, 2.0], [4.0, 0.0]]
    """

    __slots__ = ()

    def __new__(cls, data: Any, rows: Any, columns: Any, shape: Any) -> Any:
        height, width = sizes("coo_array", shape)
        i, j = places(rows, "coo_array", "rows", height), places(columns, "coo_array", "columns", width)
        if len(i) != len(j):
            raise ShapeError(f"coo_array: {len(i)} rows and {len(j)} columns{at_line()}. Give one of each an entry.")
        return cls._made(numbers(data, len(i), "coo_array"), Pattern.of(i, j, (height, width)))


_TRANSPOSED: dict[type, type[SparseArray]] = {csr_array: csc_array, csc_array: csr_array}


def _rebuilding(kind: type[SparseArray]) -> Any:
    """A matrix from its numbers, or several from numbers with leading axes, as those of `fad.vmap` have."""

    def rebuilt(pattern: Pattern, leaves: Any) -> Any:
        (data,) = leaves
        one = kind._made(None, pattern)
        return SparseBatch(data, one) if getattr(data, "ndim", 1) > 1 else one._with(data)

    return rebuilt


_register: Any = optree.register_pytree_node
for _kind in (csr_array, csc_array, coo_array):
    _register(_kind, lambda a: ((a._data,), a._pattern), _rebuilding(_kind), namespace=NAMESPACE)


def _unpickled(kind: type[SparseArray], data: Any, pattern: Pattern) -> Any:
    return kind._made(data, pattern)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────
def as_sparse(x: Any) -> Any:
    """SciPy's sparse matrices as ours, of plain numbers; everything else as it is."""
    if not rows.is_scipy(x):
        return x
    i, j, taken = rows.scipy_places(x)
    return coo_array._made(rows.scipy_numbers(x, taken), Pattern.of(i, j, x.shape))


# ── operations ────────────────────────────────────────────────────────────────────────────────────────────────
def _times(a: SparseArray, x: Any, what: str) -> Any:
    x = dense(x)
    if x.ndim not in (1, 2) or x.shape[0] != a.shape[1]:
        fix = f"A sparse matrix of {a.shape[1]} columns takes vectors ({a.shape[1]},) and matrices ({a.shape[1]}, m)."
        raise ShapeError(f"{what} of shapes {a.shape} and {x.shape}{at_line()}. {fix}")
    x, pattern = x if x.dtype.kind == "f" else x.astype(float), a.pattern
    if not is_recorded((a.data, x)):
        return pattern.as_scipy(a.data) @ x
    return typed(rows.product(pattern.places, a.data, x, pattern.shape), a.data, x)
