"""Systems with band matrices by LAPACK, of which only the diagonals are kept: row r of the storage holds the diagonal
`high` - r, shifted to the columns that its elements stand in."""

from .flags import at, helper, kernel
from .lapack import copy, status, turn
from .lapack_calls import dgbtrf, dgbtrs


@helper
def _solve(own, ab, n, m, low, high, trans, w):
    """own = op(A)^-1 own, in place; LAPACK's status."""
    lead, bands = 2 * low + high + 1, low + high + 1
    for j in range(n):
        for r in range(bands):
            w[at(j * lead + low + r)] = ab[at(r * n + j)]
    right = lead * n
    pivots = right + n * m
    info = pivots + n // 2 + 1
    base = w.ctypes.data
    dgbtrf(n, n, low, high, base, lead, base + 8 * pivots, base + 8 * info)
    if status(w, info) != 0:
        return 1
    turn(w[right:], own, n, m)
    dgbtrs(trans, n, low, high, m, base, lead, base + 8 * pivots, base + 8 * right, n, base + 8 * info)
    turn(own, w[right:], m, n)
    return status(w, info)


@kernel
def banded_solve_forward(out, x, y, s, w):
    """op(X)^-1 Y of band matrices; s = (batch, n, m, low, high, transposed, separate matrices). 1: singular."""
    batch, n, m, low, high = s[0], s[1], s[2], s[3], s[4]
    size = (low + high + 1) * n
    copy(out, y)
    for p in range(batch):
        q = p * size * s[6]
        if n > 0 and m > 0 and _solve(out[p * n * m : (p + 1) * n * m], x[q : q + size], n, m, low, high, s[5], w) != 0:
            return 1
    return 0
