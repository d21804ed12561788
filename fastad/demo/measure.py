"""Measurements of the demonstration: times of one recording in either tier, and finite differences."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.execution.compiled import Compiled
from fastad.execution.request import Request
from fastad.transforms.call import Call
from fastad.transforms.derivatives import Gradient, Jit
from fastad.transforms.program import Program


class Stopwatch(Jit):
    """A function that measures how long its last recording took."""

    seconds = 0.0

    def program(self, call: Call) -> Program:
        start = time.perf_counter()
        program = super().program(call)
        self.seconds = time.perf_counter() - start
        return program


@dataclass(frozen=True)
class Timing:
    """Seconds of the first calls of value and gradient together (with compilation), and of one later call of each."""

    first: float
    value: float
    gradient: float


def recorded(gradient: Gradient) -> Program:
    """The recording that a gradient made when it was called."""
    return gradient.all_paths()[0].program


def tier_timing(program: Program, tier: str, x: np.ndarray) -> Timing:
    """Time of value and gradient of a recording in one tier."""
    runs = [_runner(request, tier, program, x) for request in (Request(program.request.base), program.request)]
    first = sum(seconds(run) for run in runs)
    value, gradient = (median_seconds(run) for run in runs)
    return Timing(first, value, gradient)


def _runner(request: Request, tier: str, program: Program, x: np.ndarray) -> Callable[[], Any]:
    compiled = Compiled(request, tier)
    values = [x, *program.captured]
    return lambda: compiled(values)


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
