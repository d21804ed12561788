"""Residuals of seeing points by cameras with rotation vector, centre, focal length and two radial distortions: weighted
squares, by cameras, points and weights.

Size: (cameras, points, observations).
"""
import numpy

SIZES = {"small": (2, 4, 6), "full": (50, 2000, 10_000)}


def arguments(size):
    cameras, points, seen = size
    rng = numpy.random.default_rng(14)
    camera = 0.1 * rng.standard_normal((cameras, 9)) + numpy.array([0.2, 0.1, 0.3, 0.0, 0.0, -5.0, 1.0, 0.0, 0.0])
    x = (camera, rng.standard_normal((points, 3)), 1.0 + 0.1 * rng.standard_normal(seen))
    places = rng.integers(cameras, size=seen), rng.integers(points, size=seen)
    return x, *places, rng.standard_normal((seen, 2))


def rotate(np, r, x):
    squared = np.sum(r**2, axis=1, keepdims=True)
    angle = np.sqrt(squared)
    axis = r / angle
    along = np.sum(axis * x, axis=1, keepdims=True)
    return x * np.cos(angle) + np.cross(axis, x) * np.sin(angle) + axis * along * (1.0 - np.cos(angle))


def program(np, x, which_camera, which_point, features):
    cameras, points, weights = x
    camera, point = cameras[which_camera], points[which_point]
    turned = rotate(np, camera[:, 0:3], point - camera[:, 3:6])
    flat = turned[:, 0:2] / turned[:, 2:3]
    radius = np.sum(flat**2, axis=1, keepdims=True)
    flat = flat * (1.0 + camera[:, 7:8] * radius + camera[:, 8:9] * radius**2)
    error = weights[:, None] * (camera[:, 6:7] * flat - features)
    return np.sum(error**2) + np.sum((1.0 - weights**2) ** 2)
