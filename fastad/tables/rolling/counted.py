"""Numbers that the index of a turn gives, as `i * dt`, `t0 + i * dt` and `(-1) ** i` in a Python loop do: the loop
computes them, and holds none.

A product of an index and a step is rounded once, so the step is not just the difference of two numbers; it is guessed
from a few of them, and all numbers have to come out to the last bit.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.primitives.distinct import distinct, numbered
from fastad.tables.builder import Ref
from fastad.tables.rolling.guessing import FEWEST, SAMPLES, guesses

_STRIDES = 8  # of `range`, at most
_EXACT = 2.0**52  # integers below are exact
_LONGEST_PERIOD = 8
_FEW = 64  # numbers of a program that are tried as starts


@dataclass(frozen=True)
class Counted:
    """The number start ± (first + stride · t) · step of turn t, where product and sum are rounded; of dtype "i":
    without a step. A start of 0 is not added."""

    dtype: str
    first: int
    stride: int
    step: float = 1.0
    start: float = 0.0

    def emit(self, b: Any, index: Ref, turns: int) -> Ref:
        """The number of the turn with this index, in a loop that begins so many turns earlier."""
        first = self.first - turns * self.stride
        count = b.emit("stop_gradient", (index,))
        if self.stride != 1:
            count = b.emit("multiply", (count, b.const(float(self.stride))))
        if first or self.dtype == "i":
            count = b.emit("add", (count, b.const(float(first))), (), (), self.dtype)
        if self.dtype == "i":
            return count
        # The absolute value keeps processors from adding the product to something without rounding it.
        size = b.emit("absolute", (b.emit("multiply", (count, b.const(abs(self.step)))),))
        product = b.emit("negative", (size,)) if self.step < 0 else size
        return b.emit("add", (product, b.const(self.start))) if self.start else product

    def again(self, values: np.ndarray, dtype: str) -> "Counted | None":
        """The rule of turns later or earlier by which these numbers come; None where they do not."""
        first = (values[0] - self.start) / self.step
        if dtype != self.dtype or not abs(first) < _EXACT:
            return None
        found = replace(self, first=round(first))
        counts = found.first + self.stride * np.arange(len(values), dtype=np.float64)
        products = counts * self.step
        fits = dtype == "i" or counts.min() >= 0
        return found if fits and _equal(products + self.start if self.start else products, values) else None


@dataclass(frozen=True)
class Periodic:
    """The numbers `cycle` one after another, over and over."""

    dtype: str
    cycle: tuple[float, ...]

    def emit(self, b: Any, index: Ref, turns: int) -> Ref:
        """As `Counted.emit`."""
        n = len(self.cycle)
        count = b.emit("stop_gradient", (index,))
        rounds = b.emit("floor", (b.emit("divide", (count, b.const(float(n)))),))
        place = b.emit("subtract", (count, b.emit("multiply", (rounds, b.const(float(n))))), (), (), "i")
        cycle = b.const(np.roll(self.cycle, turns), self.dtype)
        return b.emit("gather", (cycle, place), (1,), ())


def counted(values: np.ndarray, dtype: str) -> Counted | Periodic | None:
    """The rule behind the numbers of all turns, in order; None where none is found."""
    if len(values) < FEWEST or dtype not in ("d", "i") or not (np.abs(values) < np.inf).all():
        return None
    found = _integers(values) if dtype == "i" else _products(values)
    return found or _cycle(values, dtype)


def _cycle(values: np.ndarray, dtype: str) -> Periodic | None:
    for n in range(2, _LONGEST_PERIOD + 1):
        if 2 * n <= len(values) and values[n:].tobytes() == values[:-n].tobytes():
            return Periodic(dtype, tuple(values[:n].tolist()))
    return None


def from_start(values: np.ndarray, dtype: str, known: np.ndarray) -> Counted | None:
    """The rule behind numbers that are products added to a start; None where none is found. `known` are numbers that
    may be the start or the step."""
    if len(values) < FEWEST or dtype != "d" or not (np.abs(values) < np.inf).all():
        return None
    slope = float(values[-1] - values[0]) / (len(values) - 1)
    spread = np.spacing(np.abs(values).max())
    if not slope or np.abs(np.diff(values) - slope).max() > 4 * spread:
        return None
    turns = np.arange(len(values), dtype=np.float64)
    steps = guesses(slope, 4 * spread / len(values) + np.spacing(slope), known)
    starts = known.tolist() if len(known) <= _FEW else []
    starts += [start for k in range(_STRIDES) for start in guesses(float(values[0]) - k * slope, 2 * spread)]
    for start in dict.fromkeys(starts):
        first = (values[0] - start) / slope
        if 0 <= round(first) < _EXACT and abs(first - round(first)) < 1e-3 and start:
            counts = round(first) + turns
            for step in steps:
                few = start + counts[:SAMPLES] * step
                if _equal(few, values[:SAMPLES]) and _equal(start + counts * step, values):
                    return Counted("d", round(first), 1, step, start)
    return None


def _equal(x: np.ndarray, y: np.ndarray) -> bool:
    return x.tobytes() == y.tobytes()


def _integers(values: np.ndarray) -> Counted | None:
    stride = values[1] - values[0]
    if stride <= 0 or np.abs(values).max() >= _EXACT or not (np.diff(values) == stride).all():
        return None
    return Counted("i", int(values[0]), int(stride))


def _products(values: np.ndarray) -> Counted | None:
    negative = np.signbit(values)
    if negative.any() and not negative.all():
        return None
    sizes = np.abs(values)
    slope = float(sizes[-1] - sizes[0]) / (len(sizes) - 1)
    if not slope:
        return None
    for stride in range(1, _STRIDES + 1):
        first = stride * float(sizes[0]) / abs(slope)
        if first < _EXACT and abs(first - round(first)) < 1e-3:
            signed = stride if slope > 0 else -stride
            counts = round(first) + signed * np.arange(len(sizes), dtype=np.float64)
            step = _step(sizes, counts) if counts[-1] >= 0 else None
            if step is not None:
                return Counted("d", round(first), signed, -step if negative[0] else step)
    return None


def _step(sizes: np.ndarray, counts: np.ndarray) -> float | None:
    """The step whose products with the counts are these numbers, to the last bit."""
    some = distinct(np.linspace(0, len(sizes) - 1, SAMPLES).astype(int))
    some = some[counts[some] > 0]
    guesses, which = numbered(sizes[some] / counts[some])
    for step in guesses[np.argsort(-np.bincount(which))].tolist():
        if (counts[some] * step == sizes[some]).all() and (counts * step == sizes).all():
            return float(step)
    return None
