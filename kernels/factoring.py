"""Factorisations of dense square matrices, stored row by row, and what is done with the factors.

The factors of A = P L U are stored as LAPACK does: L without its unit diagonal below, U above, then n pivots: row k was
swapped with row pivots[k]. Small matrices are loops; larger ones go to LAPACK, which counts by columns: a matrix by
rows is its transpose there.
"""

import math

from .blas import dgemm, dgetrf, dpotrf
from .flags import at, exact_helper, helper, kernel
from .memory import indices, view
from .scipy_blas import LAPACK_FROM

_UPPER = 85  # the letter U
_BLOCK = 32  # rows of a triangle that are solved for by loops


@helper
def _copy(target, source):
    for i in range(len(source)):
        target[at(i)] = source[at(i)]


@helper
def _swap(a, i, j, n):
    for k in range(n):
        a[at(i + k)], a[at(j + k)] = a[at(j + k)], a[at(i + k)]


@helper
def _largest(a, k, n):
    """The row, from k on, of the largest number in column k."""
    best, size = k, abs(a[at(k * n + k)])
    for i in range(k + 1, n):
        v = abs(a[at(i * n + k)])
        if v > size:
            best, size = i, v
    return best


@exact_helper
def _eliminate(a, k, n):
    """Subtract multiples of row k from those below."""
    d = a[at(k * n + k)]
    if d == 0.0:
        return
    for i in range(k + 1, n):
        factor = a[at(i * n + k)] / d
        a[at(i * n + k)] = factor
        for j in range(k + 1, n):
            a[at(i * n + j)] -= factor * a[at(k * n + j)]


@helper
def factor_in_place(a, pivots, n):
    """Gaussian elimination with partial pivoting, in place (Golub & Van Loan, Matrix Computations, Algorithm 3.4.1)."""
    for k in range(n):
        p = _largest(a, k, n)
        pivots[at(k)] = float(p)
        if p != k:
            _swap(a, k * n, p * n, n)
        _eliminate(a, k, n)


@helper
def factor_by_lapack(a, pivots, x, n, w):
    """The same by LAPACK, on the transpose in scratch memory: n (n + 1) numbers and two."""
    for i in range(n):
        for j in range(n):
            w[at(j * n + i)] = x[at(i * n + j)]
    places = w.ctypes.data + 8 * n * n
    dgetrf(n, n, w.ctypes.data, n, places, places + 4 * n)
    for i in range(n):
        for j in range(n):
            a[at(i * n + j)] = w[at(j * n + i)]
    found = view(indices(places), n)
    for k in range(n):
        pivots[at(k)] = float(found[at(k)]) - 1.0


@kernel
def lu_forward(out, x, y, s, w):
    """Factors and pivots of every matrix; s = (batch, n)."""
    batch, n = s[0], s[1]
    for p in range(batch):
        o, i = p * n * (n + 1), p * n * n
        a, pivots, own = out[o : o + n * n], out[o + n * n : o + n * (n + 1)], x[i : i + n * n]
        if n < LAPACK_FROM:
            _copy(a, own)
            factor_in_place(a, pivots, n)
        else:
            factor_by_lapack(a, pivots, own, n, w)
    return 0


@helper
def permute(b, pivots, n, m, inverse):
    """Swap rows as the pivots say; false if they are none."""
    for k in range(n):
        i = n - 1 - k if inverse else k
        v = pivots[at(i)]
        if not (v >= 0.0 and v < n and float(int(v)) == v):
            return False
        j = int(v)
        if i != j:
            _swap(b, i * m, j * m, m)
    return True


@kernel
def permute_rows_forward(out, x, y, s):
    """Rows of y swapped by the pivots x; s = (batch, n, m, inverse, separate pivots). 1 if they are no pivots."""
    batch, n, m = s[0], s[1], s[2]
    _copy(out, y)
    for p in range(batch):
        q = p * n * s[4]
        if not permute(out[p * n * m : (p + 1) * n * m], x[q : q + n], n, m, s[3]):
            return 1
    return 0


# ── triangular systems ────────────────────────────────────────────────────────────────────────────────────────
@helper
def _singular(t, n):
    for i in range(n):
        if t[at(i * n + i)] == 0.0:
            return True
    return False


@helper
def _substitute(t, b, low, high, m, n, forward, trans, unit):
    """Solve for the rows low, …, high - 1 with the diagonal block of T that stands there."""
    for step in range(high - low):
        i = low + step if forward else high - 1 - step
        for before in range(step):
            k = low + before if forward else high - 1 - before
            factor = t[at(k * n + i)] if trans else t[at(i * n + k)]
            for j in range(m):
                b[at(i * m + j)] -= factor * b[at(k * m + j)]
        if not unit:
            d = t[at(i * n + i)]
            for j in range(m):
                b[at(i * m + j)] /= d


@helper
def _subtract(t, b, low, high, first, rest, m, n, trans):
    """Subtract from `rest` rows, from `first` on, what the rows low, …, high - 1 contribute. By columns, as BLAS
    counts, every matrix is its transpose."""
    block = t.ctypes.data + 8 * (low * n + first if trans else first * n + low)
    solved, others = b.ctypes.data + 8 * low * m, b.ctypes.data + 8 * first * m
    dgemm(0, trans, m, rest, high - low, -1.0, solved, m, block, n, 1.0, others, m)


@helper
def solve_triangle(t, b, n, m, lower, trans, unit):
    """b = op(T)⁻¹ b, in place, block by block: forwards where op(T) is a lower triangle. BLAS' own dtrsm takes forty
    times as long for 100 rows where OpenBLAS uses two threads."""
    forward = (lower != 0) != (trans != 0)
    blocks = (n + _BLOCK - 1) // _BLOCK
    for step in range(blocks):
        low = _BLOCK * (step if forward else blocks - 1 - step)
        high = low + _BLOCK if low + _BLOCK < n else n
        _substitute(t, b, low, high, m, n, forward, trans, unit)
        first, rest = (high, n - high) if forward else (0, low)
        if rest > 0 and m > 0:
            _subtract(t, b, low, high, first, rest, m, n, trans)


@kernel
def triangular_solve_forward(out, x, y, s):
    """op(X)⁻¹ Y of triangles; s = (batch, n, m, lower, transposed, unit diagonal, separate triangles). 1: singular."""
    batch, n, m, unit = s[0], s[1], s[2], s[5]
    _copy(out, y)
    for p in range(batch):
        q = p * n * n * s[6]
        t = x[q : q + n * n]
        if not unit and _singular(t, n):
            return 1
        solve_triangle(t, out[p * n * m : (p + 1) * n * m], n, m, s[3], s[4], unit)
    return 0


@kernel
def lu_solve_forward(out, x, y, z, s):
    """A⁻¹ Z, or of the transpose, by the factors Y of A = X; s = (batch, n, m, transposed, separate). 1: singular."""
    batch, n, m, trans, separate = s[0], s[1], s[2], s[3], s[4]
    _copy(out, z)
    for p in range(batch):
        q = p * n * (n + 1) * separate
        f, pivots, b = y[q : q + n * n], y[q + n * n : q + n * (n + 1)], out[p * n * m : (p + 1) * n * m]
        if _singular(f, n):
            return 1
        if not trans and not permute(b, pivots, n, m, 0):
            return 1
        solve_triangle(f, b, n, m, 0 if trans else 1, trans, 0 if trans else 1)
        solve_triangle(f, b, n, m, 1 if trans else 0, trans, 1 if trans else 0)
        if trans and not permute(b, pivots, n, m, 1):
            return 1
    return 0


@kernel
def determinant_sign_forward(out, x, y, s):
    """Sign of the determinant of every matrix, by its factors x; s = (batch, n). NaN if a factor is."""
    batch, n = s[0], s[1]
    for p in range(batch):
        q, sign = p * n * (n + 1), 1.0
        for k in range(n):
            d = x[at(q + k * n + k)]
            if d == 0.0 or d != d:
                sign *= abs(d)
            elif (d < 0.0) != (x[at(q + n * n + k)] != k):
                sign = -sign
        out[at(p)] = abs(sign) if sign == 0.0 else sign
    return 0


@kernel
def log_determinant_forward(out, x, y, s):
    """Logarithm of the absolute determinant of every matrix x, by its factors y; s = (batch, n)."""
    batch, n = s[0], s[1]
    for p in range(batch):
        q, total = p * n * (n + 1), 0.0
        for k in range(n):
            total += math.log(abs(y[at(q + k * n + k)]))
        out[at(p)] = total
    return 0


# ── positive definite matrices ────────────────────────────────────────────────────────────────────────────────
@exact_helper
def _cholesky(a, n):
    """The lower triangle in place, row by row; false if the matrix is not positive definite."""
    for i in range(n):
        for j in range(i + 1):
            total = a[at(i * n + j)]
            for k in range(j):
                total -= a[at(i * n + k)] * a[at(j * n + k)]
            if i > j:
                a[at(i * n + j)] = total / a[at(j * n + j)]
            elif total <= 0.0:
                return False
            else:
                a[at(i * n + i)] = math.sqrt(total)
    return True


@kernel
def cholesky_forward(out, x, y, s, w):
    """L of every A = L Lᵀ, of which the lower triangle is read; s = (batch, n). 1: not positive definite."""
    batch, n = s[0], s[1]
    _copy(out, x)
    for p in range(batch):
        a = out[p * n * n : (p + 1) * n * n]
        if n < LAPACK_FROM:
            if not _cholesky(a, n):
                return 1
        else:  # by columns the lower triangle is an upper one
            dpotrf(_UPPER, n, a.ctypes.data, n, w.ctypes.data)
            if view(indices(w.ctypes.data), 1)[0] != 0:
                return 1
        for i in range(n):
            for j in range(i + 1, n):
                a[at(i * n + j)] = 0.0
    return 0
