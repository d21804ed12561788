"""Events of a solve: what the user gives, and the tables that are made of it.

Where an event happens is a root θ of its condition on the dense output of a step. The driver finds it; for derivatives
it is a constant θ*. A Newton step from a root, θ* − (g(θ*) − c) / g′(θ*) with the constant c = g(θ*), does not move it,
and has the first derivatives of the root; two of them have the second and third ones too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.kernels.records import CHANGED, KNOWN, LAST
from fastad.ode.steps import StepTables
from fastad.primitives.regions import region
from fastad.recording.source import at_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.choices import Branch
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solve_sizes import SolveSizes
from fastad.tables.composites.solves import Solve
from fastad.tables.composites.sub import Sub, emit_inline, emit_joint_inline, made, packed, slices

_CORRECTIONS = 2  # Newton steps: derivatives up to the third are exact
_INLINED_UP_TO = 1000  # rows of a condition or a jump


@dataclass(frozen=True)
class Event:
    """Something that happens where a condition changes its sign.

    Parameters
    ----------
    condition : a function of (t, y, *args) to a number; the event happens where it is 0.
    jump : a function of (t, y, *args) to the state with which the solve continues. None: the state stays as it is.
    terminal : whether the event ends the solve (after its jump), or how often it must happen to do so.
    direction : > 0: it happens only where the condition rises; < 0: only where it falls; 0: both.

    A condition that is 0 at the start of the solve, or right after the event, does not happen there. It is looked at
    the ends of steps, as in SciPy: where it may change its sign twice within a step, use a smaller max_step.

    >>> import numpy as np, fastad as fad
    >>> fall = lambda t, y: np.array([y[1], -9.81])
    >>> bounce = fad.ode.Event(lambda t, y: y[0], lambda t, y: np.array([0.0, -0.8 * y[1]]), direction=-1)
    >>> sol = fad.solve_ivp(fall, (0, 2), [1.0, 0.0], events=bounce)
    >>> bool(np.allclose(sol.t_events[0], np.sqrt(2 / 9.81) * np.array([1.0, 2.6, 3.88])))
    True
    """

    condition: Callable[..., Any]
    jump: Callable[..., Any] | None = None
    terminal: Any = False
    direction: Any = 0

    def __post_init__(self) -> None:
        for name, function in (("condition", self.condition), ("jump", self.jump)):
            if not callable(function) and (name == "condition" or function is not None):
                raise TypeError(
                    f"the {name} of an event must be a function of (t, y){at_line()}, not {type(function).__name__}"
                )
        if not _is_count(self.terminal):
            raise ValueError(
                "The `terminal` attribute of each event must be a boolean or positive integer"
                f"{at_line()}, not {self.terminal!r}"
            )
        if not np.isscalar(self.direction) or not np.isreal(self.direction) or np.isnan(self.direction):
            raise ValueError(f"the direction of an event must be a number{at_line()}, not {self.direction!r}")

    @property
    def limit(self) -> float:
        """How often it happens at most."""
        return float(self.terminal) if self.terminal else np.inf


def _is_count(x: Any) -> bool:
    if x is None:
        return True
    try:
        return int(x) == x and x >= 0
    except (TypeError, ValueError):
        return False


def events_of(given: Any) -> tuple[Event, ...]:
    """The events of `solve_ivp`: a function or an `Event`, or several."""
    if given is None:
        return ()
    if callable(given) or isinstance(given, Event):
        given = (given,)
    if not isinstance(given, Iterable):
        raise TypeError(
            f"events must be a function of (t, y), a fad.ode.Event, or a list of such{at_line()}, not {given!r}"
        )
    return tuple(
        event
        if isinstance(event, Event)
        else Event(event, None, getattr(event, "terminal", False), getattr(event, "direction", 0))
        for event in given
    )


def numbers_of(events: Sequence[Event], limits: Any) -> list[Any]:
    """What the controls of a solve say about its events: how often each may still happen, directions, jumps."""
    return [*limits, *(float(event.direction) for event in events), *(float(e.jump is not None) for e in events)]


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class EventTables:
    """The sub-programs of a solve about its events: conditions map [t | y | shared] to a number, jumps to a state."""

    steps: StepTables
    conditions: Sequence[Sub]
    jumps: Sequence[Sub | None]

    def added_to(self, solve: Solve, room: int) -> Solve:
        """The solve with these events, of which `room` are logged."""
        sizes = replace(solve.sizes, events=len(self.conditions), room=room)
        return replace(solve, sizes=sizes, clock=self.steps.own - 1, **self.parts(sizes)).sized()

    def parts(self, sizes: SolveSizes) -> dict[str, Any]:
        """The parts of the solve; see `fastad.tables.composites.solves.Solve`."""
        n_plain, n_within = total_of(sizes.plain_in), total_of(sizes.within_in)
        return {
            "conditions": made("conditions", n_plain, lambda b, x: self._conditions(b, x, sizes)),
            "within": made("conditions within a step", n_within, lambda b, x: self._within(b, x, sizes)),
            "located": made("state at an event", n_within, lambda b, x: self._located(b, x, sizes, jumps=False)),
            "event": made("step to an event", n_plain, lambda b, x: self._event(b, x, sizes)),
        }

    def _conditions(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        own, control, ends, shared = slices(b, x, [span.size for span in sizes.plain_in])
        t, _ = self.steps.times(b, control, ends, own)
        x = packed(b, [t, self.steps.first(b, own), shared])
        return packed(b, [_inlined(b, condition, x) for condition in self.conditions])

    def _within(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        start = _Start.of(b, x, sizes, self.steps)
        at = start.at(start.fraction)
        return packed(b, [_inlined(b, condition, at) for condition in self.conditions])

    def _located(self, b: Builder, x: Ref, sizes: SolveSizes, jumps: bool) -> Ref:
        """The state at an event with its time, or that after its jump."""

        def branch(i: int) -> Callable[[Builder, Ref], Ref]:
            return lambda b, x: self._at_event(b, x, sizes, i, jumps)

        emits = [branch(i) for i in range(len(self.conditions))]
        if len(emits) == 1:
            return emits[0](b, x)
        branches = [made(f"event {i}", b.size(x), emit) for i, emit in enumerate(emits)]
        number = b.emit("subtract", (_control(b, x, sizes, KNOWN), b.const(float(CHANGED))))
        return b.call(Branch.of(branches, "choice of the event"), packed(b, [number, x]))

    def _at_event(self, b: Builder, x: Ref, sizes: SolveSizes, i: int, jumps: bool) -> Ref:
        start = _Start.of(b, x, sizes, self.steps)
        theta = start.fraction
        along = start.along(self.conditions[i])
        for _ in range(_CORRECTIONS):
            theta = _corrected(b, along, theta, start.values)
        t, y, _ = slices(b, start.at(theta), (1, self.steps.n, self.steps.shared))
        jump = self.jumps[i] if jumps else None
        if jump is not None:
            y = _inlined(b, jump, packed(b, [t, y, start.shared]))
        return packed(b, [*[y] * self.steps.method.copies, t])

    def _event(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        """A step that an event ends."""
        own, control, ends, shared = slices(b, x, [span.size for span in sizes.plain_in])
        taken = self.steps.method.emit(self.steps.step(b, x, sizes.plain_in, exact=True))
        within = packed(b, [own, control, *taken.dense, ends, shared])
        return self._located(b, within, sizes, jumps=True)


@dataclass(frozen=True)
class _Start:
    """A step in a table, of which the start and the dense output are known."""

    b: Builder
    steps: StepTables
    values: list[Ref]  # t, h, y, dense output, what is shared
    fraction: Ref

    @staticmethod
    def of(b: Builder, x: Ref, sizes: SolveSizes, steps: StepTables) -> "_Start":
        own, control, dense, ends, shared = slices(b, x, [span.size for span in sizes.within_in])
        t, h = steps.times(b, control, ends, own)
        values = [t, h, steps.first(b, own), dense, shared]
        return _Start(b, steps, values, b.region(control, region(LAST, (), ()), ()))

    @property
    def shared(self) -> Ref:
        return self.values[-1]

    def at(self, theta: Ref) -> Ref:
        """[t | y | shared] at a fraction of the step."""
        return _along(self.b, self.steps, theta, self.values)

    def along(self, condition: Sub) -> Sub:
        """[θ | t | h | y | dense output | shared] to the condition."""
        sizes = [1, *map(self.b.size, self.values)]

        def emit(b: Builder, x: Ref) -> Ref:
            theta, t, h, *others = slices(b, x, sizes)
            theta, t, h = (b.reshape(v, ()) for v in (theta, t, h))
            return _inlined(b, condition, _along(b, self.steps, theta, [t, h, *others]))

        return made(f"{condition.name} along a step", sum(sizes), emit)


def _along(b: Builder, steps: StepTables, theta: Ref, values: Sequence[Ref]) -> Ref:
    """[t | y | shared] at a fraction of a step."""
    t, h, y, dense, shared = values
    return packed(b, [b.add(t, b.multiply(theta, h)), steps.interpolated(b, y, h, dense, theta), shared])


def _corrected(b: Builder, along: Sub, theta: Ref, values: Sequence[Ref]) -> Ref:
    """A Newton step from a root, which it does not move. Where the condition does not change along the step, its
    derivative is 0."""
    x = packed(b, [theta, *values])
    direction = packed(b, [b.const(1.0), b.zeros((b.size(x) - 1,))])
    g, slope = (b.reshape(v, ()) for v in emit_joint_inline(b, along, x, direction))
    off = b.emit("subtract", (g, b.emit("stop_gradient", (g,))))
    flat = b.emit("equal", (slope, b.const(0.0)))
    return b.emit("subtract", (theta, b.emit("divide", (off, b.add(slope, flat)))))


def _control(b: Builder, x: Ref, sizes: SolveSizes, place: int) -> Ref:
    """A number of the control in the argument of a part."""
    return b.region(x, region(sizes.own + place, (), ()), ())


def _inlined(b: Builder, sub: Sub, x: Ref) -> Ref:
    short = sub.table is not None and len(sub.table) <= _INLINED_UP_TO
    return emit_inline(b, sub, x) if short else b.call(sub, x)
