"""Composite rows: run a sub-program's kernel by its address."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .flags import kernel


@intrinsic
def _call(typingctx, function, out, x, callee, saved):
    """int64 function(double *out, double *x, int64 *callee, double *saved), by addresses."""

    def generate(context, builder, signature, arguments):
        integer = ir.IntType(64)
        kind = ir.FunctionType(integer, [integer] * 4)
        address = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(address, arguments[1:])

    return types.int64(types.int64, types.int64, types.int64, types.int64, types.int64), generate


@kernel
def call_forward(out, x, y, s):
    """The sub-program whose callee (kernel, context, work, caller) is at the address s[0]; 1: error, 2: guard."""
    callee = s[0]
    code = _call(s[1], out.ctypes.data, x.ctypes.data, callee, y.ctypes.data)
    return 0 if code == 0 else (2 if code > 0 else 1)
