"""Derivation rules of determinants, pseudo-inverses, matrix functions and systems with band matrices.

Sources: Giles (2008) for the determinant; Golub & Pereyra (1973), "The differentiation of pseudo-inverses and nonlinear
least squares problems whose variables separate"; Higham (2008), "Functions of Matrices", (3.16).
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.primitives.factor_values import band_factors
from fastad.primitives.regions import region
from fastad.primitives.rules import fold_batch, lead, repeat_matrix
from fastad.primitives.spectral_rules import QUIET
from fastad.primitives.stacks import Stack, assembled, diagonal_stack, packed_parts, stack

Ref = int


# ── det A: with the cofactors C, its differential is the sum of C ∘ dA, for singular matrices too ──────────────────
def _cofactors(b: Any, operands: Any, batch: int, n: int) -> Ref:
    return int(b.emit("cofactors", operands, (batch, n), (batch, n, n)))


def tangent_determinant(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, n = row.statics
    product = b.multiply(_cofactors(b, operands, batch, n), b.reshape(tangents[0], (batch, n, n)))
    return int(b.emit("sum", (product,), (batch, n * n, 1), row.shape))


def adjoint_determinant(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n = row.statics
    every = b.region(u, region(0, (batch, n, n), (1, 0, 0)), (batch, n, n))
    return [b.reshape(b.multiply(_cofactors(b, operands, batch, n), every), b.shape(operands[0])), None]


# ── C(U M Vᵀ) = det(U) det(V) U C(M) Vᵀ, and of S = diag(s), dC_ii = Σ_j T_ij P_jj and dC_ij = -T_ij P_ji, where T_ij
#    is the product of the s other than i and j: nothing is divided ────────────────────────────────────────────────
def _cofactor_change(b: Any, row: Any, a: Ref, da: Ref) -> Stack:
    """The differential of the cofactors. It is its own transpose, as the second derivative of the determinant."""
    batch, n = row.statics
    shapes: list[tuple[int, ...]] = [(n, n), (n,), (n, n)]
    statics, size = (batch, n, n, 0, 1), 2 * n * n + n
    found = b.emit("svd", (a,), statics, (batch, size))
    found = b.emit("svd_spectrum", (a, found), (*statics, QUIET), (batch, size + 1))
    u, s, vt, _ = packed_parts(b, found, batch, [*shapes, (1,)])
    left, right = stack(b, u, batch, n, n), stack(b, vt, batch, n, n)
    p = left.T @ stack(b, da, batch, n, n) @ right.T
    others = _other_products(b, s, batch, n)
    column = stack(b, p.diagonal(), batch, n, 1)
    inner = diagonal_stack(b, (others @ column).plain, batch, n, n) - others * p.T
    sign = b.multiply(_sign(b, left), _sign(b, right))
    turned = left @ inner @ right
    return turned * stack(b, b.region(sign, region(0, (batch, n, n), (1, 0, 0)), (batch, n, n)), batch, n, n)


def _sign(b: Any, x: Stack) -> Ref:
    batch, n = x.batch, x.rows
    factors = b.emit("lu", (x.plain,), (batch, n), (batch, n * n + n))
    return int(b.emit("determinant_sign", (factors,), (batch, n), (batch,)))


def _other_products(b: Any, s: Ref, batch: int, n: int) -> Stack:
    """T_ij: the products of all numbers but i and j; 0 on the diagonal."""
    shape = (batch, n, n)
    eye = np.eye(n)
    rows = stack(b, b.region(s, region(0, shape, (n, 0, 1)), shape), *shape).masked(1.0 - eye)
    ones = b.region(b.const(eye), region(0, shape, (0, n, 1)), shape)
    factors = rows + stack(b, ones, *shape)  # row i: the numbers, with 1 in the place of number i
    before = _products(b, factors, 0)
    return (before * _products(b, factors, 1)).masked(1.0 - eye)


def _products(b: Any, x: Stack, reverse: int) -> Stack:
    """In every row the products of the elements before each (behind it: reverse), by r_k = x_(k-1) r_(k-1), r_0 = 1."""
    batch, n = x.batch, x.rows
    kept = slice(1, n) if reverse else slice(n - 1)
    shifted = x.block(slice(n), kept).placed(0, 1 - reverse, n, n)
    start = np.zeros((n, n))
    start[:, -1 if reverse else 0] = 1.0
    first = b.region(b.const(start), region(0, (batch, n, n), (0, n, 1)), (batch, n, n))
    found = b.emit("linrec", (shifted.plain, first), (batch * n, n, 1, reverse), (batch, n, n))
    return stack(b, found, batch, n, n)


def tangent_cofactors(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    return _cofactor_change(b, row, operands[0], tangents[0]).shaped(row.shape)


def adjoint_cofactors(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    return [_cofactor_change(b, row, operands[0], u).shaped(b.shape(operands[0])), None]


# ── X = A⁺ of constant rank: dX = -X dA X + X Xᵀ dAᵀ (I - A X) + (I - X A) dAᵀ Xᵀ X ───────────────────────────────
def _chain(x: Stack, y: Stack, z: Stack) -> Stack:
    """X Y Z in the cheaper order."""
    left = x.rows * y.columns * (x.columns + z.columns)
    right = x.columns * z.columns * (y.columns + x.rows)
    return (x @ y) @ z if left <= right else x @ (y @ z)


def tangent_pinv(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, m, n = row.statics
    a, da = stack(b, operands[0], batch, m, n), stack(b, tangents[0], batch, m, n)
    x = stack(b, result, batch, n, m)
    back = da.T
    out = -_chain(x, da, x)
    out = out + _chain(x, x.T, back - _chain(back, a, x))
    return (out + _chain(back - _chain(x, a, back), x.T, x)).shaped(row.shape)


def adjoint_pinv(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, m, n = row.statics
    a, x, back = stack(b, operands[0], batch, m, n), stack(b, result, batch, n, m), stack(b, u, batch, n, m).T
    out = -_chain(x.T, back.T, x.T)
    out = out + _chain(back - _chain(a, x, back), x, x.T)
    out = out + _chain(x.T, x, back - _chain(back, x, a))
    return [out.shaped(b.shape(operands[0])), None]


def batch_pinv(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    full = [lead(b, x, flag, size) for x, flag in zip(operands, flags, strict=True)]
    return int(b.emit(row.name, full, (size * row.statics[0], *row.statics[1:]), (size, *row.shape)))


# ── f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]]; the transpose of E ↦ L(A, E) is U ↦ L(A, Uᵀ)ᵀ ──────────────
def _direction(b: Any, row: Any, a: Ref, e: Stack) -> Stack:
    batch, n, core = row.statics
    own = stack(b, a, batch, n, n)
    wide = assembled(b, [(own, 0, 0), (e, 0, n), (own, n, n)], batch, 2 * n, 2 * n)
    found = b.emit(row.name, (wide.plain,), (batch, 2 * n, core), (batch, 2 * n, 2 * n))
    return stack(b, found, batch, 2 * n, 2 * n).block(slice(n), slice(n, 2 * n))


def tangent_function(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, n, _ = row.statics
    return _direction(b, row, operands[0], stack(b, tangents[0], batch, n, n)).shaped(row.shape)


def adjoint_function(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n, _ = row.statics
    return [_direction(b, row, operands[0], stack(b, u, batch, n, n).T).T.shaped(b.shape(operands[0]))]


# ── op(A) X = B of band matrices: op(A) dX = dB - op(dA) X; with op(A)ᵀ R = X̄, B̄ = R and Ā = -R Xᵀ inside the band ──
class _Band(NamedTuple):
    """Sizes of systems with band matrices."""

    batch: int
    n: int
    m: int
    low: int
    high: int
    trans: int
    separate: int

    @property
    def stored(self) -> int:
        """Numbers of a matrix."""
        return (self.low + self.high + 1) * self.n

    def runs(self) -> list[tuple[int, int, int, int]]:
        """For every stored diagonal: its row, the first column that it has elements in, their number, its offset."""
        found = []
        for r in range(self.low + self.high + 1):
            d = self.high - r
            count = max(min(self.n, self.n + d) - max(0, d), 0)
            if count:
                found.append((r, max(0, d), count, d))
        return found

    def lines(self, b: Any, x: Ref, start: int, count: int) -> Ref:
        """Rows start, …, start + count - 1 of right sides."""
        batch, n, m = self[:3]
        return int(b.region(x, region(start * m, (batch, count, m), (n * m, m, 1)), (batch, count, m)))

    def changed(self, b: Any, da: Ref | None, db: Ref | None, result: Ref) -> Ref:
        """dB - op(dA) X."""
        batch, n, m = self[:3]
        terms = [] if db is None else [b.reshape(db, (batch, n, m))]
        for r, first, count, d in [] if da is None else self.runs():
            shape = (batch, count, m)
            factor = b.region(da, region(r * n + first, shape, (self.stored * self.separate, 1, 0)), shape)
            source, target = (first - d, first) if self.trans else (first, first - d)
            part = b.emit("negative", (b.multiply(factor, self.lines(b, result, source, count)),))
            terms.append(b.assemble([part], [region(target * m, shape, (n * m, m, 1))], (batch, n, m)))
        return int(b.add(*terms)) if terms else int(b.zeros((batch, n, m)))

    def outer(self, b: Any, r: Ref, result: Ref, shape: Any) -> Ref:
        """-R Xᵀ inside the band."""
        batch, n, m = self[:3]
        pieces, places = [], []
        for k, first, count, d in self.runs():
            x, y = (first, first - d) if self.trans else (first - d, first)
            product = b.multiply(self.lines(b, r, x, count), self.lines(b, result, y, count))
            pieces.append(b.emit("negative", (b.emit("sum", (product,), (batch * count, m, 1), (batch, count)),)))
            places.append(region(k * n + first, (batch, count), (self.stored, 1)))
        return fold_batch(b, b.assemble(pieces, places, (batch, self.stored)), batch, self.separate, shape)


def tangent_banded_solve(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    side = _Band(*row.statics).changed(b, tangents[0], tangents[1], result)
    return int(b.emit(row.name, (operands[0], side), row.statics, row.shape))


def adjoint_banded_solve(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    own, (ab, right) = _Band(*row.statics), operands
    r = b.emit(row.name, (ab, u), (*row.statics[:5], 1 - own.trans, own.separate), (own.batch, own.n, own.m))
    return [own.outer(b, r, result, b.shape(ab)), b.reshape(r, b.shape(right))]


def batch_banded_solve(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    own, (ab, right) = _Band(*row.statics), operands
    shared = not flags[0] and (own.batch == 1 or not own.separate)
    if not shared:
        ab = repeat_matrix(b, ab, flags[0], size, own.batch, own.stored, own.separate)
    statics = (size * own.batch, *row.statics[1:6], int(not shared))
    return int(b.emit(row.name, (ab, lead(b, right, flags[1], size)), statics, (size, *row.shape)))


def _of_factors(row: Any) -> _Band:
    batch, n, low, high, m, trans, separate = row.statics
    return _Band(batch, n, m, low, high, trans, separate)


def tangent_banded_lu_solve(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    side = _of_factors(row).changed(b, tangents[0], tangents[2], result)
    return int(b.emit(row.name, (*operands[:2], side), row.statics, row.shape))


def adjoint_banded_lu_solve(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    own, (ab, factors, right) = _of_factors(row), operands
    statics = (*row.statics[:5], 1 - own.trans, own.separate)
    r = b.emit(row.name, (ab, factors, u), statics, (own.batch, own.n, own.m))
    return [own.outer(b, r, result, b.shape(ab)), None, b.reshape(r, b.shape(right))]


def batch_banded_lu_solve(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    own, (ab, factors, right) = _of_factors(row), operands
    shared = not (flags[0] or flags[1]) and (own.batch == 1 or not own.separate)
    if not shared:
        ab = repeat_matrix(b, ab, flags[0], size, own.batch, own.stored, own.separate)
        held = band_factors(own.n, own.low, own.high)
        factors = repeat_matrix(b, factors, flags[1], size, own.batch, held, own.separate)
    statics = (size * own.batch, *row.statics[1:6], int(not shared))
    return int(b.emit(row.name, (ab, factors, lead(b, right, flags[2], size)), statics, (size, *row.shape)))
