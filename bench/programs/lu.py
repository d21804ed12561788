"""LU factors without pivoting by loops over the entries, in the array of the matrix: a weighted sum of both.

Size: rows.
"""
import numpy

SIZES = {"small": 4, "full": 50}
IN_PLACE = True


def arguments(size):
    rng = numpy.random.default_rng(11)
    return rng.standard_normal((size, size)) + 3.0 * size**0.5 * numpy.eye(size), rng.standard_normal((size, size))


def program(np, matrix, weights):
    a = matrix.copy()
    n = a.shape[0]
    for i in range(n):
        for j in range(i):
            a[i, j] -= np.dot(a[i, :j], a[:j, j])
            a[i, j] /= a[j, j]
        for j in range(i, n):
            a[i, j] -= np.dot(a[i, :i], a[:i, j])
    return np.sum(weights * a)
