"""A cavity under a moving lid: velocities and pressure step by step on a square grid, written in place with their
rims. Energy of the flow by the velocities of the lid.

Size: (points a side, steps, iterations for the pressure).
"""
import numpy

SIZES = {"small": (6, 2, 3), "full": (41, 100, 20)}
IN_PLACE = True


def arguments(size):
    n, steps, iterations = size
    rng = numpy.random.default_rng(24)
    return 1.0 + 0.1 * rng.standard_normal(n), steps, iterations


def across(f, h):
    return (f[1:-1, 2:] - f[1:-1, :-2]) / (2.0 * h)


def along(f, h):
    return (f[2:, 1:-1] - f[:-2, 1:-1]) / (2.0 * h)


def pressed(p, source, h, iterations):
    for _ in range(iterations):
        before = p.copy()
        p[1:-1, 1:-1] = (before[1:-1, 2:] + before[1:-1, :-2] + before[2:, 1:-1] + before[:-2, 1:-1]) / 4.0
        p[1:-1, 1:-1] -= h**2 / 4.0 * source
        p[:, -1], p[:, 0], p[0, :] = p[:, -2], p[:, 1], p[1, :]
        p[-1, :] = 0.0


def moved(f, u, v, gradient, h, dt, viscosity):
    """One step of a velocity's inside: carried upwind from the left and below, pushed by pressure, smoothed."""
    middle = f[1:-1, 1:-1]
    carried = (u[1:-1, 1:-1] * (middle - f[1:-1, :-2]) + v[1:-1, 1:-1] * (middle - f[:-2, 1:-1])) / h
    smoothed = (f[1:-1, 2:] + f[1:-1, :-2] + f[2:, 1:-1] + f[:-2, 1:-1] - 4.0 * middle) / h**2
    return middle - dt * (carried + gradient - viscosity * smoothed)


def program(np, lid, steps, iterations):
    n = lid.shape[0]
    h, dt, viscosity = 2.0 / (n - 1), 0.001, 0.1
    u, v, p = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    for _ in range(steps):
        ux, uy, vx, vy = across(u, h), along(u, h), across(v, h), along(v, h)
        pressed(p, (ux + vy) / dt - ux**2 - 2.0 * uy * vx - vy**2, h, iterations)
        inside = moved(u, u, v, across(p, h), h, dt, viscosity), moved(v, u, v, along(p, h), h, dt, viscosity)
        u[1:-1, 1:-1], v[1:-1, 1:-1] = inside
        for field in (u, v):
            field[0, :] = field[:, 0] = field[:, -1] = 0.0
        u[-1, :], v[-1, :] = lid, 0.0
    return np.sum(u**2 + v**2)
