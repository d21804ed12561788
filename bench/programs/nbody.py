"""Bodies that attract each other, by leapfrog steps: energy of motion at the end, by masses, places and velocities.

Size: (bodies, steps).
"""
import numpy

SIZES = {"small": (3, 2), "full": (25, 50)}


def arguments(size):
    bodies, steps = size
    rng = numpy.random.default_rng(12)
    mass = 20.0 * (0.5 + rng.random((bodies, 1))) / bodies
    return (mass, rng.standard_normal((bodies, 3)), rng.standard_normal((bodies, 3))), steps


def pull(np, place, mass):
    x, y, z = place[:, 0:1], place[:, 1:2], place[:, 2:3]
    dx, dy, dz = x.T - x, y.T - y, z.T - z
    inverse = (dx**2 + dy**2 + dz**2 + 0.1**2) ** (-1.5)
    return np.hstack([np.dot(dx * inverse, mass), np.dot(dy * inverse, mass), np.dot(dz * inverse, mass)])


def program(np, x, steps):
    mass, place, velocity = x
    velocity = velocity - np.mean(mass * velocity, axis=0) / np.mean(mass)
    force, h = pull(np, place, mass), 0.01
    for _ in range(steps):
        velocity = velocity + 0.5 * h * force
        place = place + h * velocity
        force = pull(np, place, mass)
        velocity = velocity + 0.5 * h * force
    return 0.5 * np.sum(mass * velocity**2)
