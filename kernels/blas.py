"""Calls of BLAS and LAPACK for the kernels, by the addresses in the table of `scipy_blas`.

Compiled code refers to the table by its name, so what is kept on disk stays valid in the next process. A function takes
the arguments of the Fortran function of its name, in order and by value, arrays by their addresses.
"""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import scipy_blas

# For code that numba links.
llvmlite.binding.add_symbol(scipy_blas.TABLE, scipy_blas.table_address())
scipy_blas.load(*scipy_blas.NAMES)

_LETTERS = {"t": types.int64, "c": types.int64, "i": types.int64, "d": types.float64, "p": types.int64}
_BYTE = ir.IntType(8)


def _by_address(builder, kind, a):
    """An argument as Fortran takes it: by address. Integers keep 64 bits: see `scipy_blas`."""
    if kind == "p":
        return builder.inttoptr(a, _BYTE.as_pointer())
    if kind == "t":
        a = builder.select(builder.icmp_signed("!=", a, a.type(0)), _BYTE(ord("T")), _BYTE(ord("N")))
    elif kind == "c":
        a = builder.trunc(a, _BYTE)
    return builder.bitcast(cgutils.alloca_once_value(builder, a), _BYTE.as_pointer())


def _entry_of_table(builder, which):
    kind = ir.ArrayType(ir.IntType(64), len(scipy_blas.NAMES))
    table = builder.module.globals.get(scipy_blas.TABLE) or ir.GlobalVariable(builder.module, kind, scipy_blas.TABLE)
    place = [ir.IntType(32)(0), ir.IntType(32)(which)]
    return builder.load(builder.gep(table, place, inbounds=True))


def _call(name):
    """The type and the code generator of a call of a Fortran function."""
    kinds = scipy_blas.FUNCTIONS[name][1]

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer()] * len(kinds))
        function = builder.inttoptr(_entry_of_table(builder, scipy_blas.NAMES.index(name)), kind.as_pointer())
        builder.call(function, [_by_address(builder, k, a) for k, a in zip(kinds, arguments, strict=True)])
        return context.get_dummy_value()

    return types.void(*[_LETTERS[k] for k in kinds]), generate


@intrinsic
def dgemm(typing, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """c = alpha op(a) op(b) + beta c."""
    return _call("dgemm")


@intrinsic
def dgemv(typing, ta, m, n, alpha, a, lda, x, incx, beta, y, incy):
    """y = alpha op(a) x + beta y."""
    return _call("dgemv")


@intrinsic
def dgetrf(typing, m, n, a, lda, ipiv, info):
    """a = P L U, in place."""
    return _call("dgetrf")


@intrinsic
def dpotrf(typing, uplo, n, a, lda, info):
    """a = L Lᵀ or Uᵀ U, in place."""
    return _call("dpotrf")
