"""The call of SuperLU for the kernels, by the address in the table of `superlu`."""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import superlu

# For code that numba links.
llvmlite.binding.add_symbol(superlu.TABLE, superlu.table_address())


@intrinsic
def superlu_solve(typing, places, n, entries, data, b, out, m, trans):
    """Solve by SuperLU, with pivots for this matrix: 0, or 1 if it is singular. Arrays are given by address."""

    def generate(context, builder, signature, arguments):
        integer = ir.IntType(64)
        name = superlu.TABLE
        table = builder.module.globals.get(name) or ir.GlobalVariable(builder.module, integer, name)
        kind = ir.FunctionType(integer, [integer] * 8)
        return builder.call(builder.inttoptr(builder.load(table), kind.as_pointer()), arguments)

    return types.int64(*[types.int64] * 8), generate
