"""Sparse matrices from diagonals and from blocks, as SciPy's functions of these names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.source import at_line
from fastad.sparse.arrays import SparseArray, as_sparse, coo_array
from fastad.sparse.pattern import Pattern


def _vector(x: Any) -> Any:
    x = as_recorded(x) if is_recorded(x) else np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(float)


def diags(diagonals: Any, offsets: Any = 0, shape: Any = None) -> Any:
    """The matrix with these numbers on diagonals, as scipy.sparse.diags_array.

    Parameters
    ----------
    diagonals : one vector, or a list of vectors (or numbers, which fill their diagonal where a shape is given).
    offsets : which diagonal each of them is: k above the main one, -k below.
    shape : (n, m); without, the smallest square that holds the first diagonal.

    >>> import numpy as np, fastad as fad
    >>> fad.sparse.diags([[1.0, 2.0], -1.0], [0, 1], shape=(2, 2)).toarray().tolist()
    [[1.0, -1.0], [0.0, 2.0]]
    """
    single = np.ndim(offsets) == 0
    numbers = [_vector(x) for x in ([diagonals] if single else diagonals)]
    places = [int(k) for k in np.atleast_1d(offsets)]
    if len(numbers) != len(places) or not places:
        raise ShapeError(f"diags: {len(numbers)} diagonals and {len(places)} offsets{at_line()}. Give one of each.")
    if shape is None:
        size = numbers[0].size + abs(places[0])
        shape = (size, size)
    rows, columns, data = [], [], []
    for x, k in zip(numbers, places, strict=True):
        length = max(min(shape[0] + min(k, 0), shape[1] - max(k, 0)), 0)
        if x.size not in (1, length):
            fix = f"Give {length} numbers, or a single one."
            raise ShapeError(f"diags: {x.size} numbers on diagonal {k} of a {shape} matrix{at_line()}. {fix}")
        along = np.arange(length)
        rows.append(along - min(k, 0))
        columns.append(along + max(k, 0))
        data.append(np.broadcast_to(x.reshape(-1), (length,)) if x.size == 1 else x)
    pattern = Pattern.of(np.concatenate(rows), np.concatenate(columns), shape)
    return coo_array._made(np.concatenate(data), pattern)


def eye(n: int, m: int | None = None, k: int = 0) -> Any:
    """Ones on diagonal k of an (n, m) matrix (m: n), as scipy.sparse.eye_array.

    >>> import fastad as fad
    >>> fad.sparse.eye(2).toarray().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return diags([np.ones(1)], [k], (n, n if m is None else m))


def kron(A: Any, B: Any) -> Any:
    """The Kronecker product: every number of A times B, as scipy.sparse.kron.

    >>> import numpy as np, fastad as fad
    >>> fad.sparse.kron(fad.sparse.eye(2), fad.sparse.diags([np.ones(1)], [1], (2, 2))).toarray()[0].tolist()
    [0.0, 1.0, 0.0, 0.0]
    """
    a, b = _matrix(A), _matrix(B)

    def find() -> Pattern:
        (ai, aj), (bi, bj), (height, width) = a.pattern.both, b.pattern.both, b.shape
        rows, columns = np.add.outer(ai * height, bi), np.add.outer(aj * width, bj)
        return Pattern.of(rows.reshape(-1), columns.reshape(-1), (a.shape[0] * height, a.shape[1] * width))

    pattern = a.pattern.known(("kron", b.pattern), find)
    data = a.data.reshape(-1, 1) * b.data.reshape(1, -1)
    return coo_array._made(data.reshape(-1), pattern)


def block_array(blocks: Any) -> Any:
    """A matrix of blocks, rows of them in a list, as scipy.sparse.block_array; None is a block of zeros.

    >>> import numpy as np, fastad as fad
    >>> I = fad.sparse.eye(1)
    >>> fad.sparse.block_array([[I, 2 * I], [None, I]]).toarray().tolist()
    [[1.0, 2.0], [0.0, 1.0]]
    """
    grid = [[None if x is None else _matrix(x) for x in row] for row in blocks]
    if not grid or len({len(row) for row in grid}) != 1:
        raise ShapeError(f"block_array: rows of different numbers of blocks{at_line()}. Put None where there is none.")
    heights = [_common(row, 0) for row in grid]
    widths = [_common(column, 1) for column in zip(*grid, strict=True)]
    top, left = np.cumsum([0, *heights]), np.cumsum([0, *widths])
    found = [(x, top[i], left[j]) for i, row in enumerate(grid) for j, x in enumerate(row) if x is not None]
    rows = np.concatenate([np.zeros(0, np.int64), *[x.row + i for x, i, _ in found]])
    columns = np.concatenate([np.zeros(0, np.int64), *[x.col + j for x, _, j in found]])
    data = np.concatenate([x.data for x, *_ in found]) if found else np.zeros(0)
    return coo_array._made(data, Pattern.of(rows, columns, (top[-1], left[-1])))


bmat = block_array


def vstack(blocks: Sequence[Any]) -> Any:
    """Matrices one above the other, as scipy.sparse.vstack."""
    return block_array([[x] for x in blocks])


def hstack(blocks: Sequence[Any]) -> Any:
    """Matrices side by side, as scipy.sparse.hstack."""
    return block_array([list(blocks)])


def _common(blocks: Any, axis: int) -> int:
    sizes = {x.shape[axis] for x in blocks if x is not None}
    if len(sizes) != 1:
        what = ("rows", "columns")[axis]
        raise ShapeError(f"block_array: blocks with {sorted(sizes)} {what} side by side{at_line()}. Make them equal.")
    return int(sizes.pop())


def _matrix(x: Any) -> SparseArray:
    """A block as a sparse matrix; dense ones have all of their numbers as entries."""
    x = as_sparse(x)
    if isinstance(x, SparseArray):
        return x
    dense = _vector(x)
    if dense.ndim != 2:
        raise ShapeError(f"a block of shape {dense.shape}{at_line()}. Give it two axes.")
    rows, columns = np.divmod(np.arange(dense.size), max(dense.shape[1], 1))
    found: SparseArray = coo_array._made(dense.reshape(-1), Pattern.of(rows, columns, dense.shape))
    return found
