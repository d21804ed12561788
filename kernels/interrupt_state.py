"""Ctrl-C as kernels see it: a few numbers in memory that a signal handler writes and loops read. Needs no numba.

The handler and its installation are in `fastad.execution.interrupting`.
"""

import ctypes

SYMBOL = "fastad_interrupts"
DEPTH = 4  # loops in loops whose steps are noted

# Places in the state: signals received; those of them that stop nothing any more; the handler that stood before; the
# main thread; whether the last watched kernel was to stop; the code it returned; how many steps are noted; the steps,
# that of the innermost loop first.
REQUESTED, HANDLED, NEXT, MAIN, STOPPED, CODE, NOTED, STEPS = range(8)
SIZE = STEPS + DEPTH

state = (ctypes.c_int64 * SIZE)()


def address():
    """Where the state lies."""
    return ctypes.addressof(state)
