"""The linear systems of three stages that are solved for together, by a real one of n unknowns and a complex one.

With A⁻¹ = T Λ T⁻¹, where Λ has the real eigenvalue γ and [[α, β], [−β, α]] for the complex pair, the matrix
I ⊗ M − h A ⊗ J is (A T ⊗ I) (Λ ⊗ M − h I ⊗ J) (T⁻¹ ⊗ I): systems with γM − hJ, and with α ± iβ in the place of γ, which
are real ones of 2n unknowns: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.8. That is Newton's
iteration of a trial step, with J of one point. Where the equations are solved to rounding errors, and derivatives are
taken, J differs from stage to stage: there the matrix of all stages is factorised, dense, as a band or sparse.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point, solver_from
from fastad.equations.sparse import Automatic
from fastad.ode.iteration import Iteration, typical
from fastad.ode.newton import Block
from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import emit_inline, made, packed, slices
from fastad.tables.inline import compact, inline
from fastad.tables.table import Table

STAGES = 3
_FEW = 10  # unknowns up to which the matrix of all stages together is factorised in no more time


# ── the tableau ───────────────────────────────────────────────────────────────────────────────────────────────
class Transform:
    """T, T⁻¹A⁻¹, γ and [[α, β], [−β, α]] of a tableau A with a real eigenvalue and a complex pair."""

    def __init__(self, a: Sequence[float]) -> None:
        inverse = np.linalg.inv(np.reshape(a, (STAGES, STAGES)))
        values, vectors = np.linalg.eig(inverse)
        own, other = int(np.argmin(np.abs(values.imag))), int(np.argmax(values.imag))
        both = vectors[:, other]
        self.basis = np.array([vectors[:, own].real, both.real, both.imag]).T
        self.before = np.linalg.inv(self.basis) @ inverse
        self.real, alpha, beta = float(values[own].real), values[other].real, values[other].imag
        self.pair = np.array([[alpha, beta], [-beta, alpha]])


# ── the complex matrix ────────────────────────────────────────────────────────────────────────────────────────
class Pair(Equation):
    """The equation of (v, w), n pairs of numbers side by side, with the parameters [t | h | y | own | numbers of M].
    Its Jacobian at (0, 0) is the matrix from v and w to αMv + βMw − hJv and αMw − βMv − hJw."""

    iteration: Iteration
    shift: np.ndarray

    @classmethod
    def at(cls, own: Iteration, shift: np.ndarray) -> "Pair":
        """That of an iteration and [[α, β], [−β, α]]."""
        n, given = own.n, own.own + own.numbers

        def rows(b: Builder, x: Ref) -> Ref:
            both, t, h, y, others = slices(b, x, (2 * n, 1, 1, n, given))
            parts = [b.region(both, region(i, (n,), (2,)), (n,)) for i in range(2)]
            found = []
            for part, weights in zip(parts, shift, strict=True):
                there = b.add(y, part)
                moved = b.add(*(b.multiply(b.const(float(c)), v) for c, v in zip(weights, parts, strict=True)))
                slope = emit_inline(b, own.bare, packed(b, [t, there, slices(b, others, (own.own,))[0]]))
                change = b.multiply(b.reshape(h, ()), slope)
                found.append(b.emit("subtract", (own.moved(b, t, there, others, moved), change)))
            return b.assemble(found, [region(i, (n,), (2,)) for i in range(2)], (2 * n,))

        found = cls.of(2 * n, made(f"complex iteration matrix of {own.bare.name}", 2 * n + 2 + n + given, rows))
        vars(found).update(iteration=own, shift=shift)
        return found

    @lazy
    def _jacobian(self) -> Table:
        """Of one Jacobian of the right-hand side."""
        own, n, b = self.iteration, self.iteration.n, Builder()
        both, theta = b.input((2 * n,)), b.input((self.p,))
        t, h, y, given, numbers = slices(b, theta, (1, 1, n, own.own, own.numbers))
        there = b.add(y, b.region(both, region(0, (n,), (2,)), (n,)))
        slope = own.slope._jacobian
        found = inline(b, slope, [there, packed(b, [t, given])])[slope.outputs[-1]]
        change = b.multiply(b.reshape(h, ()), b.reshape(found, (n, n)))
        mass = b.const(np.eye(n)) if own.mass is None else own.mass.matrix(b, numbers)
        pieces, places = [], []
        for i, j in np.ndindex(2, 2):
            block = b.multiply(b.const(float(self.shift[i, j])), mass)
            pieces.append(b.emit("subtract", (block, change)) if i == j else block)
            places.append(region(i * 2 * n + j, (n, n), (4 * n, 2)))
        return compact(b.table([b.assemble(pieces, places, (2 * n, 2 * n))]))


# ── the solver ────────────────────────────────────────────────────────────────────────────────────────────────
class Coupled(LinearSolver, kind="coupled stages"):
    """Factors of M − (h/γ)J and of the complex matrix, of n unknowns, for stages with the tableau `a`; `real` and
    `pair` say how they are solved with. The plan has that of the pair first."""

    parameters = [int, list, list, list]
    has_matrix = False

    def __init__(self, n: int, a: list[float], real: list[Any], pair: list[Any]) -> None:
        self.n, self.a = n, a
        self.real, self.pair = solver_from(real), solver_from(pair)

    @classmethod
    def prepared(
        cls, iteration: Iteration, a: Any, theta: np.ndarray, chosen: LinearSolver
    ) -> "tuple[Coupled, np.ndarray]":
        """The solver for stages with the tableau A and the plan of its pair, for typical parameters θ of `Pair`. The
        solver of one stage is that of `iteration`, and `chosen` chooses the other one."""
        assert iteration.linear is not None
        flat = np.ravel(a).tolist()
        equation = Pair.at(iteration, Transform(flat).pair)
        pair, plan = chosen.prepare(equation, np.zeros(2 * iteration.n), theta)
        found = cls(iteration.n, flat, iteration.linear.data(), pair.data())
        vars(found)["equations"] = iteration.equation, equation
        return found, plan

    def data(self) -> list[Any]:
        return [self.kind, self.n, self.a, self.real.data(), self.pair.data()]

    @lazy
    def transform(self) -> Transform:
        return Transform(self.a)

    @property
    def plan_size(self) -> int:
        return self.pair.plan_size + self.real.plan_size

    @property
    def real_size(self) -> int:
        """Size of the factors of the real matrix, which are first."""
        return self.real.factor_size(self.n)

    def factor_size(self, n: int) -> int:
        return self.real_size + self.pair.factor_size(2 * self.n)

    # ── factors ──────────────────────────────────────────────────────────────────────────────────────────────
    def _points(self, b: Any, theta: Ref, moved: Ref | None = None) -> tuple[Point, Point]:
        """Where both matrices are: at the base of the stages, or at that and a vector."""
        real, pair = vars(self)["equations"]
        sizes = self.pair.plan_size, self.real.plan_size
        others = b.size(theta) - self.n - real.p - sum(sizes)
        t, h, y, given, _, first, last = slices(b, theta, (1, 1, self.n, real.p - 2, others, *sizes))
        y = y if moved is None else b.add(y, moved)
        c = b.multiply(b.const(1.0 / self.transform.real), h)
        return (
            Point(b, real, y, packed(b, [t, c, given]), last),
            Point(b, pair, b.zeros((2 * self.n,)), packed(b, [t, h, y, given]), first),
        )

    def factor(self, at: Point) -> Ref:
        """Those at the mean of the stages."""
        b = at.b
        mean = b.multiply(b.const(1.0 / STAGES), b.add(*slices(b, at.x, [self.n] * STAGES)))
        real, pair = self._points(b, at.theta, mean)
        return packed(b, [self.real.factor(real), self.pair.factor(pair)])

    def soft(self, at: Point, factor: Ref) -> Ref:
        b, (real, pair) = at.b, self._points(at.b, at.theta)
        first, last = self._cut(b, factor)
        return packed(b, [self.real.soft(real, first), self.pair.soft(pair, last)])

    def _cut(self, b: Any, factor: Ref) -> list[Ref]:
        return slices(b, factor, (self.real_size, self.pair.factor_size(2 * self.n)))

    # ── solutions ────────────────────────────────────────────────────────────────────────────────────────────
    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        """(T ⊗ I) (Λ ⊗ M − h I ⊗ J)⁻¹ (T⁻¹A⁻¹ ⊗ I) r, or with the transpose of all. It has no derivative."""
        b, n, own = at.b, self.n, self.transform
        before, after = (own.basis.T, own.before.T) if transposed else (own.before, own.basis)
        (real, pair), (first, last) = self._points(b, at.theta), self._cut(b, factor)
        side = [combined(b, weights, slices(b, rhs, [n] * STAGES)) for weights in before]
        options: Any = {"transposed": transposed, "derived": False}
        found = [b.multiply(b.const(1.0 / own.real), self.real.solve(real, first, side[0], **options))]
        both = b.assemble(side[1:], [region(i, (n,), (2,)) for i in range(2)], (2 * n,))
        both = self.pair.solve(pair, last, both, **options)
        found += [b.region(both, region(i, (n,), (2,)), (n,)) for i in range(2)]
        return packed(b, [combined(b, weights, found) for weights in after])


def with_coupled(iteration: Iteration, plan: Any, a: Any, c: Any, start: Any) -> tuple[Iteration, Any]:
    """The systems of an iteration with those of stages that are solved for together, and the plans of all."""
    t, y, own, numbers = start
    mass = iteration.mass
    if iteration.n <= _FEW or (mass is not None and mass.function is not None):
        return iteration, plan
    theta = np.concatenate([np.ravel(t), [typical(iteration, t, y, own)], y, own, numbers])
    coupled, further = Coupled.prepared(iteration, a, theta, Automatic())
    bare = replace(iteration, linear=None)  # whose parameters have no plan
    stages = Block(bare, a, c, coupled).equation
    exact, before = Automatic().prepare(stages, np.zeros(STAGES * iteration.n), theta)
    found = replace(iteration, coupled=coupled, exact=exact)
    vars(found).update(equation=iteration.equation, slope=iteration.slope)
    return found, np.concatenate([before, further, plan])


def combined(b: Any, weights: Any, vectors: Sequence[Ref]) -> Ref:
    """The sum of weighted vectors."""
    return b.add(*(b.multiply(b.const(float(w)), v) for w, v in zip(weights, vectors, strict=True)))
