"""A symmetric product added to a matrix, C := b C + a A Aᵀ, its lower triangle row by row in place: sum of squares
by A.

Size: (rows of A, columns of A).
"""
import numpy

SIZES = {"small": (4, 3), "full": (60, 50)}
IN_PLACE = True


def arguments(size):
    n, m = size
    rng = numpy.random.default_rng(15)
    return rng.standard_normal((n, m)) / m**0.5, rng.standard_normal((n, n))


def program(np, a, start):
    c = start.copy()
    for i in range(a.shape[0]):
        c[i, : i + 1] *= 1.2
        for k in range(a.shape[1]):
            c[i, : i + 1] += 1.5 * a[i, k] * a[: i + 1, k]
    return np.sum(c**2)
