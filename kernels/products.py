"""Matrix products, batched, of matrices stored row by row.

Small ones are loops, arranged so that the innermost one is contiguous; larger ones go to BLAS. BLAS counts by
columns, and a matrix by rows is its transpose by columns, so C = A B is asked for as C' = B' A'.
"""

from .blas import dgemm, dgemv
from .flags import at, helper, kernel

# Where a call of OpenBLAS becomes faster than the loops: at 4 x 4 x 4, and 16 x 16 times a vector.
_GEMM_FROM = 64
_GEMV_FROM = 256
_LARGEST = 2**31 - 1


@helper
def _dot(a, a0, b, b0, n):
    """Inner product of contiguous values, in four lanes."""
    p, q, r, t = 0.0, 0.0, 0.0, 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        p += a[at(a0 + i)] * b[at(b0 + i)]
        q += a[at(a0 + i + 1)] * b[at(b0 + i + 1)]
        r += a[at(a0 + i + 2)] * b[at(b0 + i + 2)]
        t += a[at(a0 + i + 3)] * b[at(b0 + i + 3)]
    for i in range(whole, n):
        p += a[at(a0 + i)] * b[at(b0 + i)]
    return (p + q) + (r + t)


@helper
def _axpy(c, c0, factor, b, b0, n):
    for j in range(n):
        c[at(c0 + j)] += factor * b[at(b0 + j)]


@helper
def _loops(c, c0, a, a0, b, b0, sizes, ta, tb):
    """c += op(a) op(b) by loops."""
    m, k, n = sizes
    down, across = (1, m) if ta else (k, 1)
    for i in range(m):
        if not tb:
            for p in range(k):
                _axpy(c, c0 + i * n, a[at(a0 + i * down + p * across)], b, b0 + p * n, n)
        elif not ta:
            for j in range(n):
                c[at(c0 + i * n + j)] += _dot(a, a0 + i * k, b, b0 + j * k, k)
        else:
            for j in range(n):
                total = 0.0
                for p in range(k):
                    total += a[at(a0 + i + p * m)] * b[at(b0 + j * k + p)]
                c[at(c0 + i * n + j)] += total


@helper
def _place(array, start):
    return array.ctypes.data + 8 * start


@helper
def _by_blas(c, c0, a, a0, b, b0, sizes, ta, tb):
    """c += op(a) op(b) by BLAS."""
    m, k, n = sizes
    pa, pb, pc = _place(a, a0), _place(b, b0), _place(c, c0)
    if m == 1:
        rows, columns = (k, n) if tb else (n, k)
        dgemv(tb, rows, columns, 1.0, pb, rows, pa, 1, 1.0, pc, 1)
    else:
        dgemm(tb, ta, n, m, k, 1.0, pb, k if tb else n, pa, m if ta else k, 1.0, pc, n)


@helper
def _multiply(c, c0, a, a0, b, b0, sizes, ta, tb):
    """c += op(a) op(b), where op(a) is (m, k) and op(b) is (k, n)."""
    m, k, n = sizes
    if n == 1 and m > 1:
        # A column of results is computed as a row, from the transposed product.
        a, a0, b, b0, ta, tb = b, b0, a, a0, 0, 1 - ta
        m, n = 1, m
    if m == 1:
        ta = 0
    large = m * k * n >= (_GEMV_FROM if m == 1 else _GEMM_FROM)
    if large and m <= _LARGEST and k <= _LARGEST and n <= _LARGEST:
        _by_blas(c, c0, a, a0, b, b0, (m, k, n), ta, tb)
    else:
        _loops(c, c0, a, a0, b, b0, (m, k, n), ta, tb)


@helper
def _joined(s):
    """(batch, m, k, n, ta, tb, sx, sy), with a batch of rows times one matrix joined to a single product."""
    batch, m, k, n, ta, tb, sx, sy = s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
    if sx == 1 and sy == 0 and ta == 0:
        return 1, batch * m, k, n, ta, tb, sx, sy
    return batch, m, k, n, ta, tb, sx, sy


@kernel
def matmul_forward(out, x, y, s):
    """out[p] = X[p sx] @ Y[p sy], transposed if ta, tb; s = (batch, m, k, n, ta, tb, sx, sy)."""
    batch, m, k, n, ta, tb, sx, sy = _joined(s)
    out[:] = 0.0
    for p in range(batch):
        _multiply(out, p * m * n, x, p * sx * m * k, y, p * sy * k * n, (m, k, n), ta, tb)
    return 0


@kernel
def matmul_reverse(xb, yb, ob, x, y, o, s):
    """With G the adjoint of X @ Y: X gets G @ Y', Y gets X' @ G; transposed if stored transposed."""
    batch, m, k, n, ta, tb, sx, sy = _joined(s)
    for p in range(batch):
        g0, x0, y0 = p * m * n, p * sx * m * k, p * sy * k * n
        if len(xb) > 0:
            a, a0, b, b0, rows, columns, fa, fb = ob, g0, y, y0, m, k, 0, 1 - tb
            if ta:
                a, a0, b, b0, rows, columns, fa, fb = y, y0, ob, g0, k, m, tb, 1
            _multiply(xb, x0, a, a0, b, b0, (rows, n, columns), fa, fb)
        if len(yb) > 0:
            a, a0, b, b0, rows, columns, fa, fb = x, x0, ob, g0, k, n, 1 - ta, 0
            if tb:
                a, a0, b, b0, rows, columns, fa, fb = ob, g0, x, x0, n, k, 1, ta
            _multiply(yb, y0, a, a0, b, b0, (rows, m, columns), fa, fb)


@helper
def matmul_tangent(dout, dx, dy, x, y, o, s, choice, w):
    """The product rule; `choice` has bit k set where operand k moves."""
    if choice == 2:
        matmul_forward(dout, x, dy, s)
        return
    matmul_forward(dout, dx, y, s)
    if choice == 3:
        other = w[: len(dout)]
        matmul_forward(other, x, dy, s)
        for i in range(len(dout)):
            dout[at(i)] += other[at(i)]
