"""Sizes of ODE solves, and the spans of the vectors that follow from them."""

from dataclasses import dataclass, fields, replace

from fastad.kernels.records import CONTROL, COUNTS, ENTRY, RUN
from fastad.tables.composites.spans import Span


@dataclass(frozen=True)
class SolveSizes:
    """Sizes of a solve's state, of the ends of its span, of what all steps share, of its controls and of one point; of
    the cached derivative, of all error estimates and of the dense output of a step; numbers of points, of steps that
    are kept, of events, and of times that events are logged; sizes of the notes, and of the memory of a method: of its
    linear point, and of the factors that belong to it; whether steps count what they do. Tangents double those that
    have some (see `times`)."""

    own: int
    ends: int = 2
    shared: int = 0
    controls: int = 0
    point: int = 1
    cache: int = 0
    errors: int = 0
    dense: int = 0
    points: int = 0
    kept: int = 0
    events: int = 0
    room: int = 0
    notes: int = 0
    linear: int = 0
    factors: int = 0
    counts: int = 0

    def times(self, n: int) -> "SolveSizes":
        """Sizes for n lanes: what has no derivative is the same for all."""
        wide = {name: n * getattr(self, name) for name in ("own", "ends", "shared", "point", "cache", "dense")}
        return replace(self, **wide)

    @property
    def numbers(self) -> list[int]:
        return [getattr(self, field.name) for field in fields(self)]

    @property
    def control(self) -> Span:
        """The control, with the notes."""
        return Span(1, CONTROL + self.notes, shared=True)

    @property
    def memory(self) -> Span:
        return Span(1, self.linear + self.factors, shared=True)

    @property
    def carried(self) -> list[Span]:
        """The state with its control, its cache and the memory."""
        return [Span(1, self.own), self.control, Span(1, self.cache), self.memory]

    # ── a step ───────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def plain_in(self) -> list[Span]:
        """[state | control | ends | shared], the argument of a step without cache and memory."""
        return [Span(1, self.own), self.control, Span(1, self.ends), Span(1, self.shared)]

    @property
    def step_in(self) -> list[Span]:
        """[state | control | cache | memory | ends | shared]."""
        return [*self.carried, Span(1, self.ends), Span(1, self.shared)]

    @property
    def step_out(self) -> list[Span]:
        """[state | notes | cache | memory | counts | errors | dense output]."""
        notes, counts = Span(1, self.notes, shared=True), Span(1, COUNTS * self.counts, shared=True)
        lead = [Span(1, self.own), notes, Span(1, self.cache), self.memory, counts]
        return [*lead, Span(1, self.errors, shared=True), Span(1, self.dense)]

    @property
    def plain_out(self) -> list[Span]:
        return [Span(1, self.own)]

    @property
    def dense_out(self) -> list[Span]:
        return [Span(1, self.own), Span(1, self.dense)]

    @property
    def sample_in(self) -> list[Span]:
        """[state | control | dense output | point | ends]."""
        return [Span(1, self.own), self.control, Span(1, self.dense), Span(1, self.point), Span(1, self.ends)]

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def within_in(self) -> list[Span]:
        """[state | control | dense output | ends | shared], the argument of what is computed within a step."""
        return [*self.sample_in[:3], Span(1, self.ends), Span(1, self.shared)]

    @property
    def event_values(self) -> list[Span]:
        """The values of all conditions, which only choose."""
        return [Span(1, self.events, shared=True)]

    # ── the whole ────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def operands(self) -> list[Span]:
        """[state | control | cache | memory | ends | shared | controls | points]."""
        controls = Span(1, self.controls, shared=True)
        return [*self.step_in, controls, Span(self.points, self.point)]

    @property
    def results(self) -> list[Span]:
        """[state | control | cache | memory | points | kept steps | their positions | their dense output | states at
        events | log of events | run]."""
        kept = [Span(self.kept, self.own), Span(1, self.kept, shared=True), Span(self.kept, self.dense)]
        events = [Span(self.room, self.own), Span(self.room, ENTRY, shared=True)]
        return [*self.carried, Span(self.points, self.own), *kept, *events, Span(1, RUN, shared=True)]

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def parts(self) -> dict[str, tuple[list[Span], list[Span]]]:
        """Arguments and results of the parts of a solve; see `fastad.tables.composites.solves.Solve`."""
        return {
            "body": (self.step_in, self.step_out), "plain": (self.plain_in, self.plain_out),
            "dense": (self.plain_in, self.dense_out), "sample": (self.sample_in, self.plain_out),
            "rhs": (self.step_in, self.plain_out), "inverse": (self.step_in, self.plain_out),
            "conditions": (self.plain_in, self.event_values), "within": (self.within_in, self.event_values),
            "located": (self.within_in, self.plain_out), "event": (self.plain_in, self.plain_out),
        }  # fmt: skip


NO_SOLVE = SolveSizes(0)
