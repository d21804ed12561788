"""Exponentials and square roots of matrices.

Derivatives are blocks of the same functions: f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]] (Higham 2008, Functions
of Matrices, (3.16)). f is linear in E, so what depends on sizes looks at the leading `core` rows and columns only.
"""

import math

from .blas import dgemm
from .factoring import factor_in_place, permute, solve_triangle
from .flags import at, helper, kernel
from .lapack import all_finite, copy, fill

_UNIT = 2.0**-53


@helper
def _multiply(c, a, b, n):
    """c = a b. By columns, as BLAS counts, every matrix is its transpose."""
    if n >= 4:
        dgemm(0, 0, n, n, n, 1.0, b.ctypes.data, n, a.ctypes.data, n, 0.0, c.ctypes.data, n)
        return
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += a[at(i * n + k)] * b[at(k * n + j)]
            c[at(i * n + j)] = total


@helper
def _norm(a, n, core):
    """The largest sum of sizes in a column, of the leading part."""
    largest = 0.0
    for j in range(core):
        total = 0.0
        for i in range(core):
            total += abs(a[at(i * n + j)])
        largest = max(largest, total)
    return largest


@helper
def _solve(f, pivots, b, n):
    """b = F^-1 b by elimination, f being overwritten; false if F is singular."""
    factor_in_place(f, pivots, n)
    for k in range(n):
        if f[at(k * n + k)] == 0.0:
            return False
    permute(b, pivots, n, n, 0)
    for lower in range(1, -1, -1):  # one place of the call, as its code is put there
        solve_triangle(f, b, n, n, lower, 0, lower)
    return True


# -- the exponential: Higham (2005), Al-Mohy & Higham (2009) ---------------------------------------------------
@helper
def _coefficients(c, m, scale):
    """Of the numerator of the Padé approximant of degree m, times powers of a factor of the matrix."""
    value = 1.0
    for k in range(m + 1):
        c[at(k)] = value
        value *= scale * (m - k) / ((2.0 * m - k) * (k + 1.0))


@helper
def _degree(norm):
    """The lowest degree that is exact to rounding for this norm; 13 if scaling may be needed (Higham 2005, (2.3))."""
    if norm <= 1.495585217958292e-2:
        return 3
    if norm <= 2.539398330063230e-1:
        return 5
    if norm <= 9.504178996162932e-1:
        return 7
    return 9 if norm <= 2.097847961257068 else 13


@helper
def _more_halvings(a, norm, halvings, w, n, core):
    """How many more halvings a matrix needs against rounding (Al-Mohy & Higham 2009, section 5): by the norm of |A|^27,
    which is that of a row of ones times |A|, 27 times."""
    scale, largest = 2.0**-halvings, 0.0
    for i in range(core):
        w[at(i)] = 1.0
    for step in range(27):
        now, then = (step % 2) * core, (1 - step % 2) * core
        largest = 0.0
        for j in range(core):
            total = 0.0
            for i in range(core):
                total += w[at(now + i)] * abs(a[at(i * n + j)])
            w[at(then + j)] = total * scale
            largest = max(largest, total * scale)
    alpha = largest / (norm * scale * 1.1325077560602111e35)
    if not alpha > _UNIT:
        return 0
    return int(max(math.ceil(math.log2(alpha / _UNIT) / 26.0), 0.0))


@helper
def _halvings(a, powers, w, n, core):
    """How often the matrix is halved for degree 13; `powers` are A^2, A^4, A^6. Negative if no number is enough."""
    norm, size = 0.0, 0.0
    for k in range(3):  # of A, A^4 and A^6
        found = _norm(a if k == 0 else powers[k * n * n : (k + 1) * n * n], n, core)
        if k == 0:
            norm = found
        else:
            size = max(size, found ** (0.25 if k == 1 else 1.0 / 6.0))
    size = min(norm, size)
    if not size < float("inf"):
        return -1
    count = int(max(math.ceil(math.log2(size / 4.25)), 0.0)) if size > 0.0 else 0
    return count + _more_halvings(a, norm, count, w, n, core)


@helper
def _powers(powers, a, m, n):
    """A^2, A^4, ... as far as degree m needs them; 13 has the higher ones by those up to 6."""
    size = n * n
    for k in range(3 if m == 13 else m // 2):
        left, right = (a, a) if k == 0 else (powers[(k - 1) * size : k * size], powers[:size])
        _multiply(powers[k * size : (k + 1) * size], left, right, n)


@helper
def _numerator(sums, part, m, powers, c, n):
    """The odd powers without a factor A, and the even ones, one after the other; c are their coefficients."""
    size, top = n * n, 3 if m == 13 else m // 2
    fill(sums, 0.0)
    for half in range(2):
        target, odd = sums[half * size : (half + 1) * size], 1 - half
        if m == 13:
            for i in range(size):
                total = 0.0
                for k in range(3):
                    total += c[at(2 * k + 8 + odd)] * powers[at(k * size + i)]
                part[at(i)] = total
            _multiply(target, powers[2 * size : 3 * size], part, n)
        for i in range(n):
            target[at(i * n + i)] += c[at(odd)]
        for k in range(top):
            for i in range(size):
                target[at(i)] += c[at(2 * k + 2 + odd)] * powers[at(k * size + i)]


@helper
def _pade(out, a, n, core, w):
    """The exponential; false if it overflows. w: 7 n^2 + 3 n + 14 numbers."""
    size = n * n
    powers, sums, part = w[: 4 * size], w[4 * size : 6 * size], w[6 * size : 7 * size]
    pivots, rows, c = w[7 * size : 7 * size + n], w[7 * size + n :], w[7 * size + 3 * n :]
    odd, even = sums[:size], sums[size:]
    m = _degree(_norm(a, n, core))
    _powers(powers, a, m, n)
    halvings = _halvings(a, powers, rows, n, core) if m == 13 else 0
    if halvings < 0:
        return False
    scale = 2.0**-halvings
    _coefficients(c, m, scale)
    _numerator(sums, part, m, powers, c, n)
    for step in range(halvings + 1):  # the quotient, then its squares
        left, right = (a, odd) if step == 0 else (out, out)
        _multiply(part, left, right, n)
        for i in range(size):
            if step > 0:
                out[at(i)] = part[at(i)]
            else:
                out[at(i)] = even[at(i)] + part[at(i)]
                even[at(i)] -= part[at(i)]
        if step == 0 and not _solve(even, pivots, out, n):
            return False
    return True


@kernel
def expm_forward(out, x, y, s, w):
    """The exponential of every matrix; s = (batch, n, core). NaN where the matrix holds NaN or infinity, or where no
    scaling helps."""
    batch, n, core = s[0], s[1], s[2]
    for p in range(batch):
        own, a = out[p * n * n : (p + 1) * n * n], x[p * n * n : (p + 1) * n * n]
        if n > 0 and (not all_finite(a) or not _pade(own, a, n, core, w)):
            fill(own, float("nan"))
    return 0


# -- the square root: the product form of the iteration of Denman and Beavers (Higham 2008, (6.29)) ------------
@helper
def _inverse(target, source, pivots, scratch, n):
    """The inverse; returns |det|^(-1/n), or 0 if there is none."""
    copy(scratch, source)
    fill(target, 0.0)
    for i in range(n):
        target[at(i * n + i)] = 1.0
    if not _solve(scratch, pivots, target, n):
        return 0.0
    total = 0.0
    for i in range(n):
        total += math.log(abs(scratch[at(i * n + i)]))
    return math.exp(-total / n)


@helper
def _distance(m, n, core):
    """How far the leading part is from the identity."""
    total = 0.0
    for i in range(core):
        for j in range(core):
            d = m[at(i * n + j)] - (1.0 if i == j else 0.0)
            total += d * d
    return math.sqrt(total)


@helper
def _root(out, a, n, core, w):
    """The square root; false if the iteration does not end. w: 4 n^2 + n numbers."""
    size = n * n
    m, inverse, scratch, pivots = w[:size], w[size : 2 * size], w[2 * size : 3 * size], w[3 * size : 3 * size + n]
    copy(m, a)
    copy(out, a)
    before, left = float("inf"), -1
    for _ in range(100):
        size_of = _inverse(inverse, m, pivots, scratch, n)
        if not size_of > 0.0:
            return False
        mu = math.sqrt(size_of) if before > 1e-2 else 1.0
        for i in range(size):
            inverse[at(i)] /= mu * mu
            m[at(i)] = 0.25 * (mu * mu * m[at(i)] + inverse[at(i)])
        for i in range(n):
            m[at(i * n + i)] += 0.5
            inverse[at(i * n + i)] += 1.0
        _multiply(scratch, out, inverse, n)
        for i in range(size):
            out[at(i)] = 0.5 * mu * scratch[at(i)]
        distance = _distance(m, n, core)
        if left < 0 and before <= 1e-2 and (distance <= 1e-14 * core or distance >= 0.5 * before):
            left = 2  # the blocks off the diagonal follow a step later
        if left == 0:
            return distance <= 1e-6
        left -= 1 if left > 0 else 0
        before = distance
    return False


@kernel
def sqrtm_forward(out, x, y, s, w):
    """The principal square root of every matrix; s = (batch, n, core). 1: there is no real one, or the matrix is
    singular. NaN where the matrix holds NaN or infinity."""
    batch, n, core = s[0], s[1], s[2]
    for p in range(batch):
        own, a = out[p * n * n : (p + 1) * n * n], x[p * n * n : (p + 1) * n * n]
        if not all_finite(a):
            fill(own, float("nan"))
        elif n > 0 and not _root(own, a, n, core, w):
            return 1
    return 0
