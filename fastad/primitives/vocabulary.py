"""What passes and rules say most often, in terms of rows: a builder's shorthands."""

from collections.abc import Sequence
from typing import Any

from fastad.primitives.regions import Region, contiguous_strides, region, whole
from fastad.primitives.row import opcode

Ref = int
Shape = tuple[int, ...]


class Vocabulary:
    """Shorthands for rows, over `emit` and the like of a builder (see `fastad.tables.builder.Builder`)."""

    emit: Any
    emit_elementwise: Any
    const: Any
    shape: Any
    size: Any
    definition: Any
    constants: Any
    statics_at: Any

    def add(self, first: Ref, *others: Ref) -> Ref:
        for other in others:
            first = self.emit("add", (first, other))
        return first

    def add_typed(self, x: Ref, y: Ref, number: int) -> Ref:
        """A sum of type `number`."""
        return self.emit_elementwise("add", (x, y), number)

    def multiply(self, x: Ref, y: Ref) -> Ref:
        return self.emit("multiply", (x, y))

    def beside(self, value: Ref, near: Ref) -> Ref:
        """One value, with the derivative of another."""
        return value if value == near else self.emit("beside", (value, near))

    def truth(self, x: Ref) -> Ref:
        """Whether a number is not 0."""
        return self.emit("not_equal", (x, self.const(0.0)))

    def subtract(self, x: Ref, y: Ref) -> Ref:
        return self.emit("subtract", (x, y))

    def ones_where_equal(self, x: Ref, y: Ref, dtype: str) -> Ref:
        """1 where two arrays of one shape are equal, else 0."""
        condition = self.emit("equal", (x, y))
        return self.emit("where", (condition, self.const(1.0), self.const(0.0)), shape=self.shape(x), dtype=dtype)

    def taken(self, x: Ref, places: Any) -> Ref:
        """The elements of a vector at places that are known now."""
        return self.emit("gather", (x, self.const(places)), (1,), (len(places),))

    def numbers(self, ref: Ref) -> list[float] | None:
        """The elements of a constant; None if it is none."""
        op, start, _, _ = self.definition(ref)
        return list(self.constants[start : start + self.size(ref)]) if op == opcode("const") else None

    def running_sums(self, x: Ref, goes_on: Any) -> Ref:
        """Sums of a vector's elements up to each, from the last element on where `goes_on` is 0, and not 1."""
        n = self.size(x)
        return self.emit("linrec", (self.const(goes_on), x), (1, n, 1, 0), (n,))

    def zeros(self, shape: Shape) -> Ref:
        return self.broadcast(self.const(0.0), shape)

    def region(self, ref: Ref, own: Region, shape: Shape, dtype: str | None = None) -> Ref:
        """The elements of a region, as an array of this shape."""
        return self.emit("strided", (ref,), own, tuple(shape), dtype)

    def cast(self, ref: Ref, shape: Shape, dtype: str) -> Ref:
        """The same elements in order, in another shape and dtype."""
        return self.region(ref, whole(self.size(ref)), shape, dtype)

    def reshape(self, ref: Ref, shape: Shape) -> Ref:
        """The same elements in order, in another shape."""
        if self.shape(ref) == tuple(shape):
            return ref
        return self.region(ref, whole(self.size(ref)), shape)

    def broadcast(self, ref: Ref, shape: Shape) -> Ref:
        """NumPy's broadcast_to."""
        own = self.shape(ref)
        if own == tuple(shape):
            return ref
        # A number may come in more dimensions than it goes to.
        pad = (1,) * (len(shape) - len(own)) + own if self.size(ref) != 1 else (1,) * len(shape)
        strides = tuple(0 if n == 1 else s for n, s in zip(pad, contiguous_strides(pad), strict=True))
        return self.region(ref, region(0, tuple(shape), strides), shape)

    def total(self, ref: Ref, shape: Shape) -> Ref:
        """The sum of all elements, as an array of one element."""
        return self.emit("sum", (ref,), (1, self.size(ref), 1), shape)

    def assemble(self, operands: Sequence[Ref], regions: Sequence[Region], shape: Shape) -> Ref:
        """Pieces written into zeros; the pieces are disjoint, unless the first one covers everything."""
        statics = [i for r in regions for i in ((len(r) - 1) // 2, *r)]
        return self.emit("assemble", operands, statics, shape)

    def matrix_product(self, x: Ref, y: Ref, sizes: tuple[int, ...], shape: Shape, dtype: str) -> Ref:
        """The product of stacks of matrices; `sizes` are those of `matmul`'s static integers, without its flags for
        transposes: stack, rows, inner size, columns, whether x and y are stacks.

        A transposed view is a `strided` row. It is skipped: `matmul` reads its operand and has a flag for that.
        """
        batch, m, k, n, sx, sy = sizes
        x, tx = self._untransposed(x, batch if sx else 1, m, k)
        y, ty = self._untransposed(y, batch if sy else 1, k, n)
        if sx and not sy and not tx:  # y is the same for all: one product with the stacked rows of x
            return self.emit("matmul", (x, y), (1, batch * m, k, n, tx, ty, 1, 1), shape, dtype)
        return self.emit("matmul", (x, y), (batch, m, k, n, tx, ty, sx, sy), shape, dtype)

    def _untransposed(self, ref: Ref, batch: int, m: int, k: int) -> tuple[Ref, int]:
        """(row that holds a stack of matrices, 1 if it holds them transposed, else 0)."""
        op, source, _, c = self.definition(ref)
        if op != opcode("strided") or m == 1 or k == 1 or self.size(source) != self.size(ref):
            return ref, 0
        return (source, 1) if self.statics_at(c) == region(0, (batch, m, k), (m * k, 1, m)) else (ref, 0)
