"""Measurements of the demonstration: times of calls, and derivatives by finite differences."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def seconds(call: Callable[[], Any]) -> float:
    """Duration of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_seconds(call: Callable[[], Any], budget: float = 0.2, most: int = 200) -> float:
    """Median duration of a call that is repeated for about `budget` seconds, at least three times."""
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < budget and len(taken) < most):
        taken.append(seconds(call))
    return statistics.median(taken)


def central_differences(function: Callable[[np.ndarray], Any], x: np.ndarray, step: float = 6e-6) -> np.ndarray:
    """Gradient by central differences. The best step is near the cube root of the rounding unit."""
    shifts = step * np.eye(x.size)
    return np.array([(function(x + d) - function(x - d)) / (2 * step) for d in shifts])


def forward_differences(function: Callable[[np.ndarray], Any], x: np.ndarray, step: float = 1e-8) -> np.ndarray:
    """Gradient by forward differences. The best step is near the square root of the rounding unit."""
    start = function(x)
    return np.array([(function(x + d) - start) / step for d in step * np.eye(x.size)])
