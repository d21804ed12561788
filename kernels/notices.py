"""`notice()`: count one more of what the user should be told of (see `notice_count`)."""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import notice_count

# For code that numba links; what is kept on disk refers to the count by its name.
llvmlite.binding.add_symbol(notice_count.SYMBOL, notice_count.address())


@intrinsic
def notice(typing):
    """Count one more."""

    def generate(context, builder, signature, arguments):
        kind, name = ir.IntType(64), notice_count.SYMBOL
        place = builder.module.globals.get(name) or cgutils.add_global_variable(builder.module, kind, name)
        builder.store(builder.add(builder.load(place), kind(1)), place)
        return context.get_constant(types.int64, 1)

    return types.int64(), generate
