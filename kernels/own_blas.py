"""The functions of BLAS that kernels call, and two of LAPACK, as loops: for machines without such libraries.

They take what those of `blas` take. Matrices lie by columns: element (i, j) of `a` stands at
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
