"""The factorisations of LAPACK that kernels call, as loops: for machines on which there is no such library.

They take what those of `lapack_calls` take. Matrices lie by columns: element (i, j) of `a` stands at a[i + j * lda].
Eigenvalues and singular values are Jacobi's: the most accurate method, and the shortest, for matrices of a few rows.
"""

from .flags import helper
from .lapack import LETTER_A, LETTER_L, LETTER_N
from .memory import doubles, indices, shift

_SWEEPS = 60


@helper
def dgeqrf(m, n, pa, lda, ptau, work, lwork, info):
    """a = Q R, in place: R above, the reflectors of Q below (Golub & Van Loan, Algorithm 5.2.1)."""
    a, tau = doubles(pa), doubles(ptau)
    for k in range(min(m, n)):
        size = 0.0
        for i in range(k + 1, m):
            size += a[i + k * lda] * a[i + k * lda]
        tau[k] = 0.0
        if size > 0.0:
            head = a[k + k * lda]
            length = (head * head + size) ** 0.5
            first = -length if head > 0.0 else length
            tau[k] = (first - head) / first
            for i in range(k + 1, m):
                a[i + k * lda] /= head - first
            a[k + k * lda] = first
            for j in range(k + 1, n):
                total = a[k + j * lda]
                for i in range(k + 1, m):
                    total += a[i + k * lda] * a[i + j * lda]
                a[k + j * lda] -= tau[k] * total
                for i in range(k + 1, m):
                    a[i + j * lda] -= tau[k] * total * a[i + k * lda]
    indices(info)[0] = 0


@helper
def dorgqr(m, n, k, pa, lda, ptau, work, lwork, info):
    """n columns of Q from k reflectors, in place: backwards, so that each finds the columns behind it done."""
    a, tau = doubles(pa), doubles(ptau)
    for j in range(k, n):
        for i in range(m):
            a[i + j * lda] = 1.0 if i == j else 0.0
    for back in range(k):
        q = k - 1 - back
        for j in range(q + 1, n):
            total = a[q + j * lda]
            for i in range(q + 1, m):
                total += a[i + q * lda] * a[i + j * lda]
            a[q + j * lda] -= tau[q] * total
            for i in range(q + 1, m):
                a[i + j * lda] -= tau[q] * total * a[i + q * lda]
        for i in range(q):
            a[i + q * lda] = 0.0
        a[q + q * lda] = 1.0 - tau[q]
        for i in range(q + 1, m):
            a[i + q * lda] *= -tau[q]
    indices(info)[0] = 0


@helper
def dgbtrf(m, n, kl, ku, pab, ldab, pivots, info):
    """Factors of a band matrix, in place (Golub & Van Loan, Algorithm 4.3.1, with pivoting, as LAPACK's dgbtf2)."""
    ab, places = doubles(pab), indices(pivots)
    kv, status, last = kl + ku, 0, 0
    for j in range(n):
        for i in range(kl):  # what pivoting fills
            if j > ku and i < kl and kv - j <= i < kl and j < kv:
                ab[i + j * ldab] = 0.0
    for j in range(min(m, n)):
        if j + kv < n:
            for i in range(kl):
                ab[i + (j + kv) * ldab] = 0.0
        rows, p = min(kl, m - 1 - j), 0
        for i in range(1, rows + 1):
            if abs(ab[kv + i + j * ldab]) > abs(ab[kv + p + j * ldab]):
                p = i
        places[j] = j + p + 1
        if ab[kv + p + j * ldab] == 0.0:
            status = j + 1 if status == 0 else status
            continue
        last = max(last, min(j + ku + p, n - 1))
        for q in range(j, last + 1):
            if p != 0:
                kept = ab[kv + j - q + q * ldab]
                ab[kv + j - q + q * ldab] = ab[kv + j + p - q + q * ldab]
                ab[kv + j + p - q + q * ldab] = kept
        for i in range(1, rows + 1):
            ab[kv + i + j * ldab] /= ab[kv + j * ldab]
            for q in range(j + 1, last + 1):
                ab[kv + i + j - q + q * ldab] -= ab[kv + i + j * ldab] * ab[kv + j - q + q * ldab]
    indices(info)[0] = status


# ── Jacobi's method ───────────────────────────────────────────────────────────────────────────────────────────
@helper
def _is_lost(small, large):
    """Whether a number is lost in another one's rounding."""
    return abs(large) + abs(small) == abs(large)


@helper
def _tangent(difference, product):
    """Of the angle that makes `product` 0 (Golub & Van Loan, 8.5.2)."""
    zeta = difference / (2.0 * product)
    size = 1.0 / (abs(zeta) + (1.0 + zeta * zeta) ** 0.5)
    return -size if zeta < 0.0 else size


@helper
def _rotate(x, y, step, n, c, s):
    """The vectors c x - s y and s x + c y in place of x and y."""
    for i in range(n):
        a, b = x[i * step], y[i * step]
        x[i * step] = c * a - s * b
        y[i * step] = s * a + c * b


@helper
def _identity(v, n):
    for i in range(n * n):
        v[i] = 1.0 if i % (n + 1) == 0 else 0.0


@helper
def _swap(x, y, step, n):
    for i in range(n):
        kept = x[i * step]
        x[i * step] = y[i * step]
        y[i * step] = kept


@helper
def _eigen_sweep(a, lda, v, n):
    """One rotation for each element above the diagonal; whether there was one."""
    found = False
    for p in range(n - 1):
        for q in range(p + 1, n):
            off, own, other = a[p + q * lda], a[p + p * lda], a[q + q * lda]
            if off == 0.0 or (_is_lost(off, own) and _is_lost(off, other)):
                continue
            found = True
            t = _tangent(other - own, off)
            c = 1.0 / (1.0 + t * t) ** 0.5
            _rotate(shift(a, p * lda), shift(a, q * lda), 1, n, c, t * c)
            _rotate(shift(a, p), shift(a, q), lda, n, c, t * c)
            _rotate(shift(v, p * n), shift(v, q * n), 1, n, c, t * c)
    return found


@helper
def dsyevd(jobz, uplo, n, pa, lda, pw, pwork, lwork, iwork, liwork, info):
    """Eigenvalues of a symmetric matrix in ascending order, and in its place the eigenvectors."""
    a, w, v = doubles(pa), doubles(pw), doubles(pwork)
    for j in range(n):
        for i in range(j):
            if uplo == LETTER_L:
                a[i + j * lda] = a[j + i * lda]
            else:
                a[j + i * lda] = a[i + j * lda]
    _identity(v, n)
    for _ in range(_SWEEPS):
        if not _eigen_sweep(a, lda, v, n):
            break
    for j in range(n):
        w[j] = a[j + j * lda]
    for j in range(n):
        least = j
        for k in range(j + 1, n):
            least = k if w[k] < w[least] else least
        _swap(shift(w, j), shift(w, least), 1, 1)
        _swap(shift(v, j * n), shift(v, least * n), 1, n)
    if jobz != LETTER_N:
        for j in range(n):
            for i in range(n):
                a[i + j * lda] = v[i + j * n]
    indices(info)[0] = 0


@helper
def _product(x, y, step, n):
    total = 0.0
    for i in range(n):
        total += x[i * step] * y[i * step]
    return total


@helper
def _singular_sweep(a, across, down, length, v, k):
    """One rotation for each pair of vectors that are not orthogonal (Hestenes, 1958); whether there was one."""
    found = False
    for p in range(k - 1):
        for q in range(p + 1, k):
            x, y = shift(a, p * across), shift(a, q * across)
            own, other = _product(x, x, down, length), _product(y, y, down, length)
            off = _product(x, y, down, length)
            if off == 0.0 or _is_lost(off, (own * other) ** 0.5):
                continue
            found = True
            t = _tangent(other - own, off)
            c = 1.0 / (1.0 + t * t) ** 0.5
            _rotate(x, y, down, length, c, t * c)
            _rotate(shift(v, p * k), shift(v, q * k), 1, k, c, t * c)
    return found


@helper
def _complete(u, across, down, n, first, last):
    """Unit vectors `first` to `last`, orthogonal to those before: of the axes, the first one that has a part beyond
    these, orthogonalised twice (Björck, 1994)."""
    axis = 0
    for j in range(first, last):
        own, size = shift(u, j * across), 0.0
        while size < 0.1 / n and axis < n:
            for i in range(n):
                own[i * down] = 1.0 if i == axis else 0.0
            for _ in range(2):
                for k in range(j):
                    other = shift(u, k * across)
                    along = _product(own, other, down, n)
                    for i in range(n):
                        own[i * down] -= along * other[i * down]
            size = _product(own, own, down, n) ** 0.5
            axis += 1
        for i in range(n):
            own[i * down] /= size


@helper
def dgesdd(jobz, m, n, pa, lda, ps, pu, ldu, pvt, ldvt, pwork, lwork, iwork, info):
    """a = U diag(s) V': the columns of a, or the rows of a wide one, are made orthogonal."""
    a, s, v = doubles(pa), doubles(ps), doubles(pwork)
    tall = m >= n
    k, length = (n, m) if tall else (m, n)
    across, down = (lda, 1) if tall else (1, lda)
    _identity(v, k)
    for _ in range(_SWEEPS):
        if not _singular_sweep(a, across, down, length, v, k):
            break
    for j in range(k):
        own = shift(a, j * across)
        s[j] = _product(own, own, down, length) ** 0.5
    for j in range(k):
        most = j
        for q in range(j + 1, k):
            most = q if s[q] > s[most] else most
        _swap(shift(s, j), shift(s, most), 1, 1)
        _swap(shift(a, j * across), shift(a, most * across), down, length)
        _swap(shift(v, j * k), shift(v, most * k), 1, k)
    indices(info)[0] = 0
    if jobz == LETTER_N:
        return
    # The long side has the orthogonal vectors, the short one the rotations: U and V, or the other way round.
    long_side, short_side = (doubles(pu), doubles(pvt)) if tall else (doubles(pvt), doubles(pu))
    long_across, long_down = (ldu, 1) if tall else (1, ldvt)
    short_across, short_down = (1, ldvt) if tall else (ldu, 1)
    rank = 0  # vectors beyond are rounding errors, whose directions say nothing
    for j in range(k):
        known = s[j] > 0.0 and not _is_lost(s[j], s[0])
        rank += 1 if known else 0
        for i in range(k):
            short_side[j * short_across + i * short_down] = v[i + j * k]
        for i in range(length):
            part = a[j * across + i * down]
            long_side[j * long_across + i * long_down] = part / s[j] if known else 0.0
    _complete(long_side, long_across, long_down, length, rank, length if jobz == LETTER_A else k)
