"""A covariance matrix, row by row with both halves written in place: weighted sum by the data.

Size: (observations, columns).
"""
import numpy

SIZES = {"small": (5, 3), "full": (120, 100)}
IN_PLACE = True


def arguments(size):
    rng = numpy.random.default_rng(17)
    return rng.standard_normal(size), rng.standard_normal((size[1], size[1]))


def program(np, data, weights):
    centred = data - np.mean(data, axis=0)
    n = data.shape[1]
    c = np.zeros_like(weights)
    for i in range(n):
        c[i:, i] = c[i, i:] = np.dot(centred[:, i], centred[:, i:]) / (data.shape[0] - 1.0)
    return np.sum(weights * c**2)
