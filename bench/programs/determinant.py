"""A determinant by cofactors along the first row, recursively over the entries.

Size: rows.
"""
import numpy

SIZES = {"small": 4, "full": 7}


def arguments(size):
    return (numpy.random.default_rng(13).standard_normal((size, size)),)


def expand(rows):
    if len(rows) == 1:
        return rows[0][0]
    total, sign = 0.0, 1.0
    for k, entry in enumerate(rows[0]):
        total = total + sign * entry * expand([row[:k] + row[k + 1 :] for row in rows[1:]])
        sign = -sign
    return total


def program(np, matrix):
    n = matrix.shape[0]
    return expand([[matrix[i, j] for j in range(n)] for i in range(n)])
