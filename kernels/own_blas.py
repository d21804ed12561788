"""The functions of BLAS and LAPACK that kernels call, as loops: for machines on which there are no such libraries.

They take what those of `blas` and `lapack_calls` take. Matrices lie by columns: element (i, j) of `a` stands at
a[i + j * lda].
"""

from .flags import helper
from .memory import doubles, indices


@helper
def dgemm(ta, tb, m, n, k, alpha, pa, lda, pb, ldb, beta, pc, ldc):
    """c = alpha op(a) op(b) + beta c."""
    a, b, c = doubles(pa), doubles(pb), doubles(pc)
    down, across = (lda, 1) if ta else (1, lda)
    low, right = (ldb, 1) if tb else (1, ldb)
    for j in range(n):
        for i in range(m):
            total = 0.0
            for p in range(k):
                total += a[i * down + p * across] * b[p * low + j * right]
            kept = beta * c[i + j * ldc] if beta != 0.0 else 0.0
            c[i + j * ldc] = kept + alpha * total


@helper
def dgemv(ta, m, n, alpha, pa, lda, px, incx, beta, py, incy):
    """y = alpha op(a) x + beta y."""
    a, x, y = doubles(pa), doubles(px), doubles(py)
    rows, columns = (n, m) if ta else (m, n)
    down, across = (lda, 1) if ta else (1, lda)
    for i in range(rows):
        total = 0.0
        for p in range(columns):
            total += a[i * down + p * across] * x[p * incx]
        kept = beta * y[i * incy] if beta != 0.0 else 0.0
        y[i * incy] = kept + alpha * total


@helper
def dgetrf(m, n, pa, lda, pivots, info):
    """a = P L U, in place: Gaussian elimination with partial pivoting (Golub & Van Loan, Algorithm 3.4.1)."""
    a, places = doubles(pa), indices(pivots)
    status = 0
    for k in range(min(m, n)):
        p = k
        for i in range(k + 1, m):
            if abs(a[i + k * lda]) > abs(a[p + k * lda]):
                p = i
        places[k] = p + 1
        if p != k:
            for j in range(n):
                kept = a[k + j * lda]
                a[k + j * lda] = a[p + j * lda]
                a[p + j * lda] = kept
        if a[k + k * lda] == 0.0:
            status = k + 1 if status == 0 else status
        else:
            for i in range(k + 1, m):
                a[i + k * lda] /= a[k + k * lda]
                for j in range(k + 1, n):
                    a[i + j * lda] -= a[i + k * lda] * a[k + j * lda]
    indices(info)[0] = status


@helper
def dpotrf(uplo, n, pa, lda, info):
    """a = L L' or U' U, in place (Golub & Van Loan, Algorithm 4.2.1)."""
    a = doubles(pa)
    down, across = (lda, 1) if uplo == 85 else (1, lda)  # the upper factor is the lower one's transpose
    status = 0
    for j in range(n):
        d = a[j * (lda + 1)]
        for p in range(j):
            d -= a[j * down + p * across] * a[j * down + p * across]
        if not d > 0.0:
            status = j + 1
            break
        d = d**0.5
        a[j * (lda + 1)] = d
        for i in range(j + 1, n):
            total = a[i * down + j * across]
            for p in range(j):
                total -= a[i * down + p * across] * a[j * down + p * across]
            a[i * down + j * across] = total / d
    indices(info)[0] = status


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
