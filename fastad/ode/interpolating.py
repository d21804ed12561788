"""The interpolating adjoint: λ is integrated back over each step of the solve, with y from the step's dense output,

    λ' = −(∂f/∂y)ᵀ λ,    μ' = −(∂f/∂θ)ᵀ λ,

so unlike in the continuous adjoint y is not integrated backward. It is a solve's own adjoint with another rule for the
adjoint of a step, so states are stored or recomputed as the schedule says.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastad.kernels import records as r
from fastad.ode.continuous import dot, general_method
from fastad.ode.method import Wanted
from fastad.ode.steps import StepTables, part_of_step, scales, tables_of_system, times
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solves import Solve
from fastad.tables.composites.sub import Sub, derived_adjoint, derived_tangent, emit_inline, made, packed, slices
from fastad.tables.composites.sub_rules import OwnRules

SPARE = 2  # numbers behind what the steps share: the tolerances of the backward solves


def with_interpolated_steps(solve: Solve, tables: StepTables) -> Solve:
    """The solve whose steps have this adjoint."""
    plain, dense = solve.plain, solve.dense
    assert plain is not None
    pull = _Pull(solve, tables)

    def pulled(b: Builder, v: Ref) -> Ref:
        x, u = slices(b, v, (plain.n_in, plain.n_out))
        return pull.rows(b, x, u)

    def pulled_dense(b: Builder, v: Ref) -> Ref:
        assert dense is not None
        x, u, inner = slices(b, v, (plain.n_in, plain.n_out, dense.n_out - plain.n_out))
        seeds = packed(b, [b.zeros((plain.n_out,)), inner])
        return b.add(pull.rows(b, x, u), emit_inline(b, derived_adjoint(dense), packed(b, [x, seeds])))

    name, n = f"interpolating adjoint of {plain.name}", plain.n_in
    ruled = _ruled(plain, lambda: made(name, n + plain.n_out, pulled))
    if dense is None:
        return replace(solve, plain=ruled)
    count = dense.n_out
    return replace(solve, plain=ruled, dense=_ruled(dense, lambda: made(name, n + count, pulled_dense)))


def _ruled(part: Sub, adjoint: Callable[[], Sub]) -> Sub:
    rules = OwnRules(lambda: derived_tangent(part), adjoint)
    return Sub(part.n_in, part.n_out, part.name, part.table, rules=rules)


class _Pull:
    """The adjoint of a step, whose derivative is that of the solution over it."""

    def __init__(self, solve: Solve, tables: StepTables) -> None:
        self.solve, self.n = solve, tables.n
        self.tables = replace(tables, wanted=replace(tables.wanted, dense=True))
        self.theta = tables.shared - SPARE * solve.adaptive  # size of the parameters
        self.sizes = self.tables.sizes(0, 0, 0)
        self.step = self.tables.plain(self.sizes, dense=True)
        # What the backward solve shares: start, size, state and dense output of the step; the parameters.
        self.given = (1, 1, self.n, self.sizes.dense, tables.shared)
        wanted = Wanted(solve.adaptive, dense=False, moving=solve.moving)
        self.back = tables_of_system(general_method(tables.method), self._system(), self.n + self.theta, wanted)

    def _system(self) -> Sub:
        """[t | λ μ | shared] to their derivatives."""
        n, tables = self.n, self.tables

        def rows(b: Builder, x: Ref) -> Ref:
            t, bar, _, start, size, y, dense, shared = slices(b, x, (1, n, self.theta, *self.given))
            begin, h = b.reshape(start, ()), b.reshape(size, ())
            theta = part_of_step(b, b.reshape(t, ()), begin, h)
            output = tables.method.output
            at = output.emit(b, theta, y, h, slices(b, dense, [n] * len(output.polynomials)))
            pulled = emit_inline(b, tables.f.adjoint, packed(b, [t, at, shared, bar]))
            return b.emit("negative", (b.region(pulled, (1, n + self.theta, 1), (n + self.theta,)),))

        return made(f"{tables.f.name} with adjoints", 1 + n + self.theta + sum(self.given), rows)

    def rows(self, b: Builder, x: Ref, u: Ref) -> Ref:
        """The rows of the adjoint of a step at an argument."""
        n, s, copies = self.n, self.sizes, self.tables.method.copies
        state, control, ends, shared = slices(b, x, [span.size for span in s.plain_in])
        t, h = times(b, control, ends, self.solve.moving)
        after, dense = slices(b, emit_inline(b, self.step, x), (s.own, s.dense))
        y, *_ = slices(b, state, [n] * copies)
        bar = b.add(*slices(b, u, [n] * copies))  # all copies are near the solution
        end = b.add(t, h)
        given = packed(b, [t, h, y, dense, shared])
        start_bar, theta_bar = slices(b, self._integrated(b, bar, (t, end), given, shared), (n, self.theta))
        ends_bar = b.zeros((s.ends,))
        if self.solve.moving:
            slope = lambda time, y: self.tables.evaluated(b, time, y, shared)
            first = b.emit("negative", (dot(b, start_bar, slope(t, y)),))
            last = dot(b, bar, slope(end, slices(b, after, [n] * copies)[0]))
            ends_bar = self._ends_bar(b, control, first, last)
        rest = b.zeros(((copies - 1) * n + s.control.size,))
        return packed(b, [start_bar, rest, ends_bar, theta_bar, b.zeros((b.size(shared) - self.theta,))])

    def _integrated(self, b: Builder, bar: Ref, span: tuple[Ref, Ref], given: Ref, shared: Ref) -> Ref:
        """λ and μ at the start of the step, from λ at its end."""
        back, adaptive = self.back, self.solve.adaptive
        controls: list[Ref] = [b.const([0.0, 1.0, 0.0])]
        if adaptive:  # the first trial is the whole step
            means = slices(b, shared, (self.theta, 1, 1))[1:]
            controls = [b.const([np.inf] * r.TOLERANCES), *(b.broadcast(mean, (back.n,)) for mean in means)]
        length = self.solve.length if adaptive else 1
        segment = back.solve(0, 0, r.TOLERANCES + 2 * back.n if adaptive else 3, length, strict=True)
        state = packed(b, [bar, b.zeros((self.theta,))])
        fixed = b.zeros((total_of(segment.sizes.carried[1:]),))
        start, end = span
        more = scales(b, back, packed(b, controls) if adaptive else None)
        out = b.call(segment, packed(b, [*[state] * back.method.copies, fixed, end, start, given, *more, *controls]))
        return b.region(out, (0, back.n, 1), (back.n,))

    def _ends_bar(self, b: Builder, control: Ref, first: Ref, last: Ref) -> Ref:
        """Adjoints of the ends of the span from those of the ends of the step, which are at s and s + its part."""
        at, part = (b.region(control, region(i, (1,), (1,)), (1,)) for i in (r.AT, r.STEP))
        after, one = b.add(at, part), b.const(1.0)
        weighted = lambda x, y: b.add(b.multiply(x, first), b.multiply(y, last))
        return packed(
            b, [weighted(b.emit("subtract", (one, at)), b.emit("subtract", (one, after))), weighted(at, after)]
        )
