"""The equations of implicit stages, M z − h Σⱼ aᵢⱼ f(t + cⱼ h, y + zⱼ) = 0 for all stages i of a block, and Newton's
iteration for them.

A trial step solves them by a simplified Newton iteration with factors that all of its blocks share, up to an error
that is small beside that of the step: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.8. The step that
is differentiated solves them to rounding errors, and factorises the matrix there: a large one only where the iteration
was not so fast that the factors it had are near enough for iterative refinement. Derivatives of any order are those of
the implicit function theorem. So they are exact for the map that takes a state to the one after it, whatever errors the
iteration of the trial step has left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point
from fastad.ode.iteration import Iteration, residual_of_adjoint, without_symmetry
from fastad.ode.stage_rules import StageRules
from fastad.once import lazy
from fastad.primitives.equations import NO_PROGRESS, NOT_FINITE, SOLVED
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.choices import Branch
from fastad.tables.composites.loop_sizes import Sizes
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.repeated import CONVERGING
from fastad.tables.composites.sub import Sub, emit_inline, made, packed, slices

MOST = 10  # simplified iterations
_MOST_EXACT = 20  # iterations with a matrix of their own, where simplified ones do not converge
SMALL = 64  # unknowns up to which factors cost no more than what they save
_NEAR, _REFINED = 1e-3, 3  # the rate of an iteration whose factors are near, and the refinements that these need then
_ROUNDED = 1e-15  # corrections, relative to the largest component, that are rounding errors
GOING, DONE, FAILED = 0.0, 1.0, 2.0


@dataclass(frozen=True, eq=False)
class Block:
    """The equations of stages that are coupled: rows of A, nodes, and how their linear systems are solved. Parameters
    θ are [t | h | y | what the right-hand side shares]."""

    iteration: Iteration
    a: tuple[tuple[float, ...], ...]
    c: tuple[float, ...]
    linear: LinearSolver
    exact_linear: LinearSolver | None = None  # where solutions are exact, if that is another one; its plan is before

    @property
    def n(self) -> int:
        """The number of unknowns."""
        return len(self.c) * self.iteration.n

    @property
    def p(self) -> int:
        """The number of parameters."""
        return 2 + self.iteration.n + self.iteration.shared

    @property
    def factors(self) -> int:
        return self.linear.factor_size(self.n)

    @lazy
    def _inverse(self) -> np.ndarray:
        return np.linalg.inv(self.a)

    @lazy
    def equation(self) -> Equation:
        n, m, shared = self.iteration.n, len(self.c), self.iteration.shared

        def rows(b: Builder, x: Ref) -> Ref:
            *zs, t, h, y, others = slices(b, x, (*[n] * m, 1, 1, n, shared))
            slopes, times = [], []
            for z, node in zip(zs, self.c, strict=True):
                time = b.add(t, b.multiply(b.const(node), h)) if node else t
                times.append(time)
                slopes.append(emit_inline(b, self.iteration.f, packed(b, [time, b.add(y, z), others])))
            found = []
            mass = self.iteration.mass
            moves = m > 1 and mass is not None and mass.function is not None
            for i, (z, row) in enumerate(zip(zs, self.a, strict=True)):
                if moves:  # M(tᵢ, yᵢ) Σⱼ (A⁻¹)ᵢⱼ zⱼ = h f(tᵢ, yᵢ)
                    z, row = _combined(b, self._inverse[i], zs), np.eye(len(zs))[i]
                moved = self.iteration.moved(b, times[i], b.add(y, zs[i]), others, z)
                found.append(b.emit("subtract", (moved, b.multiply(b.reshape(h, ()), _combined(b, row, slopes)))))
            return packed(b, found)

        return Equation.of(self.n, made(f"stages of {self.iteration.f.name}", self.n + self.p, rows))

    def at(self, b: Any, z: Ref, theta: Ref) -> Point:
        """The equations at a point."""
        size = self.linear.plan_size
        plan = b.region(theta, (self.p - size, size, 1), (size,))
        return Point(b, self.equation, z, theta, plan)

    @property
    def rules(self) -> StageRules:
        """The rules of the exact solution."""
        linear = self.exact_linear or self.linear
        start = self.p - self.linear.plan_size - (self.exact_linear.plan_size if self.exact_linear else 0)
        return StageRules(self.equation, linear, self.n, self.p, start, len(self.c), _REFINED if self.keeps else 1)

    @property
    def keeps(self) -> bool:
        """Whether exact solutions keep the factors of the iteration where these are near."""
        return self.n > SMALL and self.exact_linear is None and self.linear.is_exact and self.factors > 0

    def factored(self, b: Any, theta: Ref) -> Ref:
        """Factors of the matrix where all stages are at the base; of a singular one, solutions are NaN."""
        at = self.at(b, b.zeros((self.n,)), theta)
        return self.linear.soft(at, self.linear.factor(at))

    # ── the simplified iteration ─────────────────────────────────────────────────────────────────────────────
    @property
    def _given(self) -> tuple[int, ...]:
        """Sizes of [θ | factors | scales | tolerance], which all iterations share."""
        return self.p, self.factors, self.iteration.n, 1

    @property
    def _carried(self) -> tuple[int, ...]:
        """Sizes of [z | last correction | its norm | η | number of iterations | state]."""
        return self.n, self.n, 1, 1, 1, 1

    def _norm(self, b: Any, v: Ref, scales: Ref) -> Ref:
        """Root mean square of a vector of all stages, relative to scales of one."""
        m, n = len(self.c), self.iteration.n
        wide = b.broadcast(b.reshape(scales, (1, n)), (m, n)) if m > 1 else scales
        scaled = b.emit("divide", (b.reshape(v, b.shape(wide)), wide))
        total = b.emit("sum", (b.emit("square", (scaled,)),), (1, self.n, 1), ())
        mean = b.multiply(b.const(1.0 / max(self.n, 1)), total)
        return b.emit("sqrt", (mean,))

    def _largest(self, b: Any, v: Ref) -> Ref:
        return b.emit("amax", (b.emit("absolute", (v,)),), (1, b.size(v), 1), ())

    def _iterated(self, b: Builder, x: Ref) -> Ref:
        """One iteration."""
        z, _, norm, eta, k, _, theta, factors, scales, tolerance, part = slices(b, x, (*self._carried, *self._given, 1))
        norm, eta, k, tolerance, part = (b.reshape(v, ()) for v in (norm, eta, k, tolerance, part))
        where = lambda c, x, y: b.emit("where", (c, x, y))
        less = lambda x, y: b.emit("less", (x, y))
        one = b.const(1.0)
        step = b.multiply(part, self._correction(b, z, theta, factors))
        z = b.add(z, step)
        now, count = self._norm(b, step, scales), b.add(k, one)
        is_first = less(k, b.const(0.5))
        rate = b.emit("divide", (now, where(less(b.const(0.0), norm), norm, one)))
        slow = b.emit("logical_not", (less(rate, b.const(0.99)),))
        eta = where(is_first, eta, where(slow, one, b.emit("divide", (rate, b.emit("subtract", (one, rate))))))
        left = b.emit("subtract", (b.const(float(MOST)), count))
        power = b.emit("power", (where(slow, one, rate), left))
        hopeless = less(tolerance, b.multiply(b.multiply(power, eta), now))
        failed = b.emit("logical_or", (slow, hopeless))
        failed = b.emit("logical_and", (b.emit("logical_not", (is_first,)), failed))
        failed = b.emit("logical_or", (failed, b.emit("logical_not", (less(now, b.const(float("inf"))),))))
        failed = b.emit("logical_or", (failed, less(left, b.const(0.5))))
        y = slices(b, theta, (1, 1, self.iteration.n))[2]
        size = b.emit("maximum", (self._largest(b, y), self._largest(b, z)))
        rounded = b.emit("less_equal", (self._largest(b, step), b.multiply(b.const(_ROUNDED), size)))
        small = b.emit("less_equal", (b.multiply(eta, now), tolerance))
        done = b.emit("logical_or", (b.emit("logical_and", (small, b.emit("logical_not", (slow,)))), rounded))
        done = b.emit("logical_or", (done, b.emit("logical_and", (small, is_first))))
        state = where(done, b.const(DONE), where(failed, b.const(FAILED), b.const(GOING)))
        return packed(b, [z, step, *(b.reshape(v, (1,)) for v in (now, eta, count, state))])

    @lazy
    def _loop(self) -> Loop:
        state, shared = sum(self._carried), sum(self._given) + 1
        goes_on = lambda b, x: b.emit("equal", (b.region(x, (state - 1, 1, 1), (1,)), b.const(GOING)))
        number = lambda b, x: b.cast(goes_on(b, x), (1,), "d")
        condition = made("whether Newton's iteration goes on", state + shared, number)
        body = made("simplified Newton iteration", state + shared, self._iterated)
        sizes = Sizes(state, shared=shared)
        return Loop.of("Newton's iteration", sizes, -1, body, condition=condition, usual_steps=CONVERGING)

    def quick(
        self, b: Builder, z: Ref, theta: Ref, factors: Ref, scales: Ref, tolerance: Ref, eta: Ref,
        part: Ref | None = None,
    ) -> "Solved":  # fmt: skip
        """The rows of a solution up to a tolerance, which is not to be differentiated. Corrections are scaled by
        `part`, where factors are those of another matrix."""
        zero, part = b.const([0.0]), b.const([1.0]) if part is None else b.reshape(part, (1,))
        first = [z, b.zeros((self.n,)), zero, b.reshape(eta, (1,)), zero, zero]
        out = b.call(self._loop, packed(b, [*first, theta, factors, scales, b.reshape(tolerance, (1,)), part]))
        z, step, norm, eta, count, state = slices(b, out, self._carried)
        left = b.multiply(b.reshape(eta, ()), b.reshape(norm, ()))
        return Solved(z, step, eta, count, b.emit("greater", (b.reshape(state, ()), b.const(1.5))), left)

    # ── the exact solution ───────────────────────────────────────────────────────────────────────────────────
    def _exactly(self, b: Builder, x: Ref) -> Ref:
        """[first z | θ | factors | scales | tolerance] to [z | status | factors near z]."""
        z, theta, factors, scales, tolerance = slices(b, x, (self.n, *self._given))
        found = self.quick(b, z, theta, factors, scales, tolerance, b.const(1.0))
        step = self._correction(b, found.z, theta, factors)
        wrong = b.emit("logical_not", (self._is_small(b, step, b.reshape(tolerance, ()), scales, found.z, theta),))
        wrong = b.emit("logical_or", (found.failed, wrong))
        bad = b.reshape(b.cast(wrong, (), "d"), (1,))
        start = b.emit("where", (b.broadcast(found.failed, (self.n,)), z, b.add(found.z, step)))
        last = slices(b, b.call(self._exact_loop, packed(b, [start, bad, b.const([0.0]), theta, scales, tolerance])),
                      (self.n, 1))[0]  # fmt: skip
        if self.keeps:
            slow = b.emit("greater", (b.reshape(found.eta, ()), b.const(_NEAR)))
            slow = b.cast(b.emit("logical_or", (slow, wrong)), (), "d")
            ended = b.call(self._ends, packed(b, [b.reshape(slow, (1,)), last, theta, factors]))
            last, step, factors = slices(b, ended, (self.n, self.n, self.factors))
        else:
            step, factors = self._corrected(b, last, theta)
        solved = self._is_small(b, step, b.multiply(b.const(1e3), b.reshape(tolerance, ())), scales, last, theta)
        finite = b.emit("less", (self._norm(b, step, scales), b.const(float("inf"))))
        status = b.emit("where", (finite, b.const(float(NO_PROGRESS)), b.const(float(NOT_FINITE))))
        status = b.emit("where", (solved, b.const(float(SOLVED)), status))
        return packed(b, [b.add(last, step), b.reshape(status, (1,)), factors])

    def _correction(self, b: Builder, z: Ref, theta: Ref, factors: Ref) -> Ref:
        """That of z in the simplified iteration. The rate of the iteration is that of the largest errors; where others
        vanish slowly it ends too early, which the next correction tells."""
        at = self.at(b, z, theta)
        right = b.emit("negative", (at.residual(),))
        return self.linear.solve(at, factors, right, transposed=False, derived=False)

    def _is_small(self, b: Builder, step: Ref, limit: Ref, scales: Ref, z: Ref, theta: Ref) -> Ref:
        """Whether a correction of z is within a limit, or within rounding errors."""
        small = b.emit("less_equal", (self._norm(b, step, scales), limit))
        y = slices(b, theta, (1, 1, self.iteration.n))[2]
        size = b.emit("maximum", (self._largest(b, z), self._largest(b, y)))
        noise = b.emit("less_equal", (self._largest(b, step), b.multiply(b.const(1e3 * _ROUNDED), size)))
        return b.emit("logical_or", (small, noise))

    def _corrected(self, b: Builder, z: Ref, theta: Ref) -> tuple[Ref, Ref]:
        """Newton's step with the matrix at z, and its factors."""
        at = self.rules.at(b, z, theta)
        factors = self.rules.linear.factor(at)
        return self.rules.step(at, factors), factors

    @lazy
    def _ends(self) -> Branch:
        """The last corrections, [z | θ | factors] to [z | the correction that is left | factors]: with factors that are
        near, or with new ones."""
        cut = (self.n, self.p, self.factors)

        def near(b: Builder, x: Ref) -> Ref:
            z, theta, factors = slices(b, x, cut)
            for _ in range(_REFINED - 2):
                z = b.add(z, self.rules.step(self.rules.at(b, z, theta), factors))
            return packed(b, [z, self.rules.step(self.rules.at(b, z, theta), factors), factors])

        def new(b: Builder, x: Ref) -> Ref:
            z, theta, _ = slices(b, x, cut)
            return packed(b, [z, *self._corrected(b, z, theta)])

        return Branch.of([made("by near factors", sum(cut), near), made("by new factors", sum(cut), new)], "factors")

    @lazy
    def _exact_loop(self) -> Loop:
        """Newton's iteration with new matrices: of [z | whether it goes on | number], with [θ | scales | tolerance]."""
        sizes = Sizes(self.n + 2, shared=self.p + self.iteration.n + 1)
        cut = (self.n, 1, 1, self.p, self.iteration.n, 1)

        def rows(b: Builder, x: Ref) -> Ref:
            z, _, k, theta, scales, tolerance = slices(b, x, cut)
            rules = self.rules
            at = rules.at(b, z, theta)
            step = rules.step(at, rules.linear.soft(at, rules.linear.factor(at)))
            norm, k = self._norm(b, step, scales), b.add(k, b.const([1.0]))
            large = b.emit("greater", (norm, b.reshape(tolerance, ())))
            more = b.emit("logical_and", (large, b.emit("less", (b.reshape(k, ()), b.const(float(_MOST_EXACT))))))
            return packed(b, [b.add(z, step), b.reshape(b.cast(more, (), "d"), (1,)), k])

        body = made("Newton iteration", sizes.inside, rows)
        condition = made("whether it goes on", sizes.inside, lambda b, x: b.region(x, (self.n, 1, 1), (1,)))
        options = {"condition": condition, "usual_steps": CONVERGING}
        return Loop.of("Newton's iteration with new matrices", sizes, -1, body, **options)

    @lazy
    def exact(self) -> Sub:
        """[first z | θ | factors | scales | tolerance] to [z | status | factors near z], with derivatives by θ."""
        sub = made(f"exact stages of {self.iteration.f.name}", self.n + sum(self._given), self._exactly)
        return Sub(sub.n_in, sub.n_out, sub.name, sub.table, rules=self.rules)

    def solved(self, b: Builder, z: Ref, theta: Ref, factors: Ref, scales: Ref, tolerance: Ref) -> "Solved":
        """The rows of the exact solution."""
        still = lambda v: b.emit("stop_gradient", (v,))
        given = [still(z), theta, *map(still, (factors, scales)), b.reshape(still(tolerance), (1,))]
        z, status = slices(b, b.call(self.exact, packed(b, given)), (self.n, 1))
        return Solved(z, z, status, status, b.const(False), b.const(0.0))

    def adjoint_residual(self, b: Builder, z: Ref, theta: Ref, factors: Ref, scales: Ref, tolerance: Ref) -> Ref:
        """That of F_zᵀ r = u at the exact solution near z, solved as derivatives are; 0 where there is no solution."""
        sub = self.exact
        x = packed(b, [z, theta, factors, scales, b.reshape(tolerance, (1,))])
        at, refined, status = self.rules.linearised(sub, b, x, b.call(sub, x))
        u = b.const(without_symmetry(self.n))
        found = residual_of_adjoint(at, self.rules.linear, u, refined(u, True))
        solved = b.emit("equal", (b.reshape(status, ()), b.const(float(SOLVED))))
        return b.emit("where", (solved, found, b.const(0.0)))


def _combined(b: Builder, weights: Any, vectors: Sequence[Ref]) -> Ref:
    return b.add(*(b.multiply(b.const(float(w)), v) for w, v in zip(weights, vectors, strict=True) if w))


@dataclass(frozen=True)
class Solved:
    """The solution of the equations of a block: z, the last correction, the rate η, the number of iterations, whether
    it has failed, and the error that is left: η times the last correction's norm (Hairer & Wanner II, (IV.8.10))."""

    z: Ref
    step: Ref
    eta: Ref
    count: Ref
    failed: Ref
    left: Ref
