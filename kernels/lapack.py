"""Calls of LAPACK for factorisations that few programs need, by the table of `blas`; and what these calls share.

LAPACK counts by columns, so matrices go to it and come back through transposes in scratch memory.
"""

from numba.extending import intrinsic

from .blas import _call
from .flags import at, helper
from .memory import indices, view

LETTER_A, LETTER_L, LETTER_N, LETTER_S, LETTER_U, LETTER_V = 65, 76, 78, 83, 85, 86


@intrinsic
def dgeqrf(typing, m, n, a, lda, tau, work, lwork, info):
    """a = Q R, in place: R above, the reflectors of Q below."""
    return _call("dgeqrf")


@intrinsic
def dorgqr(typing, m, n, k, a, lda, tau, work, lwork, info):
    """n columns of Q from k reflectors, in place."""
    return _call("dorgqr")


@intrinsic
def dsyevd(typing, jobz, uplo, n, a, lda, w, work, lwork, iwork, liwork, info):
    """Eigenvalues of a symmetric matrix, and in its place the eigenvectors."""
    return _call("dsyevd")


@intrinsic
def dgesdd(typing, jobz, m, n, a, lda, s, u, ldu, vt, ldvt, work, lwork, iwork, info):
    """a = U diag(s) V'."""
    return _call("dgesdd")


@intrinsic
def dgbtrf(typing, m, n, kl, ku, ab, ldab, ipiv, info):
    """Factors of a band matrix, in place."""
    return _call("dgbtrf")


@intrinsic
def dgbtrs(typing, trans, n, kl, ku, nrhs, ab, ldab, ipiv, b, ldb, info):
    """Solve by the factors of a band matrix."""
    return _call("dgbtrs")


@helper
def turn(target, source, n, m):
    """The transpose of an n × m matrix."""
    for i in range(n):
        for j in range(m):
            target[at(j * n + i)] = source[at(i * m + j)]


@helper
def all_finite(x):
    for i in range(len(x)):
        if not abs(x[at(i)]) < float("inf"):
            return False
    return True


@helper
def fill(x, value):
    for i in range(len(x)):
        x[at(i)] = value


@helper
def copy(target, source):
    for i in range(len(source)):
        target[at(i)] = source[at(i)]


@helper
def status(w, place):
    """What LAPACK has returned in a place of scratch memory."""
    return view(indices(w.ctypes.data + 8 * place), 1)[0]
