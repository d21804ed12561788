"""The different numbers of an array, as NumPy finds them."""

import numpy as np
import pytest

from fastad.primitives.distinct import distinct, numbered


@pytest.mark.parametrize("size", [0, 1, 2, 50])
@pytest.mark.parametrize("largest", [1, 5, 1000])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_numbers_are_those_of_numpy(size, largest, dtype):
    x = np.random.default_rng(size + largest).integers(-largest, largest, size).astype(dtype)
    np.testing.assert_array_equal(distinct(x), np.unique(x))
    for ours, theirs in zip(numbered(x), np.unique(x, return_inverse=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_matrices_are_flat():
    assert distinct(np.array([[3, 1], [1, 2]])).tolist() == [1, 2, 3]
