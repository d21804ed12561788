"""A count of what kernels have met that is no error, but that the user should be told of. Needs no numba.

Whoever has called a kernel compares the count before and after, and finds the reason by the definitions of the rows.
"""

import ctypes

SYMBOL = "fastad_notices"
count = ctypes.c_int64(0)


def address():
    """Where the count lies."""
    return ctypes.addressof(count)
