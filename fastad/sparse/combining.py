"""Two sparse matrices make a third: its numbers and its pattern."""

from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.recording.source import at_line
from fastad.sparse import structure
from fastad.sparse.pattern import Pattern

Made = tuple[Any, Pattern]


def product(a: Any, b: Any) -> Made:
    """A @ B."""
    if a.shape[1] != b.shape[0]:
        fix = f"Make {a.shape[1]} and {b.shape[0]} equal."
        raise ShapeError(f"A @ B of shapes {a.shape} and {b.shape}{at_line()}. {fix}")
    pattern, first, second, groups = structure.product(a.pattern, b.pattern)
    return structure.summed(a.data[first] * b.data[second], groups, pattern.size), pattern


def added(a: Any, b: Any) -> Made:
    """A + B."""
    _check("a sum", a, b)
    pattern, groups = structure.union(a.pattern, b.pattern)
    return structure.summed(np.concatenate([a.data, b.data]), groups, pattern.size), pattern


def multiplied(a: Any, b: Any) -> Made:
    """A * B, element by element, at the places of both."""
    _check("a product", a, b)
    a, b = a.sum_duplicates(), b.sum_duplicates()
    pattern, first, second = structure.intersection(a.pattern, b.pattern)
    return a.data[first] * b.data[second], pattern


def _check(what: str, a: Any, b: Any) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"{what} of sparse arrays of shapes {a.shape} and {b.shape}{at_line()}. Make them equal.")
