"""Grids of fixed steps."""

from itertools import pairwise
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.primitives.distinct import distinct
from fastad.recording.source import at_line
from fastad.tables.validate import LARGEST

AHEAD = 1e-9  # part of a step that is not worth another one


def fixed_grid(t0: float, t1: float, step: float, points: Any) -> tuple[np.ndarray, int]:
    """A grid of steps of at most this size: pieces (left, size of a step, first step) in positions, and the number of
    steps. It lands on the points, if they are given."""
    span = t1 - t0
    marks = [0.0, 1.0]
    if points is not None and span:
        count = steps_in(abs(span), step)
        inner = (np.asarray(points) - t0) / span
        whole = inner * count
        if np.any(np.abs(whole - np.rint(whole)) > 1e-9 * count):
            marks = distinct(np.concatenate([marks, np.clip(inner, 0.0, 1.0)])).tolist()
    pieces, first = [], 0
    for left, right in pairwise(marks):
        count = steps_in(abs(span) * (right - left), step)
        pieces.append((left, (right - left) / count, float(first)))
        first += count
    return np.array(pieces).ravel(), first


def steps_in(length: Any, step: Any, most: float = LARGEST) -> int:
    """The least number of steps of at most this size; a guard holds it where it depends on recorded values. ShapeError
    where there are more than `most`."""
    with np.errstate(over="ignore"):
        count = np.ceil(length / step - AHEAD)
    if count > most:
        raise ShapeError(f"step={step} makes {float(count):.3g} steps of the span{at_line()}; take a larger one")
    return max(1, int(count))
