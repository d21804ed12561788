"""Sizes of ODE solves, and the spans of the vectors that follow from them."""

from dataclasses import dataclass, fields, replace

from fastad.kernels.records import CONTROL, RUN
from fastad.tables.composites.spans import Span


@dataclass(frozen=True)
class SolveSizes:
    """Sizes of a solve's state, of the ends of its span, of what all steps share, of its controls and of one point; of
    the cached derivative, of all error estimates and of the dense output of a step; numbers of points and of steps that
    are kept. Tangents double those that have some (see `times`)."""

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

    def times(self, n: int) -> "SolveSizes":
        """Sizes for n lanes: what has no derivative is the same for all."""
        wide = {name: n * getattr(self, name) for name in ("own", "ends", "shared", "point", "cache", "dense")}
        return replace(self, **wide)

    @property
    def numbers(self) -> list[int]:
        return [getattr(self, field.name) for field in fields(self)]

    @property
    def control(self) -> Span:
        return Span(1, CONTROL, shared=True)

    @property
    def carried(self) -> list[Span]:
        """The state with its control and its cache."""
        return [Span(1, self.own), self.control, Span(1, self.cache)]

    # ── a step ───────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def plain_in(self) -> list[Span]:
        """[state | control | ends | shared], the argument of a step without cache."""
        return [Span(1, self.own), self.control, Span(1, self.ends), Span(1, self.shared)]

    @property
    def step_in(self) -> list[Span]:
        """[state | control | cache | ends | shared]."""
        return [*self.carried, Span(1, self.ends), Span(1, self.shared)]

    @property
    def step_out(self) -> list[Span]:
        """[state | cache | errors | dense output]."""
        return [Span(1, self.own), Span(1, self.cache), Span(1, self.errors, shared=True), Span(1, self.dense)]

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

    # ── the whole ────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def operands(self) -> list[Span]:
        """[state | control | cache | ends | shared | controls | points]."""
        controls = Span(1, self.controls, shared=True)
        return [*self.step_in, controls, Span(self.points, self.point)]

    @property
    def results(self) -> list[Span]:
        """[state | control | cache | points | kept steps | their positions | their dense output | run]."""
        kept = [Span(self.kept, self.own), Span(1, self.kept, shared=True), Span(self.kept, self.dense)]
        return [*self.carried, Span(self.points, self.own), *kept, Span(1, RUN, shared=True)]


NO_SOLVE = SolveSizes(0)
