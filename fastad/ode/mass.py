"""Mass matrices: M y' = f(t, y) with a constant M, which may be singular (a differential-algebraic equation).

A mass matrix is numbers, which may be recorded values, at places that are fixed: of the diagonal, of the whole matrix,
or of a sparse one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.recording.operands import as_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.sparse.arrays import SparseArray
from fastad.sparse.pattern import Pattern
from fastad.tables.builder import Builder, Ref
from fastad.transforms.call import flatten

_LARGEST = 500  # unknowns up to which null spaces are found from the whole matrix
_SINGULAR = 1e-12  # singular values, relative to the largest, that are 0


@dataclass(frozen=True)
class Mass:
    """What is fixed of a mass matrix of n rows: where its numbers are, and its null spaces as columns: those of M (of
    what the solution may jump by) and of Mᵀ (of the algebraic equations); of 0 columns where M is regular."""

    n: int
    pattern: Pattern | None  # of a sparse matrix
    is_diagonal: bool
    right: tuple[tuple[float, ...], ...] = ()
    left: tuple[tuple[float, ...], ...] = ()

    @property
    def size(self) -> int:
        """How many numbers it has."""
        if self.pattern is not None:
            return self.pattern.size
        return self.n if self.is_diagonal else self.n**2

    @property
    def is_singular(self) -> bool:
        return bool(self.right)

    def times(self, b: Builder, numbers: Ref, v: Ref) -> Ref:
        """The rows of M v."""
        n = self.n
        if self.pattern is not None:
            statics = (1, self.size, n, n, 1, 1, 1, 0)
            return b.emit("sparse_product", (b.const(self.pattern.places), numbers, v), statics, (n,))
        if self.is_diagonal:
            return b.multiply(numbers, v)
        return b.emit("matmul", (numbers, v), (1, n, n, 1, 0, 0, 1, 1), (n,))

    def matrix(self, b: Builder, numbers: Ref) -> Ref:
        """The rows of M."""
        n = self.n
        if self.pattern is not None:
            at = self.pattern.rows * n + self.pattern.columns
            flat = b.emit("scatter_add", (numbers, b.const(at.astype(np.int64))), (1,), (n * n,))
            return b.reshape(flat, (n, n))
        if self.is_diagonal:
            return b.assemble([numbers], [(0, n, n + 1)], (n, n))
        return b.reshape(numbers, (n, n))


def is_moving(given: Any) -> bool:
    """Whether a mass matrix is a function of (t, y, *args)."""
    return callable(given) and not isinstance(given, SparseArray)


def mass_of(given: Any, n: int) -> tuple[Mass | None, Any]:
    """The constant mass matrix that a user gives for n unknowns, and its numbers; None for none."""
    if given is None:
        return None, None
    if is_moving(given):
        return None, None
    if isinstance(given, SparseArray):
        return _sparse(given.pattern, given.data, given.shape, n)
    if hasattr(given, "tocoo"):
        entries = given.tocoo()
        return _sparse(Pattern.of(entries.row, entries.col, entries.shape), entries.data, entries.shape, n)
    if isinstance(given, list | tuple) and any(isinstance(x, Recorded) for x in flatten(given)[0]):
        given = as_recorded(given)
    array = given if isinstance(given, Recorded) else np.asarray(given)
    if array.dtype.kind not in "fiub" or array.shape not in ((n,), (n, n)):
        shape = f"mass has shape {array.shape} and dtype {array.dtype}"
        raise ShapeError(f"{shape}{at_line()}; it must be a matrix ({n}, {n}), its diagonal ({n},), or mass(t, y)")
    numbers = np.reshape(array * 1.0, (array.size,))
    values = _concrete(numbers)
    if array.ndim == 1:
        return Mass(n, None, True, *_of_places(values == 0.0, values == 0.0)), numbers
    return Mass(n, None, False, *_null_spaces(values.reshape(n, n))), numbers


def _sparse(pattern: Pattern, data: Any, shape: Any, n: int) -> tuple[Mass, Any]:
    if tuple(shape) != (n, n):
        raise ShapeError(f"mass has shape {tuple(shape)}{at_line()}; it must be ({n}, {n})")
    numbers = data * 1.0
    values = _concrete(numbers)
    rows, columns = (np.bincount(at, np.abs(values), minlength=n) == 0.0 for at in (pattern.rows, pattern.columns))
    if n <= _LARGEST:
        whole = np.zeros((n, n))
        np.add.at(whole, (pattern.rows, pattern.columns), values)
        return Mass(n, pattern, False, *_null_spaces(whole)), numbers
    return Mass(n, pattern, False, *_of_places(columns, rows)), numbers


def _concrete(x: Any) -> np.ndarray:
    return np.asarray(x.value if isinstance(x, Recorded) else x, float)


_Spaces = tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]


def _of_places(columns: np.ndarray, rows: np.ndarray) -> _Spaces:
    """The null spaces of a matrix that has only zeros in these columns and rows, and is regular but for them."""
    if columns.sum() != rows.sum():
        raise ShapeError(f"mass has {rows.sum()} rows and {columns.sum()} columns of zeros only{at_line()}")
    unit = np.eye(len(rows))
    return _frozen(unit[columns]), _frozen(unit[rows])


def _null_spaces(matrix: np.ndarray) -> _Spaces:
    """Bases of the null spaces of M and Mᵀ; unit vectors where only rows and columns of zeros make it singular."""
    if not np.all(np.isfinite(matrix)):
        raise ShapeError(f"mass must be finite numbers{at_line()}")
    columns, rows = (~np.any(matrix, axis=axis) for axis in (0, 1))
    u, sizes, v = np.linalg.svd(matrix)
    null = sizes <= _SINGULAR * max(sizes.max(initial=0.0), 1e-300)
    if columns.sum() == rows.sum() == null.sum():
        return _of_places(columns, rows)
    return _frozen(v[null]), _frozen(u.T[null])


def _frozen(x: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in x.tolist())
