"""Composite rows: run a sub-program's kernel by its address."""

from .flags import kernel
from .memory import call_kernel


@kernel
def call_forward(out, x, y, s):
    """The sub-program whose callee (kernel, context, work, caller) is at the address s[0]; 1: error, 2: guard."""
    callee = s[0]
    code = call_kernel(s[1], out.ctypes.data, x.ctypes.data, callee, y.ctypes.data)
    return 0 if code == 0 else (2 if code > 0 else 1)
