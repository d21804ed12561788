"""LAPACK's functions for factorisations that few programs need, by the table of `blas`. Matrices lie by columns."""

from numba.extending import intrinsic

from .blas import _call


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
