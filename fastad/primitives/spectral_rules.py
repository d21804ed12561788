"""Derivation and batching rules of eigenvalues of symmetric matrices, singular values, and their vectors.

Sources: Giles (2008), "Collected matrix derivative results for forward and reverse mode"; Townsend (2016),
"Differentiating the singular value decomposition"; Wan & Zhang (2019), "Automatic differentiation for complex valued
SVD", whose sums and differences of singular values stand here.

`eigh` and `svd` compute; `eigh_spectrum` and `svd_spectrum` have the derivatives. For values they are copies. In a
table that is derived they have equal values apart (see `fastad.tables.passes.kinks`), so all quotients are finite.
"""

from typing import Any

import numpy as np

from fastad.primitives.regions import is_contiguous, parts, pieces, region, whole
from fastad.primitives.row import PRIMITIVES, Form
from fastad.primitives.rules import lead
from fastad.primitives.stacks import Stack, assembled, diagonal_stack, pack, packed_parts, stack

Ref = int
Statics = tuple[int, ...]
_ALL, _OFF_DIAGONAL, _TURNING, _NOTHING = 0, 1, 2, 3  # kinds of quotients


# The first level of a spectrum whose derivatives are known not to depend on the choice of vectors.
QUIET = 8


def next_level(statics: Statics) -> Statics:
    """The row that stands for a spectrum where one more derivative is derived. Its level tells the order: those of the
    first derivative may give notices."""
    if statics[-1] % QUIET == QUIET - 1:
        return statics
    return (*statics[:-1], statics[-1] + 1)


# ── parts of values ───────────────────────────────────────────────────────────────────────────────────────────
def eigen_shapes(s: Statics) -> list[tuple[int, ...]]:
    """Of the results of `eigh`."""
    n, vectors = s[1], s[3]
    return [(n,), (n, n)] if vectors else [(n,)]


def singular_shapes(s: Statics) -> list[tuple[int, ...]]:
    """Of the results of `svd`."""
    m, n, full, vectors = s[1:5]
    k = min(m, n)
    rows, columns = (m, n) if full else (k, k)
    return [(m, rows), (k,), (columns, n)] if vectors else [(k,)]


def _adjoints(b: Any, u: Ref, batch: int, shapes: list[tuple[int, ...]]) -> list[Ref | None]:
    """The adjoints of the parts of a value; None where they are zero by structure, as of vectors that nobody reads."""
    found: list[Ref | None] = []
    sizes = [int(np.prod(shape, dtype=int)) for shape in shapes]
    own = [region(sum(sizes[:k]), (batch, size), (sum(sizes), 1)) for k, size in enumerate(sizes)]
    known = _pieces_of(b, u)
    for k, (place, ref) in enumerate(zip(own, packed_parts(b, u, batch, shapes), strict=True)):
        others = own[:k] + own[k + 1 :]
        zero = known is not None and all(piece in others or _apart(piece, place) for piece in known)
        found.append(None if zero else ref)
    return found


def _pieces_of(b: Any, u: Ref) -> list[tuple[int, ...]] | None:
    """The regions that are written by an assembly, or a sum of such; None of another value."""
    op, x, y, c = b.definition(u)
    form = getattr(PRIMITIVES[op], "form", None)
    if form is Form.PIECES:
        return pieces(b.statics_at(c))
    if form is Form.VIEW and b.size(x) == b.size(u) and b.statics_at(c) == whole(b.size(u)):
        return _pieces_of(b, x)
    if PRIMITIVES[op].name == "add" and b.size(x) == b.size(y):
        both = _pieces_of(b, x), _pieces_of(b, y)
        return None if both[0] is None or both[1] is None else both[0] + both[1]
    return None


def _apart(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    """Whether two regions do not meet (of one matrix each: a sufficient test)."""
    if not is_contiguous(y):
        return False
    offset, shape, strides = parts(x)
    reach = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    low, high = offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0)
    return high < y[0] or low >= y[0] + y[1]


# ── quotients ─────────────────────────────────────────────────────────────────────────────────────────────────
def _quotients(x: Stack, low: Ref, high: Ref, made: Ref, kind: int, quiet: int) -> Stack:
    """X_ij / (high_j - low_i)."""
    statics = (x.batch, x.rows, x.columns, kind, quiet)
    shape = (x.batch, x.rows, x.columns)
    return stack(x.b, x.b.emit("gap_quotient", (x.plain, low, high, made), statics, shape), *shape)


_MUCH = 1e3  # times the change of the values: quotients below it are no reason for a notice


class _Gaps:
    """Quotients with differences of the values of one spectrum. `made`: how far equal ones were put apart."""

    def __init__(self, b: Any, values: Ref, made: Ref, quiet: int) -> None:
        self.b, self.values, self.quiet = b, values, quiet
        self.made = b.assemble([made], [region(0, (b.size(made), 1), (2, 1))], (b.size(made), 2))

    def expect(self, change: Ref | None) -> None:
        """Quotients as large as the change (or the adjoint) of the values are ordinary: of V f(Λ) Vᵀ both are f'."""
        if change is None or self.quiet:
            return
        b, batch = self.b, self.b.size(self.made) // 2
        size = b.emit("amax", (b.emit("absolute", (change,)),), (batch, b.size(change) // max(batch, 1), 1), (batch,))
        both = region(1, (batch, 1), (2, 1))
        more = b.assemble([b.multiply(size, b.const(_MUCH))], [both], (batch, 2))
        self.made = b.add(self.made, more)

    def differences(self, x: Stack, kind: int) -> Stack:
        """X_ij / (s_j - s_i) off the diagonal."""
        return _quotients(x, self.values, self.values, self.made, kind, self.quiet)

    def sums(self, x: Stack, kind: int) -> Stack:
        """X_ij / (s_j + s_i)."""
        return _quotients(x, self.b.emit("negative", (self.values,)), self.values, self.made, kind, self.quiet)

    def mixing(self, x: Stack) -> Stack:
        """Zeros, with a notice where X mixes equal values. Their own derivatives are not determined then."""
        return self.differences(x, _NOTHING)

    def unequal(self, change: Ref) -> Stack | None:
        """Zeros, with a notice where equal values have adjoints that differ: then it matters which one is which."""
        if self.quiet:
            return None
        b, batch = self.b, self.b.size(self.made) // 2
        n = b.size(change) // max(batch, 1)
        shape = (batch, n, n)
        rows = stack(b, b.region(change, region(0, shape, (n, 0, 1)), shape), *shape)
        return self.mixing(rows - rows.T + diagonal_stack(b, change, *shape))

    def columns(self, x: Stack) -> Stack:
        """X_ij / s_j."""
        return _quotients(x, self.b.zeros((x.batch, x.rows)), self.values, self.made, _ALL, self.quiet)


def tangent_gap_quotient(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref | None:
    """dX / (y - x) - out (dy - dx) / (y - x)"""
    batch, n, m, kind, _ = row.statics
    if kind == _NOTHING:
        return None
    _, low, high, made = operands
    out, terms = stack(b, result, batch, n, m), []
    if tangents[0] is not None:
        terms.append(_quotients(stack(b, tangents[0], batch, n, m), low, high, made, kind, 1).plain)
    moved = []
    if tangents[2] is not None:
        moved.append(out.times_columns(tangents[2]))
    if tangents[1] is not None:
        moved.append(-(out.T.times_columns(tangents[1]).T))
    if moved:
        change = moved[0] if len(moved) == 1 else moved[0] + moved[1]
        terms.append((-_quotients(change, low, high, made, min(kind, _OFF_DIAGONAL), 1)).plain)
    return int(b.reshape(b.add(*terms), row.shape))


def adjoint_gap_quotient(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n, m, kind, _ = row.statics
    if kind == _NOTHING:
        return [None] * 4
    x, low, high, made = operands
    plain = min(kind, _OFF_DIAGONAL)
    bar = stack(b, u, batch, n, m)
    own = _quotients(bar, low, high, made, plain, 1)
    t = _quotients(bar * stack(b, result, batch, n, m), low, high, made, plain, 1)
    if kind == _TURNING:
        own = (own - own.T) * 0.5
    low_bar = b.emit("sum", (t.plain,), (batch * n, m, 1), b.shape(low))
    high_bar = b.emit("negative", (b.emit("sum", (t.plain,), (batch, n, m), b.shape(high)),))
    return [own.shaped(b.shape(x)), low_bar, high_bar, None]


# ── A = V diag(w) Vᵀ: with P = Vᵀ dA V, dw = diag P and dV = V (P_ij / (w_j - w_i)) ───────────────────────────────
def _symmetric(x: Stack, lower: int) -> Stack:
    """The symmetric matrix whose lower or upper triangle is read."""
    return x.lower() + x.lower(0.0).T if lower else x.upper() + x.upper(0.0).T


def _eigen(b: Any, row: Any, a: Ref, result: Ref) -> tuple[Ref, Ref, Stack, _Gaps]:
    """Eigenvalues and vectors, and the gaps."""
    batch, n, lower, vectors, level = row.statics
    if not vectors:
        found = b.emit("eigh", (a,), (batch, n, lower, 1), (batch, n + n * n))
        result = b.emit(row.name, (a, found), (batch, n, lower, 1, level), (batch, n + n * n + 1))
    w, v, made = packed_parts(b, result, batch, [(n,), (n, n), (1,)])
    return result, w, stack(b, v, batch, n, n), _Gaps(b, w, made, int(level > 1))


def tangent_eigh(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, n, lower, vectors, _ = row.statics
    _, _, v, gaps = _eigen(b, row, operands[0], result)
    p = v.T @ _symmetric(stack(b, tangents[0], batch, n, n), lower) @ v
    moved = [p.diagonal()]
    if not vectors and not gaps.quiet:
        moved = [(p + gaps.mixing(p)).diagonal()]
    if vectors:
        gaps.expect(moved[0])
        moved.append((v @ gaps.differences(p, _OFF_DIAGONAL)).plain)
    return pack(b, [*moved, b.zeros((batch, 1))], batch, row.shape)


def adjoint_eigh(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, n, lower, *_ = row.statics
    _, _, v, gaps = _eigen(b, row, operands[0], result)
    w_bar, v_bar = [*_adjoints(b, u, batch, [*eigen_shapes(row.statics), (1,)])[:-1], None][:2]
    scaled = None if w_bar is None else v.times_columns(w_bar)
    if w_bar is not None and scaled is not None and v_bar is None and (zeros := gaps.unequal(w_bar)) is not None:
        scaled = scaled + zeros
    if v_bar is not None:
        gaps.expect(w_bar)
        turned = v @ gaps.differences(v.T @ stack(b, v_bar, batch, n, n), _TURNING)
        scaled = turned if scaled is None else scaled + turned
    if scaled is None:
        return [None, None]
    bar = scaled @ v.T
    bar = bar.lower(0.5) * 2.0 if lower else bar.upper(0.5) * 2.0
    return [bar.shaped(b.shape(operands[0])), None]


# ── A = U diag(s) Vᵀ: with P = Uᵀ dA V = Y + Z, its symmetric and its skew part, ds = diag P, dU = U Ω and dV = V Φ, ─
#    where on equal rows and columns Ω, Φ = Y_ij / (s_j - s_i) ± Z_ij / (s_j + s_i); below, Ω = P / s and Φ = Pᵀ / s ──
class _Singular:
    """U, s, V of a spectrum; the k first columns of U and V belong to singular values."""

    def __init__(self, b: Any, row: Any, a: Ref, result: Ref) -> None:
        batch, m, n, full, vectors, level = row.statics
        if not vectors:
            shapes = singular_shapes((batch, m, n, 0, 1))
            size = sum(int(np.prod(shape, dtype=int)) for shape in shapes)
            found = b.emit("svd", (a,), (batch, m, n, 0, 1), (batch, size))
            result = b.emit(row.name, (a, found), (batch, m, n, 0, 1, level), (batch, size + 1))
            full = 0
        shapes = singular_shapes((batch, m, n, full, 1))
        u, s, vt, made = packed_parts(b, result, batch, [*shapes, (1,)])
        self.b, self.batch, self.m, self.n, self.k = b, batch, m, n, min(m, n)
        self.u, self.v = stack(b, u, batch, *shapes[0]), stack(b, vt, batch, *shapes[2]).T
        self.gaps = _Gaps(b, s, made, int(level > 1))

    @property
    def first(self) -> slice:
        return slice(self.k)

    @property
    def rest(self) -> slice:
        return slice(self.k, None)

    def outside(self, x: Stack, own: Stack) -> Stack:
        """What of X is orthogonal to the columns."""
        return x - own @ (own.T @ x)

    def turning(self, x: Stack) -> Stack:
        """Zeros, of X = Uᵀ Ū for columns that belong to no singular value: only which space they span is determined, so
        a value that depends on more is worth a notice."""
        b, zeros = self.b, self.b.zeros((x.batch, x.rows))
        first = region(0, (x.batch, 1), (2, 1))
        endless = b.assemble([b.broadcast(b.const(np.inf), (x.batch,))], [first], (x.batch, 2))
        return _quotients(x, zeros, zeros, endless, _TURNING, self.gaps.quiet)


def tangent_svd(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref:
    batch, m, n, _, vectors, _ = row.statics
    d = _Singular(b, row, operands[0], result)
    da = stack(b, tangents[0], batch, m, n)
    p = d.u.T @ da @ d.v
    own = p.block(d.first, d.first)
    if not vectors:
        own = own if d.gaps.quiet else own + d.gaps.mixing((own + own.T) * 0.5)
        return pack(b, [own.diagonal(), b.zeros((batch, 1))], batch, row.shape)
    d.gaps.expect(own.diagonal())
    even, odd = d.gaps.differences((own + own.T) * 0.5, _OFF_DIAGONAL), d.gaps.sums((own - own.T) * 0.5, _ALL)
    du = _turned(d, d.u, even + odd, p.block(d.rest, d.first), da @ d.v.block(slice(n), d.first))
    dv = _turned(d, d.v, even - odd, p.block(d.first, d.rest).T, da.T @ d.u.block(slice(m), d.first))
    return pack(b, [du.plain, own.diagonal(), dv.T.plain, b.zeros((batch, 1))], batch, row.shape)


def _turned(d: _Singular, u: Stack, own: Stack, below: Stack, moved: Stack) -> Stack:
    """U Ω, and what moves out of the space that U spans."""
    if below.rows:
        low = d.gaps.columns(below)
        return u @ assembled(d.b, [(own, 0, 0), (low, d.k, 0), (-low.T, 0, d.k)], d.batch, u.columns, u.columns)
    moves = u @ own
    return moves + d.gaps.columns(d.outside(moved, u)) if u.rows > u.columns else moves


def adjoint_svd(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    batch, m, n, _, vectors, _ = row.statics
    d = _Singular(b, row, operands[0], result)
    found = _adjoints(b, u, batch, [*singular_shapes(row.statics), (1,)])[:-1]
    u_bar, s_bar, vt_bar = found if vectors else (None, found[0], None)
    d.gaps.expect(s_bar)
    left = None if u_bar is None else stack(b, u_bar, batch, m, d.u.columns)
    right = None if vt_bar is None else stack(b, vt_bar, batch, d.v.columns, n).T
    bar = _middle_adjoint(d, left, right, s_bar)
    bar = None if bar is None else d.u @ bar @ d.v.T
    for space, own, other in ((left, d.u, d.v.T), (right, d.v, d.u.T)):
        if space is not None and own.rows > own.columns:
            more = d.gaps.columns(d.outside(space, own)) @ other.block(d.first, slice(None))
            more = more if space is left else more.T
            bar = more if bar is None else bar + more
    return [None if bar is None else bar.shaped(b.shape(operands[0])), None]


def _middle_adjoint(d: _Singular, left: Stack | None, right: Stack | None, s_bar: Ref | None) -> Stack | None:
    """The adjoint of P."""
    terms = [] if s_bar is None else [diagonal_stack(d.b, s_bar, d.batch, d.u.columns, d.v.columns)]
    if s_bar is not None and left is None and right is None and (zeros := d.gaps.unequal(s_bar)) is not None:
        terms.append(zeros.placed(0, 0, d.u.columns, d.v.columns))
    inner = [None if x is None else own.T @ x for x, own in ((left, d.u), (right, d.v))]
    corners = [None if x is None else x.block(d.first, d.first) for x in inner]
    if corners[0] is not None or corners[1] is not None:
        up, down = corners
        total = up if down is None else down if up is None else up + down
        other = up if down is None else -down if up is None else up - down
        assert total is not None and other is not None
        both = d.gaps.differences(total, _TURNING) + d.gaps.sums(other, _TURNING)
        for x in inner:
            if x is not None and x.rows > d.k and not d.gaps.quiet:
                seen = d.turning(x.block(d.rest, d.rest)).plain
                zero = d.b.emit("sum", (seen,), (d.batch, d.b.size(seen) // max(d.batch, 1), 1), (d.batch,))
                shape = (d.batch, d.k, d.k)
                spread = d.b.region(zero, region(0, shape, (1, 0, 0)), shape)
                both = both + stack(d.b, spread, *shape)
        terms.append(both.placed(0, 0, d.u.columns, d.v.columns))
    for x, turn in zip(inner, (False, True), strict=True):
        if x is not None and x.rows > d.k:
            low = d.gaps.columns(x.block(d.rest, d.first) - x.block(d.first, d.rest).T)
            sizes = d.u.columns, d.v.columns
            terms.append(low.T.placed(0, d.k, *sizes) if turn else low.placed(d.k, 0, *sizes))
    if not terms:
        return None
    out = terms[0]
    for term in terms[1:]:
        out = out + term
    return out


# ── batching ──────────────────────────────────────────────────────────────────────────────────────────────────
def batch_stacks(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    """A row of several stacks of equally many matrices."""
    full = [lead(b, x, flag, size) for x, flag in zip(operands, flags, strict=True)]
    return int(b.emit(row.name, full, (size * row.statics[0], *row.statics[1:]), (size, *row.shape)))
