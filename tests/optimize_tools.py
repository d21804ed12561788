"""Checks that the tests of optimisation share."""

import numpy as np
from transform_tools import central

import fastad as fad


def directions(x, seed=0):
    """Two random directions of an array's shape."""
    return np.random.default_rng(seed).normal(size=(2, *np.shape(x)))


def check_two_orders(solve, theta, tier="sweep", tolerance=1e-6, step=1e-5):
    """First and second derivatives of `solve`, a vector function of a vector, against central differences.

    The first are taken both ways, forward and reverse; the second are differences of the first.
    """
    theta = np.asarray(theta, float)
    v, w = directions(theta)

    def total(theta):
        found = solve(theta)
        return found @ np.linspace(1.0, 2.0, np.size(found))

    def slope(theta):
        return fad.jvp(total, (theta,), (v,))[1]

    along = fad.jit(lambda theta: fad.jvp(total, (theta,), (v,)), tier=tier)
    gradient = fad.jit(fad.grad(total), tier=tier)
    first, wanted = along(theta)[1], central(lambda theta: along(theta)[0], theta, v, step)
    scale = 1.0 + abs(wanted)
    assert abs(first - wanted) < tolerance * scale, (first, wanted)
    assert abs(gradient(theta) @ v - first) < 1e-9 * scale  # ⟨u, Jv⟩ = ⟨Jᵀu, v⟩
    second, wanted = (
        fad.jit(fad.grad(slope), tier=tier)(theta) @ w,
        central(lambda theta: along(theta)[1], theta, w, step),
    )
    assert abs(second - wanted) < 10 * tolerance * (1.0 + abs(wanted)), (second, wanted)
