"""Derivation and batching rules of the array rows; each emits rows with the builder it is given.

Tangent rules return the tangent of the result, adjoint rules one contribution an operand: a reference, None for
zero, or a `Piece`, or a list of these, that concern regions of the operand only. Sources: Giles (2008), "Collected
matrix derivative results for forward and reverse mode"; Griewank & Walther (2008), "Evaluating Derivatives", chapters 3
and 6.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.primitives.regions import (
    Region,
    batched,
    contiguous_strides,
    inverse,
    is_injective,
    parts,
    region,
    split_broadcast,
    whole,
)
from fastad.primitives.row import PRIMITIVES

Ref = int


@dataclass(frozen=True)
class Piece:
    """An adjoint contribution to one region of an operand; the rest of the contribution is zero."""

    ref: Ref
    region: Region


@dataclass(frozen=True)
class Scattered:
    """An adjoint contribution to blocks of `inner` elements at the places `index`; the rest of it is zero."""

    ref: Ref
    index: Ref
    inner: int

    def onto(self, b: Any, x: Ref | None, shape: tuple[int, ...]) -> Ref:
        """The sum with x, which plans add to where it lies; x may be None, for zero."""
        if x is None:
            return int(b.emit("scatter_add", (self.ref, self.index), (self.inner,), shape))
        return int(b.emit("add_blocks", (b.reshape(x, shape), self.ref, self.index), (self.inner,), shape))


_ADDED = 32  # elements up to which contributions are added as arrays
_FEW = 8  # places that are known, up to which what is gathered from them is added one by one


# ── tangents ──────────────────────────────────────────────────────────────────────────────────────────────────
def tangent_multilinear(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref | None:
    """A row that is linear in each of some operands, the others fixed: one term for each that moves."""
    terms = []
    for k in row.primitive.linear:
        if tangents[k] is not None:
            moved = (*operands[:k], tangents[k], *operands[k + 1 :])
            terms.append(b.emit(row.name, moved, row.statics, row.shape))
    return b.add(*terms) if terms else None


def tangent_assemble(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    filled = [b.zeros(b.shape(x)) if t is None else t for x, t in zip(operands, tangents, strict=True)]
    return b.emit("assemble", filled, row.statics, row.shape)


def tangent_extremum(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    mask, count = _ties(b, row, operands[0], result)
    total = b.emit("sum", (b.emit("multiply", (mask, tangents[0])),), row.statics, row.shape)
    return b.emit("divide", (total, count))


def tangent_linrec(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    x, _ = operands
    dx, dy = tangents
    forcing = [dy] if dy is not None else []
    if dx is not None:
        forcing.append(b.emit("multiply", (dx, _shift(b, result, row.statics, not row.statics[3]))))
    return b.emit("linrec", (x, b.add(*forcing)), row.statics, row.shape)


# ── adjoints ──────────────────────────────────────────────────────────────────────────────────────────────────
def adjoint_strided(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    (x,) = operands
    sums, rest = split_broadcast(row.statics)
    for outer, n, inner in sums:
        u = _summed(b, u, outer, n, inner)
    u = b.reshape(u, parts(rest)[1])
    back = inverse(rest, b.size(x))
    if back is not None:
        return [b.emit("strided", (u,), back, b.shape(x))]
    if is_injective(rest):
        return [Piece(u, rest)]
    return [b.emit("strided_add", (u,), rest, b.shape(x))]


def adjoint_strided_add(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    return [b.emit("strided", (u,), row.statics, b.shape(operands[0]))]


def adjoint_sum(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    return [_spread(b, u, row.statics, b.shape(operands[0]))]


def adjoint_extremum(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    (x,) = operands
    mask, count = _ties(b, row, x, result)
    share = _spread(b, b.emit("divide", (u, count)), row.statics, b.shape(x))
    return [b.emit("multiply", (mask, share))]


def adjoint_cumsum(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    outer, n, inner, reverse = row.statics
    return [b.emit("cumsum", (u,), (outer, n, inner, 1 - reverse), row.shape)]


def adjoint_linrec(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    outer, n, inner, reverse = row.statics
    x, _ = operands
    coefficients = _shift(b, x, row.statics, bool(reverse))
    r = b.emit("linrec", (coefficients, u), (outer, n, inner, 1 - reverse), row.shape)
    previous = _shift(b, result, row.statics, not reverse)
    return [b.emit("multiply", (r, previous)), r]


def adjoint_matmul(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    x, y = operands
    batch, m, k, n, ta, tb, sx, sy = row.statics
    if ta:
        xb = _product(b, (y, u), (batch, k, n, m, tb, 1, sy, 1))
    else:
        xb = _product(b, (u, y), (batch, m, n, k, 0, 1 - tb, 1, sy))
    if tb:
        yb = _product(b, (u, x), (batch, n, m, k, 1, ta, 1, sx))
    else:
        yb = _product(b, (x, u), (batch, k, m, n, 1 - ta, 0, sx, 1))
    return [fold_batch(b, xb, batch, sx, b.shape(x)), fold_batch(b, yb, batch, sy, b.shape(y))]


def adjoint_gather(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    x, y = operands
    if (pieces := _known_pieces(b, u, y, row.statics[0], b.size(x))) is not None:
        return [pieces, None]
    if b.size(x) > _ADDED and y != x:
        return [Scattered(u, y, row.statics[0]), None]
    return [b.emit("scatter_add", (u, y), row.statics, b.shape(x)), None]


def _known_pieces(b: Any, u: Ref, y: Ref, inner: int, size: int) -> list[Piece] | None:
    """Few blocks at places that are known, each for itself: what is added to one place is added in registers then."""
    if b.size(y) > _FEW or (places := b.numbers(y)) is None or not all(0 <= k < size // inner for k in places):
        return None
    one = (inner,) if inner > 1 else ()
    own = [region(i * inner, one, (1,) * len(one)) for i in range(len(places))]
    to = [region(int(k) * inner, one, (1,) * len(one)) for k in places]
    return [Piece(b.region(u, here, one), there) for here, there in zip(own, to, strict=True)]


def adjoint_scatter_add(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    x, y = operands
    return [b.emit("gather", (u, y), row.statics, b.shape(x)), None]


def adjoint_assemble(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    regions = row.regions
    found = [b.emit("strided", (u,), r, b.shape(x)) for x, r in zip(operands[1:], regions[1:], strict=True)]
    rest = u
    if len(operands) > 1 and b.size(operands[0]) == b.size(u):
        zeros = [b.zeros(b.shape(x)) for x in operands[1:]]
        rest = b.assemble([u, *zeros], [(0, b.size(u), 1), *regions[1:]], row.shape)
    return [b.emit("strided", (rest,), regions[0], b.shape(operands[0])), *found] if operands else []


# ── composite rows ────────────────────────────────────────────────────────────────────────────────────────────
def adjoint_call(b: Any, row: Any, operands: Any, result: Ref, u: Ref, wanted: Any = None) -> list[Any]:
    """`wanted`: a function that says for each element of the operand whether its adjoint is wanted."""
    x, saved = operands[0], b.saved.get(result)
    flat = b.reshape(x, (b.size(x),))
    if wanted is None:
        bar = row.sub.emit_adjoint(b, flat, u, saved)
    else:
        bar = row.sub.emit_adjoint_where(b, flat, u, saved, wanted)
    return [b.reshape(bar, b.shape(x)), None]


def batch_call(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    x, saved = (lead(b, v, f, size) for v, f in zip(operands, flags, strict=True))
    given = b.reshape(saved, (b.size(saved),)) if row.sub.n_saved else None
    out = row.sub.emit_batched(b, b.reshape(x, (b.size(x),)), size, given)
    return b.reshape(out, (size, *row.shape))


# ── batching: the row over a leading axis ─────────────────────────────────────────────────────────────────────
def batch_strided(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    step = b.size(operands[0]) // size
    return b.emit("strided", operands, batched(row.statics, size, step), (size, *row.shape), row.dtype)


def batch_strided_add(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    return b.emit("strided_add", operands, batched(row.statics, size, math.prod(row.shape)), (size, *row.shape))


def batch_middle(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    outer, *rest = row.statics
    full = [lead(b, x, f, size) for x, f in zip(operands, flags, strict=True)]
    return b.emit(row.name, full, (size * outer, *rest), (size, *row.shape))


def batch_same(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    return b.emit(row.name, operands, row.statics, (size, *row.shape))


def batch_matmul(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, m, k, n, ta, tb, sx, sy = row.statics
    shape = (size, *row.shape)
    x, y = operands
    if batch == 1:
        if not flags[1] and not ta:  # one product of taller matrices
            return b.emit("matmul", (x, y), (1, size * m, k, n, ta, tb, 1, 1), shape)
        return b.emit("matmul", (x, y), (size, m, k, n, ta, tb, int(flags[0]), int(flags[1])), shape)
    x = repeat_matrix(b, x, flags[0], size, batch, m * k, sx)
    y = repeat_matrix(b, y, flags[1], size, batch, k * n, sy)
    return b.emit("matmul", (x, y), (size * batch, m, k, n, ta, tb, 1, 1), shape)


def batch_gather(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    x, y = operands
    if flags[0]:
        y = lane_index(b, y, flags[1], size, b.size(x) // size // row.statics[0])
    return b.emit("gather", (x, y), row.statics, (size, *row.shape))


def batch_scatter_add(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    x, y = operands
    y = lane_index(b, y, flags[1], size, math.prod(row.shape) // row.statics[0])
    return b.emit("scatter_add", (lead(b, x, flags[0], size), y), row.statics, (size, *row.shape))


def batch_searchsorted(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    x, y = operands
    shape = (size, *row.shape)
    if not flags[0]:
        return b.emit("searchsorted", (x, y), row.statics, shape)
    n, m = b.size(x) // size, math.prod(row.shape)
    xs = b.emit("strided", (x,), region(0, (size, m, n), (n, 0, 1)), (size, m, n))
    step = m if flags[1] else 0
    ys = b.emit("strided", (y,), region(0, (size, m, n), (step, 1, 0)), (size, m, n))
    below = b.emit("less_equal" if row.statics[0] else "less", (xs, ys))
    return b.emit("sum", (below,), (size * m, n, 1), shape)


def batch_assemble(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    full = [lead(b, x, f, size) for x, f in zip(operands, flags, strict=True)]
    step = math.prod(row.shape)
    return b.assemble(full, [batched(r, size, step) for r in row.regions], (size, *row.shape))


def batch_guard(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    full = [lead(b, x, f, size) for x, f in zip(operands, flags, strict=True)]
    return b.emit("guard", full, row.statics, (size, *row.shape))


# ── pieces of the rules ───────────────────────────────────────────────────────────────────────────────────────
def _spread(b: Any, x: Ref, statics: Any, shape: Any) -> Ref:
    """Repeat a reduced value along the axis (outer, n, inner) that was reduced."""
    outer, n, inner = statics[:3]
    return b.emit("strided", (x,), region(0, (outer, n, inner), (inner, 0, 1)), shape)


def _ties(b: Any, row: Any, x: Ref, result: Ref) -> tuple[Ref, Ref]:
    """Mask of the elements that equal the extremum, and their number."""
    mask = b.emit("equal", (x, _spread(b, result, row.statics, b.shape(x))))
    return mask, b.emit("sum", (mask,), row.statics, row.shape)


def _shift(b: Any, x: Ref, statics: Any, later: bool) -> Ref:
    """x moved by one along the middle axis (to later places, or to earlier ones), zeros moved in."""
    outer, n, inner = statics[:3]
    if n < 2:
        return b.zeros(b.shape(x))
    strides = contiguous_strides((outer, n, inner))
    source, target = (0, inner) if later else (inner, 0)
    kept = b.emit("strided", (x,), region(source, (outer, n - 1, inner), strides), (outer, n - 1, inner))
    return b.assemble([kept], [region(target, (outer, n - 1, inner), strides)], b.shape(x))


def _summed(b: Any, x: Ref, outer: int, n: int, inner: int) -> Ref:
    """Sum along the middle axis of (outer, n, inner). The sum of a product's rows is the product of the sum of the
    rows: Σ_i X_i Y = (Σ_i X_i) Y, which saves the large product where only its sum is wanted."""
    inside, is_negated = _inside(b, x)
    op, source, y, c = b.definition(inside)
    if PRIMITIVES[op].name == "matmul":
        batch, m, k, columns, ta, tb, sx, sy = b.statics_at(c)
        if (outer, n, inner) == (batch, m, columns) and m > 1:
            rows = (sx * (batch - 1) + 1, m, k) if not ta else ((sx * (batch - 1) + 1) * k, m, 1)
            total = b.emit("sum", (source,), rows, (sx * (batch - 1) + 1, k))
            total = b.emit("matmul", (total, y), (batch, 1, k, columns, 0, tb, sx, sy), (outer, inner))
            return b.emit("negative", (total,)) if is_negated else total
    return b.emit("sum", (x,), (outer, n, inner), (outer, inner))


def _inside(b: Any, x: Ref) -> tuple[Ref, bool]:
    """What x is but for its shape and its sign, and whether that is turned."""
    is_negated = False
    while True:
        op, source, _, c = b.definition(x)
        name = PRIMITIVES[op].name
        if name == "negative" and b.size(source) == b.size(x):
            is_negated = not is_negated
        elif name != "strided" or b.size(source) != b.size(x) or b.statics_at(c) != whole(b.size(x)):
            return x, is_negated
        x = source


def _product(b: Any, operands: Any, statics: Any) -> Ref:
    return b.emit("matmul", operands, statics, (statics[0], statics[1], statics[3]))


def fold_batch(b: Any, x: Ref, batch: int, separate: int, shape: Any) -> Ref:
    """Sum over the batch where an operand was shared by all matrices of it."""
    if separate or batch == 1:
        return b.reshape(x, shape)
    return b.emit("sum", (x,), (1, batch, math.prod(shape)), shape)


def lead(b: Any, x: Ref, flag: bool, size: int) -> Ref:
    return x if flag else b.broadcast(x, (size, *b.shape(x)))


def repeat_matrix(b: Any, x: Ref, flag: bool, size: int, batch: int, matrix: int, separate: int) -> Ref:
    step = (batch * matrix if separate else matrix) if flag else 0
    strides = (step, matrix if separate else 0, 1)
    return b.emit("strided", (x,), region(0, (size, batch, matrix), strides), (size, batch, matrix))


def lane_index(b: Any, y: Ref, flag: bool, size: int, blocks: int) -> Ref:
    """Indices into one lane's blocks, made indices into all lanes' blocks."""
    y = lead(b, y, flag, size)
    first = b.const(np.arange(size, dtype=np.int64) * blocks)
    lanes = b.emit("strided", (first,), region(0, (size, b.size(y) // size), (1, 0)), b.shape(y))
    return b.emit("add", (y, lanes))
