"""What a factorisation needs to know of a pattern: an order of elimination, and where the factors have numbers."""

from typing import Any, NamedTuple

import numpy as np

from fastad.errors import MatrixShapeError, SingularMatrixError
from fastad.execution.machine import exported
from fastad.kernels import superlu
from fastad.primitives.sparse_values import Pattern as Parts
from fastad.recording.source import at_line
from fastad.sparse.pattern import Pattern

FILL = '''\
"""Where factors have numbers, as one C function."""
from fastad.kernels.memory import integers, types
from fastad.kernels.sparse_symbolic import find_fill

SIGNATURE = types.int64(types.int64)


def entry(program):
    return find_fill(integers(program))
'''


class Analysis(NamedTuple):
    """A pattern with an order of elimination: all parts in one array (see `fastad.primitives.sparse_values.Pattern`),
    and their sizes: n, entries, numbers of L below its diagonal, of U above it."""

    packed: np.ndarray
    sizes: tuple[int, int, int, int]


def analysis(pattern: Pattern, data: np.ndarray) -> Analysis:
    """The analysis of a square pattern, with the order of elimination that SuperLU chooses for these numbers. Those of
    another matrix only have to be as good for it as `fastad.kernels.sparse_factoring` wants them."""
    height, width = pattern.shape
    if height != width:
        shape = f"a sparse matrix of shape {pattern.shape}, which is not square"
        raise MatrixShapeError(f"splu: {shape}{at_line()}. Least squares have the matrix A.T @ A.")
    known = pattern.known("analyses", list)
    order = _order(pattern, data)
    for own, found in known:
        if all(map(np.array_equal, own, order)):
            return found
    found = _analysed(pattern, *order)
    known.append((order, found))
    del known[:-_KEPT]
    return found


_KEPT = 4  # orders of elimination that are remembered for a pattern


def _order(pattern: Pattern, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rows and columns go: SuperLU's choice for these numbers, or, if it has none, for typical ones."""
    n = pattern.shape[0]
    if n == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    numbers = np.asarray(data, float)
    if np.all(np.isfinite(numbers)):
        lu = superlu.factorisation(pattern.rows, pattern.columns, numbers, n).lu
        if lu is not None:
            return lu.perm_r.astype(np.int64), lu.perm_c.astype(np.int64)
    found: tuple[np.ndarray, np.ndarray] = pattern.known("order", lambda: _typical_order(pattern, n))
    return found


def _typical_order(pattern: Pattern, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The order for numbers of no pattern; SingularMatrixError if all matrices with the pattern are singular."""
    numbers = 1.0 + (0.6180339887498949 * np.arange(pattern.size)) % 1.0
    lu = superlu.Factorisation(pattern.rows, pattern.columns, numbers, n).lu
    if lu is None:
        raise SingularMatrixError(
            f"splu: the sparse matrix is singular whatever its numbers are: its {pattern.size} entries do not reach "
            f"every row and every column (estimated condition number inf){at_line()}. Add the missing entries."
        )
    return lu.perm_r.astype(np.int64), lu.perm_c.astype(np.int64)


def _analysed(pattern: Pattern, row_places: np.ndarray, column_places: np.ndarray) -> Analysis:
    n, (rows, columns) = pattern.shape[0], pattern.both
    i, j = row_places[rows], column_places[columns]
    entries = np.lexsort((i, j))
    starts = _bounds(j, n)
    first, lower, above, upper = _filled(n, starts, i[entries])
    parts = Parts(rows, columns, row_places, column_places, starts, entries, first, lower, above, upper,
                  _nested(first, lower))  # fmt: skip
    packed = parts.packed()
    packed.flags.writeable = False
    return Analysis(packed, (n, pattern.size, len(lower), len(upper)))


def _bounds(columns: np.ndarray, n: int) -> np.ndarray:
    """Where every column starts, and the last one ends, of sorted ones."""
    return np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=n))]).astype(np.int64)


def _filled(n: int, starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Bounds and rows of L and of U, the rows of a column in ascending order."""
    room = 8 * len(rows) + 4 * n + 64
    while True:
        bounds = np.zeros((2, n + 1), np.int64)
        found, scratch = np.empty((2, room), np.int64), np.empty(5 * n + 2, np.int64)
        arrays = (starts, np.ascontiguousarray(rows), bounds[0], bounds[1], found[0], found[1], scratch)
        program = np.array([n, len(rows), room, *(x.ctypes.data for x in arrays)], np.int64)
        if _find_fill()(program.ctypes.data) == 0:
            break
        room *= 2
    lower, upper = (_sorted(own, x[: own[-1]], n) for own, x in zip(bounds, found, strict=True))
    return bounds[0], lower, bounds[1], upper


def _find_fill() -> Any:
    import ctypes

    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(exported.address("sparse_fill", FILL))


def _sorted(bounds: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """The rows, ascending in every column."""
    columns = np.repeat(np.arange(n), np.diff(bounds))
    keys = columns * n + rows
    keys.sort()
    return keys % n if n else keys


def _nested(bounds: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How many columns from each one on have the rows of the next one, and that one itself."""
    n = len(bounds) - 1
    lengths = np.diff(bounds)
    if n == 0:
        return lengths
    nests = np.zeros(n, bool)
    nests[:-1] = lengths[:-1] == lengths[1:] + 1
    nests[nests] = rows[bounds[:-1][nests]] == np.flatnonzero(nests) + 1
    # Row p of a column that may nest stands where the next column has its row p - 1.
    inside = np.repeat(nests, lengths)
    inside[bounds[:-1][lengths > 0]] = False
    at = np.flatnonzero(inside)
    columns = np.repeat(np.arange(n), lengths)[at]
    other = rows[at + lengths[columns] - 1] != rows[at]
    nests[columns[other]] = False
    last = np.where(nests, n, np.arange(n))
    return np.minimum.accumulate(last[::-1])[::-1] - np.arange(n) + 1
