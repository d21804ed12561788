"""Solves of ODEs, as composite rows: what they compute, how they derive and batch.

A solve is a loop of steps that carry, besides the state, the control of the step size. The tangent of a solve is a
solve of the state and its tangent on the same accepted steps; its adjoint pulls back these steps. So derivatives are
exact for the map that was run, at every order: the control is never differentiated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.errors import FastadError, StepSizeError, TableError
from fastad.kernels import records as r
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.backward import Backward
from fastad.tables.composites.driver import Data, Parameters, filled
from fastad.tables.composites.repeated import Repeated, schedule_of, total_of
from fastad.tables.composites.solve_adjoint import SolveAdjoint
from fastad.tables.composites.solve_endings import ending
from fastad.tables.composites.solve_lanes import emit_lanes
from fastad.tables.composites.solve_reference import Trace
from fastad.tables.composites.solve_sizes import NO_SOLVE, SolveSizes
from fastad.tables.composites.spans import Span, to_lanes, to_spans, without_shared
from fastad.tables.composites.sub import Sub, emit_joint_inline, made, packed, slices
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner
from fastad.tables.validate import LARGEST

_EVENT_PARTS = ("conditions", "within", "located", "event")
_PARTS = ("body", "plain", "dense", "sample", "rhs", "inverse", *_EVENT_PARTS)
_FLAGS = ("adaptive", "moving", "strict", "saves", "progress")
_NUMBERS = ("estimates", "order", "stages", "intervals", "clock")


@dataclass(frozen=True, eq=False)
class Solve(Repeated, kind="solve"):
    """[state | control | cache | memory | ends | shared | controls | points] to [state | control | cache | memory |
    results at the points | kept steps | their positions | their dense output | states at events | log of events | run];
    see `fastad.kernels.solving`. Behind the numbers of the control stand the notes of the method.

    `body` is one trial step: [state | control | cache | memory | ends | shared] to [state | notes | cache | memory |
    counts | errors | dense output].
    `plain` and `dense` are the same step for the adjoint: from [state | control | ends | shared] to [state] and to
    [state | dense output]. `sample` maps [state | control | dense output | point | ends] to the solution at a point.
    `rhs` is the derivative at the argument of `body`. `inverse` gives the state before a step from the one after it.

    `length` is the number of steps of a fixed grid of `intervals` pieces, or the most that an `adaptive` solve makes.
    `estimates` error estimates are of order `order` in the step size; a step takes `stages` evaluations. `moving`: the
    ends of the span or the points have derivatives. `strict`: a run that ends neither at the end of the span nor by an
    event is an error, unless there was no room for all that it returns. `backward`: another way to its adjoint.

    Events (see `fastad.kernels.solve_events`): component `clock` of the state is the time at which it last started.
    `conditions` maps [state | control | ends | shared] to the values of all conditions, `within` maps [state | control
    | dense output | ends | shared] to those at a fraction of the step, `located` to the state at an event, with its
    time in the place of the clock. `event` maps [state | control | ends | shared] to the state after it. The control
    has the fraction and the number of the event.
    """

    sizes: SolveSizes = NO_SOLVE
    body: Sub | None = None
    plain: Sub | None = None
    dense: Sub | None = None
    sample: Sub | None = None
    rhs: Sub | None = None
    conditions: Sub | None = None
    within: Sub | None = None
    located: Sub | None = None
    event: Sub | None = None
    adaptive: bool = False
    moving: bool = False
    estimates: int = 1
    order: int = 1
    stages: int = 1
    intervals: int = 1
    clock: int = 0
    strict: bool = False
    backward: Backward | None = None
    kernel = "fastad.kernels.solving.run_solve"

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {name: part for name in _PARTS if (part := getattr(self, name)) is not None}

    @property
    def step(self) -> Sub:
        assert self.plain is not None
        return self.plain

    @lazy
    def key(self) -> str:
        options = [getattr(self, name) for name in (*_FLAGS, *_NUMBERS, "length")]
        parts = [part and part.key for part in map(self.__getattribute__, _PARTS)]
        backward = self.backward and self.backward.key
        return f"solve {self.sizes.numbers} {options} {self.schedule!r} {parts} {backward}"

    @property
    def kind_text(self) -> str:
        text = f"solve of {self.length:,} steps"
        if self.adaptive:
            text = f"solve of {self.length:,} adaptive steps at most"
        return text if self.schedule is None else f"{text}, {self.schedule!r}"

    def adjoint_of(self, wanted: Any = None) -> SolveAdjoint:
        return SolveAdjoint.of(self)

    # ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def spans_in(self) -> list[Span]:
        return self.sizes.operands

    @property
    def spans_results(self) -> list[Span]:
        return self.sizes.results

    @property
    def stored_size(self) -> int:
        """A stored state has its control, if that is not that of a grid. It needs its cache and the linear point only
        where steps are made again from it. Where steps are undone, the control is all."""
        if self.inverse is not None:
            return self.sizes.control.size
        runs_again = self.schedule is not None and not self.schedule.stores_all
        s = self.sizes
        more = s.cache + s.linear if runs_again else 0
        return s.own + (s.control.size + more if self.adaptive or more or s.notes else 0)

    @property
    def ends_early(self) -> bool:
        return self.adaptive

    @property
    def is_explicit(self) -> bool:
        """Whether its steps solve no equations."""
        return not self.sizes.counts

    @property
    def open_size(self) -> int | None:
        return 8 * self.stored_size if self.adaptive else None

    @property
    def counted(self) -> tuple[int, ...]:
        start = sum(span.size for span in self.spans_results[:-1])
        return (start + r.ACCEPTED, start + r.REJECTED) if self.adaptive else ()

    def limited(self, steps: int) -> "Solve":
        return replace(self, length=steps).sized()

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def parameters(self, adjoint: bool = False) -> Parameters:
        """What the kernel of the solve, or of its adjoint, reads."""
        s = self.sizes
        stored, arrays = self.stored_states(adjoint)
        p = filled(
            r.SOLVE, state=self.stored_size, carried=total_of(s.carried), own=s.own, cache=s.cache,
            control=s.control.size, memory=s.memory.size, linear=s.linear, counts=r.COUNTS * s.counts,
            errors=s.errors // self.estimates, dense=s.dense, ends=s.ends, shared=s.shared, controls=s.controls,
            point=s.point, length=self.length, points=s.points, kept=s.kept, adaptive=self.adaptive,
            estimates=self.estimates, order=self.order, stages=self.stages, moving=self.moving,
            intervals=self.intervals, strict=self.strict, events=s.events, room=s.room, clock=self.clock, **stored,
        )  # fmt: skip
        kernels = {name: getattr(self, name) for name in ("body", "rhs", "sample", *_EVENT_PARTS)}
        if adjoint:
            kernels |= {
                "adjoint": self.step.adjoint, "adjoint_dense": self.dense and self.dense.adjoint,
                "sample_adjoint": self.sample and self.sample.adjoint, "inverse": self.inverse,
                "with_dense": self.dense if s.memory.size else None,
                "located_adjoint": self.located and self.located.adjoint,
                "event_adjoint": self.event and self.event.adjoint,
            }  # fmt: skip
        return Parameters(p, kernels, arrays, self.resources(adjoint), self._work(adjoint))

    def _work(self, adjoint: bool) -> dict[str, int]:
        """Lengths of the driver's vectors."""
        s = self.sizes
        sample, plain = total_of(s.sample_in), total_of(s.plain_in)
        return {
            "step_in": total_of(s.step_in), "step_out": max(total_of(s.step_out), s.own, 1),
            "bar_in": adjoint * (plain + total_of(s.dense_out)), "bar_out": adjoint * plain,
            "shared_bar": adjoint * (s.ends + s.shared), **self.stored_work(adjoint), "sample_in": sample + s.own,
            "sample_out": s.own, "sample_bar": adjoint * sample,
            "dense_bar": adjoint * (s.own + s.control.size + s.dense), "run": r.RUN + 2, "marks": r.MARKS,
            "aside": self.adaptive * (s.own + s.cache + total_of(s.step_out)), **self._event_work(adjoint),
        }  # fmt: skip

    def _event_work(self, adjoint: bool) -> dict[str, int]:
        """Lengths of the driver's vectors for events."""
        s = self.sizes
        within, any_event = total_of(s.within_in), s.events > 0
        return {
            "event_in": any_event * (within + s.own), "event_out": any_event * max(s.own, s.events),
            "event_bar": any_event * adjoint * within, "before": s.events, "after": s.events, "roots": s.events,
            "left": 4 * s.events, "log": s.room * r.ENTRY,
        }  # fmt: skip

    def shown_part(self, adjoint: bool) -> tuple[float, float] | None:
        """Steps that are chosen are as many as it takes: the bar shows the part of the span, there and back."""
        if not self.adaptive:
            return None
        return (float(self.saves), 2.0) if adjoint else (0.0, 1.0)

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        assert self.body is not None
        samples = Operations() if self.sample is None else self.sizes.points * of(self.sample)
        return max(self.length, 1) * of(self.body) + samples

    def work_bytes(self, of: Callable[[Sub], int]) -> int:
        return super().work_bytes(of) + 8 * sum(self._work(adjoint=False).values())

    def numbers(self, value: np.ndarray) -> np.ndarray:
        return value[: self.sizes.own]

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        from fastad.tables.sparsity.solves import solve_dependencies

        return solve_dependencies(sets, self, x)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        complaint = self._wrong_parts() or (self.too_many_states() if self.saves else None)
        if complaint:
            return complaint
        if self.backward is not None and not self.backward.fits(self):
            return "another adjoint of other sizes"
        return None if (self.n_in, self.n_out) == self.ends else "operands or results of other sizes than its parts say"

    def _wrong_parts(self) -> str | None:
        """What is wrong with the parts, whatever the solve's own sizes are."""
        s = self.sizes
        if any(not 0 <= n <= LARGEST for n in (*s.numbers, self.length)) or s.point < 1 or s.ends < 2:
            return "sizes or a number of steps out of range"
        most = max(s.points * (s.own + s.point), s.kept * (s.own + s.dense + 1), s.room * (s.own + r.ENTRY))
        if most > LARGEST:
            return "points, kept steps or events of more than 8 TiB"
        if not (1 <= self.estimates <= 2 and 1 <= self.order <= 100 and self.stages >= 0):
            return "numbers about its method that are out of range"
        errors = s.errors // self.estimates
        if s.errors % self.estimates or errors > s.own:
            return "error estimates of another size than the state"
        controls = r.TOLERANCES + 2 * errors + 3 * s.events if self.adaptive else 3 * self.intervals
        if self.intervals < 1 or s.controls != controls or s.cache not in (0, s.own):
            return "controls or a cache that do not fit"
        if 0 < s.notes < r.NOTES or s.counts > 1 or (s.factors and not s.linear):
            return "notes or a memory that do not fit"
        needed = {"body": True, "plain": True, "rhs": bool(s.cache) or self.adaptive}
        needed |= {"sample": s.dense > 0, "dense": s.dense > 0} | dict.fromkeys(_EVENT_PARTS, s.events > 0)
        if any(wanted and getattr(self, name) is None for name, wanted in needed.items()):
            return "a part that is missing"
        if s.events and not (self.adaptive and s.dense and s.room >= s.events and errors <= self.clock < s.own):
            return "events without a place for their results"
        if s.events and self.inverse is not None:
            return "a solve with events cannot be inverted"
        return self._unfit_part()

    def _unfit_part(self) -> str | None:
        ends = {name: (total_of(given), total_of(out)) for name, (given, out) in self.sizes.parts.items()}
        if any((part.n_in, part.n_out) != ends[name] for name, part in self.named_parts.items()):
            return "a part that is not for vectors of the solve's sizes"
        return "a part that needs saved states" if any(part.n_saved for part in self.parts) else None

    def to_data(self, write: Any) -> dict[str, Any]:
        return {
            "length": self.length, "sizes": self.sizes.numbers, "flags": [getattr(self, name) for name in _FLAGS],
            "numbers": [getattr(self, name) for name in _NUMBERS],
            "parts": [None if (part := getattr(self, name)) is None else write(part) for name in _PARTS],
            "schedule": self.schedule_data(write), "backward": self.backward and write(self.backward.sub),
        }  # fmt: skip

    @property
    def stored_parts(self) -> Sequence[Sub]:
        return self.parts if self.backward is None else (*self.parts, self.backward.sub)

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "Solve":
        sizes = SolveSizes(*data.list_of("sizes", [int] * len(NO_SOLVE.numbers)))
        flags, numbers = data.list_of("flags", [bool] * len(_FLAGS)), data.list_of("numbers", [int] * len(_NUMBERS))
        length, parts = data.of("length", int), data.of("parts", list)
        if len(parts) != len(_PARTS):
            raise TableError("its header has an invalid solve")
        made_parts = [None if part is None else read(part) for part in parts]
        options: dict[str, Any] = dict(zip(_PARTS + _FLAGS + _NUMBERS, (*made_parts, *flags, *numbers), strict=True))
        own = Solve(0, 0, name, sizes=sizes, length=length, **options)
        own = replace(own, schedule=schedule_of(data.get("schedule"), length, read))
        complaint = own._wrong_parts()
        if complaint:  # before sizes are computed from what is wrong
            raise TableError(f"{name}: {complaint}")
        backward = data.get("backward")
        return replace(own.sized(), backward=None if backward is None else Backward.of(read(backward)))

    # ── derivation and batching ──────────────────────────────────────────────────────────────────────────────
    def over(self, lanes: int, suffix: str, emit: Callable[[Any, Sub, list[Span], Ref], Ref]) -> "Solve":
        """The solve of several lanes with the steps of the first: `emit` writes the rows of a part, whose argument is
        made of these spans, for an argument lane after lane."""

        def widened(name: str, part: Sub) -> Sub:
            given, out = self.sizes.parts[name]

            def rows(b: Builder, x: Ref) -> Ref:
                return to_spans(b, emit(b, part, given, to_lanes(b, x, lanes, given)), lanes, out)

            wide = sum(span.size if span.shared else lanes * span.size for span in given)
            return made(f"{part.name}{suffix}", wide, rows)

        parts: dict[str, Any] = {name: widened(name, part) for name, part in self.named_parts.items()}
        return replace(
            self, name=self.name + suffix, sizes=self.sizes.times(lanes), backward=None,
            schedule=self.resolved if self.saves else self.schedule, **parts,
        ).sized()  # fmt: skip

    @lazy
    def augmented(self) -> "Solve":
        """The solve of states and their tangents: two lanes, the second with the tangents."""

        def emit(b: Any, part: Sub, given: list[Span], lanes: Ref) -> Ref:
            x, dx = slices(b, lanes, (part.n_in, part.n_in))
            return packed(b, emit_joint_inline(b, part, x, without_shared(b, dx, given)))

        return replace(self.without_saving.over(2, " with tangents", emit), strict=True)

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        out = b.call(self.augmented, to_spans(b, packed(b, [x, dx]), 2, self.spans_in))
        y, dy = slices(b, to_lanes(b, out, 2, self.spans_results), (self.n_results, self.n_results))
        still = self.without_fixed(b, dy)
        if not self.saves:
            return y, still
        return b.call(self, x), packed(b, [still, b.zeros((self.n_out - self.n_results,))])

    def without_fixed(self, b: Any, x: Ref) -> Ref:
        """Tangents of results, with zeros for those that have none."""
        return without_shared(b, x, self.spans_results)

    # ── another adjoint ──────────────────────────────────────────────────────────────────────────────────────
    @property
    def can_save(self) -> bool:
        return self.backward is not None or super().can_save

    def emit_saving(self, b: Any, x: Ref) -> tuple[Ref, Ref]:
        if self.backward is None:
            return super().emit_saving(b, x)
        out = b.call(replace(self, strict=True), x)
        return out, out

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None, wanted: Any = None) -> Ref:
        if self.backward is None:
            return super().emit_adjoint(b, x, u, saved)
        out = self.emit_saving(b, x)[0] if saved is None else saved
        return b.call(self.backward.sub, packed(b, [x, u, out]))

    # ── batching ─────────────────────────────────────────────────────────────────────────────────────────────
    def emit_batched(self, b: Any, x: Ref, size: int, saved: Ref | None = None) -> Ref:
        return emit_lanes(b, self, x, size)

    def batched(self, size: int) -> Sub:
        return made(f"{self.name} over {size} lanes", size * self.n_in, lambda b, x: self.emit_batched(b, x, size))

    # ── definition ───────────────────────────────────────────────────────────────────────────────────────────
    @property
    def failures(self) -> Sequence[tuple[type[Exception], str]]:
        return [(StepSizeError, "a solve that did not reach the end of its span has no derivative")]

    def failure(self, x: np.ndarray, run: Runner) -> Exception | None:
        """Where and why a solve ends before its span does, in the words of the solution's message."""
        full = replace(self.sizes, kept=0 if self.adaptive else self.length)
        solve = replace(self, strict=False, saves=False, progress=False, sizes=full).sized()
        try:
            if solve.key == self.key:  # it has failed for another reason
                return super().failure(x, run)
            cut = np.cumsum([span.size for span in solve.spans_results])[:-1]
            state, *_, kept, places, _, _, _, numbers = np.split(run(solve, x, None), cut)
        except FastadError as error:
            return super().failure(x, run) or error
        ends, position = np.split(x, np.cumsum([span.size for span in self.spans_in])[:-1])[4], numbers[r.POSITION]
        if int(numbers[r.STATUS]) == r.OVERFLOWN and len(places):
            position = places[int(np.argmin(np.isfinite(kept.reshape(len(places), -1)).all(axis=1)))]
        if int(numbers[r.STATUS]) in (r.DONE, r.ENDED):
            return None
        start = state[self.clock] if self.sizes.events else ends[0]
        t = float((1 - position) * start + position * ends[1])
        return StepSizeError(f"{self.name}: {ending(numbers, t, self.is_explicit)}")

    def reference(self, x: np.ndarray) -> np.ndarray:
        trace = Trace(self, x)
        if self.strict and not trace.is_done and not trace.is_full:
            raise StepSizeError(trace.message)
        out = trace.results()
        if self.n_out == self.n_results:
            return out
        saved = np.zeros(self.n_out - self.n_results)
        saved[0] = len(trace.steps) if trace.is_done else -1
        start = self.sizes.own if self.storage.policy == "retraced" else 0
        if self.storage.policy in ("every", "retraced"):
            for k, step in enumerate(trace.steps):
                saved[1 + self.stored_size * (k + 1) :][: self.stored_size] = step.argument[start:][: self.stored_size]
        return np.concatenate([out, saved])

    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        assert self.body is not None
        for k, step in enumerate(Trace(self, x, run).steps):
            yield f"step {k} of {self.name}", self.body, step.argument
