"""Different numbers of an array. `np.unique` does the same, but imports numpy.ma: 1.3 MB and 15 ms."""

import numpy as np


def distinct(x: np.ndarray) -> np.ndarray:
    """The different numbers, in order; no NaN."""
    ordered = np.sort(x, axis=None)
    return ordered[_is_first(ordered)]


def numbered(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers of a vector, in order, and where among them each element is; no NaN."""
    order = np.argsort(x, kind="stable")
    is_first = _is_first(x[order])
    which = np.empty(len(x), np.intp)
    which[order] = np.cumsum(is_first) - 1
    return x[order][is_first], which


def _is_first(ordered: np.ndarray) -> np.ndarray:
    """Whether each element is not equal to the one before it."""
    is_first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return is_first
