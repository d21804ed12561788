"""Derivation and batching rules of the rows of linear algebra.

A value of `lu` holds the factors of a matrix A. Whoever solves with them has A as an operand too, and derivatives go by
way of A: so one factorisation serves a solve, its tangents and its adjoints, of any order. Sources: Giles (2008),
"Collected matrix derivative results for forward and reverse mode"; Murray (2016), "Differentiation of the Cholesky
decomposition"; for the factors themselves, de Hoog, Anderssen & Lukas (2011), "Differentiation of matrix functionals
using triangular factorization".
"""

from typing import Any

import numpy as np

from fastad.primitives.regions import region
from fastad.primitives.rules import fold_batch, lead, repeat_matrix

Ref = int


# ── matrices of a stack ───────────────────────────────────────────────────────────────────────────────────────
def _product(b: Any, x: Ref, y: Ref, sizes: tuple[int, int, int, int], *, ta: int = 0, tb: int = 0, sx: int = 1) -> Ref:
    """op(X) op(Y) of stacks; sizes are (batch, m, k, n)."""
    batch, m, _, n = sizes
    return b.emit("matmul", (x, y), (*sizes, ta, tb, sx, 1), (batch, m, n))


def _transposed(b: Any, x: Ref, batch: int, n: int, m: int) -> Ref:
    """The transposes of a stack of n × m matrices."""
    return b.region(x, region(0, (batch, m, n), (n * m, 1, m)), (batch, m, n))


def _masked(b: Any, x: Ref, mask: np.ndarray, batch: int) -> Ref:
    """Every matrix of a stack, element by element times a constant one."""
    n = len(mask)
    full = b.region(b.const(mask), region(0, (batch, n, n), (0, n, 1)), (batch, n, n))
    return b.emit("multiply", (b.reshape(x, (batch, n, n)), full))


def _lower(n: int, diagonal: float) -> np.ndarray:
    """1 below the diagonal, this number on it, 0 above."""
    return np.tril(np.ones((n, n)), -1) + diagonal * np.eye(n)


def _triangle(b: Any, t: Ref, x: Ref, sizes: tuple[int, int, int], *, lower: int, trans: int = 0, unit: int = 0) -> Ref:
    """op(T)⁻¹ X; sizes are (batch, n, m)."""
    return b.emit("triangular_solve", (t, x), (*sizes, lower, trans, unit, 1), sizes)


def _factors(b: Any, f: Ref, batch: int, n: int) -> tuple[Ref, Ref]:
    """L and U in one matrix, and the pivots, of a value of `lu`."""
    step = n * n + n
    matrices = b.region(f, region(0, (batch, n, n), (step, n, 1)), (batch, n, n))
    return matrices, b.region(f, region(n * n, (batch, n), (step, 1)), (batch, n), "i")


# ── A = P L U: with M = L⁻¹ Pᵀ dA U⁻¹, dL = L tril(M, −1) and dU = triu(M) U ──────────────────────────────────
def _split(b: Any, matrices: Ref, batch: int, n: int) -> tuple[Ref, Ref]:
    """L and U as matrices of their own."""
    unit = b.region(b.const(np.eye(n)), region(0, (batch, n, n), (0, n, 1)), (batch, n, n))
    lower = b.add(_masked(b, matrices, _lower(n, 0.0), batch), unit)
    return lower, _masked(b, matrices, _lower(n, 1.0).T, batch)


def tangent_lu(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, n = row.statics
    square, cube = (batch, n, n), (batch, n, n, n)
    matrices, pivots = _factors(b, result, batch, n)
    moved = b.emit("permute_rows", (pivots, tangents[0]), (*square, 0, 1), square)
    m = _triangle(b, matrices, moved, square, lower=1, unit=1)
    m = _transposed(b, m, *square)
    m = _transposed(b, _triangle(b, matrices, m, square, lower=0, trans=1), *square)
    lower, upper = _split(b, matrices, batch, n)
    dl = _product(b, lower, _masked(b, m, _lower(n, 0.0), batch), cube)
    du = _product(b, _masked(b, m, _lower(n, 1.0).T, batch), upper, cube)
    return b.assemble([b.add(dl, du)], [region(0, (batch, n * n), (n * n + n, 1))], row.shape)


def adjoint_lu(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n = row.statics
    square, cube = (batch, n, n), (batch, n, n, n)
    matrices, pivots = _factors(b, result, batch, n)
    bar = b.region(u, region(0, square, (n * n + n, n, 1)), square)
    lower, upper = _split(b, matrices, batch, n)
    below = _product(b, lower, _masked(b, bar, _lower(n, 0.0), batch), cube, ta=1)
    above = _product(b, _masked(b, bar, _lower(n, 1.0).T, batch), upper, cube, tb=1)
    s = b.add(_masked(b, below, _lower(n, 0.0), batch), _masked(b, above, _lower(n, 1.0).T, batch))
    s = _triangle(b, matrices, s, square, lower=1, trans=1, unit=1)
    s = _transposed(b, _triangle(b, matrices, _transposed(b, s, *square), square, lower=0), *square)
    bar = b.emit("permute_rows", (pivots, s), (*square, 1, 1), square)
    return [b.reshape(bar, b.shape(operands[0]))]


def batch_lu(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, n = row.statics
    return b.emit(row.name, operands, (size * batch, n), (size, *row.shape))


def adjoint_permute_rows(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n, m, inverse, separate = row.statics
    back = b.emit("permute_rows", (operands[0], u), (batch, n, m, 1 - inverse, separate), (batch, n, m))
    return [None, b.reshape(back, b.shape(operands[1]))]


def batch_permute_rows(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, n, m, inverse, separate = row.statics
    x, y = operands
    shared = not flags[0] and (batch == 1 or not separate)
    if not shared:
        x = repeat_matrix(b, x, flags[0], size, batch, n, separate)
    statics = (size * batch, n, m, inverse, int(not shared))
    return b.emit("permute_rows", (x, lead(b, y, flags[1], size)), statics, (size, *row.shape))


# ── op(A) X = B: op(A) dX = dB − op(dA) X; with op(A)ᵀ R = X̄, B̄ = R and Ā = −R Xᵀ, transposed if A is ──────────
def _right_side(b: Any, moved: Ref | None, db: Ref | None, result: Ref, statics: Any) -> Ref:
    """dB − op(dA) X, where `moved` is dA."""
    batch, n, m, trans, separate = statics
    if moved is None:
        assert db is not None
        return db
    product = _product(b, moved, result, (batch, n, n, m), ta=trans, sx=separate)
    if db is None:
        return b.emit("negative", (product,))
    return b.emit("subtract", (b.reshape(db, (batch, n, m)), product))


def _matrix_adjoint(b: Any, r: Ref, result: Ref, statics: Any) -> Ref:
    """−R Xᵀ for each system, or its transpose."""
    batch, n, m, trans, _ = statics
    x, y = (result, r) if trans else (r, result)
    return b.emit("negative", (_product(b, x, y, (batch, n, m, n), tb=1),))


def tangent_lu_solve(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    a, f, _ = operands
    side = _right_side(b, tangents[0], tangents[2], result, row.statics)
    return b.emit(row.name, (a, f, side), row.statics, row.shape)


def adjoint_lu_solve(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    a, f, z = operands
    batch, n, m, trans, separate = row.statics
    r = b.emit(row.name, (a, f, u), (batch, n, m, 1 - trans, separate), (batch, n, m))
    bar = _matrix_adjoint(b, r, result, row.statics)
    return [fold_batch(b, bar, batch, separate, b.shape(a)), None, b.reshape(r, b.shape(z))]


def batch_lu_solve(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, n, m, trans, separate = row.statics
    a, f, z = operands
    shared = not (flags[0] or flags[1]) and (batch == 1 or not separate)
    if not shared:
        a = repeat_matrix(b, a, flags[0], size, batch, n * n, separate)
        f = repeat_matrix(b, f, flags[1], size, batch, n * n + n, separate)
    statics = (size * batch, n, m, trans, int(not shared))
    return b.emit(row.name, (a, f, lead(b, z, flags[2], size)), statics, (size, *row.shape))


def _own_triangle(statics: Any) -> np.ndarray:
    """1 where an element of the matrix is read."""
    n, lower, unit = statics[1], statics[3], statics[5]
    mask = _lower(n, 1.0 - unit)
    return mask if lower else mask.T


def tangent_triangular_solve(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, n, m, _, trans, _, separate = row.statics
    moved = tangents[0]
    if moved is not None:
        moved = _masked(b, moved, _own_triangle(row.statics), batch if separate else 1)
    side = _right_side(b, moved, tangents[1], result, (batch, n, m, trans, separate))
    return b.emit(row.name, (operands[0], side), row.statics, row.shape)


def adjoint_triangular_solve(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    t, z = operands
    batch, n, m, lower, trans, unit, separate = row.statics
    r = b.emit(row.name, (t, u), (batch, n, m, lower, 1 - trans, unit, separate), (batch, n, m))
    bar = _matrix_adjoint(b, r, result, (batch, n, m, trans, separate))
    bar = _masked(b, bar, _own_triangle(row.statics), batch)
    return [fold_batch(b, bar, batch, separate, b.shape(t)), b.reshape(r, b.shape(z))]


def batch_triangular_solve(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, n, m, lower, trans, unit, separate = row.statics
    t, z = operands
    shared = not flags[0] and (batch == 1 or not separate)
    if not shared:
        t = repeat_matrix(b, t, flags[0], size, batch, n * n, separate)
    statics = (size * batch, n, m, lower, trans, unit, int(not shared))
    return b.emit(row.name, (t, lead(b, z, flags[1], size)), statics, (size, *row.shape))


# ── log |det A|: its differential is tr(A⁻¹ dA) ───────────────────────────────────────────────────────────────
def tangent_log_determinant(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, n = row.statics
    y = b.emit("lu_solve", (*operands, tangents[0]), (batch, n, n, 0, 1), (batch, n, n))
    diagonal = b.region(y, region(0, (batch, n), (n * n, n + 1)), (batch, n))
    return b.emit("sum", (diagonal,), (batch, n, 1), row.shape)


def adjoint_log_determinant(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n = row.statics
    every = b.region(u, region(0, (batch, n), (1, 0)), (batch, n))
    side = b.assemble([every], [region(0, (batch, n), (n * n, n + 1))], (batch, n, n))
    bar = b.emit("lu_solve", (*operands, side), (batch, n, n, 1, 1), (batch, n, n))
    return [b.reshape(bar, b.shape(operands[0])), None]


def batch_determinant(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, n = row.statics
    full = [lead(b, x, flag, size) for x, flag in zip(operands, flags, strict=True)]
    return b.emit(row.name, full, (size * batch, n), (size, *row.shape))


# ── A = L Lᵀ: dL = L Φ(L⁻¹ dA L⁻ᵀ), where Φ takes the lower triangle and half of the diagonal ─────────────────
def tangent_cholesky(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, n = row.statics
    square = (batch, n, n)
    below = _masked(b, tangents[0], _lower(n, 0.0), batch)
    moved = b.add(_masked(b, tangents[0], _lower(n, 1.0), batch), _transposed(b, below, *square))
    m = _triangle(b, result, moved, square, lower=1)
    m = _triangle(b, result, _transposed(b, m, *square), square, lower=1)
    return b.reshape(_product(b, result, _masked(b, m, _lower(n, 0.5), batch), (batch, n, n, n)), row.shape)


def adjoint_cholesky(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n = row.statics
    square = (batch, n, n)
    p = _product(b, result, _masked(b, u, _lower(n, 1.0), batch), (batch, n, n, n), ta=1)
    q = _triangle(b, result, _masked(b, p, _lower(n, 0.5), batch), square, lower=1, trans=1)
    r = _triangle(b, result, _transposed(b, q, *square), square, lower=1, trans=1)
    both = b.add(r, _transposed(b, r, *square))  # only one triangle of A is read
    return [b.reshape(_masked(b, both, _lower(n, 0.5), batch), b.shape(operands[0]))]
