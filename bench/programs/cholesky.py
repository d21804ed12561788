"""Cholesky's factor by loops over the entries, in the array of the matrix: log determinant and a quadratic form.

Size: rows.
"""
import numpy

SIZES = {"small": 4, "full": 60}
IN_PLACE = True


def arguments(size):
    a = numpy.random.default_rng(10).standard_normal((size, size))
    return a @ a.T + size * numpy.eye(size), numpy.linspace(-1.0, 1.0, size)


def program(np, matrix, b):
    a = matrix.copy()
    n = a.shape[0]
    for i in range(n):
        for j in range(i):
            a[i, j] -= np.dot(a[i, :j], a[j, :j])
            a[i, j] /= a[j, j]
        a[i, i] = np.sqrt(a[i, i] - np.dot(a[i, :i], a[i, :i]))
    return 2.0 * np.sum(np.log(np.diag(a))) + np.sum(np.dot(np.tril(a), b) ** 2)
