"""Products with a sparse matrix that is given entry by entry: places (row, column), in any order, and numbers.

Entries at the same place add up. A place is a float64 that must be a row or a column of the matrix.
"""

from .flags import at, helper, kernel


@helper
def _is_place(v, size):
    """Whether a float64 counts, rounded down, something in [0, size). NaN does not."""
    return v >= 0.0 and v < size


@helper
def _times_vector(out, rows, columns, data, x):
    """out += A x; entries of the same row, one after another, are added up in a register."""
    height, width = float(len(out)), float(len(x))
    last, total = 0.0, 0.0
    for k in range(len(rows)):
        i, j = rows[at(k)], columns[at(k)]
        if not (_is_place(i, height) and _is_place(j, width)):
            return 1
        if i != last:
            out[at(int(last))] += total
            last, total = i, 0.0
        total += data[at(k)] * x[at(int(j))]
    if len(rows) > 0:
        out[at(int(last))] += total
    return 0


@helper
def _times_matrix(out, rows, columns, data, x, m):
    """out += A X for X of m columns."""
    height, width = float(len(out) // m), float(len(x) // m)
    for k in range(len(rows)):
        i, j, v = rows[at(k)], columns[at(k)], data[at(k)]
        if not (_is_place(i, height) and _is_place(j, width)):
            return 1
        to, source = int(i) * m, int(j) * m
        for c in range(m):
            out[at(to + c)] += v * x[at(source + c)]
    return 0


@kernel
def sparse_product_forward(out, x, y, z, x3, s):
    """A X for entries at the rows x and the columns y with the numbers z, and matrices x3 of m columns;
    s = (batch, entries, rows, columns, m, separate numbers, separate matrices). 1: an entry outside of the matrix."""
    batch, n, height, width, m = s[0], s[1], s[2] * s[4], s[3] * s[4], s[4]
    out[:] = 0.0
    for p in range(batch):
        own = out[p * height : (p + 1) * height]
        data = z[p * n * s[5] : p * n * s[5] + n]
        given = x3[p * width * s[6] : p * width * s[6] + width]
        if m == 1:
            code = _times_vector(own, x, y, data, given)
        elif m > 1:
            code = _times_matrix(own, x, y, data, given, m)
        else:
            code = 0
        if code != 0:
            return code
    return 0


@helper
def _sample(out, rows, columns, u, v, m):
    """The entries of U Vᵀ at these places."""
    height, width = float(len(u) // m), float(len(v) // m)
    for k in range(len(rows)):
        i, j = rows[at(k)], columns[at(k)]
        if not (_is_place(i, height) and _is_place(j, width)):
            return 1
        left, right, total = int(i) * m, int(j) * m, 0.0
        for c in range(m):
            total += u[at(left + c)] * v[at(right + c)]
        out[at(k)] = total
    return 0


@kernel
def sparse_sample_forward(out, x, y, z, x3, s):
    """The entries of Z X3ᵀ at the rows x and the columns y; s = (batch, entries, rows, columns, m, separate first,
    separate second matrices). 1: an entry outside of the product."""
    batch, n, height, width, m = s[0], s[1], s[2] * s[4], s[3] * s[4], s[4]
    if m == 0:
        out[:] = 0.0
        return 0
    for p in range(batch):
        first = z[p * height * s[5] : p * height * s[5] + height]
        second = x3[p * width * s[6] : p * width * s[6] + width]
        if _sample(out[p * n : (p + 1) * n], x, y, first, second, m) != 0:
            return 1
    return 0
