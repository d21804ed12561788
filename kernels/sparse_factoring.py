"""Sparse systems with a fixed pattern: a matrix A is factorised with pivots that were chosen for an earlier one.

The pattern is one array of 32-bit integers in the memory of float64 (see `Pattern`, and `sparse_products`): places of
the entries of A, in the caller's order; the permuted places of rows and columns; the entries by permuted column; the
rows of L below its diagonal of ones and those of U above its diagonal, column by column, in ascending order; how many
columns from each one on have nested rows.

A value of factors is a status, the numbers of L, of U, and U's diagonal. The status is 1 where the old pivots would
lose digits: whoever solves with the factors then calls SuperLU, which chooses new ones. Where numbers of A are not
finite, all factors are NaN. Sources: Gilbert & Peierls
(1988), "Sparse partial pivoting in time proportional to arithmetic operations"; Davis & Palamadai Natarajan (2010),
"Algorithm 907: KLU", on factorising again.
"""

import numpy as np

from .flags import at, helper, kernel
from .memory import indices, view
from .superlu_call import superlu_solve

_MULTIPLIER = 1e3  # the largest number of L, and
_GROWTH = 1e5  # how much larger than in A numbers of U may be, while the old pivots are good enough
_TINY = 1e-14  # a pivot that is smaller than this times the largest number of its column may be rounding alone


@helper
def _cut(x, count, n, n_lower, n_upper):
    """The parts of a pattern behind the places of the entries: [row places | column places], (bounds, entries) of the
    permuted columns, (bounds, rows, nested) of L, (bounds, rows) of U."""
    first = x.ctypes.data + 8 * count
    turned = view(indices(first), 2 * n)
    first += 8 * n
    starts, entries = view(indices(first), n + 1), view(indices(first + 4 * (n + 1)), count)
    first += 4 * (n + 1 + count)
    below, lower = view(indices(first), n + 1), view(indices(first + 4 * (n + 1)), n_lower)
    first += 4 * (n + 1 + n_lower)
    above, upper = view(indices(first), n + 1), view(indices(first + 4 * (n + 1)), n_upper)
    nested = view(indices(first + 4 * (n + 1 + n_upper)), n)
    return turned, (starts, entries), (below, lower, nested), (above, upper)


@helper
def _are_below(numbers, limit):
    """Whether all numbers are in [0, limit)."""
    low, high = np.int64(0), np.int64(-1)
    for k in range(len(numbers)):
        v = np.int64(numbers[at(k)])
        low, high = min(low, v), max(high, v)
    return low >= 0 and high < limit


@helper
def _are_bounds(starts, total):
    """Whether these are the bounds of parts of an array of this length, one after another."""
    last = len(starts) - 1
    if starts[at(0)] != 0 or starts[at(last)] != total:
        return False
    for k in range(last):
        if starts[at(k)] > starts[at(k + 1)]:
            return False
    return True


@helper
def _are_nested(nested, starts):
    """Whether every column that says so has one row more than the next one, and no column too many; all count
    themselves."""
    n = len(nested)
    for k in range(n):
        if nested[at(k)] < 1 or starts[at(k + 1)] - starts[at(k)] >= n - k:
            return False
        if nested[at(k)] > 1:
            if k + 1 >= n or nested[at(k + 1)] + 1 < nested[at(k)]:
                return False
            if starts[at(k + 1)] - starts[at(k)] != starts[at(k + 2)] - starts[at(k + 1)] + 1:
                return False
    return True


@helper
def _are_finite(data):
    for k in range(len(data)):
        if data[at(k)] - data[at(k)] != 0.0:
            return False
    return True


@helper
def _scatter(w, rows, entries, low, high, data):
    """Add entries of A to a column; the largest of them."""
    largest = 0.0
    for p in range(low, high):
        i = at(rows[at(p)])
        v = w[i] + data[at(entries[at(p)])]
        w[i] = v
        if abs(v) > largest:
            largest = abs(v)
    return largest


@helper
def _subtract_one(w, k, starts, rows, lower):
    """Subtract what column k of L contributes to column w."""
    u = w[at(k)]
    for p in range(starts[at(k)], starts[at(k + 1)]):
        w[at(rows[at(p)])] -= lower[at(p)] * u


@helper
def _subtract_nested(w, k, count, starts, rows, lower, dense):
    """Subtract what `count` columns of L from k on contribute, whose rows are nested: a dense trapezoid. Their part of
    w is gathered once for all of them, and arithmetic is on runs of memory."""
    last = at(k + count - 1)
    below, tail = starts[last], starts[last + 1] - starts[last]
    for i in range(count):
        dense[at(i)] = w[at(k + i)]
    dense[count : count + tail] = 0.0
    c = np.int64(0)  # of one type, or the loop below is compiled twice
    while c + 4 <= count:
        _subtract_four(dense[c : count + tail], lower, starts, k + c)
        c += 4
    while c < count:
        u, first, rest = dense[at(c)], starts[at(k + c)], dense[c + 1 : count + tail]
        for i in range(len(rest)):
            rest[at(i)] -= lower[at(first + i)] * u
        c += 1
    for i in range(count):
        w[at(k + i)] = dense[at(i)]
    for i in range(tail):
        w[at(rows[at(below + i)])] += dense[at(count + i)]


@helper
def _subtract_four(v, lower, starts, k):
    """Subtract four columns of a dense trapezoid from a column that starts at the row of the first."""
    a, b, c, d = starts[at(k)], starts[at(k + 1)], starts[at(k + 2)], starts[at(k + 3)]
    u = v[0]
    u1 = v[1] - lower[at(a)] * u
    u2 = v[2] - lower[at(a + 1)] * u - lower[at(b)] * u1
    u3 = v[3] - lower[at(a + 2)] * u - lower[at(b + 1)] * u1 - lower[at(c)] * u2
    v[1], v[2], v[3] = u1, u2, u3
    rest = v[4 : len(v)]
    first, second, third, fourth = lower[a + 3 : b], lower[b + 2 : c], lower[c + 1 : d], lower[d : len(lower)]
    for p in range(len(rest)):
        i = at(p)
        rest[i] = rest[i] - first[i] * u - second[i] * u1 - third[i] * u2 - fourth[i] * u3


@helper
def _eliminate(w, low, high, above, nested, starts, rows, lower, upper, dense):
    """Column w minus what the columns of L before it contribute; the largest number of U in it."""
    q = np.int64(low)
    while q < high:
        k = above[at(q)]
        count = min(nested[at(k)], high - q)  # a column that k leads to has all rows that are nested in it
        if count > 1:
            _subtract_nested(w, k, count, starts, rows, lower, dense)
        else:
            _subtract_one(w, k, starts, rows, lower)
        q += count
    largest = 0.0
    for p in range(low, high):
        i = at(above[at(p)])
        u = w[i]
        w[i], upper[at(p)] = 0.0, u
        if abs(u) > largest:
            largest = abs(u)
    return largest


@helper
def _divide(w, pivot, low, high, rows, lower):
    """The column of L; whether all of its numbers are small enough."""
    good = True
    for p in range(low, high):
        i = at(rows[at(p)])
        v = w[i] / pivot
        w[i] = 0.0
        lower[at(p)] = v
        if abs(v) > _MULTIPLIER:
            good = False
    return good


@helper
def _factor(out, data, w, dense, by_column, below, above):
    """L, U and its diagonal, column by column; whether the pivots are good enough. Each tuple has bounds and rows:
    `by_column` of the entries of A and their numbers, `below` of L and how its columns are nested, `above` of U. There
    is room for a column in `w` and in `dense`."""
    starts, places, entries = by_column
    first, rows, nested = below
    bounds, uppers = above
    lower, upper = out[1 : 1 + len(rows)], out[1 + len(rows) : 1 + len(rows) + len(uppers)]
    diagonal = out[1 + len(rows) + len(uppers) :]
    w[:] = 0.0
    for j in range(len(w)):
        given = _scatter(w, places, entries, starts[at(j)], starts[at(j + 1)], data)
        largest = _eliminate(w, bounds[at(j)], bounds[at(j + 1)], uppers, nested, first, rows, lower, upper, dense)
        pivot = w[at(j)]
        w[at(j)] = 0.0
        diagonal[at(j)] = pivot
        good = _divide(w, pivot, first[at(j)], first[at(j + 1)], rows, lower)
        if abs(pivot) > largest:
            largest = abs(pivot)
        if not good or largest > _GROWTH * given or abs(pivot) <= _TINY * max(given, largest):
            return False
    return True


@kernel
def sparse_lu_forward(out, x, y, s, w):
    """The factors of matrices with the pattern x and the numbers y; s = (batch, n, entries, numbers of L, of U).
    1: x is no pattern."""
    batch, n, count, n_lower, n_upper = s[0], s[1], s[2], s[3], s[4]
    places = view(indices(w.ctypes.data + 16 * n), count)
    turned, (starts, entries), (first, rows, nested), (bounds, uppers) = _cut(x, count, n, n_lower, n_upper)
    good = _are_below(turned, n) and _are_below(entries, count) and _are_below(rows, n) and _are_below(uppers, n)
    good = good and _are_below(nested, n + 1) and _are_bounds(starts, count) and _are_bounds(first, n_lower)
    if not (good and _are_bounds(bounds, n_upper) and _are_nested(nested, first)):
        return 1
    if not _by_entry(places, turned, entries, view(indices(x.ctypes.data), 2 * count)):
        return 1
    size = 1 + n_lower + n_upper + n
    for p in range(batch):
        own = out[p * size : (p + 1) * size]
        own[0] = 0.0
        data = y[p * count : (p + 1) * count]
        if not _are_finite(data):
            own[1:] = np.nan
            continue
        by_column, below, above = (starts, places, entries), (first, rows, nested), (bounds, uppers)
        if not _factor(own, data, w[:n], w[n : 2 * n], by_column, below, above):
            own[:] = 0.0
            own[0] = 1.0
    return 0


@helper
def _by_entry(permuted, turned, entries, places):
    """The permuted rows of the entries, in the order of the permuted columns; false if one is none."""
    for p in range(len(permuted)):
        i = at(places[at(2 * entries[at(p)])])
        if i >= at(len(turned) // 2):
            return False
        permuted[at(p)] = turned[i]
    return True


# ── solving ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _spread(w, k, starts, rows, numbers):
    """Subtract from the rows of column k its numbers times row k; false for a row that is none."""
    v, top = w[at(k)], at(len(w))
    for p in range(starts[at(k)], starts[at(k + 1)]):
        i = at(rows[at(p)])
        if i >= top:
            return False
        w[i] -= numbers[at(p)] * v
    return True


@helper
def _collect(w, k, starts, rows, numbers):
    """Subtract from row k the rows of column k times its numbers, in sums that do not wait for each other; false for a
    row that is none."""
    low, high, top = starts[at(k)], starts[at(k + 1)], at(len(w))
    first, second, p = 0.0, 0.0, np.int64(low)
    while p + 2 <= high:
        i, j = at(rows[at(p)]), at(rows[at(p + 1)])
        if i >= top or j >= top:
            return False
        first += numbers[at(p)] * w[i]
        second += numbers[at(p + 1)] * w[j]
        p += 2
    if p < high:
        i = at(rows[at(p)])
        if i >= top:
            return False
        first += numbers[at(p)] * w[i]
    w[at(k)] -= first + second
    return True


@helper
def _nest(k, starts):
    """Whether four columns from k on have as many rows as nested ones have."""
    a, b, c, d, e = starts[at(k)], starts[at(k + 1)], starts[at(k + 2)], starts[at(k + 3)], starts[at(k + 4)]
    return d - c == e - d + 1 and c - b == e - d + 2 and b - a == e - d + 3


@helper
def _spread_four(w, k, starts, rows, lower):
    """As `_spread`, for four columns of L from k on whose rows are nested: every row is read and written once."""
    a, b, c, d = starts[at(k)], starts[at(k + 1)], starts[at(k + 2)], starts[at(k + 3)]
    v = w[at(k)]
    v1 = w[at(k + 1)] - lower[at(a)] * v
    v2 = w[at(k + 2)] - lower[at(a + 1)] * v - lower[at(b)] * v1
    v3 = w[at(k + 3)] - lower[at(a + 2)] * v - lower[at(b + 1)] * v1 - lower[at(c)] * v2
    w[at(k + 1)], w[at(k + 2)], w[at(k + 3)] = v1, v2, v3
    top = at(len(w))
    for p in range(starts[at(k + 4)] - d):
        i = at(rows[at(d + p)])
        if i >= top:
            return False
        near = lower[at(a + 3 + p)] * v + lower[at(b + 2 + p)] * v1
        w[i] -= near + (lower[at(c + 1 + p)] * v2 + lower[at(d + p)] * v3)
    return True


@helper
def _collect_four(w, k, starts, rows, lower):
    """As `_collect`, for four columns of L from k on whose rows are nested."""
    a, b, c, d = starts[at(k)], starts[at(k + 1)], starts[at(k + 2)], starts[at(k + 3)]
    s, s1, s2, s3, top = 0.0, 0.0, 0.0, 0.0, at(len(w))
    for p in range(starts[at(k + 4)] - d):
        i = at(rows[at(d + p)])
        if i >= top:
            return False
        v = w[i]
        s += lower[at(a + 3 + p)] * v
        s1 += lower[at(b + 2 + p)] * v
        s2 += lower[at(c + 1 + p)] * v
        s3 += lower[at(d + p)] * v
    v3 = w[at(k + 3)] - s3
    v2 = w[at(k + 2)] - s2 - lower[at(c)] * v3
    v1 = w[at(k + 1)] - s1 - lower[at(b)] * v2 - lower[at(b + 1)] * v3
    w[at(k)] -= s + lower[at(a)] * v1 + lower[at(a + 1)] * v2 + lower[at(a + 2)] * v3
    w[at(k + 1)], w[at(k + 2)], w[at(k + 3)] = v1, v2, v3
    return True


@helper
def _solve(w, below, lower, above, upper, diagonal):
    """w = (L U)⁻¹ w; false where the pattern is none."""
    starts, rows, nested = below
    n, k = len(w), np.int64(0)
    while k < n:
        if nested[at(k)] >= 4 and k + 4 <= n:
            if not (_nest(k, starts) and _spread_four(w, k, starts, rows, lower)):
                return False
            k += 4
        else:
            if not _spread(w, k, starts, rows, lower):
                return False
            k += 1
    bounds, uppers = above
    for step in range(n):
        k = n - 1 - step
        w[at(k)] /= diagonal[at(k)]
        if not _spread(w, k, bounds, uppers, upper):
            return False
    return True


@helper
def _solve_transposed(w, below, lower, above, upper, diagonal):
    """w = (L U)⁻ᵀ w; false where the pattern is none."""
    bounds, uppers = above
    n = len(w)
    for k in range(n):
        if not _collect(w, k, bounds, uppers, upper):
            return False
        w[at(k)] /= diagonal[at(k)]
    starts, rows, nested = below
    end = np.int64(n)
    while end > 0:
        if end >= 4 and nested[at(end - 4)] >= 4:
            if not (_nest(end - 4, starts) and _collect_four(w, end - 4, starts, rows, lower)):
                return False
            end -= 4
        else:
            if not _collect(w, end - 1, starts, rows, lower):
                return False
            end -= 1
    return True


@kernel
def sparse_lu_solve_forward(out, x, y, z, x3, s, w):
    """op(A)⁻¹ X3 by the factors z of matrices with the pattern x and the numbers y;
    s = (batch, n, entries, numbers of L, of U, right sides, transposed, separate matrices).
    1: a singular matrix, or x is no pattern."""
    batch, n, count, n_lower, n_upper, m, trans, separate = s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
    size, space = 1 + n_lower + n_upper + n, w[:n]
    turned, _, below, above = _cut(x, count, n, n_lower, n_upper)
    into, back = n * trans, n * (1 - trans)  # places of the right side and of the result
    if not (_are_bounds(below[0], n_lower) and _are_bounds(above[0], n_upper) and _are_below(turned, n)):
        return 1
    for p in range(batch):
        own, right = p * separate * size, p * n * m
        if z[at(own)] != 0.0:
            data, given = y.ctypes.data + 8 * p * separate * count, x3.ctypes.data + 8 * right
            if superlu_solve(x.ctypes.data, n, count, data, given, out.ctypes.data + 8 * right, m, trans) != 0:
                return 1
            continue
        lower, upper = z[own + 1 : own + 1 + n_lower], z[own + 1 + n_lower : own + 1 + n_lower + n_upper]
        diagonal = z[own + 1 + n_lower + n_upper : own + size]
        for c in range(right, right + m):
            for i in range(n):
                space[at(turned[at(into + i)])] = x3[at(c + i * m)]
            if trans:
                good = _solve_transposed(space, below, lower, above, upper, diagonal)
            else:
                good = _solve(space, below, lower, above, upper, diagonal)
            if not good:
                return 1
            for i in range(n):
                out[at(c + i * m)] = space[at(turned[at(back + i)])]
    return 0
