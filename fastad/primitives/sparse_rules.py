"""Derivation and batching rules of the rows of sparse linear algebra.

Derivatives stay on the pattern: for A x = b with Aᵀ r = x̄, b̄ = r and Ā_ij = −r_i x_j at the entries of A alone. Whoever
solves with factors has the numbers of A as an operand too, and derivatives go by way of these: one factorisation serves
a solve, its tangents and its adjoints, of any order. Source: Giles (2008), "Collected matrix derivative results for
forward and reverse mode"; Blondel & Roulet (2024), "The Elements of Differentiable Programming", on linear systems.
"""

from typing import Any

from fastad.primitives.regions import region
from fastad.primitives.rules import fold_batch, lead, repeat_matrix
from fastad.primitives.sparse_values import size_of_factors

Ref = int


# ── y = A x and a = (u vᵀ) at the entries of A: each is the adjoint of the other ──────────────────────────────
def tangent_bilinear(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    """A term for each operand that moves. The dtype is the row's: that of the places says nothing."""
    places, x, y = operands
    pairs = ((tangents[1], y), (x, tangents[2]))
    terms = [(u, v) for u, v in pairs if u is not None and v is not None]
    return b.add(*[b.emit(row.name, (places, *pair), row.statics, row.shape, row.dtype) for pair in terms])


def adjoint_sparse_product(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    places, data, x = operands
    batch, count, height, width, m, own, other, back = row.statics
    there = (batch, count, height, width, m, 1, other, back)
    bar = b.emit("sparse_sample", (places, u, x), there, (batch, count), b.dtype(data))
    turned = (batch, count, width, height, m, own, 1, 1 - back)
    moved = b.emit("sparse_product", (places, data, u), turned, (batch, width, m), b.dtype(x))
    return [None, fold_batch(b, bar, batch, own, b.shape(data)), fold_batch(b, moved, batch, other, b.shape(x))]


def adjoint_sparse_sample(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    places, x, y = operands
    batch, count, height, width, m, own, other, back = row.statics
    there, turned = (height, width, m, 1, other, back), (width, height, m, 1, own, 1 - back)
    first = b.emit("sparse_product", (places, u, y), (batch, count, *there), (batch, height, m), b.dtype(x))
    second = b.emit("sparse_product", (places, u, x), (batch, count, *turned), (batch, width, m), b.dtype(y))
    return [None, fold_batch(b, first, batch, own, b.shape(x)), fold_batch(b, second, batch, other, b.shape(y))]


def batch_sparse(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    """Products over lanes. Both rows have their operands of numbers last."""
    batch, count, height, width, m, own, other, back = row.statics
    if flags[0]:
        return _lane_by_lane(b, row, operands, flags, size)
    places, x, y = operands
    x_size, y_size = (b.size(v) // (size if f else 1) for v, f in zip((x, y), flags[1:], strict=True))
    x, own = _over(b, x, flags[1], size, batch, x_size, own)
    y, other = _over(b, y, flags[2], size, batch, y_size, other)
    statics = (size * batch, count, height, width, m, own, other, back)
    return b.emit(row.name, (places, x, y), statics, (size, *row.shape), row.dtype)


def _over(b: Any, x: Ref, flag: bool, size: int, batch: int, length: int, separate: int) -> tuple[Ref, int]:
    """An operand over `size` lanes of a row over `batch`, and whether every one has its own. `length` is that of one
    lane of the new ones."""
    if not flag and (batch == 1 or not separate):
        return x, 0
    if flag and (batch == 1 or separate):
        return x, 1
    return repeat_matrix(b, x, flag, size, batch, length // (batch if separate else 1), separate), 1


def _lane_by_lane(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    """A row for every lane, where the places differ."""
    found = []
    for k in range(size):
        own = []
        for x, flag in zip(operands, flags, strict=True):
            length = b.size(x) // size
            own.append(b.region(x, region(k * length, (length,), (1,)), b.shape(x)[1:]) if flag else x)
        found.append(b.emit(row.name, own, row.statics, row.shape, row.dtype))
    if not found:
        return b.zeros((0, *row.shape))
    length = b.size(found[0])
    pieces = [region(k * length, (length,), (1,)) for k in range(size)]
    return b.assemble(found, pieces, (size, *row.shape))


# ── factors and solves ────────────────────────────────────────────────────────────────────────────────────────
def adjoint_sparse_lu(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    """The factors alone have no derivative: they depend on the choice of pivots."""
    return [None, None]


def batch_sparse_lu(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, *sizes = row.statics
    if flags[0]:
        return _lane_by_lane(b, row, operands, flags, size)
    return b.emit(row.name, operands, (size * batch, *sizes), (size, *row.shape), row.dtype)


def _places(b: Any, pattern: Ref, count: int) -> Ref:
    """Those of the entries, with which a pattern starts."""
    return b.region(pattern, region(0, (count,), (1,)), (count,))


def tangent_sparse_lu_solve(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    """op(A) dX = dB − op(dA) X."""
    pattern, data, factors, _ = operands
    batch, n, count, _, _, m, trans, separate = row.statics
    moved, side = tangents[1], tangents[3]
    if moved is not None:
        sizes = (batch, count, n, n, m, separate, 1, trans)
        given = (_places(b, pattern, count), moved, result)
        change = b.emit("sparse_product", given, sizes, (batch, n, m), row.dtype)
        if side is None:
            side = b.emit("negative", (change,))
        else:
            side = b.emit("subtract", (b.reshape(side, (batch, n, m)), change))
    return b.emit(row.name, (pattern, data, factors, side), row.statics, row.shape, row.dtype)


def adjoint_sparse_lu_solve(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    """op(A)ᵀ R = X̄; B̄ = R, and −R Xᵀ at the entries of op(A)."""
    pattern, data, factors, side = operands
    batch, n, count, lower, upper, m, trans, separate = row.statics
    back = (batch, n, count, lower, upper, m, 1 - trans, separate)
    r = b.emit(row.name, (pattern, data, factors, u), back, (batch, n, m), b.dtype(side))
    given, sizes = (_places(b, pattern, count), r, result), (batch, count, n, n, m, 1, 1, trans)
    bar = b.emit("negative", (b.emit("sparse_sample", given, sizes, (batch, count), b.dtype(data)),))
    return [None, fold_batch(b, bar, batch, separate, b.shape(data)), None, b.reshape(r, b.shape(side))]


def batch_sparse_lu_solve(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, n, count, lower, upper, m, trans, separate = row.statics
    if flags[0]:
        return _lane_by_lane(b, row, operands, flags, size)
    pattern, data, factors, side = operands
    shared = not (flags[1] or flags[2]) and (batch == 1 or not separate)
    if not shared:
        data = repeat_matrix(b, data, flags[1], size, batch, count, separate)
        factors = repeat_matrix(b, factors, flags[2], size, batch, size_of_factors(n, lower, upper), separate)
    statics = (size * batch, n, count, lower, upper, m, trans, int(not shared))
    given = (pattern, data, factors, lead(b, side, flags[3], size))
    return b.emit(row.name, given, statics, (size, *row.shape), row.dtype)
