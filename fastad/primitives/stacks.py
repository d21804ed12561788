"""Matrices in derivative rules, as `Stack`: rules of factorisations read as they stand in the literature.

A stack is `batch` matrices of `rows` × `columns`, a value of the table under construction. Transposition costs nothing
where a product follows.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.primitives.regions import region

Ref = int


@dataclass(frozen=True)
class Stack:
    """A stack of matrices in a builder. With `turned`, the value holds the transposes."""

    b: Any
    ref: Ref
    batch: int
    rows: int
    columns: int
    turned: bool = False

    @property
    def T(self) -> "Stack":
        """The transposes."""
        return replace(self, rows=self.columns, columns=self.rows, turned=not self.turned)

    @property
    def plain(self) -> Ref:
        """The value, of shape (batch, rows, columns)."""
        shape = (self.batch, self.rows, self.columns)
        if not self.turned:
            return int(self.b.reshape(self.ref, shape))
        n, m = self.rows, self.columns
        return int(self.b.region(self.ref, region(0, shape, (n * m, 1, n)), shape))

    def shaped(self, shape: tuple[int, ...]) -> Ref:
        """The value in another shape."""
        return int(self.b.reshape(self.plain, shape))

    def _with(self, ref: Ref) -> "Stack":
        return Stack(self.b, ref, self.batch, self.rows, self.columns)

    # ── arithmetic ───────────────────────────────────────────────────────────────────────────────────────────
    def __matmul__(self, other: "Stack") -> "Stack":
        sizes = (self.batch, self.rows, self.columns, other.columns)
        statics = (*sizes, int(self.turned), int(other.turned), 1, 1)
        x = self.b.emit("matmul", (self.ref, other.ref), statics, (self.batch, self.rows, other.columns))
        return Stack(self.b, x, self.batch, self.rows, other.columns)

    def __add__(self, other: "Stack") -> "Stack":
        return self._with(self.b.add(self.plain, other.plain))

    def __sub__(self, other: "Stack") -> "Stack":
        return self._with(self.b.emit("subtract", (self.plain, other.plain)))

    def __neg__(self) -> "Stack":
        return self._with(self.b.emit("negative", (self.plain,)))

    def __mul__(self, other: "Stack | float") -> "Stack":
        """Element by element."""
        factor = other.plain if isinstance(other, Stack) else self.b.const(float(other))
        return self._with(self.b.multiply(self.plain, factor))

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────
    def masked(self, mask: np.ndarray) -> "Stack":
        """Element by element times one constant matrix."""
        full = region(0, (self.batch, self.rows, self.columns), (0, self.columns, 1))
        return self * self._with(self.b.region(self.b.const(mask), full, (self.batch, self.rows, self.columns)))

    def lower(self, diagonal: float = 1.0) -> "Stack":
        """The lower triangles, their diagonals times a number."""
        return self.masked(np.tril(np.ones((self.rows, self.columns)), -1) + diagonal * np.eye(self.rows, self.columns))

    def upper(self, diagonal: float = 1.0) -> "Stack":
        """The upper triangles, their diagonals times a number."""
        return self.T.lower(diagonal).T

    def block(self, rows: slice, columns: slice) -> "Stack":
        """Some neighbouring rows and columns."""
        top, bottom, _ = rows.indices(self.rows)
        left, right, _ = columns.indices(self.columns)
        if (top, left, bottom, right) == (0, 0, self.rows, self.columns):
            return self
        if self.turned:
            return self.T.block(columns, rows).T
        shape = (self.batch, bottom - top, right - left)
        start = top * self.columns + left
        own = region(start, shape, (self.rows * self.columns, self.columns, 1))
        return Stack(self.b, self.b.region(self.ref, own, shape), *shape)

    def placed(self, top: int, left: int, rows: int, columns: int) -> "Stack":
        """Larger matrices, zero but for these in them."""
        return assembled(self.b, [(self, top, left)], self.batch, rows, columns)

    def diagonal(self) -> Ref:
        """The diagonals, of shape (batch, n)."""
        n = min(self.rows, self.columns)
        own = region(0, (self.batch, n), (self.rows * self.columns, self.columns + 1))
        return int(self.b.region(self.plain, own, (self.batch, n)))

    def times_columns(self, numbers: Ref, name: str = "multiply") -> "Stack":
        """Column j times (or another operation with) number j, of (batch, columns)."""
        shape = (self.batch, self.rows, self.columns)
        spread = self.b.region(numbers, region(0, shape, (self.columns, 0, 1)), shape)
        return self._with(self.b.emit(name, (self.plain, spread)))


def stack(b: Any, ref: Ref, batch: int, rows: int, columns: int) -> Stack:
    """A value that holds matrices row by row."""
    return Stack(b, ref, batch, rows, columns)


def diagonal_stack(b: Any, numbers: Ref, batch: int, rows: int, columns: int) -> Stack:
    """Matrices that are zero but for their diagonals, of (batch, min(rows, columns))."""
    n = min(rows, columns)
    own = region(0, (batch, n), (rows * columns, columns + 1))
    x = b.assemble([b.reshape(numbers, (batch, n))], [own], (batch, rows, columns))
    return Stack(b, x, batch, rows, columns)


def unit_stack(b: Any, batch: int, rows: int, columns: int) -> Stack:
    """Matrices with ones on the diagonal."""
    shape = (batch, rows, columns)
    own = region(0, shape, (0, columns, 1))
    return Stack(b, b.region(b.const(np.eye(rows, columns)), own, shape), *shape)


def assembled(b: Any, blocks: list[tuple[Stack, int, int]], batch: int, rows: int, columns: int) -> Stack:
    """Matrices of disjoint blocks, each with its first row and column, and zeros elsewhere."""
    kept = [(x, top, left) for x, top, left in blocks if x.rows and x.columns]
    steps = (rows * columns, columns, 1)
    places = [region(top * columns + left, (batch, x.rows, x.columns), steps) for x, top, left in kept]
    return Stack(b, b.assemble([x.plain for x, _, _ in kept], places, (batch, rows, columns)), batch, rows, columns)


def packed_parts(b: Any, ref: Ref, batch: int, shapes: list[tuple[int, ...]]) -> list[Ref]:
    """The results in a value that holds several, one after another in every lane."""
    sizes = [int(np.prod(shape, dtype=int)) for shape in shapes]
    found, start = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        own = region(start, (batch, size), (sum(sizes), 1))
        found.append(b.region(ref, own, (batch, *shape)))
        start += size
    return found


def pack(b: Any, parts: list[Ref], batch: int, shape: tuple[int, ...]) -> Ref:
    """The opposite of `packed_parts`: a value of this shape."""
    sizes = [b.size(x) // max(batch, 1) for x in parts]
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    places = [region(start, (batch, size), (sum(sizes), 1)) for start, size in zip(starts, sizes, strict=True)]
    return int(b.assemble(parts, places, shape))
