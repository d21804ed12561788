"""Numbers that come from repeated additions, as `t += dt` in a Python loop makes them: the loop carries one, and holds
none. All numbers have to come out to the last bit, by the same additions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.tables.builder import Ref
from fastad.tables.rolling.guessing import FEWEST, SAMPLES, guesses


@dataclass(frozen=True)
class Sum:
    """The numbers first, first + step, first + step + step, …: each is rounded."""

    first: float
    step: float

    def after(self, turns: int) -> float:
        """The number after so many additions."""
        return float(_sums(self.first, self.step, turns + 1)[-1])


@dataclass(frozen=True)
class Shifted:
    """The numbers of a sum, this one of those that a loop carries, plus `shift`."""

    number: int
    shift: float = 0.0

    def emit(self, b: Any, sums: list[Ref]) -> Ref:
        """The number of this turn, given those of all sums."""
        return b.emit("add", (sums[self.number], b.const(self.shift))) if self.shift else sums[self.number]


class Sums:
    """The sums that a loop carries. `known` are numbers that steps and shifts may be."""

    def __init__(self, known: np.ndarray) -> None:
        self._known = known
        self.own: list[Sum] = []
        self._values: list[np.ndarray] = []

    def again(self, values: np.ndarray, dtype: str, steps: Iterable[float], shifts: Iterable[float]) -> Shifted | None:
        """`rule`, with the steps and shifts of another loop."""
        return self._found(values, shifts, steps) if len(values) >= FEWEST and dtype == "d" else None

    def rule(self, values: np.ndarray, dtype: str) -> Shifted | None:
        """How these numbers follow from sums, one of which may be new; None where they do not."""
        if len(values) < FEWEST or dtype != "d" or not (np.abs(values) < np.inf).all():
            return None
        spread = float(np.spacing(np.abs(values).max()))
        slope = float(values[-1] - values[0]) / (len(values) - 1)
        if not slope or np.abs(np.diff(values) - slope).max() > 4 * spread:
            return None
        steps = [*guesses(slope, 4 * spread, self._known), float(values[1] - values[0])]
        for number, before in enumerate(self._values):
            found = self._shifted(number, values, guesses(float(values[0] - before[0]), 2 * spread, self._known))
            if found is not None:
                return found
        return self._found(values, (), steps)

    def _shifted(self, number: int, values: np.ndarray, shifts: Iterable[float]) -> Shifted | None:
        before = self._values[number]
        for shift in (0.0, *shifts):
            if before[0] + shift == values[0] and (before + shift).tobytes() == values.tobytes():
                return Shifted(number, shift)
        return None

    def _found(self, values: np.ndarray, shifts: Iterable[float], steps: Iterable[float]) -> Shifted | None:
        """The numbers as those of a known sum, or of a new one."""
        for number in range(len(self.own)):
            found = self._shifted(number, values, shifts)
            if found is not None:
                return found
        for step in steps:
            if all(_sums(values[0], step, len(own)).tobytes() == own.tobytes() for own in (values[:SAMPLES], values)):
                self.own.append(Sum(float(values[0]), step))
                self._values.append(values)
                return Shifted(len(self.own) - 1)
        return None


def _sums(first: float, step: float, count: int) -> np.ndarray:
    terms = np.full(count, step)
    terms[0] = first
    return np.add.accumulate(terms)  # one after another
