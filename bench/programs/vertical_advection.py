"""Implicit advection along columns of air: one tridiagonal system a column, eliminated level by level and substituted
back, in place. Sum of squares of the tendency by wind and field.

Size: (columns a side, levels).
"""
import numpy

SIZES = {"small": (3, 4), "full": (32, 60)}
IN_PLACE = True


def arguments(size):
    side, levels = size
    rng = numpy.random.default_rng(19)
    return ((0.5 * rng.standard_normal((side, side, levels)), rng.standard_normal((side, side, levels))),)


def program(np, x):
    wind, field = x
    levels = field.shape[2]
    upper, right = np.zeros_like(field), np.zeros_like(field)
    upper[:, :, 0] = 0.25 * wind[:, :, 0]
    right[:, :, 0] = field[:, :, 0]
    for k in range(1, levels):
        lower = -0.25 * wind[:, :, k - 1]
        pivot = 1.0 / (1.0 + 0.1 * wind[:, :, k] ** 2 - lower * upper[:, :, k - 1])
        upper[:, :, k] = 0.25 * wind[:, :, k] * pivot
        right[:, :, k] = (field[:, :, k] - lower * right[:, :, k - 1]) * pivot
    new = np.zeros_like(field)
    new[:, :, -1] = right[:, :, -1]
    for k in range(levels - 2, -1, -1):
        new[:, :, k] = right[:, :, k] - upper[:, :, k] * new[:, :, k + 1]
    return np.sum((new - field) ** 2)
