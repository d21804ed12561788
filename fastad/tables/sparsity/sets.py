"""Sets of inputs for the elements of vectors: a pool that grows, and the operations that patterns are made of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastad.calling import CalledKernel
from fastad.kernels.pattern_fields import NO_ROOM, SETS, Pool, Rows

_SWEEP, _UNITE, _PRODUCT, _RUNNING, _FILL, _BUCKET = (
    CalledKernel("patterns", name) for name in ("sweep", "unite", "product", "running", "fill", "bucket")
)
Ids = np.ndarray  # int32: the number of a set for each element of a vector


class Structure(NamedTuple):
    """The pattern of a matrix as CSR has it (int64 `indptr`, int32 `indices`, sorted), and its number of columns."""

    indptr: np.ndarray
    indices: np.ndarray
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.indptr) - 1, self.columns

    def equals(self, other: "Structure") -> bool:
        """Whether both have the same elements."""
        same = self.shape == other.shape and np.array_equal(self.indptr, other.indptr)
        return same and np.array_equal(self.indices, other.indices)

    def rows(self) -> np.ndarray:
        """The row of each element."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int64), np.diff(self.indptr))

    def symmetric(self) -> "Structure":
        """The elements (i, j) of which (j, i) is one too."""
        n, other = self.columns, self.transposed()
        if self.equals(other):
            return self
        own, mirrored = (x.rows() * n + x.indices for x in (self, other))  # ascending
        places = np.minimum(np.searchsorted(mirrored, own), max(len(mirrored) - 1, 0))
        kept = mirrored[places] == own
        ends = np.concatenate([[0], np.cumsum(kept)])[self.indptr]
        return Structure(ends, self.indices[kept], n)

    def chosen(self, low: int, high: int) -> "Structure":
        """The columns from `low` on, before `high`."""
        kept = (self.indices >= low) & (self.indices < high)
        ends = np.concatenate([[0], np.cumsum(kept)])[self.indptr]
        return Structure(ends, (self.indices[kept] - low).astype(np.int32), high - low)

    def of_rows(self, chosen: np.ndarray) -> "Structure":
        """Only the elements of the rows that are chosen (bool); the others are empty."""
        lengths = np.where(chosen, np.diff(self.indptr), 0)
        kept = np.repeat(chosen, np.diff(self.indptr))
        return Structure(np.concatenate([[0], np.cumsum(lengths)]), self.indices[kept], self.columns)

    def transposed(self) -> "Structure":
        """The pattern of the transpose."""
        indptr, members = grouped(self.indices, self.columns)
        return Structure(indptr, self.rows().astype(np.int32)[members], len(self.indptr) - 1)

    def repeated(self, count: int) -> "Structure":
        """A block diagonal of so many copies."""
        rows, n = self.shape
        shifts = np.repeat(np.arange(count, dtype=np.int32) * n, len(self.indices))
        starts = np.arange(count, dtype=np.int64)[:, None] * len(self.indices) + self.indptr[:rows]
        indptr = np.append(starts.reshape(-1), count * len(self.indices))
        return Structure(indptr, np.tile(self.indices, count) + shifts, count * n)

    @staticmethod
    def blocks(shape: tuple[int, int], blocks: Sequence[tuple[int, int, int, int]]) -> "Structure":
        """Dense blocks (first row, rows, first column, columns) of a matrix, which do not overlap."""
        found = np.zeros(shape, bool)
        for i, rows, j, columns in blocks:
            found[i : i + rows, j : j + columns] = True
        ends = np.append(0, np.cumsum(np.count_nonzero(found, axis=1)))
        return Structure(ends, np.nonzero(found)[1].astype(np.int32), shape[1])

    def interleaved(self, count: int) -> "Structure":
        """So many copies, each element next to its copies: copies of element i stand at i count + 0, 1, …"""
        lengths = np.repeat(np.diff(self.indptr), count)
        parts = np.split(self.indices, self.indptr[1:-1]) if len(self.indptr) > 1 else []
        shifts = np.arange(count, dtype=np.int32)[:, None]
        moved = [(part[None, :] * count + shifts).reshape(-1) for part in parts]
        indices = np.concatenate([np.zeros(0, np.int32), *moved]).astype(np.int32)
        return Structure(np.append(0, np.cumsum(lengths)), indices, count * self.columns)

    @staticmethod
    def dense(rows: int, columns: int) -> "Structure":
        """Everything depends on everything."""
        indices = np.tile(np.arange(columns, dtype=np.int32), rows)
        return Structure(np.arange(rows + 1, dtype=np.int64) * columns, indices, columns)


class Sets:
    """Sets of integers below `count`; set 0 is empty."""

    def __init__(self, count: int) -> None:
        self.count = count
        state = np.array([1, 0, count], np.int64)
        starts = np.empty(8 * count + 1024, np.int64)
        starts[:2] = 0
        self.pool = Pool(np.empty(16 * count + 1024, np.int32), starts, np.zeros(count, np.int64), state)

    def singles(self) -> Ids:
        """The sets {0}, {1}, …"""
        start = int(self.pool.state[SETS])
        self._reserve(self.count, self.count)
        begin = int(self.pool.starts[start])
        self.pool.items[begin : begin + self.count] = np.arange(self.count, dtype=np.int32)
        self.pool.starts[start : start + self.count + 1] = begin + np.arange(self.count + 1)
        self.pool.state[SETS] = start + self.count
        return np.arange(start, start + self.count, dtype=np.int32)

    # ── operations ───────────────────────────────────────────────────────────────────────────────────────────
    def either(self, x: Ids, y: Ids) -> Ids:
        """x or y, element by element."""
        return self._made(_UNITE, len(x), x, y)

    def through(self, structure: Structure, x: Ids) -> Ids:
        """The sets of a function with this Jacobian, for arguments with the sets x."""
        return self._made(_PRODUCT, len(structure.indptr) - 1, structure.indptr, structure.indices, x)

    def together(self, x: Ids, labels: np.ndarray, count: int) -> Ids:
        """For each label, the union over the elements that have it."""
        return self._made(_PRODUCT, count, *grouped(labels, count), x)

    def joined(self, x: Ids) -> Ids:
        """The union of all elements, as one set."""
        return self.together(x, np.zeros(len(x), np.int64), 1)

    def running(self, x: Ids, middle: tuple[int, int, int], backward: bool) -> Ids:
        """The unions along the middle axis of (outer, n, inner), from its start on or from its end."""
        return self._made(_RUNNING, len(x), x, *middle, bool(backward))

    def rows(self, ids: Ids) -> Structure:
        """The matrix whose rows are these sets."""
        ids = np.ascontiguousarray(ids)
        starts = self.pool.starts
        indptr = np.append(0, np.cumsum(starts[ids + 1] - starts[ids]))
        indices = np.empty(indptr[-1], np.int32)
        _FILL(self.pool, ids, indptr, indices, np.zeros(self.count + 1, np.int64), np.empty_like(indices))
        return Structure(indptr, indices, self.count)

    def sweep(self, rows: Rows, row: int) -> int:
        """Do the rows of a table from `row` on; returns the first that needs a rule of its own."""
        while True:
            row = _SWEEP(self.pool, rows, row)
            if row >= 0:
                return row
            row = -1 - row
            self.grow()

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────
    def _made(self, kernel: Any, size: int, *operands: Any) -> Ids:
        out = np.empty(size, np.int32)
        given = [np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x for x in operands]
        while kernel(self.pool, out, *given) == NO_ROOM:
            self.grow()
        return out

    def grow(self) -> None:
        """Twice as much room."""
        self._reserve(len(self.pool.items), len(self.pool.starts))

    def _reserve(self, members: int, more: int) -> None:
        items, starts, marks, state = self.pool
        count = int(state[SETS])
        used = int(starts[count])
        if used + members > len(items):
            items = np.concatenate([items[:used], np.empty(used + 2 * members, np.int32)])
        if count + more + 1 > len(starts):
            starts = np.concatenate([starts[: count + 1], np.empty(count + 2 * more, np.int64)])
        self.pool = Pool(items, starts, marks, state)


def grouped(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of each label below `count`, in order: members[indptr[l]:indptr[l + 1]]."""
    indptr, members = np.zeros(count + 1, np.int64), np.empty(len(labels), np.int32)
    _BUCKET(indptr, members, np.asarray(labels, np.int32))
    return indptr, members
