"""Sparse systems with a fixed pattern: a matrix A is factorised with pivots that were chosen for an earlier one.

The pattern is one array of float64 (see `Pattern`): places of the entries of A, in the caller's order; the permuted
places of rows and columns; the entries by permuted column; the rows of L below its diagonal of ones and those of U
above its diagonal, column by column, in ascending order; how many columns from each one on have nested rows.

A value of factors is a status, the numbers of L, of U, and U's diagonal. The status is 1 where the old pivots would
lose digits: whoever solves with the factors then calls SuperLU, which chooses new ones. Sources: Gilbert & Peierls
(1988), "Sparse partial pivoting in time proportional to arithmetic operations"; Davis & Palamadai Natarajan (2010),
"Algorithm 907: KLU", on factorising again.
"""

from .flags import at, helper, kernel
from .memory import indices, view
from .superlu_call import superlu_solve

_MULTIPLIER = 1e3  # the largest number of L, and
_GROWTH = 1e5  # how much larger than in A numbers of U may be, while the old pivots are good enough
_TINY = 1e-14  # a pivot that is smaller than this times the largest number of its column may be rounding alone


@helper
def _integers(target, source, first, limit):
    """Copy numbers, from `first` on, as integers; false unless all are in [0, limit)."""
    top = float(limit)
    for k in range(len(target)):
        v = source[at(first + k)]
        if not (v >= 0.0 and v < top):
            return False
        target[at(k)] = int(v)
    return True


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
    """Whether every column that says so has one row more than the next one."""
    n = len(nested)
    for k in range(n):
        if nested[at(k)] > 1:
            if k + 1 >= n or nested[at(k + 1)] + 1 < nested[at(k)]:
                return False
            if starts[at(k + 1)] - starts[at(k)] != starts[at(k + 2)] - starts[at(k + 1)] + 1:
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
def _subtract_four(w, k, starts, rows, lower, upper, q):
    """Subtract four columns of L with nested rows, of which each reads and writes the column w once."""
    a, b, c, d = starts[at(k)], starts[at(k + 1)], starts[at(k + 2)], starts[at(k + 3)]
    u = w[at(k)]
    u1 = w[at(k + 1)] - lower[at(a)] * u
    u2 = w[at(k + 2)] - lower[at(a + 1)] * u - lower[at(b)] * u1
    u3 = w[at(k + 3)] - lower[at(a + 2)] * u - lower[at(b + 1)] * u1 - lower[at(c)] * u2
    for i in range(4):
        w[at(k + i)] = 0.0
    upper[at(q)], upper[at(q + 1)], upper[at(q + 2)], upper[at(q + 3)] = u, u1, u2, u3
    a, b, c = a + 3, b + 2, c + 1
    for p in range(starts[at(k + 4)] - d):
        total = lower[at(a + p)] * u + lower[at(b + p)] * u1 + lower[at(c + p)] * u2 + lower[at(d + p)] * u3
        w[at(rows[at(d + p)])] -= total


@helper
def _subtract_two(w, k, starts, rows, lower, upper, q):
    a, b = starts[at(k)], starts[at(k + 1)]
    u = w[at(k)]
    u1 = w[at(k + 1)] - lower[at(a)] * u
    w[at(k)], w[at(k + 1)] = 0.0, 0.0
    upper[at(q)], upper[at(q + 1)] = u, u1
    a += 1
    for p in range(starts[at(k + 2)] - b):
        w[at(rows[at(b + p)])] -= lower[at(a + p)] * u + lower[at(b + p)] * u1


@helper
def _subtract_one(w, k, starts, rows, lower, upper, q):
    u = w[at(k)]
    w[at(k)] = 0.0
    upper[at(q)] = u
    for p in range(starts[at(k)], starts[at(k + 1)]):
        w[at(rows[at(p)])] -= lower[at(p)] * u


@helper
def _eliminate(w, low, high, above, nested, starts, rows, lower, upper):
    """Column w minus what the columns of L before it contribute; the largest number of U in it."""
    q, largest = low, 0.0
    while q < high:
        k, done = above[at(q)], 1
        if nested[at(k)] >= 4 and q + 3 < high:
            _subtract_four(w, k, starts, rows, lower, upper, q)
            done = 4
        elif nested[at(k)] >= 2 and q + 1 < high:
            _subtract_two(w, k, starts, rows, lower, upper, q)
            done = 2
        else:
            _subtract_one(w, k, starts, rows, lower, upper, q)
        for i in range(done):
            if abs(upper[at(q + i)]) > largest:
                largest = abs(upper[at(q + i)])
        q += done
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
def _factor(out, data, w, n, by_column, below, above):
    """L, U and its diagonal, column by column; whether the pivots are good enough. Each tuple has bounds and rows:
    `by_column` of the entries of A and their numbers, `below` of L and how its columns are nested, `above` of U."""
    starts, places, entries = by_column
    first, rows, nested = below
    bounds, uppers = above
    lower, upper = out[1 : 1 + len(rows)], out[1 + len(rows) : 1 + len(rows) + len(uppers)]
    diagonal = out[1 + len(rows) + len(uppers) :]
    w[:] = 0.0
    for j in range(n):
        given = _scatter(w, places, entries, starts[at(j)], starts[at(j + 1)], data)
        largest = _eliminate(w, bounds[at(j)], bounds[at(j + 1)], uppers, nested, first, rows, lower, upper)
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
    # Integers of half the size, checked once, take half the time in the loops.
    space = w.ctypes.data + 8 * n
    row_places = view(indices(space), n)
    starts = view(indices(space + 4 * n), n + 1)
    entries = view(indices(space + 4 * (2 * n + 1)), count)
    first = view(indices(space + 4 * (2 * n + 1 + count)), n + 1)
    rows = view(indices(space + 4 * (3 * n + 2 + count)), n_lower)
    bounds = view(indices(space + 4 * (3 * n + 2 + count + n_lower)), n + 1)
    uppers = view(indices(space + 4 * (4 * n + 3 + count + n_lower)), n_upper)
    nested = view(indices(space + 4 * (4 * n + 3 + count + n_lower + n_upper)), n)
    places = view(indices(space + 4 * (5 * n + 3 + count + n_lower + n_upper)), count)
    at_rows, at_starts = 2 * count, 2 * count + 2 * n
    at_first = at_starts + n + 1 + count
    at_bounds = at_first + n + 1 + n_lower
    good = _integers(row_places, x, at_rows, n)
    good = good and _integers(starts, x, at_starts, count + 1) and _integers(entries, x, at_starts + n + 1, count)
    good = good and _integers(first, x, at_first, n_lower + 1) and _integers(rows, x, at_first + n + 1, n)
    good = good and _integers(bounds, x, at_bounds, n_upper + 1) and _integers(uppers, x, at_bounds + n + 1, n)
    good = good and _integers(nested, x, at_bounds + n + 1 + n_upper, n + 1) and _integers(places, x, 0, n)
    good = good and _are_bounds(starts, count) and _are_bounds(first, n_lower) and _are_bounds(bounds, n_upper)
    if not (good and _are_nested(nested, first)):
        return 1
    _by_entry(places, row_places, entries, x)
    size = 1 + n_lower + n_upper + n
    for p in range(batch):
        own = out[p * size : (p + 1) * size]
        own[0] = 0.0
        data = y[p * count : (p + 1) * count]
        if not _factor(own, data, w[:n], n, (starts, places, entries), (first, rows, nested), (bounds, uppers)):
            own[:] = 0.0
            own[0] = 1.0
    return 0


@helper
def _by_entry(places, row_places, entries, x):
    """The permuted rows of the entries, in the order of the permuted columns."""
    for p in range(len(places)):
        places[at(p)] = row_places[at(int(x[at(entries[at(p)])]))]


# ── solving ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _permuted(target, source, places, first, n, m, back):
    """Rows to where the pattern says, or from there; false where it says nothing."""
    top = float(n)
    for i in range(n):
        v = places[at(first + i)]
        if not (v >= 0.0 and v < top):
            return False
        k = int(v) * m
        for c in range(m):
            if back:
                target[at(i * m + c)] = source[at(k + c)]
            else:
                target[at(k + c)] = source[at(i * m + c)]
    return True


@helper
def _part(x, first, k, total):
    """Bounds of part k of `total` numbers; (0, -1) if there are none."""
    low, high = x[at(first + k)], x[at(first + k + 1)]
    if not (low >= 0.0 and low <= high and high <= float(total)):
        return 0, -1
    return int(low), int(high)


@helper
def _spread(w, x, first, low, high, numbers, k, m, n):
    """Subtract from the rows of a column its numbers times row k."""
    top = float(n)
    if m == 1:
        v = w[at(k)]
        for p in range(low, high):
            i = x[at(first + p)]
            if not (i >= 0.0 and i < top):
                return False
            w[at(int(i))] -= numbers[at(p)] * v
        return True
    for p in range(low, high):
        i, v = x[at(first + p)], numbers[at(p)]
        if not (i >= 0.0 and i < top):
            return False
        to = int(i) * m
        for c in range(m):
            w[at(to + c)] -= v * w[at(k * m + c)]
    return True


@helper
def _collect(w, x, first, low, high, numbers, k, m, n):
    """Subtract from row k the rows of a column times its numbers."""
    top = float(n)
    if m == 1:
        total = 0.0
        for p in range(low, high):
            i = x[at(first + p)]
            if not (i >= 0.0 and i < top):
                return False
            total += numbers[at(p)] * w[at(int(i))]
        w[at(k)] -= total
        return True
    for p in range(low, high):
        i, v = x[at(first + p)], numbers[at(p)]
        if not (i >= 0.0 and i < top):
            return False
        source = int(i) * m
        for c in range(m):
            w[at(k * m + c)] -= v * w[at(source + c)]
    return True


@helper
def _scale(w, k, m, pivot):
    for c in range(m):
        w[at(k * m + c)] /= pivot


@helper
def _solve(w, x, factors, s, below, above):
    """w = (L U)⁻¹ w; `below` and `above` are the places of the bounds of L and of U in the pattern x."""
    n, n_lower, n_upper, m = s[1], s[3], s[4], s[5]
    lower, upper = factors[1 : 1 + n_lower], factors[1 + n_lower : 1 + n_lower + n_upper]
    diagonal = factors[1 + n_lower + n_upper :]
    for k in range(n):
        low, high = _part(x, below, k, n_lower)
        if high < 0 or not _spread(w, x, below + n + 1, low, high, lower, k, m, n):
            return False
    for step in range(n):
        k = n - 1 - step
        _scale(w, k, m, diagonal[at(k)])
        low, high = _part(x, above, k, n_upper)
        if high < 0 or not _spread(w, x, above + n + 1, low, high, upper, k, m, n):
            return False
    return True


@helper
def _solve_transposed(w, x, factors, s, below, above):
    """w = (L U)⁻ᵀ w."""
    n, n_lower, n_upper, m = s[1], s[3], s[4], s[5]
    lower, upper = factors[1 : 1 + n_lower], factors[1 + n_lower : 1 + n_lower + n_upper]
    diagonal = factors[1 + n_lower + n_upper :]
    for k in range(n):
        low, high = _part(x, above, k, n_upper)
        if high < 0 or not _collect(w, x, above + n + 1, low, high, upper, k, m, n):
            return False
        _scale(w, k, m, diagonal[at(k)])
    for step in range(n):
        k = n - 1 - step
        low, high = _part(x, below, k, n_lower)
        if high < 0 or not _collect(w, x, below + n + 1, low, high, lower, k, m, n):
            return False
    return True


@kernel
def sparse_lu_solve_forward(out, x, y, z, x3, s, w):
    """op(A)⁻¹ X3 by the factors z of matrices with the pattern x and the numbers y;
    s = (batch, n, entries, numbers of L, of U, right sides, transposed, separate matrices).
    1: a singular matrix, or x is no pattern."""
    batch, n, count, n_lower, n_upper, m, trans, separate = s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
    size = 1 + n_lower + n_upper + n
    at_rows, below = 2 * count, 3 * count + 3 * n + 1
    above = below + n + 1 + n_lower
    for p in range(batch):
        own = z[p * separate * size : p * separate * size + size]
        given, found = x3[p * n * m : (p + 1) * n * m], out[p * n * m : (p + 1) * n * m]
        if own[0] != 0.0:
            data = y.ctypes.data + 8 * p * separate * count
            if superlu_solve(x.ctypes.data, n, count, data, given.ctypes.data, found.ctypes.data, m, trans) != 0:
                return 1
            continue
        if not _permuted(w, given, x, at_rows + n * trans, n, m, False):
            return 1
        solved = _solve_transposed(w, x, own, s, below, above) if trans else _solve(w, x, own, s, below, above)
        if not (solved and _permuted(found, w, x, at_rows + n * (1 - trans), n, m, True)):
            return 1
    return 0
