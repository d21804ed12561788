"""Heat in a square by alternating directions: each half step solves tridiagonal systems along one axis, all lines at
once, forwards and backwards in place. Sum of squares at the end by the heat at the start.

Size: (points a side, steps).
"""
import numpy

SIZES = {"small": (5, 2), "full": (60, 20)}
IN_PLACE = True


def arguments(size):
    n, steps = size
    return numpy.random.default_rng(25).standard_normal((n, n)), steps


def half_step(np, u, v, explicit, implicit):
    """Lines of v, transposed, from those of u: explicit across the lines, implicit along them."""
    n = u.shape[0]
    p, q = np.zeros((n, n)), np.zeros((n, n))
    v[0, 1:-1], q[1:-1, 0] = 1.0, 1.0
    for j in range(1, n - 1):
        pivot = 1.0 + 2.0 * implicit - implicit * p[1:-1, j - 1]
        known = explicit * (u[j, :-2] + u[j, 2:]) + (1.0 - 2.0 * explicit) * u[j, 1:-1]
        p[1:-1, j] = implicit / pivot
        q[1:-1, j] = (known + implicit * q[1:-1, j - 1]) / pivot
    v[-1, 1:-1] = 1.0
    for j in range(n - 2, 0, -1):
        v[j, 1:-1] = p[1:-1, j] * v[j + 1, 1:-1] + q[1:-1, j]


def program(np, start, steps):
    u, v = start.copy(), np.zeros(start.shape)
    for _ in range(steps):
        half_step(np, u, v.T, 0.3, 0.4)
        half_step(np, v, u.T, 0.4, 0.3)
    return np.sum(u**2)
