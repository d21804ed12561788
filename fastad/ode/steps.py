"""From a method and the table of a right-hand side: the tables of a step, of its dense output, and of samples of it.

A method writes the rows of its step (see `fastad.ode.method`); the drivers know sizes only. The right-hand side stands
in the step's table once for each stage where that is short, and is called where it is long.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fastad.equations.linear import default_solver
from fastad.kernels.records import CONTROL, FAILURES, STEP, TOLERANCES
from fastad.ode.dense import DenseOutput
from fastad.ode.iteration import Iteration, Linearised, with_further
from fastad.ode.method import Given, Method, Step, Wanted
from fastad.ode.stages import FIXED, Stages
from fastad.ode.step_rules import StepRules
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solve_sizes import SolveSizes
from fastad.tables.composites.solves import Solve
from fastad.tables.composites.spans import Span
from fastad.tables.composites.sub import Sub, emit_inline, emit_joint_inline, made, packed, slices

__all__ = ["DenseOutput", "StepTables", "Wanted", "part_of_step", "times"]

_INLINED_UP_TO = 3000  # rows of all stages together


@dataclass(frozen=True)
class StepTables:
    """The sub-programs of a step of a method, for a right-hand side f: [t | y | shared] to [dy/dt]."""

    method: Method
    f: Sub
    n: int  # size of y
    wanted: Wanted
    iteration: Iteration | None = None  # of implicit methods

    @property
    def shared(self) -> int:
        return self.f.n_in - 1 - self.n

    @property
    def own(self) -> int:
        """Size of the method's state, with the clock if there is one."""
        return self.method.copies * self.n + self.wanted.clocked

    @property
    def has_cache(self) -> bool:
        return self.method.caches(self.wanted)

    @property
    def notes(self) -> int:
        return self.method.notes(self.wanted, self.n)

    @property
    def evaluations(self) -> int:
        return self.method.evaluations(self.wanted)

    def sizes(self, points: int, kept: int, controls: int) -> SolveSizes:
        errors = self.n * self.method.estimates if self.wanted.adaptive else 0
        dense = self.n * len(self.method.output.polynomials) if self.wanted.dense else 0
        size = 0 if self.iteration is None else self.iteration.factors(self.method.coupled)
        linear, factors = self.method.memory(self.wanted, self.n, size)
        return SolveSizes(
            self.own, shared=self.shared, controls=controls, cache=self.own * self.has_cache, errors=errors,
            dense=dense, points=points, kept=kept, notes=self.method.notes(self.wanted, self.n), linear=linear,
            factors=factors, counts=int(self.method.counts),
        )  # fmt: skip

    def solve(self, points: int, kept: int, controls: int, length: int, **options: Any) -> Solve:
        """The solve that makes these steps: `length` of them, or at most that many; see `Solve`."""
        sizes, adaptive, method = self.sizes(points, kept, controls), self.wanted.adaptive, self.method
        chooses = adaptive or self.wanted.clocked
        return Solve(
            0, 0, method.name, length=length, sizes=sizes, adaptive=chooses, moving=self.wanted.moving,
            estimates=method.estimates if adaptive else 1, order=method.error_order if adaptive else 1,
            stages=self.evaluations, intervals=1 if chooses else controls // 3, **self.parts(sizes), **options,
        ).sized()  # fmt: skip

    # ── the tables ───────────────────────────────────────────────────────────────────────────────────────────
    def parts(self, sizes: SolveSizes) -> dict[str, Any]:
        """The parts of the solve; see `fastad.tables.composites.solves.Solve`."""
        dense, cached = self.wanted.dense, self.has_cache or self.wanted.adaptive
        sample = self._made("sample", sizes.sample_in, lambda b, x: self._sample(b, x, sizes)) if dense else None
        rhs = self._made("right-hand side", sizes.step_in, lambda b, x: self._rhs(b, x, sizes)) if cached else None
        plain, with_dense = self.plain(sizes), self.plain(sizes, dense=True) if dense else None
        body = self._made("step", sizes.step_in, lambda b, x: self._body(b, x, sizes))
        if self.method.has_stages:
            body = self._ruled(body, with_dense or plain, sizes)
        return {"body": body, "plain": plain, "dense": with_dense, "sample": sample, "rhs": rhs}

    def _ruled(self, body: Sub, exact: Sub, sizes: SolveSizes) -> Sub:
        """A trial step whose derivatives are those of the exact step."""
        given, out = sizes.step_in, sizes.step_out
        rules = StepRules(
            lambda: exact, (total_of(given[:2]), total_of(given[2:4]), total_of(given[4:])),
            (total_of(out[:1]), total_of(out[1:-1]), total_of(out[-1:])), self.own + STEP,
            total_of(out[:4]) + FAILURES,
        )  # fmt: skip
        return Sub(body.n_in, body.n_out, body.name, body.table, rules=rules)

    def plain(self, sizes: SolveSizes, dense: bool = False) -> Sub:
        """A step without cache, memory and errors: [state | control | ends | shared] to [state | dense output]."""

        def rows(b: Builder, x: Ref) -> Ref:
            taken = self.method.emit(self.step(b, x, sizes.plain_in, exact=True))
            return packed(b, [taken.after, *self._clock(b, x), *(taken.dense if dense else ())])

        return self._made("step", sizes.plain_in, rows)

    def inverse(self, sizes: SolveSizes) -> Sub:
        """The state before a step, from the argument of a step whose state is that after it."""
        return self._made(
            "inverse step", sizes.step_in, lambda b, x: self.method.emit_inverse(self.step(b, x, sizes.step_in))
        )

    def _made(self, what: str, spans: list[Span], emit: Callable[[Builder, Ref], Ref]) -> Sub:
        return made(f"{what} of {self.method.name}", total_of(spans), emit)

    def step(self, b: Builder, x: Ref, spans: list[Span], exact: bool = False) -> Step:
        """The step that an argument of these spans describes, without its cache and its memory. `exact`: its equations
        are solved to rounding errors."""
        pieces = slices(b, x, [span.size for span in spans])
        own, control, (ends, shared) = pieces[0], pieces[1], pieces[-2:]
        t, h = self.times(b, control, ends, own)
        state = slices(b, own, [self.own - 1, 1])[0] if self.wanted.clocked else own
        notes = b.emit("stop_gradient", (b.region(control, (CONTROL, n, 1), (n,)),)) if (n := self.notes) else None
        return self._step_at(b, (t, h, state, shared), notes, exact)

    def _step_at(self, b: Builder, given: Given, notes: Ref | None, exact: bool) -> Step:
        """The step from its start, its size, a state, and what all steps share."""
        t, h, state, shared = given
        y, checks = self.first(b, state), self.wanted.checks_adjoints

        def linearised(c: Ref) -> Linearised:
            assert self.iteration is not None
            size = self.iteration.shared
            return self.iteration.at(b, t, c, y, b.region(shared, (0, size, 1), (size,)))

        return Step(
            b, t, h, state, None, self.wanted, lambda t, y: self.evaluated(b, t, y, shared), linearised,
            lambda: self._drift(b, t, y, shared), notes,
            stages=Stages(b, self.iteration, t, h, y, shared, exact, checks) if self.iteration else None,
            given=given, elsewhere=lambda b, given, notes: self._step_at(b, given, notes, exact),
        )  # fmt: skip

    def _body(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        step, clock = self.step(b, x, sizes.step_in), self._clock(b, x)
        lead = self.own + sizes.control.size
        if self.has_cache:
            size = self.own - self.wanted.clocked
            step = replace(step, cache=b.region(x, (lead, size, 1), (size,)))
        if n := sizes.memory.size:
            step = replace(step, memory=b.region(x, (lead + sizes.cache, n, 1), (n,)))
        taken = self.method.emit(step)
        cached = [taken.cache, *self._still(b)] if self.has_cache and taken.cache is not None else []
        found = [taken.after, *clock, taken.notes, *cached, taken.memory, taken.counts, *taken.errors]
        found += taken.dense if self.wanted.dense else ()
        return packed(b, [x for x in found if x is not None])

    def _rhs(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        step, copies = self.step(b, x, sizes.step_in), self.method.copies
        y = slices(b, step.state, [self.n] * copies)[-1]
        return packed(b, [*[step.slope(step.t, y)] * copies, *self._still(b)])

    def _sample(self, b: Builder, x: Ref, sizes: SolveSizes) -> Ref:
        own, control, dense, point, ends = slices(b, x, [span.size for span in sizes.sample_in])
        t, h = self.times(b, control, ends, own)
        point = point if self.wanted.moving else b.emit("stop_gradient", (point,))
        theta = part_of_step(b, b.reshape(point, ()), t, h)
        y = self.interpolated(b, self.first(b, own), h, dense, theta)
        return packed(b, [*[y] * self.method.copies, *self._clock(b, x)])

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def first(self, b: Builder, own: Ref) -> Ref:
        """y in a state."""
        return b.region(own, (0, self.n, 1), (self.n,))

    def _clock(self, b: Builder, own: Ref) -> list[Ref]:
        """The clock of a state, or of what starts with one, if there is a clock."""
        return [b.region(own, (self.own - 1, 1, 1), (1,))] if self.wanted.clocked else []

    def _still(self, b: Builder) -> list[Ref]:
        """The derivative of the clock."""
        return [b.zeros((1,))] * self.wanted.clocked

    def times(self, b: Builder, control: Ref, ends: Ref, own: Ref) -> tuple[Ref, Ref]:
        """Start and size of a step from a state. Where there is a clock, positions are relative to the rest of the span
        from there on."""
        clock = self._clock(b, own)
        ends = packed(b, [*clock, b.region(ends, (1, 1, 1), (1,))]) if clock else ends
        return times(b, control, ends, self.wanted.moving)

    def interpolated(self, b: Builder, y: Ref, h: Ref, dense: Ref, theta: Ref) -> Ref:
        """The solution at a fraction of a step that starts at y."""
        output = self.method.output
        return output.emit(b, theta, y, h, slices(b, dense, [self.n] * len(output.polynomials)))

    def _drift(self, b: Builder, t: Ref, y: Ref, shared: Ref) -> Ref | None:
        """The rows of ∂f/∂t, if f depends on t."""
        if self.iteration is None or self.iteration.is_autonomous:
            return None
        bare = self.iteration.bare
        x, one = self._argument(b, bare, t, y, shared), b.broadcast(b.const(1.0), (1,))
        return emit_joint_inline(b, bare, x, packed(b, [one, b.zeros((bare.n_in - 1,))]))[1]

    def evaluated(self, b: Builder, t: Ref, y: Ref, shared: Ref) -> Ref:
        """The rows of the right-hand side."""
        f = self.f if self.iteration is None else self.iteration.bare
        x = self._argument(b, f, t, y, shared)
        if f.table is not None and len(f.table) * max(self.evaluations, 1) <= _INLINED_UP_TO:
            return emit_inline(b, f, x)
        return b.call(f, x)

    def _argument(self, b: Builder, f: Sub, t: Ref, y: Ref, shared: Ref) -> Ref:
        """The argument of a right-hand side that is not given all that the steps share."""
        size = f.n_in - 1 - self.n
        return packed(b, [t, y, b.region(shared, (0, size, 1), (size,))])


def tables_of_system(method: Method, f: Sub, n: int, wanted: Wanted) -> StepTables:
    """The steps of a system of n components that is made of tables: for an implicit method, with dense matrices, and
    with a place for the tolerances of its equations behind what they share (see `scales`)."""
    iteration = Iteration(f, n, linear=default_solver(n)) if method.has_jacobian else None
    return StepTables(method, with_further(f, 2 * n * method.has_stages), n, wanted, iteration)


def scales(b: Builder, tables: StepTables, controls: Ref | None) -> list[Ref]:
    """The tolerances of the equations of implicit stages, from the controls of an adaptive solve; None: of fixed
    steps."""
    n = tables.n
    if not tables.method.has_stages:
        return []
    if controls is None:
        return [b.broadcast(b.const(x), (n,)) for x in FIXED]
    return slices(b, controls, (TOLERANCES, n, n))[1:]


def times(b: Builder, control: Ref, ends: Ref, moving: bool) -> tuple[Ref, Ref]:
    """Start and size of a step, from its position in the span and its part of it."""
    position, part, t0, t1 = (b.region(x, region(i, (), ()), ()) for x in (control, ends) for i in (0, 1))
    position, part = (b.emit("stop_gradient", (x,)) for x in (position, part))
    if not moving:
        t0, t1 = (b.emit("stop_gradient", (x,)) for x in (t0, t1))
    start = b.multiply(b.emit("subtract", (b.const(1.0), position)), t0)
    return b.add(start, b.multiply(position, t1)), b.multiply(part, b.emit("subtract", (t1, t0)))


def part_of_step(b: Builder, time: Ref, t: Ref, h: Ref) -> Ref:
    """θ of a time in the step from t of size h; 0 in a step of size 0."""
    still = b.emit("equal", (h, b.const(0.0)))
    return b.emit("divide", (b.emit("subtract", (time, t)), b.add(h, still)))
