"""Air that flows past a body in a tunnel: the body holds it back cell by cell, by a design that becomes a part between
0 and 1; pressure is found by Jacobi's iteration. Drag over lift of the last flow, by the design: what an optimiser
calls for in its loop.

Size: (rows, columns, steps, iterations of a projection).
"""
import numpy

SIZES = {"small": (6, 7, 2, 2), "full": (40, 60, 20, 10)}


def arguments(size):
    rows, columns, steps, iterations = size
    rng = numpy.random.default_rng(23)
    y, x = numpy.meshgrid(numpy.linspace(-1.0, 1.0, rows), numpy.linspace(-1.5, 1.5, columns), indexing="ij")
    plate = numpy.exp(-20.0 * (y + 0.3 * x) ** 2 - 6.0 * x**2)
    return 8.0 * plate - 5.0 + 0.1 * rng.standard_normal((rows, columns)), steps, iterations


def neighbours(np, field):
    return tuple(np.roll(field, places, axis=axis) for axis in (0, 1) for places in (1, -1))


def project(np, u, v, open_, iterations):
    """Velocities without divergence where there is no body."""
    _, _, before, after = neighbours(np, u)
    above, below, _, _ = neighbours(np, v)
    divergence = -0.5 * (after - before + below - above) * open_
    pressure = np.zeros(divergence.shape)
    for _ in range(iterations):
        up, down, left, right = neighbours(np, pressure)
        pressure = (divergence + up + down + left + right) / 4.0
    up, down, left, right = neighbours(np, pressure)
    return u - 0.5 * (right - left), v - 0.5 * (down - up)


def carry(np, field, u, v):
    """Upwind, columns by u and rows by v."""
    up, down, left, right = neighbours(np, field)
    columns = np.maximum(u, 0.0) * (field - left) + np.minimum(u, 0.0) * (right - field)
    rows = np.maximum(v, 0.0) * (field - up) + np.minimum(v, 0.0) * (down - field)
    return field - 0.3 * (columns + rows)


def program(np, design, steps, iterations):
    open_ = 1.0 / (1.0 + np.exp(design))
    wind = np.hstack([np.ones((design.shape[0], 1)), np.zeros((design.shape[0], design.shape[1] - 1))])
    u, v = open_, np.zeros(design.shape)
    for _ in range(steps):
        u, v = carry(np, u, u, v), carry(np, v, u, v)
        u, v = project(np, u, v, open_, iterations)
        u, v = wind + (1.0 - wind) * open_ * u, (1.0 - wind) * open_ * v
    drag, lift = np.mean(1.0 - u[:, -1]), np.mean(v[:, -1])
    return drag / (0.01 + lift**2)
