"""QR factors of dense matrices by LAPACK."""

from .flags import at, helper, kernel
from .lapack import all_finite, fill, turn
from .lapack_calls import dgeqrf, dorgqr


@helper
def _qr(q, r, x, m, n, k, w):
    """Q (m × k) and R (k × n) of an m × n matrix, m ≥ n, in scratch memory."""
    turn(w, x, m, n)
    a, tau = w.ctypes.data, w.ctypes.data + 8 * m * k
    work = tau + 8 * n
    info = work + 8 * 64 * k
    dgeqrf(m, n, a, m, tau, work, 64 * k, info)
    for i in range(k):
        for j in range(n):
            r[at(i * n + j)] = w[at(j * m + i)] if i <= j else 0.0
    dorgqr(m, k, n, a, m, tau, work, 64 * k, info)
    turn(q, w, k, m)


@kernel
def qr_forward(out, x, y, s, w):
    """Q and R of every matrix; s = (batch, m, n, complete), m ≥ n. NaN where the matrix holds NaN or infinity."""
    batch, m, n, complete = s[0], s[1], s[2], s[3]
    k = m if complete else n
    size = m * k + k * n
    for p in range(batch):
        own, given = out[p * size : (p + 1) * size], x[p * m * n : (p + 1) * m * n]
        if not all_finite(given):
            fill(own, float("nan"))
        elif n > 0:
            _qr(own[: m * k], own[m * k :], given, m, n, k, w)
        else:
            for i in range(m * k):
                own[at(i)] = 1.0 if i % (m + 1) == 0 else 0.0
    return 0
