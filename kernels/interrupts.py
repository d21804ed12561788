"""`interrupts()`: the address of what kernels know of Ctrl-C (see `interrupt_state`)."""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import interrupt_state

# For code that numba links; what is kept on disk refers to the state by its name.
llvmlite.binding.add_symbol(interrupt_state.SYMBOL, interrupt_state.address())


@intrinsic
def interrupts(typing):
    """The address of the state."""

    def generate(context, builder, signature, arguments):
        kind, name = ir.IntType(64), interrupt_state.SYMBOL
        place = builder.module.globals.get(name) or cgutils.add_global_variable(builder.module, kind, name)
        return builder.ptrtoint(place, kind)

    return types.int64(), generate
