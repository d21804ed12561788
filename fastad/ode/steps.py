"""From a method and the table of a right-hand side: the tables of a step, of its dense output, and of samples of it.

Everything that depends on the method is here; the drivers know sizes only. The right-hand side stands in the step's
table once for each stage where that is short, and is called where it is long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.ode.methods import ExplicitRK
from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.choices import made
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solve_sizes import SolveSizes
from fastad.tables.composites.sub import Sub, emit_inline, packed, slices

_INLINED_UP_TO = 3000  # rows of all stages together


@dataclass(frozen=True)
class Wanted:
    """What a solve wants of its steps."""

    adaptive: bool
    dense: bool  # dense output
    moving: bool  # whether times have derivatives
    clocked: bool = False  # whether the state has the time at which it last started, as its last component


@dataclass(frozen=True)
class StepTables:
    """The sub-programs of a step of a method, for a right-hand side f: [t | y | shared] to [dy/dt]."""

    method: ExplicitRK
    f: Sub
    n: int  # size of y
    wanted: Wanted

    @property
    def shared(self) -> int:
        return self.f.n_in - 1 - self.n

    @property
    def own(self) -> int:
        """Size of the state."""
        return self.n + self.wanted.clocked

    @lazy
    def output(self) -> "DenseOutput":
        return DenseOutput.of(self.method)

    @property
    def has_cache(self) -> bool:
        """Whether a step is given the derivative at its start, by the step before."""
        return self.wanted.dense or (self.wanted.adaptive and self.method.is_fsal)

    def sizes(self, points: int, kept: int, controls: int) -> SolveSizes:
        errors = self.n * len(self.method.error or ()) if self.wanted.adaptive else 0
        dense = self.n * len(self.output.vectors) if self.wanted.dense else 0
        return SolveSizes(
            self.own, shared=self.shared, controls=controls, cache=self.own * self.has_cache, errors=errors,
            dense=dense, points=points, kept=kept,
        )  # fmt: skip

    @property
    def evaluations(self) -> int:
        """Evaluations of the right-hand side in a trial step."""
        stages = len(self.method.b) + self._end_is_extra
        if self.method.is_fsal and not self._needs_end:
            stages -= 1
        return stages + (len(self.method.extra) if self.wanted.dense else 0) - self.has_cache

    @property
    def _needs_end(self) -> bool:
        """Whether a step needs the derivative at its end."""
        widest = max(map(len, self.method.error or ()), default=0)
        return self.has_cache or (self.wanted.adaptive and (self.method.is_fsal or widest > len(self.method.b)))

    @property
    def _end_is_extra(self) -> bool:
        return self._needs_end and not self.method.is_fsal

    # ── the tables ───────────────────────────────────────────────────────────────────────────────────────────
    def parts(self, sizes: SolveSizes) -> dict[str, Any]:
        """The parts of the solve; see `fastad.tables.composites.solves.Solve`."""
        name, dense = self.method.name, self.wanted.dense
        cached = self.has_cache or self.wanted.adaptive
        return {
            "body": made(f"step of {name}", total_of(sizes.step_in), lambda b, x: self._body(b, x, sizes)),
            "plain": made(f"step of {name}", total_of(sizes.plain_in), lambda b, x: self._plain(b, x, sizes, False)),
            "dense": self._made_if(dense, "step", total_of(sizes.plain_in), lambda b, x: self._plain(b, x, sizes,
            True)), "sample": self._made_if(dense, "sample", total_of(sizes.sample_in), lambda b, x: self._sample(b, x,
            sizes)), "rhs": self._made_if(cached, "right-hand side", total_of(sizes.step_in), lambda b, x: self._rhs(b,
            x, sizes)),
        }  # fmt: skip

    def _made_if(self, wanted: bool, what: str, n: int, emit: Any) -> Sub | None:
        return made(f"{what} of {self.method.name}", n, emit) if wanted else None

    def _body(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        own, control, cache, ends, shared = slices(b, x, [span.size for span in sizes.step_in])
        y, clock = self.cut(b, own)
        first = self.cut(b, cache)[0] if self.has_cache else None
        step = self.step(b, y, (control, self.span_of(b, ends, clock), shared), first)
        errors = [step.combined(row) for row in self.method.error or ()] if self.wanted.adaptive else []
        scaled = [b.multiply(step.h, e) for e in errors]
        cached = [step.stages[self._end], *self._still(b)] if self.has_cache else []
        dense = self.output.pieces(step) if self.wanted.dense else ()
        return packed(b, [step.after, *clock, *cached, *scaled, *dense])

    def _plain(self, b: Builder, x: Ref, sizes: SolveSizes, dense: bool) -> Ref:
        own, control, ends, shared = slices(b, x, [span.size for span in sizes.plain_in])
        y, clock = self.cut(b, own)
        step = self.step(b, y, (control, self.span_of(b, ends, clock), shared), None)
        return packed(b, [step.after, *clock, *(self.output.pieces(step) if dense else ())])

    def _rhs(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        own, control, _, ends, shared = slices(b, x, [span.size for span in sizes.step_in])
        y, clock = self.cut(b, own)
        t, _ = self.times(b, control, self.span_of(b, ends, clock))
        return packed(b, [self._evaluated(b, t, y, shared), *self._still(b)])

    def _sample(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        own, control, dense, point, ends = slices(b, x, [span.size for span in sizes.sample_in])
        y, clock = self.cut(b, own)
        t, h = self.times(b, control, self.span_of(b, ends, clock))
        point = point if self.wanted.moving else b.emit("stop_gradient", (point,))
        still = b.emit("equal", (h, b.const(0.0)))
        theta = b.emit("divide", (b.emit("subtract", (b.reshape(point, ()), t)), b.add(h, still)))
        return packed(b, [self.interpolated(b, y, h, dense, theta), *clock])

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def _end(self) -> int:
        """Which derivative is that at the end of a step."""
        return len(self.method.b) - self.method.is_fsal

    def cut(self, b: Builder, own: Ref) -> tuple[Ref, list[Ref]]:
        """y, and the clock if there is one, of a state."""
        y, *clock = slices(b, own, [self.n, *[1] * self.wanted.clocked])
        return y, clock

    def _still(self, b: Builder) -> list[Ref]:
        """The derivative of the clock."""
        return [b.zeros((1,))] * self.wanted.clocked

    def span_of(self, b: Builder, ends: Ref, clock: list[Ref]) -> Ref:
        """The ends of what positions are relative to: the rest of the span, where there is a clock."""
        return packed(b, [*clock, b.region(ends, region(1, (1,), (1,)), (1,))]) if clock else ends

    def interpolated(self, b: Builder, y: Ref, h: Ref, dense: Ref, theta: Ref) -> Ref:
        """The solution at a fraction of a step that starts at y."""
        vectors = slices(b, dense, [self.n] * len(self.output.vectors))
        terms = zip(self.output.weights(b, theta), vectors, strict=True)
        return b.add(y, b.multiply(h, _combination(b, list(terms))))

    def times(self, b: Builder, control: Ref, ends: Ref) -> tuple[Ref, Ref]:
        """Start and size of a step, from its position in the span and its part of it."""
        ends = ends if self.wanted.moving else b.emit("stop_gradient", (ends,))
        position, part, t0, t1 = (b.region(x, region(i, (), ()), ()) for x in (control, ends) for i in (0, 1))
        start = b.multiply(b.emit("subtract", (b.const(1.0), position)), t0)
        return b.add(start, b.multiply(position, t1)), b.multiply(part, b.emit("subtract", (t1, t0)))

    def _evaluated(self, b: Builder, t: Ref, y: Ref, shared: Ref) -> Ref:
        table = self.f.table
        x = packed(b, [t, y, shared])
        if table is not None and len(table) * len(self.method.b) <= _INLINED_UP_TO:
            return emit_inline(b, self.f, x)
        return b.call(self.f, x)

    def step(self, b: Builder, y: Ref, given: tuple[Ref, Ref, Ref], first: Ref | None) -> "_Step":
        """The rows of a step; `first` is the derivative at its start, if that is known."""
        control, ends, shared = given
        t, h = self.times(b, control, ends)
        step = _Step(b, t, h, y, [] if first is None else [first])
        rows, nodes = [*self.method.A], [*self.method.c]
        if self._end_is_extra:
            rows.insert(len(self.method.b), self.method.b)
            nodes.insert(len(self.method.b), 1.0)
        if self.wanted.dense:
            rows += self.method.extra
        elif not self._needs_end and self.method.is_fsal:
            rows = rows[:-1]
        for row, node in list(zip(rows, nodes, strict=False))[len(step.stages) :]:
            at = t if node == 0.0 else b.add(t, b.multiply(b.const(node), h))
            step.stages.append(self._evaluated(b, at, step.moved(row), shared))
        step.after = step.moved(self.method.b)
        return step


class _Step:
    """A step in a table: its start, its size, the derivatives at its stages, the state after it."""

    def __init__(self, b: Builder, t: Ref, h: Ref, y: Ref, stages: list[Ref]) -> None:
        self.b, self.t, self.h, self.y, self.stages = b, t, h, y, stages
        self.after = y

    def combined(self, weights: Sequence[float]) -> Ref:
        """Σ wᵢ kᵢ."""
        b = self.b
        used = [(b.const(w), k) for w, k in zip(weights, self.stages, strict=False) if w != 0.0]
        return _combination(b, used) if used else b.zeros((b.size(self.y),))

    def moved(self, weights: Sequence[float]) -> Ref:
        """y + h Σ wᵢ kᵢ."""
        b = self.b
        return b.add(self.y, b.multiply(self.h, self.combined(weights))) if any(weights) else self.y


def _combination(b: Builder, terms: Sequence[tuple[Ref, Ref]]) -> Ref:
    """A sum of vectors with factors."""
    first, *others = [b.multiply(factor, vector) for factor, vector in terms]
    return b.add(first, *others)


# ── dense output ──────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class DenseOutput:
    """The solution within a step, y + h Σ wᵢ(θ) vᵢ: weights of the stages that make the vectors vᵢ, and coefficients of
    θ, θ², … of the polynomials wᵢ."""

    vectors: tuple[tuple[float, ...], ...]
    polynomials: tuple[tuple[float, ...], ...]

    @staticmethod
    def of(method: ExplicitRK) -> "DenseOutput":
        units = np.eye(method.n_dense)
        if not method.dense:  # y₀ and y₁ with their derivatives: the cubic Hermite polynomial
            end = len(method.b) - method.is_fsal
            polynomials = ((1.0, -2.0, 1.0), (0.0, 3.0, -2.0), (0.0, -1.0, 1.0))
            return DenseOutput((tuple(units[0]), method.b, tuple(units[end])), polynomials)
        used = [i for i, row in enumerate(method.dense) if any(row)]
        return DenseOutput(tuple(tuple(units[i]) for i in used), tuple(method.dense[i] for i in used))

    def pieces(self, step: _Step) -> list[Ref]:
        """The vectors."""
        return [step.combined(weights) for weights in self.vectors]

    def weights(self, b: Builder, theta: Ref) -> list[Ref]:
        """The polynomials at θ."""
        found = []
        for row in self.polynomials:
            value = b.const(row[-1])
            for coefficient in (*row[-2::-1], 0.0):
                value = b.multiply(value, theta)
                value = b.add(value, b.const(coefficient)) if coefficient else value
            found.append(value)
        return found

    def evaluate(self, theta: Any, vectors: Any) -> Any:
        """Σ wᵢ(θ) vᵢ for arrays: θ of any shape, vectors (count, …, n)."""
        weights = [sum(c * theta ** (p + 1) for p, c in enumerate(row)) for row in self.polynomials]
        return sum(w[..., None] * v for w, v in zip(weights, vectors, strict=True))
