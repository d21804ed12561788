"""Numbers outside that kernels reach by name: `notice()` counts one more of what the user should be told of (see
`notice_count`), `interrupts()` is the address of what is known of Ctrl-C (see `interrupt_state`)."""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import interrupt_state, notice_count

# For code that numba links; what is kept on disk refers to them by their names.
llvmlite.binding.add_symbol(notice_count.SYMBOL, notice_count.address())
llvmlite.binding.add_symbol(interrupt_state.SYMBOL, interrupt_state.address())


def _place(builder, name):
    """Where an integer lies that is outside of the module."""
    return builder.module.globals.get(name) or cgutils.add_global_variable(builder.module, ir.IntType(64), name)


@intrinsic
def notice(typing):
    """Count one more."""

    def generate(context, builder, signature, arguments):
        place = _place(builder, notice_count.SYMBOL)
        builder.store(builder.add(builder.load(place), ir.IntType(64)(1)), place)
        return context.get_constant(types.int64, 1)

    return types.int64(), generate


@intrinsic
def interrupts(typing):
    """The address of the state."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(_place(builder, interrupt_state.SYMBOL), ir.IntType(64))

    return types.int64(), generate
