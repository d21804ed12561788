"""Smoke in a square with periodic sides: velocities are carried by themselves and projected on fields without
divergence by Jacobi's iteration, smoke is carried along. Distance of the last picture from a given one, by the first
velocities.

Size: (cells a side, steps, iterations of a projection).
"""
import numpy

SIZES = {"small": (6, 2, 2), "full": (40, 100, 8)}


def arguments(size):
    n, steps, iterations = size
    rng = numpy.random.default_rng(7)
    x, y = numpy.meshgrid(numpy.arange(n), numpy.arange(n), indexing="ij")
    smoke = numpy.exp(-((x - n / 2) ** 2 + (y - n / 2) ** 2) / n)
    return 0.3 * rng.standard_normal((2, n, n)), smoke, numpy.roll(smoke, n // 4, axis=0), steps, iterations


def around(np, field):
    return tuple(np.roll(field, places, axis=axis) for axis in (0, 1) for places in (1, -1))


def project(np, u, v, iterations):
    above, below, _, _ = around(np, u)
    _, _, before, after = around(np, v)
    divergence = -0.5 * (below - above + after - before)
    pressure = np.zeros(divergence.shape)
    for _ in range(iterations):
        up, down, left, right = around(np, pressure)
        pressure = (divergence + up + down + left + right) / 4.0
    up, down, left, right = around(np, pressure)
    return u - 0.5 * (down - up), v - 0.5 * (right - left)


def carry(np, field, u, v):
    """Upwind: what flows in from either side."""
    up, down, left, right = around(np, field)
    rows = np.maximum(u, 0.0) * (field - up) + np.minimum(u, 0.0) * (down - field)
    columns = np.maximum(v, 0.0) * (field - left) + np.minimum(v, 0.0) * (right - field)
    return field - 0.2 * (rows + columns)


def program(np, velocity, smoke, wanted, steps, iterations):
    u, v = velocity[0], velocity[1]
    for _ in range(steps):
        u, v = carry(np, u, u, v), carry(np, v, u, v)
        u, v = project(np, u, v, iterations)
        smoke = carry(np, smoke, u, v)
    return np.mean((smoke - wanted) ** 2)
