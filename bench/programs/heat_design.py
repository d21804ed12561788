"""A plate that is heated in its middle and held cold at its rim: how hot it still is after many explicit steps, by the
logarithm of the conductivity of each cell.

Size: (cells a side, steps).
"""
import numpy

SIZES = {"small": (5, 4), "full": (41, 500)}


def arguments(size):
    n, steps = size
    rng = numpy.random.default_rng(8)
    x = numpy.linspace(-1.0, 1.0, n)
    source = numpy.exp(-8.0 * (x[:, None] ** 2 + x[None, :] ** 2))[1:-1, 1:-1]
    return 0.3 * rng.standard_normal((n, n)), source, steps


def program(np, design, source, steps):
    k = 1.0 / (1.0 + np.exp(-design))
    across, along = 0.5 * (k[1:, 1:-1] + k[:-1, 1:-1]), 0.5 * (k[1:-1, 1:] + k[1:-1, :-1])
    inside = np.zeros(source.shape)
    step = 0
    while step < steps:
        whole = np.pad(inside, 1, "constant")
        rows = across * (whole[1:, 1:-1] - whole[:-1, 1:-1])
        columns = along * (whole[1:-1, 1:] - whole[1:-1, :-1])
        inside = inside + 0.2 * (rows[1:] - rows[:-1] + columns[:, 1:] - columns[:, :-1] + 0.1 * source)
        step += 1
    return np.mean(inside**2)
