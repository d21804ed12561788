"""Systems with band matrices, of which only the diagonals are kept: row r of the storage holds the diagonal `high` - r,
shifted to the columns that its elements stand in.

Factors are stored as LAPACK's dgbtrf does: by columns of 2 low + high + 1 numbers, U above the multipliers, then n
pivots: row k was swapped with row pivots[k]. Narrow bands are loops: LAPACK calls BLAS for every column of them.
"""

from .flags import at, helper, kernel
from .lapack import copy, fill
from .lapack_calls import dgbtrf
from .memory import indices, view

_WIDE = 24  # diagonals below the main one from which on a call of LAPACK is faster than loops


@helper
def _swap_rows(f, lead, main, j, p, last):
    """Swap rows j and p in the columns j, …, last."""
    for c in range(j, last + 1):
        base = c * lead + main - c
        f[at(base + j)], f[at(base + p)] = f[at(base + p)], f[at(base + j)]


@helper
def _eliminate(f, lead, main, j, below, last):
    """Make the multipliers of column j, and subtract multiples of row j in the columns after it, up to the last."""
    own = j * lead + main
    pivot = f[at(own)]
    for i in range(1, below + 1):
        f[at(own + i)] /= pivot
    for c in range(j + 1, last + 1):
        base = c * lead + main + j - c
        factor = f[at(base)]
        if factor != 0.0:
            for i in range(1, below + 1):
                f[at(base + i)] -= f[at(own + i)] * factor


@helper
def _factor_by_loops(f, pivots, n, low, high):
    """Gaussian elimination with partial pivoting, in place, column by column (LAPACK's dgbtf2)."""
    lead, main, last = 2 * low + high + 1, low + high, 0
    for j in range(n):
        below = low if low < n - 1 - j else n - 1 - j
        own = j * lead + main
        best, size = 0, abs(f[at(own)])
        for i in range(1, below + 1):
            v = abs(f[at(own + i)])
            if v > size:
                best, size = i, v
        pivots[at(j)] = float(j + best)
        if f[at(own + best)] != 0.0:
            reach = j + high + best
            reach = reach if reach < n - 1 else n - 1
            last = reach if reach > last else last
            if best > 0:
                _swap_rows(f, lead, main, j, j + best, last)
            _eliminate(f, lead, main, j, below, last)


@helper
def _factor(f, pivots, ab, n, low, high, w):
    """Factors and pivots of one matrix; w: n + 3 numbers where its band is wide."""
    lead = 2 * low + high + 1
    fill(f, 0.0)
    for r in range(low + high + 1):  # what the storage has outside of the matrix may be anything
        d = high - r
        for j in range(d if d > 0 else 0, n if d >= 0 else n + d):
            f[at(j * lead + low + r)] = ab[at(r * n + j)]
    if low < _WIDE:
        _factor_by_loops(f, pivots, n, low, high)
        return
    places = w.ctypes.data
    dgbtrf(n, n, low, high, f.ctypes.data, lead, places, places + 8 * (n // 2 + 1))
    found = view(indices(places), n)
    for k in range(n):
        pivots[at(k)] = float(found[at(k)]) - 1.0


@helper
def _are_good(f, pivots, n, low, high):
    """Whether pivots are places near the diagonal, and no number on the diagonal of U is 0."""
    lead, main = 2 * low + high + 1, low + high
    for j in range(n):
        v = pivots[at(j)]
        if not (v >= j and v <= j + low and v < n) or f[at(j * lead + main)] == 0.0:
            return False
    return True


@helper
def _solve(f, pivots, b, n, low, high):
    """A⁻¹ b by the factors, in place."""
    lead, main = 2 * low + high + 1, low + high
    for j in range(n):
        p = int(pivots[at(j)])
        value = b[at(p)]
        b[at(p)] = b[at(j)]
        b[at(j)] = value
        below = low if low < n - 1 - j else n - 1 - j
        own = j * lead + main
        for i in range(1, below + 1):
            b[at(j + i)] -= f[at(own + i)] * value
    for k in range(n):
        j = n - 1 - k
        own = j * lead + main
        value = b[at(j)] * (1.0 / f[at(own)])  # of which the division waits for nothing
        b[at(j)] = value
        above = main if main < j else j
        for i in range(1, above + 1):
            b[at(j - i)] -= f[at(own - i)] * value


@helper
def _solve_transposed(f, pivots, b, n, low, high):
    """A⁻ᵀ b by the factors, in place."""
    lead, main = 2 * low + high + 1, low + high
    for j in range(n):
        own = j * lead + main
        value = b[at(j)]
        above = main if main < j else j
        for k in range(above):
            i = above - k
            value -= f[at(own - i)] * b[at(j - i)]
        b[at(j)] = value * (1.0 / f[at(own)])
    for k in range(n):
        j = n - 1 - k
        own = j * lead + main
        below = low if low < n - 1 - j else n - 1 - j
        value = b[at(j)]
        for i in range(1, below + 1):
            value -= f[at(own + i)] * b[at(j + i)]
        p = int(pivots[at(j)])
        b[at(j)] = b[at(p)]
        b[at(p)] = value


@helper
def _solve_one(f, pivots, b, n, low, high, trans):
    if trans:
        _solve_transposed(f, pivots, b, n, low, high)
    else:
        _solve(f, pivots, b, n, low, high)


@helper
def _solve_columns(f, pivots, b, n, m, low, high, trans, w):
    """op(A)⁻¹ B by the factors, in place; w: n numbers."""
    if m == 1:
        _solve_one(f, pivots, b, n, low, high, trans)
        return
    for k in range(m):
        for i in range(n):
            w[at(i)] = b[at(i * m + k)]
        _solve_one(f, pivots, w[:n], n, low, high, trans)
        for i in range(n):
            b[at(i * m + k)] = w[at(i)]


@kernel
def banded_lu_forward(out, x, y, s, w):
    """Factors and pivots of every band matrix; s = (batch, n, low, high)."""
    batch, n, low, high = s[0], s[1], s[2], s[3]
    size, own = (low + high + 1) * n, (2 * low + high + 1) * n
    for p in range(batch):
        o = p * (own + n)
        _factor(out[o : o + own], out[o + own : o + own + n], x[p * size : (p + 1) * size], n, low, high, w)
    return 0


@kernel
def banded_lu_solve_forward(out, x, y, z, s, w):
    """op(X)⁻¹ Z of band matrices by their factors Y; s = (batch, n, low, high, m, transposed, separate matrices). 1:
    singular."""
    batch, n, low, high, m, trans, separate = s[0], s[1], s[2], s[3], s[4], s[5], s[6]
    own = (2 * low + high + 1) * n
    copy(out, z)
    for p in range(batch):
        q = p * (own + n) * separate
        f, pivots = y[q : q + own], y[q + own : q + own + n]
        if not _are_good(f, pivots, n, low, high):
            return 1
        _solve_columns(f, pivots, out[p * n * m : (p + 1) * n * m], n, m, low, high, trans, w)
    return 0


@kernel
def banded_solve_forward(out, x, y, s, w):
    """op(X)⁻¹ Y of band matrices; s = (batch, n, m, low, high, transposed, separate matrices). 1: singular."""
    batch, n, m, low, high = s[0], s[1], s[2], s[3], s[4]
    size, own = (low + high + 1) * n, (2 * low + high + 1) * n
    f, pivots, rest = w[:own], w[own : own + n], w[own + n :]
    copy(out, y)
    if n == 0 or m == 0:
        return 0
    for p in range(batch):
        q = p * size * s[6]
        _factor(f, pivots, x[q : q + size], n, low, high, rest)
        if not _are_good(f, pivots, n, low, high):
            return 1
        _solve_columns(f, pivots, out[p * n * m : (p + 1) * n * m], n, m, low, high, s[5], rest)
    return 0
