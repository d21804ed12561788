"""Eigenvalues of symmetric matrices, singular values and their vectors, by LAPACK; and what derivatives of them need.

Vectors of equal values are not determined. Derivatives of what does not depend on their choice are limits of those at
neighbouring matrices, whose values are apart: `*_spectrum` rows move equal values apart by so little that the limit is
met to many digits.
"""

from .flags import at, exact_helper, helper, kernel
from .lapack import (
    LETTER_A,
    LETTER_L,
    LETTER_N,
    LETTER_S,
    LETTER_U,
    LETTER_V,
    all_finite,
    copy,
    fill,
    status,
    turn,
)
from .lapack_calls import dgesdd, dsyevd
from .notices import notice

_EPSILON = 2.0**-52


# -- symmetric matrices ----------------------------------------------------------------------------------------
@helper
def _eigh(own, x, n, lower, vectors, w):
    """Eigenvalues, and if wanted V behind them; LAPACK's status. The work space is what dsyevd asks for."""
    turn(w, x, n, n)
    doubles, integers = 2 * n * n + 40 * n + 1, 5 * n + 3
    work = n * n
    whole = work + doubles
    info = whole + integers // 2 + 1
    base = w.ctypes.data
    dsyevd(
        LETTER_V if vectors else LETTER_N,
        LETTER_L if lower else LETTER_U,
        n,
        base,
        n,
        own.ctypes.data,
        base + 8 * work,
        doubles,
        base + 8 * whole,
        integers,
        base + 8 * info,
    )
    if vectors:
        turn(own[n:], w, n, n)
    return status(w, info)


@kernel
def eigh_forward(out, x, y, s, w):
    """Eigenvalues in ascending order, and the vectors as columns; s = (batch, n, lower triangle, vectors).

    1: no convergence. NaN where the matrix holds NaN or infinity.
    """
    batch, n, vectors = s[0], s[1], s[3]
    size = n + n * n if vectors else n
    for p in range(batch):
        own, given = out[p * size : (p + 1) * size], x[p * n * n : (p + 1) * n * n]
        if not all_finite(given):
            fill(own, float("nan"))
        elif n > 0 and _eigh(own, given, n, s[2], vectors, w) != 0:
            return 1
    return 0


# -- singular values -------------------------------------------------------------------------------------------
@helper
def decompose(u, values, vt, x, m, n, full, vectors, w):
    """U, singular values and V' of an m × n matrix; LAPACK's status."""
    k = min(m, n)
    rows, columns = (m, n) if full else (k, k)
    turn(w, x, m, n)
    places = m * n
    left = places
    right = left + m * rows * vectors
    work = right + columns * n * vectors
    doubles = 6 * k * k + 10 * k + 80 * (m + n) + 100
    whole = work + doubles
    info = whole + 4 * k + 1
    base = w.ctypes.data
    job = LETTER_N if not vectors else LETTER_A if full else LETTER_S
    dgesdd(
        job,
        m,
        n,
        base,
        m,
        values.ctypes.data,
        base + 8 * left,
        m,
        base + 8 * right,
        max(columns, 1),
        base + 8 * work,
        doubles,
        base + 8 * whole,
        base + 8 * info,
    )
    if vectors:
        turn(u, w[left:], rows, m)
        turn(vt, w[right:], n, columns)
    return status(w, info)


@helper
def _identity(x, n):
    for i in range(n):
        x[at(i * n + i)] = 1.0


@kernel
def svd_forward(out, x, y, s, w):
    """U, singular values in descending order, V'; s = (batch, m, n, full matrices, vectors). 1: no convergence.

    NaN where the matrix holds NaN or infinity.
    """
    batch, m, n, full, vectors = s[0], s[1], s[2], s[3], s[4]
    k = min(m, n)
    rows, columns = (m, n) if full else (k, k)
    first = m * rows if vectors else 0
    size = first + k + (columns * n if vectors else 0)
    for p in range(batch):
        own, given = out[p * size : (p + 1) * size], x[p * m * n : (p + 1) * m * n]
        u, values, vt = own[:first], own[first : first + k], own[first + k :]
        if not all_finite(given):
            fill(own, float("nan"))
        elif k == 0:
            fill(own, 0.0)
            if full and vectors:
                _identity(u, m)
                _identity(vt, n)
        elif decompose(u, values, vt, given, m, n, full, vectors, w) != 0:
            return 1
    return 0


# -- equal values, apart ---------------------------------------------------------------------------------------
@exact_helper
def _shift(level):
    """How far apart equal values are put, relative to the largest: the error of an n-th derivative is about that, and
    rounding divided by its n-th power."""
    return 0.0 if level == 0 else 2.0**-26 if level == 1 else 2.0**-17 if level == 2 else 2.0**-13


@exact_helper
def _room(w, first, last, n, positive):
    """The distance of a cluster from its neighbours; from 0 too, where all values are positive."""
    room = float("inf")
    if first > 0:
        room = min(room, abs(w[at(first)] - w[at(first - 1)]))
    if last + 1 < n:
        room = min(room, abs(w[at(last + 1)] - w[at(last)]))
    if positive:
        room = min(room, 2.0 * w[at(last)])
    return room


@exact_helper
def _level(level, vectors):
    """The order of a derivative: levels from 8 on give no notices, and are otherwise as those from 0 on. Values alone
    need not be apart for their first derivatives, which are then exact."""
    order = level % 8
    return 0 if order == 1 and not vectors else order


@exact_helper
def _apart(w, given, level, positive):
    """Equal values moved apart, in order: ascending ones, or descending ones that are not negative. Returns the largest
    distance that was made."""
    n, scale, made = len(w), 0.0, 0.0
    for k in range(n):
        scale = max(scale, abs(given[at(k)]))
    near = max(8.0 * n, 32.0) * _EPSILON * scale
    step = _shift(level) * (scale if scale > 0.0 else 1.0)
    first = 0
    for k in range(n):
        if k + 1 < n and abs(given[at(k + 1)] - given[at(k)]) <= near:
            continue
        count, is_zero = k - first + 1, positive and given[at(k)] <= near
        if step > 0.0 and (count > 1 or is_zero):
            room = _room(given, first, k, n, positive and not is_zero)
            own = min(step, room / (4.0 * count))
            middle = 0.5 * (count - 1)
            for i in range(first, k + 1):
                place = i - first - middle
                if positive:
                    place = (k + 1.0 - i) if is_zero else -place
                centre = 0.0 if is_zero else 0.5 * (given[at(first)] + given[at(k)])
                w[at(i)] = centre + own * place
            made = max(made, own * count)
        first = k + 1
    return made


@kernel
def eigh_spectrum_forward(out, x, y, s):
    """What `eigh` gave for x, with equal eigenvalues apart, and how far; s = (batch, n, lower, vectors, level)."""
    batch, n = s[0], s[1]
    size = n + n * n if s[3] else n
    for p in range(batch):
        own, given = out[p * (size + 1) : (p + 1) * (size + 1)], y[p * size : (p + 1) * size]
        copy(own, given)
        own[at(size)] = _apart(own[:n], given[:n], _level(s[4], s[3]), False)
    return 0


@kernel
def svd_spectrum_forward(out, x, y, s):
    """What `svd` gave for x, with equal singular values apart and none 0, and how far; s = (batch, m, n, full, vectors,
    level)."""
    batch, m, n, full, vectors = s[0], s[1], s[2], s[3], s[4]
    k = min(m, n)
    rows, columns = (m, n) if full else (k, k)
    first = m * rows if vectors else 0
    size = first + k + (columns * n if vectors else 0)
    for p in range(batch):
        own, given = out[p * (size + 1) : (p + 1) * (size + 1)], y[p * size : (p + 1) * size]
        copy(own, given)
        level = _level(s[5], vectors)
        own[at(size)] = _apart(own[first : first + k], given[first : first + k], level, True)
    return 0


# -- quotients with differences of values ----------------------------------------------------------------------
@helper
def _numerator(a, i, j, columns, kind):
    own = a[at(i * columns + j)]
    return 0.5 * (own - a[at(j * columns + i)]) if kind == 2 else own


@kernel
def gap_quotient_forward(out, x, y, z, x3, s):
    """X_ij / (Z_j - Y_i) of stacks; s = (batch, rows, columns, kind, quiet).

    Kind 0 divides all; 1 has zeros on the diagonal; 2 too, and divides (X - X')/2; 3 is 0. 0 where a difference is.
    Unless quiet, it counts a notice where values that were put apart (by up to the first number of x3) have a
    numerator that does not vanish, and a quotient above the second number.
    """
    batch, rows, columns, kind, quiet = s[0], s[1], s[2], s[3], s[4]
    for p in range(batch):
        q = p * rows * columns
        a, low, high, made = x[q : q + rows * columns], y[p * rows :], z[p * columns :], 1.001 * x3[at(2 * p)]
        largest, found = 0.0, 0.0
        for i in range(rows):
            for j in range(columns):
                gap = high[at(j)] - low[at(i)]
                numerator = _numerator(a, i, j, columns, kind)
                largest = max(largest, abs(a[at(i * columns + j)]))
                if gap == 0.0 or kind == 3 or (kind > 0 and i == j):
                    out[at(q + i * columns + j)] = 0.0
                else:
                    out[at(q + i * columns + j)] = numerator / gap
                if abs(gap) <= made and not (kind > 0 and i == j) and abs(numerator) > x3[at(2 * p + 1)] * abs(gap):
                    found = max(found, abs(numerator))
        if not quiet and found > 1e-4 * largest:
            notice()
    return 0
