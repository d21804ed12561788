"""Sparse matrices whose numbers may be recorded. The places of the entries are fixed."""

from typing import Any

import numpy as np
import optree

from fastad.errors import ShapeError
from fastad.recording import sparse as rows
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.sparse import structure
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
        raise TypeError(
            "np.asarray of a fad.sparse array would make a dense one; call A.toarray() for that. With a SciPy matrix "
            "S on the left, write fad.sparse.csr_array(S) @ A"
        )

    # ── other forms ──────────────────────────────────────────────────────────────────────────────────────────
    def toarray(self) -> Any:
        """The dense matrix."""
        height, width = self.shape
        i, j = self._pattern.both
        return structure.summed(self._data, i * width + j, height * width).reshape(height, width)

    def toscipy(self) -> Any:
        """SciPy's csr_array, of plain numbers."""
        from scipy.sparse import coo_array as scipy_coo

        if isinstance(self._data, Recorded):
            raise TypeError("toscipy of a matrix with recorded numbers would lose their derivatives")
        return scipy_coo((np.asarray(self._data), self._pattern.both), shape=self.shape).tocsr()

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
            return _times_sparse(self, other)
        return _times(self, other, "A @ x")

    def __rmatmul__(self, other: Any) -> Any:
        other = as_sparse(other)
        if isinstance(other, SparseArray):
            return other @ self
        x = _dense(other)
        return _times(self.T, x.T, "x @ A").T

    dot = __matmul__

    # ── elementwise ──────────────────────────────────────────────────────────────────────────────────────────
    def __mul__(self, other: Any) -> Any:
        other = as_sparse(other)
        if isinstance(other, SparseArray):
            raise TypeError(f"A * B of two sparse arrays is not supported{at_line()}. A @ B is their matrix product.")
        return self._with(self._data * _spread(self, other))

    __rmul__ = __mul__
    multiply = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._with(self._data / _spread(self, other))

    def __neg__(self) -> Any:
        return self._with(-self._data)

    def __pos__(self) -> Any:
        return self

    def __add__(self, other: Any) -> Any:
        other = as_sparse(other)
        if isinstance(other, SparseArray):
            return _sum(self, other)
        if np.ndim(other) == 0 and not isinstance(other, Recorded) and other == 0:  # sum([A, B])
            return self
        return self.toarray() + other

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        other = as_sparse(other)
        return _sum(self, -other) if isinstance(other, SparseArray) else self.toarray() - other

    def __rsub__(self, other: Any) -> Any:
        return (-self) + other

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────
    def diagonal(self, k: int = 0) -> Any:
        """The numbers on a diagonal, k above the main one."""
        chosen, places, size = structure.on_diagonal(self._pattern, int(k))
        return structure.summed(self._data[chosen], places, size)

    def sum(self, axis: int | None = None, dtype: None = None, out: None = None) -> Any:
        """The sum of all numbers, of every column (axis 0) or of every row (axis 1). np.sum calls it, too."""
        if dtype is not None or out is not None:
            raise TypeError(f"sum of a sparse array takes an axis only{at_line()}")
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
        height, width, along = _compressed("csr_array", data, indices, indptr, shape, 0)
        columns = places(indices, "csr_array", "indices", width)
        return cls._made(_numbers(data, len(columns), "csr_array"), Pattern.of(along, columns, (height, width)))

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
        height, width, along = _compressed("csc_array", data, indices, indptr, shape, 1)
        rows = places(indices, "csc_array", "indices", height)
        return cls._made(_numbers(data, len(rows), "csc_array"), Pattern.of(rows, along, (height, width)))

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
        height, width = _sizes("coo_array", shape)
        i, j = places(rows, "coo_array", "rows", height), places(columns, "coo_array", "columns", width)
        if len(i) != len(j):
            raise ShapeError(f"coo_array: {len(i)} rows and {len(j)} columns{at_line()}. Give one of each an entry.")
        return cls._made(_numbers(data, len(i), "coo_array"), Pattern.of(i, j, (height, width)))


_TRANSPOSED: dict[type, type[SparseArray]] = {csr_array: csc_array, csc_array: csr_array}


def _rebuilding(kind: type[SparseArray]) -> Any:
    return lambda pattern, leaves: kind._made(leaves[0], pattern)


_register: Any = optree.register_pytree_node
for _kind in (csr_array, csc_array, coo_array):
    _register(_kind, lambda a: ((a._data,), a._pattern), _rebuilding(_kind), namespace=NAMESPACE)


def _unpickled(kind: type[SparseArray], data: Any, pattern: Pattern) -> Any:
    return kind._made(data, pattern)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────
def _sizes(name: str, shape: Any) -> tuple[int, int]:
    if shape is None or len(shape) != 2:
        raise ShapeError(f"{name}: the shape {shape}{at_line()}. Give (rows, columns).")
    height, width = (int(n) for n in shape)
    return height, width


def _compressed(
    name: str, data: Any, indices: Any, indptr: Any, shape: Any, axis: int
) -> tuple[int, int, np.ndarray]:
    """Sizes, and the row (column) of every entry."""
    sizes = _sizes(name, shape)
    bounds = places(indptr, name, "indptr", np.shape(indices)[0] + 1)
    if len(bounds) != sizes[axis] + 1 or bounds[0] != 0 or bounds[-1] != len(indices) or np.any(np.diff(bounds) < 0):
        what = ("rows", "columns")[axis]
        raise ShapeError(
            f"{name}: indptr of {len(bounds)} numbers that are not the bounds of {sizes[axis]} {what} with "
            f"{len(indices)} indices{at_line()}. Give 0, then where each of the {what} ends."
        )
    return *sizes, np.repeat(np.arange(sizes[axis]), np.diff(bounds))


def _numbers(data: Any, count: int, name: str) -> Any:
    """The numbers of the entries, as floats."""
    if is_recorded(data):
        data = as_recorded(data)
    else:
        data = np.asarray(data)
    if data.shape != (count,):
        raise ShapeError(f"{name}: numbers of shape {data.shape} for {count} entries{at_line()}. Give one an entry.")
    return data if data.dtype.kind == "f" else data.astype(float)


def as_sparse(x: Any) -> Any:
    """SciPy's sparse matrices as ours, of plain numbers; everything else as it is."""
    if not rows.is_scipy(x):
        return x
    i, j, taken = rows.scipy_places(x)
    return coo_array._made(rows.scipy_numbers(x, taken), Pattern.of(i, j, x.shape))


# ── operations ────────────────────────────────────────────────────────────────────────────────────────────────
def _dense(x: Any) -> Any:
    return x if isinstance(x, Recorded) or type(x) is np.ndarray else _recorded_or_plain(x)


def _recorded_or_plain(x: Any) -> Any:
    return as_recorded(x) if is_recorded(x) else np.asarray(x)


def _times(a: SparseArray, x: Any, what: str) -> Any:
    x = _dense(x)
    if x.ndim not in (1, 2) or x.shape[0] != a.shape[1]:
        fix = f"A sparse matrix of {a.shape[1]} columns takes vectors ({a.shape[1]},) and matrices ({a.shape[1]}, m)."
        raise ShapeError(f"{what} of shapes {a.shape} and {x.shape}{at_line()}. {fix}")
    x, pattern = x if x.dtype.kind == "f" else x.astype(float), a.pattern
    return typed(rows.product(pattern.places, a.data, x, pattern.shape), a.data, x)


def typed(x: Any, *operands: Any) -> Any:
    """A plain result in the operands' dtype; recorded ones have it."""
    return x if isinstance(x, Recorded) else np.asarray(x).astype(np.result_type(*operands), copy=False)


def _times_sparse(a: SparseArray, b: SparseArray) -> Any:
    if a.shape[1] != b.shape[0]:
        fix = f"Make {a.shape[1]} and {b.shape[0]} equal."
        raise ShapeError(f"A @ B of shapes {a.shape} and {b.shape}{at_line()}. {fix}")
    pattern, first, second, groups = structure.product(a.pattern, b.pattern)
    return csr_array._made(structure.summed(a.data[first] * b.data[second], groups, pattern.size), pattern)


def _sum(a: SparseArray, b: SparseArray) -> Any:
    if a.shape != b.shape:
        raise ShapeError(f"a sum of sparse arrays of shapes {a.shape} and {b.shape}{at_line()}. Make them equal.")
    if a.pattern == b.pattern:
        return a._with(a.data + b.data)
    pattern, groups = structure.union(a.pattern, b.pattern)
    return csr_array._made(structure.summed(np.concatenate([a.data, b.data]), groups, pattern.size), pattern)


def _spread(a: SparseArray, factor: Any) -> Any:
    """A factor for every entry."""
    x = _dense(factor)
    if x.ndim == 0:
        return x
    height, width = a.shape
    shape = (1,) * (2 - x.ndim) + tuple(x.shape)
    if len(shape) != 2 or shape[0] not in (1, height) or shape[1] not in (1, width):
        fix = f"Columns are scaled by ({width},) or (1, {width}), rows by ({height}, 1)."
        raise ShapeError(f"a factor of shape {x.shape} for a sparse array of shape {a.shape}{at_line()}. {fix}")
    i, j = a.pattern.both
    flat = (i if shape[0] != 1 else 0 * i) * shape[1] + (j if shape[1] != 1 else 0)
    return x.reshape(-1)[flat]
