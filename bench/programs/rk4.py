"""Runge–Kutta's method by hand on Lorenz's equations, with a state of three numbers in an array: distance from a point
at the end, by the three parameters.

Size: steps.
"""
import numpy

SIZES = {"small": 5, "full": 1000}


def arguments(size):
    return numpy.array([10.0, 28.0, 2.5]), numpy.array([1.0, 2.0, 20.0]), size


def program(np, p, start, steps):
    def slope(y):
        return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])

    y, h = start, 0.001
    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + 0.5 * h * k1)
        k3 = slope(y + 0.5 * h * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return np.sum((y - 1.0) ** 2)
