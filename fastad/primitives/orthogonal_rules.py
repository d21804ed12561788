"""Derivation and batching rules of QR factors.

Source: Walter & Lehmann (2018), "Algorithmic differentiation of linear algebra functions with application in optimum
experimental design", for Q with as many columns as A. The other columns of a complete Q are what Householder's
reflections make of them: Q = I - V T V' gives Q₂ = E₂ + (E₁ - Q₁)(I - Q₁₁)⁻ᵀ Q₂₁ᵀ, where E are columns of the identity
and Q₁₁, Q₂₁ the upper and lower rows of Q₁ (Schreiber & Van Loan 1989, "A storage-efficient WY representation").
"""

from typing import Any

from fastad.primitives.stacks import Stack, assembled, pack, packed_parts, stack, unit_stack

Ref = int


def _factors(b: Any, ref: Ref, statics: Any) -> tuple[Stack, Stack]:
    """Q and R."""
    batch, m, n, complete = statics
    k = m if complete else n
    q, r = packed_parts(b, ref, batch, [(m, k), (k, n)])
    return stack(b, q, batch, m, k), stack(b, r, batch, k, n)


def _solve(b: Any, r: Stack, x: Stack, trans: int) -> Stack:
    """op(R)⁻¹ X."""
    sizes = (r.batch, r.rows, x.columns)
    return stack(b, b.emit("triangular_solve", (r.plain, x.plain), (*sizes, 0, trans, 0, 1), sizes), *sizes)


class _Complement:
    """The other columns of a complete Q, by the first ones: Q₂ = E₂ + (E₁ - Q₁) W with (I - Q₁₁)ᵀ W = Q₂₁ᵀ."""

    def __init__(self, b: Any, q1: Stack) -> None:
        batch, m, n = q1.batch, q1.rows, q1.columns
        self.b, self.n = b, n
        self.rest = unit_stack(b, batch, m, n) - q1
        self.matrix = self.rest.block(slice(n), slice(n))
        size = n * n + n
        self.factors = b.emit("lu", (self.matrix.plain,), (batch, n), (batch, size))
        self.w = self.solve(q1.block(slice(n, m), slice(n)).T, 1)

    def solve(self, x: Stack, trans: int) -> Stack:
        sizes = (x.batch, self.n, x.columns)
        operands = (self.matrix.plain, self.factors, x.plain)
        return stack(self.b, self.b.emit("lu_solve", operands, (*sizes, trans, 1), sizes), *sizes)

    def tangent(self, dq: Stack) -> Stack:
        """Of Q₂, given that of Q₁."""
        n = self.n
        moved = dq.block(slice(n), slice(n)).T @ self.w + dq.block(slice(n, None), slice(n)).T
        return self.rest @ self.solve(moved, 1) - dq @ self.w

    def adjoint(self, bar: Stack) -> Stack:
        """Of Q₁, given that of Q₂."""
        n, m = self.n, bar.rows
        y = self.solve(self.rest.T @ bar, 0)
        blocks = [(self.w @ y.T, 0, 0), (y.T, n, 0)]
        return assembled(self.b, blocks, bar.batch, m, n) - bar @ self.w.T


# ── A = Q R: with C = Qᵀ dA R⁻¹ and Ω = tril(C, -1) - tril(C, -1)ᵀ, dQ = dA R⁻¹ - Q (C - Ω) and dR = (C - Ω) R ─────
def tangent_qr(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, m, n, complete = row.statics
    q, r = _factors(b, result, row.statics)
    q1, r1 = q.block(slice(m), slice(n)), r.block(slice(n), slice(n))
    x = _solve(b, r1, stack(b, tangents[0], batch, m, n).T, 1).T
    c = q1.T @ x
    turning = c.lower(0.0) - c.lower(0.0).T
    upper = c - turning
    dq, dr = x - q1 @ upper, upper @ r1
    if complete and m > n:
        more = _Complement(b, q1).tangent(dq)
        dq = assembled(b, [(dq, 0, 0), (more, 0, n)], batch, m, m)
        dr = dr.placed(0, 0, m, n)
    return pack(b, [dq.plain, dr.plain], batch, row.shape)


# ── with M = R R̄ᵀ - Q̄ᵀ Q, Ā = (Q̄ + Q (tril(M) + tril(M, -1)ᵀ)) R⁻ᵀ ───────────────────────────────────────────────
def adjoint_qr(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    _, m, n, complete = row.statics
    q, r = _factors(b, result, row.statics)
    q_bar, r_bar = _factors(b, u, row.statics)
    q1, r1 = q.block(slice(m), slice(n)), r.block(slice(n), slice(n))
    bar = q_bar.block(slice(m), slice(n))
    if complete and m > n:
        bar = bar + _Complement(b, q1).adjoint(q_bar.block(slice(m), slice(n, m)))
    middle = r1 @ r_bar.block(slice(n), slice(n)).upper().T - bar.T @ q1
    x = bar + q1 @ (middle.lower() + middle.lower(0.0).T)
    return [_solve(b, r1, x.T, 0).T.shaped(b.shape(operands[0]))]


def batch_factors(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    """A row of one stack, whose first static integer is the number of matrices."""
    return int(b.emit(row.name, operands, (size * row.statics[0], *row.statics[1:]), (size, *row.shape)))
