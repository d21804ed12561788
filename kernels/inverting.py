"""Determinants and their derivatives, and pseudo-inverses."""

from .factoring import permute, solve_triangle
from .flags import at, helper, kernel
from .lapack import all_finite, fill
from .spectral import decompose

_EPSILON = 2.0**-52


@helper
def _determinant(f, n):
    """By the factors: the product of the diagonal of U, with the sign of the swaps."""
    total = 1.0
    for k in range(n):
        total *= f[at(k * n + k)]
        if f[at(n * n + k)] != k:
            total = -total
    return total


@kernel
def determinant_forward(out, x, y, s):
    """The determinant of every matrix x by its factors y; s = (batch, n)."""
    batch, n = s[0], s[1]
    for p in range(batch):
        q = p * n * (n + 1)
        out[at(p)] = _determinant(y[q : q + n * (n + 1)], n)
    return 0


# -- cofactors: the derivative of the determinant, which also singular matrices have ---------------------------
@helper
def _is_regular(f, n):
    """Whether no pivot is so small that rounding has made it."""
    largest, smallest = 0.0, float("inf")
    for k in range(n):
        d = abs(f[at(k * n + k)])
        largest, smallest = max(largest, d), min(smallest, d)
    return smallest > 64.0 * n * _EPSILON * largest


@helper
def _by_factors(c, f, n):
    """det A times the transposed inverse: A' C = det A."""
    det = _determinant(f, n)
    fill(c, 0.0)
    for k in range(n):
        c[at(k * n + k)] = det
    for lower in range(2):  # one place of the call, as its code is put there
        solve_triangle(f, c, n, n, lower, 1, lower)
    permute(c, f[n * n :], n, n, 1)


@helper
def _turns(a, n):
    """The sign of the determinant of an orthogonal matrix, by elimination in place."""
    sign = 1.0
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(a[at(i * n + k)]) > abs(a[at(best * n + k)]):
                best = i
        if best != k:
            sign = -sign
            for j in range(n):
                a[at(k * n + j)], a[at(best * n + j)] = a[at(best * n + j)], a[at(k * n + j)]
        d = a[at(k * n + k)]
        sign = -sign if d < 0.0 else sign
        for i in range(k + 1, n):
            factor = a[at(i * n + k)] / d
            for j in range(k + 1, n):
                a[at(i * n + j)] -= factor * a[at(k * n + j)]
    return sign


@helper
def _by_singular_values(c, a, n, w):
    """det(U) det(V) U diag(products of the other singular values) V'."""
    u, values, vt = w[: n * n], w[n * n : n * n + n], w[n * n + n : 2 * n * n + n]
    others, rest = w[2 * n * n + n : 2 * n * n + 2 * n], w[2 * n * n + 2 * n :]
    if decompose(u, values, vt, a, n, n, 0, 1, rest) != 0:
        return False
    before = 1.0
    for k in range(n):
        others[at(k)] = before
        before *= values[at(k)]
    after = 1.0
    for j in range(n):
        k = n - 1 - j
        others[at(k)] *= after
        after *= values[at(k)]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += u[at(i * n + k)] * others[at(k)] * vt[at(k * n + j)]
            c[at(i * n + j)] = total
    sign = 1.0
    for side in range(2):
        sign *= _turns(u if side == 0 else vt, n)
    for i in range(n * n):
        c[at(i)] *= sign
    return True


@kernel
def cofactors_forward(out, x, y, s, w):
    """The cofactors of every matrix x, whose factors are y; s = (batch, n). 1: no convergence of singular values."""
    batch, n = s[0], s[1]
    for p in range(batch):
        q = p * n * (n + 1)
        c, a, f = out[p * n * n : (p + 1) * n * n], x[p * n * n : (p + 1) * n * n], y[q : q + n * (n + 1)]
        if not all_finite(a):
            fill(c, float("nan"))
        elif _is_regular(f, n):
            _by_factors(c, f, n)
        elif not _by_singular_values(c, a, n, w):
            return 1
    return 0


# -- pseudo-inverses -------------------------------------------------------------------------------------------
@kernel
def pinv_forward(out, x, y, s, w):
    """V diag(1/s) U' of every matrix x, without singular values up to y times the largest; s = (batch, m, n).

    1: no convergence.
    """
    batch, m, n = s[0], s[1], s[2]
    k = min(m, n)
    u, values, vt = w[: m * k], w[m * k : m * k + k], w[m * k + k : m * k + k + k * n]
    rest = w[m * k + k + k * n :]
    fill(out, 0.0)
    for p in range(batch):
        own, a = out[p * m * n : (p + 1) * m * n], x[p * m * n : (p + 1) * m * n]
        if not all_finite(a):
            fill(own, float("nan"))
            continue
        if k == 0:
            continue
        if decompose(u, values, vt, a, m, n, 0, 1, rest) != 0:
            return 1
        for r in range(k):
            if values[at(r)] > y[at(p)] * values[at(0)]:
                for i in range(n):
                    factor = vt[at(r * n + i)] / values[at(r)]
                    for j in range(m):
                        own[at(i * m + j)] += factor * u[at(j * k + r)]
    return 0
