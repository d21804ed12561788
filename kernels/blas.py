"""Calls of BLAS for the kernels, by the addresses in the table of `scipy_blas`.

Compiled code refers to the table by its name, so what is kept on disk stays valid in the next process.
"""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import scipy_blas

# For code that numba links.
llvmlite.binding.add_symbol(scipy_blas.TABLE, scipy_blas.table_address())
scipy_blas.load()


def _fortran(name, kinds):
    """A code generator for a call of a Fortran function, which takes every argument by address.

    One letter per argument: c a switch, 'T' if it is not 0, else 'N'; i an integer; d a number; p an address.
    """
    byte = ir.IntType(8)

    def pointer(builder, kind, a):
        if kind == "p":
            return builder.inttoptr(a, byte.as_pointer())
        if kind == "c":
            a = builder.select(builder.icmp_signed("!=", a, a.type(0)), byte(ord("T")), byte(ord("N")))
        elif kind == "i":
            a = builder.trunc(a, ir.IntType(32))
        return builder.bitcast(cgutils.alloca_once_value(builder, a), byte.as_pointer())

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer()] * len(kinds))
        function = builder.inttoptr(_entry_of_table(builder, scipy_blas.NAMES.index(name)), kind.as_pointer())
        builder.call(function, [pointer(builder, k, a) for k, a in zip(kinds, arguments, strict=True)])
        return context.get_dummy_value()

    return generate


def _entry_of_table(builder, which):
    kind = ir.ArrayType(ir.IntType(64), len(scipy_blas.NAMES))
    table = builder.module.globals.get(scipy_blas.TABLE) or ir.GlobalVariable(builder.module, kind, scipy_blas.TABLE)
    place = [ir.IntType(32)(0), ir.IntType(32)(which)]
    return builder.load(builder.gep(table, place, inbounds=True))


def _signature(kinds):
    letters = {"c": types.int64, "i": types.int64, "d": types.float64, "p": types.int64}
    return types.void(*[letters[k] for k in kinds])


@intrinsic
def dgemm(typing, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """c = alpha op(a) op(b) + beta c, column by column; a, b and c are addresses."""
    kinds = "cciiidpipidpi"
    return _signature(kinds), _fortran("dgemm", kinds)


@intrinsic
def dgemv(typing, ta, m, n, alpha, a, lda, x, incx, beta, y, incy):
    """y = alpha op(a) x + beta y, column by column; a, x and y are addresses."""
    kinds = "ciidpipidpi"
    return _signature(kinds), _fortran("dgemv", kinds)
