"""Products with a sparse matrix that is given entry by entry: places (row, column), in any order, and numbers.

Entries at the same place add up. A place is two 32-bit integers in the memory of one float64, which is never computed
with: so they take a third of what they would as numbers, and need no conversion. They are checked all the same.
"""

from .flags import at, helper, kernel
from .memory import indices, view


@helper
def _times_vector(out, places, data, x, back):
    """out += A x; entries of the same row, one after another, are added up in a register."""
    last, total, height, width = at(0), 0.0, at(len(out)), at(len(x))
    for k in range(len(data)):
        i, j = at(places[at(2 * k + back)]), at(places[at(2 * k + 1 - back)])
        if i >= height or j >= width:
            return 1
        if i != last:
            out[last] += total
            last, total = i, 0.0
        total += data[at(k)] * x[j]
    if len(data) > 0:
        out[last] += total
    return 0


@helper
def _times_matrix(out, places, data, x, m, back):
    """out += A X for X of m columns."""
    height, width = at(len(out) // m), at(len(x) // m)
    for k in range(len(data)):
        i, j, v = at(places[at(2 * k + back)]), at(places[at(2 * k + 1 - back)]), data[at(k)]
        if i >= height or j >= width:
            return 1
        for c in range(m):
            out[i * at(m) + at(c)] += v * x[j * at(m) + at(c)]
    return 0


@kernel
def sparse_product_forward(out, x, y, z, s):
    """A Z for entries at the places x with the numbers y, and matrices z of m columns; s = (batch, entries, rows,
    columns, m, separate numbers, separate matrices, transposed places). 1: an entry outside of the matrix."""
    batch, n, height, width, m, back = s[0], s[1], s[2] * s[4], s[3] * s[4], s[4], s[7]
    places = view(indices(x.ctypes.data), 2 * n)
    out[:] = 0.0
    for p in range(batch):
        own = out[p * height : (p + 1) * height]
        data = y[p * n * s[5] : p * n * s[5] + n]
        given = z[p * width * s[6] : p * width * s[6] + width]
        if m == 1:
            code = _times_vector(own, places, data, given, back)
        elif m > 1:
            code = _times_matrix(own, places, data, given, m, back)
        else:
            code = 0
        if code != 0:
            return code
    return 0


@helper
def _sample(out, places, u, v, m, back):
    """The entries of U Vᵀ at these places."""
    height, width = at(len(u) // m), at(len(v) // m)
    for k in range(len(out)):
        i, j = at(places[at(2 * k + back)]), at(places[at(2 * k + 1 - back)])
        if i >= height or j >= width:
            return 1
        total = 0.0
        for c in range(m):
            total += u[i * at(m) + at(c)] * v[j * at(m) + at(c)]
        out[at(k)] = total
    return 0


@kernel
def sparse_sample_forward(out, x, y, z, s):
    """The entries of Y Zᵀ at the places x; s = (batch, entries, rows, columns, m, separate first, separate second
    matrices, transposed places). 1: an entry outside of the product."""
    batch, n, height, width, m, back = s[0], s[1], s[2] * s[4], s[3] * s[4], s[4], s[7]
    if m == 0:
        out[:] = 0.0
        return 0
    places = view(indices(x.ctypes.data), 2 * n)
    for p in range(batch):
        first = y[p * height * s[5] : p * height * s[5] + height]
        second = z[p * width * s[6] : p * width * s[6] + width]
        if _sample(out[p * n : (p + 1) * n], places, first, second, m, back) != 0:
            return 1
    return 0
