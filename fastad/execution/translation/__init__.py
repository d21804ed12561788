"""Kernels as LLVM IR, without numba: a front end for the part of Python that drivers are written in.

Numba's own front end takes 2 to 10 s for the drivers of one loop or solve; this one takes tenths of a second, for the
same text and the same numbers. What it does not know it refuses, and numba compiles that.
"""

TARGET = "fastad_target"  # the variable with the address of better code, in code that can be replaced


class UntranslatableError(Exception):
    """A kernel uses something that the translation does not know: numba is to compile it."""
