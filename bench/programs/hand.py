"""A hand of bones that are turned one after the other: distance of its skinned points from measured ones, by a turn of
three angles for each bone.

Size: (bones, points).
"""
import numpy

SIZES = {"small": (3, 4), "full": (22, 500)}


def arguments(size):
    bones, points = size
    rng = numpy.random.default_rng(21)
    parents = [-1, *(rng.integers(k) for k in range(1, bones))]
    weights = rng.random((bones, points))
    at_rest = numpy.concatenate([rng.standard_normal((3, points)), numpy.ones((1, points))])
    offsets = rng.standard_normal((bones, 3))
    return (0.3 * rng.standard_normal((bones, 3)), parents, offsets, weights / weights.sum(axis=0), at_rest,
            rng.standard_normal((3, points)))  # fmt: skip


def turn(np, angles, offset):
    """Turns about the three axes, then a move: (4, 4)."""
    (a, b, c), (p, q, r) = np.cos(angles), np.sin(angles)
    return np.array([
        [b * c, p * q * c - a * r, a * q * c + p * r, offset[0]],
        [b * r, p * q * r + a * c, a * q * r - p * c, offset[1]],
        [-q, p * b, a * b, offset[2]],
        [0.0, 0.0, 0.0, 1.0],
    ])  # fmt: skip


def program(np, angles, parents, offsets, weights, at_rest, measured):
    poses = []
    for bone, parent in enumerate(parents):
        own = turn(np, angles[bone], offsets[bone])
        poses.append(own if parent < 0 else np.dot(poses[parent], own))
    places = 0.0
    for pose, weight in zip(poses, weights):
        places = places + weight * np.dot(pose, at_rest)[:3]
    return np.sum((places - measured) ** 2)
