"""Mass matrices: M y' = f(t, y), where M may be singular (a differential-algebraic equation).

A mass matrix is numbers, which may be recorded values, at places that are fixed: of the diagonal, of the whole matrix,
or of a sparse one. The numbers are the same for all steps, or depend on t and y; the null spaces are those at the start
then, and must stay.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.recording.operands import as_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.sparse.arrays import SparseArray
from fastad.sparse.pattern import Pattern
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import Sub, emit_inline, made, packed, slices
from fastad.transforms.call import flatten

_LARGEST = 500  # unknowns up to which null spaces are found from the whole matrix
_SINGULAR = 1e-12  # singular values, relative to the largest, that are 0


Basis = tuple[int, ...] | tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Mass:
    """What is fixed of a mass matrix of n rows: where its numbers are, and bases of its null spaces: that of M (by what
    the solution may jump) and that of Mᵀ (the algebraic equations). Each is vectors, or the numbers of unit vectors;
    none where M is regular."""

    n: int
    pattern: Pattern | None  # of a sparse matrix
    is_diagonal: bool
    right: Basis = ()
    left: Basis = ()
    function: Any = None  # the user's, of a matrix that depends on t and y
    sub: Any = None  # the sub-program of that, from [t | y | what the steps share] to its numbers

    @property
    def size(self) -> int:
        """How many numbers all steps share."""
        return 0 if self.function is not None else self.count

    @property
    def count(self) -> int:
        """How many numbers it has."""
        if self.pattern is not None:
            return self.pattern.size
        return self.n if self.is_diagonal else self.n**2

    @property
    def is_singular(self) -> bool:
        return bool(self.right)

    def spread(self, v: Any) -> Any:
        """The vector of the null space of M with these coordinates."""
        if not isinstance(self.right[0], int):
            return v @ np.array(self.right)
        places = np.full(self.n, len(self.right))
        places[np.array(self.right)] = np.arange(len(self.right))
        return np.concatenate([v, np.zeros(1)])[places]

    def algebraic(self, slope: Any) -> Any:
        """The algebraic equations in those of all components."""
        return slope[np.array(self.left)] if isinstance(self.left[0], int) else np.array(self.left) @ slope

    def component(self, equation: int) -> int:
        """The component that counts most in an algebraic equation."""
        own = self.left[equation]
        return own if isinstance(own, int) else int(np.argmax(np.abs(own)))

    def numbers_at(self, b: Builder, t: Ref, y: Ref, own: Ref, numbers: Ref) -> Ref:
        """The rows of its numbers at (t, y), from what the right-hand side refers to and the numbers that all steps
        share."""
        return numbers if self.sub is None else emit_inline(b, self.sub, packed(b, [t, y, own]))

    def values(self, found: Any) -> Any:
        """What the user's function has returned, as a vector of its numbers."""
        if isinstance(found, list | tuple) and any(isinstance(x, Recorded) for x in flatten(found)[0]):
            found = as_recorded(found)
        wanted = (self.n,) if self.is_diagonal else (self.n, self.n)
        if np.shape(found) != wanted:
            shape = np.shape(found)
            raise ShapeError(f"mass returned an array of shape {shape}{at_line()}, and one of {wanted} before")
        return np.reshape(found * 1.0, (self.count,))

    def split(self, both: Sub) -> "tuple[Sub, Mass]":
        """The right-hand side, and the matrix with its sub-program, from the sub-program of both."""
        n, count = self.n, self.count
        parts = [
            made(name, both.n_in, lambda b, x, i=i: slices(b, emit_inline(b, both, x), (n, count))[i])  # type: ignore[misc]
            for i, name in enumerate((both.name, f"mass matrix of {both.name}"))
        ]
        return parts[0], replace(self, sub=parts[1])

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


def mass_of(given: Any, n: int, call: Callable[[Any], Any] | None = None) -> tuple[Mass | None, Any]:
    """The mass matrix that a user gives for n unknowns, and its numbers; None for none. `call` gives the value of a
    function at the start; without it there is no matrix for a function."""
    if given is None:
        return None, None
    if is_moving(given):
        found, _ = mass_of(call(given), n) if call is not None else (None, None)
        if found is None:
            return None, None
        if found.pattern is not None:
            raise ShapeError(f"mass(t, y) must return a matrix ({n}, {n}) or its diagonal ({n},){at_line()}")
        return replace(found, function=given), None
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
    """The numbers of a matrix, which must be finite."""
    found = np.asarray(x.value if isinstance(x, Recorded) else x, float)
    if not np.all(np.isfinite(found)):
        raise ShapeError(f"mass must be finite numbers{at_line()}")
    return found


def _of_places(columns: np.ndarray, rows: np.ndarray) -> tuple[Basis, Basis]:
    """The null spaces of a matrix that has only zeros in these columns and rows, and is regular but for them."""
    if columns.sum() != rows.sum():
        raise ShapeError(f"mass has {rows.sum()} rows and {columns.sum()} columns of zeros only{at_line()}")
    return tuple(np.flatnonzero(columns).tolist()), tuple(np.flatnonzero(rows).tolist())


def _null_spaces(matrix: np.ndarray) -> tuple[Basis, Basis]:
    """Bases of the null spaces of M and Mᵀ; unit vectors where only rows and columns of zeros make it singular."""
    columns, rows = (~np.any(matrix, axis=axis) for axis in (0, 1))
    u, sizes, v = np.linalg.svd(matrix)
    null = sizes <= _SINGULAR * max(sizes.max(initial=0.0), 1e-300)
    if columns.sum() == rows.sum() == null.sum():
        return _of_places(columns, rows)
    return tuple(map(tuple, v[null].tolist())), tuple(map(tuple, u.T[null].tolist()))
