"""What an ODE solve computes, step by step in Python: its definition."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from fastad.errors import FastadError
from fastad.kernels import records as r
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solve_endings import ending, in_step
from fastad.tables.composites.solve_events import Entry, Events
from fastad.tables.reference import Runner

_EPSILON = np.finfo(float).eps
GUESS, CHANGE = 1e-6, 1e-2  # as in `fastad.kernels.stepsize`, which needs numba


@dataclass
class Step:
    """An accepted step: the argument of the body, its result, that of the adjoint's part, the event that ends it, the
    state after it and its position (of an event: minus the size of the step), the samples in it (their arguments, by
    the number of the point; None where the point is the end of the step), and the same of the events."""

    argument: np.ndarray
    result: np.ndarray
    plain_argument: np.ndarray
    change: Entry | None
    after: np.ndarray
    place: float
    samples: dict[int, np.ndarray | None] = field(default_factory=dict)
    events: dict[int, np.ndarray] = field(default_factory=dict)


class Trace:
    """A run of a solve: its accepted steps, and where it ended."""

    def __init__(self, solve: Any, x: np.ndarray, evaluate: Runner | None = None) -> None:
        self.solve, self._evaluate = solve, evaluate
        s = solve.sizes
        cuts = np.cumsum([span.size for span in s.operands])[:-1]
        self.own, self.control, self.cache, self.memory, *others = np.split(np.array(x, float), cuts)
        self.ends, self.shared, self.controls, points = others
        control, ends = self.control, self.ends
        self.points = points.reshape(s.points, s.point)
        self.steps: list[Step] = []
        self.at_points = np.full((s.points, s.own), np.nan)
        self.run = np.zeros(r.RUN)
        self.fresh = bool(s.cache) and control[r.AT] > 0
        self.events = Events(self) if s.events else None
        first = float(ends[0])
        self._set_clock()
        if control[r.AT] > 0 or first != self.ends[0]:  # a solve that goes on has been at the first points
            self.run[r.REACHED] = sum(self._is_reached(j, self.time(control[r.AT])) for j in range(s.points))
        while self._goes_on() and self._step():
            pass
        self.run[r.POSITION] = self.control[r.AT]
        if self.run[r.STATUS] == r.DONE and not s.errors and not np.isfinite(self.own).all():
            self.run[r.STATUS], self.run[r.WORST] = r.OVERFLOWN, int(np.argmin(np.isfinite(self.own)))

    @property
    def is_done(self) -> bool:
        return int(self.run[r.STATUS]) in (r.DONE, r.ENDED)

    @property
    def is_full(self) -> bool:
        return int(self.run[r.STATUS]) == r.FULL

    @property
    def span(self) -> float:
        """Length of the span, or of its rest after an event."""
        return float(abs(self.ends[1] - self.ends[0]))

    def _set_clock(self) -> None:
        """Positions are relative to the rest of the span from where the state has started."""
        if self.events is not None:
            self.ends = np.array([self.own[self.solve.clock], *self.ends[1:]])

    @property
    def message(self) -> str:
        """Why the solve ended where it did, in words."""
        t = self.time(float(self.control[r.AT]))
        return f"{self.solve.name}: {ending(self.run, t, self.solve.is_explicit)}"

    def time(self, position: float) -> float:
        return float((1 - position) * self.ends[0] + position * self.ends[1])

    # ── one step ─────────────────────────────────────────────────────────────────────────────────────────────
    def _argument(self) -> np.ndarray:
        return np.concatenate([self.own, self.control, self.cache, self.memory, self.ends, self.shared])

    def call(self, part: Any, x: np.ndarray) -> np.ndarray:
        return np.asarray(part.evaluate(x, run=self._evaluate))

    def _slope(self) -> np.ndarray:
        self.run[r.EVALUATIONS] += 1
        return self.call(self.solve.rhs, self._argument())

    def _goes_on(self) -> bool:
        solve, k = self.solve, len(self.steps)
        if self.run[r.STATUS] != r.DONE:
            return False
        if not solve.adaptive:
            return k < solve.length
        if self.control[r.AT] >= 1:
            return False
        kept = solve.sizes.kept
        has_room = (not kept or k < kept) and (self.events is None or self.events.has_room)
        if k < solve.length and has_room:
            return True
        self.run[r.STATUS] = r.TOO_MANY if k >= solve.length else r.FULL
        return False

    def _step(self) -> bool:
        waits = self.events is not None and bool(self.events.pending)
        self.control[r.STEP] *= not waits
        if not self.solve.adaptive:
            self.control[: r.LAST] = self._grid(len(self.steps))
        elif self.control[r.STEP] == 0 and not waits and not self._first():
            return False
        if self.solve.sizes.cache and not self.fresh:
            self.cache, self.fresh = self._slope(), True
        chooses = self.solve.adaptive and not waits
        out = self._adapted() if chooses else self._made(counted=not waits)
        if out is None or self.run[r.STATUS] != r.DONE:
            return False
        self._accept(out)
        return True

    def _made(self, counted: bool = True) -> np.ndarray:
        """The result of a trial step; what it counts is added up."""
        try:
            out = self.call(self.solve.body, self._argument())
        except FastadError as error:
            position, size = self.control[: r.LAST]
            h = size * (self.ends[1] - self.ends[0])
            raise in_step(error, self.solve.name, self.time(position), h) from None
        if not counted:
            return out
        self.run[r.EVALUATIONS] += self.solve.stages
        if self.solve.sizes.counts:
            self.run[r.COUNTED :] += out[self._places["counts"]]
        if not self.solve.adaptive and self._is_unsolved(out):
            self.run[r.STATUS] = r.UNSOLVED
        return out

    def _is_unsolved(self, out: np.ndarray) -> bool:
        return bool(self.solve.sizes.counts and out[self._places["counts"]][r.FAILURES] > 0)

    @property
    def _places(self) -> dict[str, slice]:
        """Where everything stands in the result of a step."""
        names = ("own", "notes", "cache", "memory", "counts", "errors", "dense")
        ends = np.cumsum([0, *(span.size for span in self.solve.sizes.step_out)])
        return {name: slice(*pair) for name, pair in zip(names, pairwise(ends), strict=True)}

    def _grid(self, k: int) -> tuple[float, float]:
        """Position and size of a step of a fixed grid."""
        pieces = self.controls.reshape(-1, 3)
        left, size, first = pieces[int(np.searchsorted(pieces[:, 2], k, side="right")) - 1]
        return left + size * (k - first), size

    def _accept(self, out: np.ndarray) -> None:
        s, control, k = self.solve.sizes, self.control, len(self.steps)
        if self.solve.adaptive:
            after = 1.0 if control[r.STEP] >= 1 - control[r.AT] else control[r.AT] + control[r.STEP]
        else:
            after = self._grid(k + 1)[0] if k + 1 < self.solve.length else 1.0
        self.run[r.ACCEPTED] += 1
        change = None if self.events is None else self.events.in_step(out, after)
        state = out[: s.own]
        if change is not None:
            control[r.LAST : r.CONTROL] = change.fraction, r.CHANGED + change.which
        plain = np.concatenate([self.own, control, self.ends, self.shared])
        if change is not None:
            state = self.call(self.solve.event, plain)
        place = after if change is None else -control[r.STEP]
        step = Step(self._argument(), out, plain, change, state, place)
        self._sample(step, out, self.time(after) if change is None else float(state[self.solve.clock]))
        self._deliver_events(step, out)
        self.steps.append(step)
        self.own = state
        places = self._places
        self.cache, self.memory, notes = (out[places[name]].copy() for name in ("cache", "memory", "notes"))
        notes[r.TRIES : r.NOTES] = 0.0
        self.control = np.array([after, control[r.STEP], control[r.LAST], 0.0, *notes])
        if change is not None:
            self._restart(float(control[r.STEP]) * self.span)
            self.run[r.STATUS] = r.ENDED if change.outcome == r.STOPPED else r.DONE
        elif self.solve.adaptive:
            self.control[r.STEP] = _rounded(self.control[r.STEP] * self._factor)
            self.control[r.LAST] = max(self._logarithm, r.LEAST_LAST)

    def _restart(self, size: float) -> None:
        """After an event: the next step is to be as long as that which the event ended."""
        self._set_clock()
        fraction = _rounded(size / self.span) if size < self.span else 1.0
        s = self.solve.sizes
        self.control, self.fresh = np.array([0.0, fraction, r.LEAST_LAST, 0.0, *np.zeros(s.notes)]), False
        self.memory = np.zeros(s.memory.size)

    def _deliver_events(self, step: Step, out: np.ndarray) -> None:
        """States at the events in a step."""
        if self.events is None:
            return
        for j in range(len(self.events.states), len(self.events.log)):
            step.events[j] = self.events.argument(self.events.log[j], out)
            self.events.states.append(self.call(self.solve.located, step.events[j]))
        self.run[r.HAPPENED] = len(self.events.log)

    def _slack(self, t: float) -> float:
        """Rounding errors of a time."""
        return float(4 * _EPSILON * max(abs(self.ends[0]), abs(t)))

    def _is_reached(self, j: int, t: float) -> bool:
        """Whether the solve is at point j where it is at this time."""
        ahead = self.points[j, 0] - t
        return bool((ahead if self.ends[1] >= self.ends[0] else -ahead) <= self._slack(t))

    def _sample(self, step: Step, out: np.ndarray, until: float) -> None:
        """Results at the points up to the end of a step."""
        s = self.solve.sizes
        j = int(self.run[r.REACHED])
        while j < s.points and self._is_reached(j, until):
            step.samples[j] = None
            if not self.solve.moving and abs(self.points[j, 0] - until) <= self._slack(until):
                self.at_points[j] = out[: s.own]
            else:
                dense = out[total_of(s.step_out) - s.dense :]
                x = np.concatenate([self.own, self.control, dense, self.points[j], self.ends])
                step.samples[j], self.at_points[j] = x, self.call(self.solve.sample, x)
            j += 1
        self.run[r.REACHED] = j

    # ── the step size ────────────────────────────────────────────────────────────────────────────────────────
    @property
    def n_errors(self) -> int:
        """Components that have an error."""
        return int(self.solve.sizes.errors // self.solve.estimates)

    def _scaled(self, x: np.ndarray, size: np.ndarray) -> np.ndarray:
        n = self.n_errors
        absolute, relative = self.controls[r.TOLERANCES :][: 2 * n].reshape(2, n)
        return x[:n] / (absolute + relative * size[:n])

    def _rms(self, x: np.ndarray) -> float:
        return float(np.sqrt(np.mean(x * x))) if x.size else 0.0

    def _first(self) -> bool:
        """The first step: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, II.4."""
        given, n, last = float(self.controls[r.FIRST_STEP]), self.n_errors, r.GIVEN
        if given or self.span == 0 or n == 0:
            fraction = min(given / self.span, 1.0) if given and given < self.span else 1.0
        else:
            slope = self._slope()
            if self.solve.sizes.cache:
                self.cache, self.fresh = slope, True
            if not np.isfinite(slope[:n]).all():
                self.run[r.STATUS], self.run[r.WORST] = r.NOT_FINITE, int(np.argmin(np.isfinite(slope[:n])))
                return False
            first, trial = self._first_time(slope)
            fraction = _rounded(first / self.span)
            last = r.CHOSEN if trial != min(GUESS, self.span) else r.GIVEN
        self.control = np.array([self.control[r.AT], fraction, last, 0.0, *self.control[r.CONTROL :]])
        return True

    def _first_time(self, slope: np.ndarray) -> tuple[float, float]:
        """The first step, in time, and the trial step that it was chosen by."""
        own, size, order = self.own, np.abs(self.own), self.solve.order
        d0, d1 = self._rms(self._scaled(own, size)), self._rms(self._scaled(slope, size))
        trial = min(GUESS if min(d0, d1) < 1e-5 else 0.01 * d0 / d1, self.span)
        self.own = own + np.copysign(trial, self.ends[1] - self.ends[0]) * slope
        self.control = np.array([trial / self.span, *self.control[1:]])
        other = self._slope()
        self.own, self.control = own, np.array([0.0, *self.control[1:]])
        most = max(d1, self._rms(self._scaled(other - slope, size)) / trial)
        h = max(1e-6, trial * 1e-3) if most <= 1e-15 else (0.01 / most) ** (1 / order)
        return min(100 * trial, h, self.span), trial

    def _adapted(self) -> np.ndarray | None:
        """The result of the first trial step with a small enough error."""
        order = self.solve.order
        position, rejected = float(self.control[r.AT]), self.control[r.KNOWN] == 2
        size = max(abs(self.time(position)), 1e-300)
        least = 10 * _EPSILON * size / self.span if self.span else 0.0
        longest = float(self.controls[r.MAX_STEP])
        most, rest = (longest / self.span if longest < self.span else 1.0), 1 - position
        fraction, unsolved = max(float(self.control[r.STEP]), least), False
        while True:
            fraction = min(fraction, most)
            if rest <= 1.01 * fraction and rest <= most:
                fraction = rest
            elif not fraction >= least:
                break
            self.control[r.STEP] = fraction
            out = self._made()
            self._norm = self._error(out)
            if self._says_nothing():
                self._norm = max(self._norm, self._probe(out))
            if self._norm <= 1 and np.isfinite(out[: self.n_errors]).all():
                self._factor = self._noted(out, r.NEXT, self._next(rejected))
                self.control[r.KNOWN] = 1 + rejected
                return out
            unsolved = self._is_unsolved(out)
            if fraction <= least and fraction < rest:
                break
            self.run[r.REJECTED] += 1
            rejected, self.memory = True, out[self._places["memory"]]
            self.control[r.CONTROL + r.TRIES : r.CONTROL + r.NOTES] += 1
            factor = max(0.2, 0.9 * self._norm ** (-1 / order)) if np.isfinite(self._norm) else 0.2
            fraction = _rounded(fraction * self._noted(out, r.RETRY, factor))
        self.run[r.STATUS] = r.UNSOLVED if unsolved else r.TOO_SMALL
        return None

    def _noted(self, out: np.ndarray, place: int, factor: float) -> float:
        """A factor for the step size that a step has noted, if it has, or this one."""
        notes = out[self._places["notes"]]
        return float(notes[place]) if notes.size and notes[place] > 0 else factor

    def _says_nothing(self) -> bool:
        """Whether the error estimate is no more than rounding errors: see `fastad.kernels.stepsize`."""
        n = 0 if self.solve.sizes.counts else self.n_errors
        relative = float(self.controls[r.TOLERANCES + n]) if n else 0.0
        is_known = self.control[r.LAST] == r.CHOSEN
        return n > 0 and not is_known and self._norm < r.LEAST_ERROR + (r.ROUNDING / relative if relative > 0 else 0.0)

    def _probe(self, out: np.ndarray) -> float:
        """The relative error of the current step in a small change of its start; see `fastad.kernels.solve_steps`."""
        s, kept, n = self.solve.sizes, (self.own, self.cache), self.n_errors
        absolute, relative = self.controls[r.TOLERANCES :][: 2 * n].reshape(2, n)
        size = np.abs(self.own[:n]) + np.divide(absolute, relative, out=np.zeros(n), where=relative > 0)
        parts = (1 + (0.6180339887498949 * np.arange(n)) % 1) * np.where(np.arange(n) % 2, -1.0, 1.0)
        self.own = self.own.copy()
        self.own[:n] += CHANGE * size * parts
        if s.cache:
            self.cache = self._slope()
        moved = self._made()
        self.own, self.cache = kept
        errors = self._places["errors"]
        both = out.copy()
        both[errors] = moved[errors] - out[errors]
        worst = self.run[r.WORST]
        found = self._error(both) / CHANGE
        self.run[r.WORST] = worst
        return found

    @property
    def _logarithm(self) -> float:
        return float(np.log(max(self._norm, r.LEAST_ERROR)))

    def _next(self, rejected: bool) -> float:
        order = self.solve.order
        factor = 0.9 * np.exp(-0.85 / order * self._logarithm + 0.2 / order * self.control[r.LAST])
        factor = float(np.clip(factor, r.SMALLEST, r.LARGEST))
        return min(factor, 1.0) if rejected else factor

    def _error(self, out: np.ndarray) -> float:
        """Norm of the error, as `fastad.kernels.stepsize.error_norm` defines it."""
        s, estimates = self.solve.sizes, self.solve.estimates
        size = np.maximum(np.abs(self.own), np.abs(out[: s.own]))
        errors = out[self._places["errors"]].reshape(estimates, -1)
        scaled = [self._scaled(e, size) for e in errors]
        if not scaled[0].size:
            return 0.0
        with np.errstate(all="ignore"):
            squares = scaled[0] ** 2
            self.run[r.WORST] = int(np.argmax(np.where(np.isnan(squares), np.inf, squares)))
            if estimates == 1:
                return self._rms(scaled[0])
            total, other = float(np.sum(squares)), float(np.sum(scaled[1] ** 2))
            bottom = len(scaled[0]) * (total + 0.01 * other)
            return 0.0 if total == other == 0 else total / float(np.sqrt(bottom))

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────────
    def results(self) -> np.ndarray:
        """The result of the solve, without saved states."""
        s = self.solve.sizes
        kept, places, dense = np.zeros((s.kept, s.own)), np.zeros(s.kept), np.zeros((s.kept, s.dense))
        for k, step in enumerate(self.steps[: s.kept]):
            kept[k], dense[k], places[k] = step.after, step.result[total_of(s.step_out) - s.dense :], step.place
        states, log = np.zeros((s.room, s.own)), np.zeros((s.room, r.ENTRY))
        if self.events is not None and self.events.log:
            states[: len(self.events.log)], log[: len(self.events.log)] = self.events.states, self.events.log
        carried = [self.own, self.control, self.cache, self.memory]
        pieces = [*carried, self.at_points, kept, places, dense, states, log, self.run]
        return np.concatenate([np.ravel(piece) for piece in pieces])


def _rounded(fraction: float) -> float:
    """A step size with eight significant bits; see `fastad.kernels.stepsize.rounded`."""
    large = fraction * 2.0**45
    return (large + fraction) - large
