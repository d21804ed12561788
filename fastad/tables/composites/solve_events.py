"""Events of an ODE solve, step by step in Python: the definition of `fastad.kernels.solve_events`."""

from typing import Any, NamedTuple

import numpy as np

from fastad.kernels import records as r

_EPSILON = float(np.finfo(float).eps)
_NUDGE, _NEAR, _TIE = 1e-6, 1e-3, 8 * _EPSILON  # as in `fastad.kernels.solve_events`, which needs numba


class Entry(NamedTuple):
    """An event that happened: which, in which step, at which fraction of it, and what came of it."""

    which: int
    step: int
    fraction: float
    outcome: int


class Events:
    """The events of a run: what has happened, and what is to be looked for. `trace` is the run."""

    def __init__(self, trace: Any) -> None:
        self._trace, self._solve = trace, trace.solve
        numbers = trace.controls[r.TOLERANCES + 2 * trace.n_errors :].reshape(3, -1)
        self._left, self._directions, self._jumps = numbers[0].copy(), numbers[1], numbers[2]
        self.log: list[Entry] = []
        self.states: list[np.ndarray] = []
        self.pending: list[int] = []

    @property
    def has_room(self) -> bool:
        """Whether whatever happens in a step can be logged."""
        return bool(len(self.log) + len(self._left) <= self._solve.sizes.room)

    def in_step(self, out: np.ndarray, after: float) -> Entry | None:
        """Log what happens in the current step, whose result this is. Returns what ends it, if anything does."""
        if self.pending:
            return self._note(self.pending.pop(0), 0.0)
        roots = self._roots(out, after)
        changed: Entry | None = None
        for fraction, i in sorted((x, i) for i, x in roots.items()):
            if changed is not None and fraction > changed.fraction + _TIE:
                break
            if changed is not None and (self._left[i] <= 1 or self._jumps[i]):
                self.pending.append(i)
                continue
            entry = self._note(i, fraction)
            changed = entry if entry.outcome != r.NOTED else changed
            if entry.outcome == r.STOPPED:
                break
        self.pending.sort()
        return changed

    def _note(self, i: int, fraction: float) -> Entry:
        self._left[i] -= 1
        outcome = r.STOPPED if self._left[i] <= 0 else r.JUMPED if self._jumps[i] else r.NOTED
        self.log.append(Entry(i, len(self._trace.steps), fraction, outcome))
        return self.log[-1]

    def argument(self, entry: Entry | None, out: np.ndarray, fraction: float = 0.0) -> np.ndarray:
        """[state | control | dense output | ends | shared] within the current step."""
        trace, s = self._trace, self._solve.sizes
        which = 0 if entry is None else entry.which
        fraction = fraction if entry is None else entry.fraction
        control = [*trace.control[: r.LAST], fraction, r.CHANGED + which, *trace.control[r.CONTROL :]]
        return np.concatenate([trace.own, control, out[len(out) - s.dense :], trace.ends, trace.shared])

    def _conditions(self, state: np.ndarray, position: float) -> np.ndarray:
        trace = self._trace
        x = np.concatenate([state, [position, *trace.control[r.STEP :]], trace.ends, trace.shared])
        return trace.call(self._solve.conditions, x).copy()

    def _within(self, out: np.ndarray, fraction: float) -> np.ndarray:
        return self._trace.call(self._solve.within, self.argument(None, out, fraction))

    def _roots(self, out: np.ndarray, after: float) -> dict[int, float]:
        """Fractions of the current step at which events happen."""
        trace = self._trace
        before = self._conditions(trace.own, trace.control[r.AT])
        ends = self._conditions(out[: self._solve.sizes.own], after)
        lefts = np.zeros(len(before))
        if trace.control[r.AT] == 0:
            ahead, k = self._within(out, _NUDGE), len(trace.steps)
            recent = {entry.which for entry in self.log if entry.step == k - 1}
            for i, (here, there) in enumerate(zip(before, ahead, strict=True)):
                if here == 0 or (abs(here) <= _NEAR * abs(there) and (k == 0 or i in recent)):
                    before[i], lefts[i] = there, _NUDGE
        found = {}
        for i, (a, b, direction) in enumerate(zip(before, ends, self._directions, strict=True)):
            rises, falls = a < 0 <= b, a > 0 >= b
            if (rises and direction >= 0) or (falls and direction <= 0):
                found[i] = self._root(out, i, float(lefts[i]), float(a), float(b))
        return found

    def _root(self, out: np.ndarray, i: int, left: float, f_left: float, f_right: float) -> float:
        """Where a condition is 0, by halving."""
        if f_right == 0:
            return 1.0
        a, b = left, 1.0
        while b - a > 2 * _EPSILON * b:
            middle = 0.5 * (a + b)
            value = self._within(out, middle)[i]
            if value == 0:
                return middle
            a, b = (middle, b) if (value > 0) == (f_left > 0) else (a, middle)
        return b
