"""Jacobi's five-point stencil, to and fro between two arrays, written in place: sum of squares by the first array.

Size: (cells a side, turns).
"""
import numpy

SIZES = {"small": (6, 2), "full": (90, 40)}
IN_PLACE = True


def arguments(size):
    n, turns = size
    rng = numpy.random.default_rng(9)
    return rng.standard_normal((n, n)), turns


def program(np, start, turns):
    a, b = start.copy(), start.copy()
    for _ in range(turns):
        b[1:-1, 1:-1] = 0.2 * (a[1:-1, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + a[2:, 1:-1] + a[:-2, 1:-1])
        a[1:-1, 1:-1] = 0.2 * (b[1:-1, 1:-1] + b[1:-1, :-2] + b[1:-1, 2:] + b[2:, 1:-1] + b[:-2, 1:-1])
    return np.sum(a**2)
