"""Python branches on numbers that are equal in NumPy, and differ in their last bits in native code."""

import math
import warnings

import numpy as np
import pytest
from transform_tools import same

import fastad as fad


def by_vectors(x, wanted):
    return np.sum(x) if (np.exp(x) - wanted).any() else 2 * np.sum(x)


def by_numbers(x, wanted):
    return np.sum(x) if math.exp(x[0]) + x[1] * x[2] != wanted else 2 * np.sum(x)


def smallest(x, wanted):
    """As in a table of costs: paths of equal costs."""
    return min(wanted, math.exp(x[0]) + x[1] * x[2], wanted) * np.sum(x)


def equal_number(function, x):
    """With which every comparison is one of equal numbers."""
    return np.exp(x) if function is by_vectors else np.float64(math.exp(x[0]) + x[1] * x[2])


@pytest.mark.parametrize("function", [by_vectors, by_numbers, smallest])
def test_ties_are_recorded_once(function, tmp_path):
    f, slope = fad.jit(function, tier="native"), fad.grad(function, tier="native")
    exact = fad.grad(function, tier="sweep")
    points = np.random.default_rng(0).normal(size=(60, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that of many recordings
        for distance in (0, 1):
            for x in points:
                wanted = equal_number(function, x) + distance
                same(f(x, wanted), function(x, wanted))
                same(slope(x, wanted), exact(x, wanted))
            assert f.stats()["paths"] == 1 + distance and f.stats()["recordings"] <= 2 + 2 * distance
    f.save(tmp_path / "f")
    same(fad.load(tmp_path / "f")(x, wanted), function(x, wanted))
