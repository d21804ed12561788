"""Matrix products of small matrices as loops; larger ones are BLAS' business.

A tile of the result, some rows by some SIMD vectors, stays in registers while the inner dimension runs: every step
loads the vectors of one row of Y and multiplies them by single numbers of X. A transposed Y is copied first. Products
of equal sizes share a function, and what is in it does not grow with the sizes.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastad.execution.native.code.calls import CallCode
from fastad.execution.native.code.function import Function
from fastad.execution.native.code.operations import Block, Module
from fastad.execution.native.code.vectors import Variant, lanes, load_vector, store_vector
from fastad.execution.native.planning.memory import Memory
from fastad.execution.native.target import target

_LARGEST = 8192  # elements of Y: beyond, BLAS is faster, unless one tile is all of the result
_REGISTERS = {8: 24, 4: 12, 2: 12, 1: 16}  # vectors of a tile by lanes of a vector
_VECTORS = 4  # of a tile's row
_FLAT = 16  # inner dimension up to which the result is written row by row: then that is most of the work


@dataclass(frozen=True)
class Product:
    """A product in its simplest form: which operand comes first, and its static integers."""

    swapped: bool
    statics: tuple[int, ...]

    @property
    def is_small(self) -> bool:
        _, m, k, n, _, tb, _, _ = self.statics
        if not target().blas:
            return m > 0 and n > 0 and k > 0
        if n < 2 or not k or m < (8 if tb else 2):
            return False
        return k * n <= _LARGEST or (not tb and n <= lanes() * _VECTORS and m <= _rows(n, lanes()))


def _rows(columns: int, width: int) -> int:
    """Rows of a tile with so many columns."""
    return _REGISTERS[width] // -(-columns // width)


def simplest(statics: Any) -> Product:
    """A batch of products that share a matrix, as one product where possible."""
    batch, m, k, n, ta, tb, sx, sy = statics
    if batch > 1 and sx and not sy and (m == 1 or not ta):  # rows times one matrix
        return Product(False, (1, batch * m, k, n, 0, tb, 1, 1))
    if batch > 1 and sy and not sx and n == 1:  # one matrix times vectors: the vectors are rows of a matrix
        return Product(True, (1, batch, k, m, 0, 1 - ta, 1, 1))
    return Product(False, tuple(statics))


class ProductText:
    """The text of a function of (x, y, out) for a small matrix product in its simplest form, and what it declares."""

    def __init__(self, statics: tuple[int, ...]) -> None:
        self.module, self.width = Module(), lanes()
        self.entry = Block(self.module)
        self.batch, m, k, n, self.turned, self.other_turned, self.own, self.other = statics
        self.sizes, self.steps = (m, k, n), ((1, m) if self.turned else (k, 1))
        self.text, self.declarations = self._text(), self.module.declarations

    def _text(self) -> str:
        m, k, n = self.sizes
        copy = self.entry.emit(f"alloca [{k * n} x double], align 64") if self.other_turned else ""

        def product(index: str) -> list[str]:
            block = Block(self.module)
            steps = ("%x", self.own * m * k), ("%y", self.other * k * n), ("%out", m * n)
            x, y, out = (self._at(block, pointer, index, step) for pointer, step in steps)
            lines = block.lines
            if copy and self.other:
                lines = [*lines, *self._transpose(y, copy)]
            return [*lines, *self._tiles(x, copy or y, out)]

        body = self._transpose("%y", copy) if copy and not self.other else []
        body += self._loop(self.batch, 1, product)
        parameters = "ptr noalias readonly %x, ptr noalias readonly %y, ptr noalias %out"
        return "\n".join([parameters, "entry:", *self.entry.lines, *body, "  ret i64 0"])

    def _at(self, block: Block, pointer: str, index: str, step: int) -> str:
        if not step or index == "0":
            return pointer
        return block.emit(f"getelementptr double, ptr {pointer}, i64 {block.emit(f'mul nsw i64 {index}, {step}')}")

    def _loop(self, n: int, step: int, body: Any) -> list[str]:
        """`body(index)` for 0, step, … below n; `n` is a multiple of `step`."""
        if n <= step:
            return body("0") if n else []
        name = next(self.module.names)
        i = f"%i{name}"
        inside = body(i)
        return [
            f"  br label %before{name}", f"before{name}:", f"  br label %loop{name}", f"loop{name}:",
            f"  {i} = phi i64 [ 0, %before{name} ], [ {i}.next, %latch{name} ]", *inside,
            f"  br label %latch{name}", f"latch{name}:", f"  {i}.next = add nuw nsw i64 {i}, {step}",
            f"  {i}.more = icmp ult i64 {i}.next, {n}", f"  br i1 {i}.more, label %loop{name}, label %after{name}",
            f"after{name}:",
        ]  # fmt: skip

    def _transpose(self, source: str, target: str) -> list[str]:
        """(n, k) at the source to (k, n) at the target."""
        _, k, n = self.sizes

        def element(j: str, p: str) -> list[str]:
            block = Block(self.module)
            x = block.emit(f"load double, ptr {self._at(block, self._at(block, source, j, k), p, 1)}")
            block.do(f"store double {x}, ptr {self._at(block, self._at(block, target, p, n), j, 1)}")
            return block.lines

        return self._loop(n, 1, lambda j: self._loop(k, 1, lambda p: element(j, p)))

    # ── tiles ────────────────────────────────────────────────────────────────────────────────────────────────
    def _tiles(self, x: str, y: str, out: str) -> list[str]:
        """All tiles, in columns of tiles; where little is to be done for an element, in rows of them."""
        _, k, n = self.sizes
        if k > _FLAT:
            return self._across(lambda j, count: self._down(
                _rows(count, self.width), lambda i, rows: self._placed((x, y, out), (i, rows), (j, count))
            ))  # fmt: skip
        return self._down(_rows(min(n, self.width * _VECTORS), self.width), lambda i, rows: self._across(
            lambda j, count: self._placed((x, y, out), (i, rows), (j, count))
        ))  # fmt: skip

    def _across(self, body: Callable[[str, int], list[str]]) -> list[str]:
        """`body(first column, columns)` for the columns of all tiles."""
        return self._parts(self.sizes[2], self.width * _VECTORS, body)

    def _down(self, rows: int, body: Callable[[str, int], list[str]]) -> list[str]:
        """`body(first row, rows)` for the rows of all tiles."""
        return self._parts(self.sizes[0], rows, body)

    def _parts(self, n: int, step: int, body: Callable[[str, int], list[str]]) -> list[str]:
        """`body(first, count)` for parts of n: whole ones of `step`, in a loop, and what is left."""
        whole = n - n % step
        lines = self._loop(whole, step, lambda i: body(i, step))
        return [*lines, *(body(str(whole), n - whole) if whole < n else [])]

    def _placed(self, arrays: tuple[str, str, str], rows: tuple[str, int], columns: tuple[str, int]) -> list[str]:
        """The tile of these rows and columns: first one and number."""
        x, y, out = arrays
        before = Block(self.module)
        y, out = (self._at(before, pointer, columns[0], 1) for pointer in (y, out))
        return [*before.lines, *self._tile((x, y, out), *rows, columns[1])]

    def _tile(self, arrays: tuple[str, str, str], i: str, rows: int, count: int) -> list[str]:
        """Rows i, …, i + rows - 1 and the first `count` columns of the result."""
        x, y, out = arrays
        _, k, n = self.sizes
        down, across = self.steps
        starts = list(range(0, count, self.width))
        sums = {(r, s): f"%t{next(self.module.names)}" for r in range(rows) for s in starts}
        kind = Block(self.module, self.width).type
        self.entry.lines[:0] = [f"  {name} = alloca {kind}" for name in sums.values()]
        before = Block(self.module)
        x = self._at(before, x, i, down)
        for name in sums.values():
            before.do(f"store {kind} zeroinitializer, ptr {name}")

        def step(p: str) -> list[str]:
            scalar = Block(self.module)
            vector = self._variant(scalar, count, 0)
            xp = self._at(scalar, x, p, across)
            yp = self._at(scalar, y, p, n)
            rows_of_y = {
                s: load_vector(self._variant(scalar, count, s), _plus(scalar, yp, s), 1) for s in starts
            }
            for r in range(rows):
                number = scalar.emit(f"load double, ptr {_plus(scalar, xp, r * down)}")
                spread = scalar.widen(number, vector.block)
                for s in starts:
                    total = vector.block.emit(f"load {kind}, ptr {sums[r, s]}")
                    more = vector.block.apply("add", total, vector.block.apply("multiply", spread, rows_of_y[s]))
                    vector.block.do(f"store {kind} {more}, ptr {sums[r, s]}")
            return scalar.lines

        after = Block(self.module)
        target = self._at(after, out, i, n)
        for (r, s), name in sums.items():
            v = self._variant(after, count, s)
            store_vector(v, v.block.emit(f"load {kind}, ptr {name}"), _plus(after, target, r * n + s))
        return [*before.lines, *self._loop(k, 1, step), *after.lines]

    def _variant(self, block: Block, count: int, start: int) -> Variant:
        """Vector code that goes to the lines of a block, for the vector of a tile's row that starts there."""
        vector = Block(self.module, self.width)
        vector.lines = block.lines
        active = min(count - start, self.width)
        return Variant(vector, "0", 0, active if active < self.width else 0)


def _plus(block: Block, pointer: str, offset: int) -> str:
    return block.emit(f"getelementptr double, ptr {pointer}, i64 {offset}") if offset else pointer


@functools.cache
def _text_of(statics: tuple[int, ...], width: int) -> ProductText:
    """The text for vectors of so many numbers."""
    return ProductText(statics)


class ProductCode(Function):
    """The function of a small matrix product."""

    shared = True

    def __init__(self, module: Module, memory: Memory, operands: Sequence[int], statics: tuple[int, ...]) -> None:
        super().__init__(module, memory)
        self._known = _text_of(statics, lanes())
        self._places = [memory.place(x) for x in operands]

    def caller(self) -> Function:
        self.module.declarations |= self._known.declarations
        return self.calling(self._known.text, self._places)


def product_code(module: Module, memory: Memory, row: Any) -> Function | None:
    """The code of a matrix product: loops if it is small, else its kernel on the simplest form."""
    form = simplest(row.statics)
    operands = row.operands[::-1] if form.swapped else row.operands
    if form.is_small:
        return ProductCode(module, memory, (*operands, row.index), form.statics)
    if not row.size or not row.statics[2]:
        return None
    return CallCode(module.main, memory).call(row, operands, form.statics)
