"""Gauss and Seidel's sweeps over a square, entry by entry in place: sum of squares by the first array.

Size: (cells a side, sweeps).
"""
import numpy

SIZES = {"small": (4, 2), "full": (24, 10)}
IN_PLACE = True


def arguments(size):
    n, sweeps = size
    return numpy.random.default_rng(20).standard_normal((n, n)), sweeps


def program(np, start, sweeps):
    a = start.copy()
    n = a.shape[0]
    for _ in range(sweeps):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                a[i, j] = 0.25 * (a[i - 1, j] + a[i, j - 1] + a[i + 1, j] + a[i, j + 1])
    return np.sum(a**2)
