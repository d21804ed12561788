"""The linear systems of implicit methods: M − c ∂f/∂y, where M is the mass matrix and c = γh.

They are those of the equation M y − c f(t, y) = 0, so its pattern, its compressed Jacobian and its factors come from
`fastad.equations`. One vector of factors serves all stages of a step, and the derivatives of these at any order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point, default_solver
from fastad.equations.sparse import Automatic
from fastad.execution.composites.evaluating import run
from fastad.ode.mass import Mass
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import Sub, emit_inline, made, packed, slices
from fastad.tables.inline import compact, inline
from fastad.tables.reference import evaluate
from fastad.tables.table import Table


def with_further(f: Sub, count: int) -> Sub:
    """A right-hand side that is given further numbers, which it does not use."""
    n = f.n_in
    return made(f.name, n + count, lambda b, x: emit_inline(b, f, slices(b, x, (n, count))[0])) if count else f


@dataclass(frozen=True, eq=False)
class Iteration:
    """The systems of a right-hand side `bare`: [t | y | own] to [f(t, y)], and how they are solved. Behind `own` the
    steps share the numbers of the mass matrix, and then the plan of the linear solver."""

    bare: Sub
    n: int
    mass: Mass | None = None
    linear: LinearSolver | None = None
    coupled: LinearSolver | None = None  # of coupled stages in trial steps
    exact: LinearSolver | None = None  # and where they are solved for exactly
    products: "Callable[[Iteration, Sequence[Sequence[float]]], LinearSolver] | None" = None  # of stages, no matrices

    @property
    def own(self) -> int:
        return self.bare.n_in - 1 - self.n

    @property
    def numbers(self) -> int:
        """Size of the numbers of the mass matrix."""
        return 0 if self.mass is None else self.mass.size

    @property
    def plan(self) -> int:
        """Size of the plans: of exact solutions, and of the others, which has the one of one stage last."""
        own = self.coupled or self.linear
        return (0 if own is None else own.plan_size) + (0 if self.exact is None else self.exact.plan_size)

    @property
    def shared(self) -> int:
        """Size of all that the steps share."""
        return self.own + self.numbers + self.plan

    def moved(self, b: Builder, t: Ref, y: Ref, shared: Ref, v: Ref) -> Ref:
        """M v at (t, y), where what the steps share may go on."""
        if self.mass is None:
            return v
        own, numbers = slices(b, shared, (self.own, self.numbers))
        return self.mass.times(b, self.mass.numbers_at(b, t, y, own, numbers), v)

    @lazy
    def f(self) -> Sub:
        """The right-hand side of [t | y | all that the steps share]."""
        return with_further(self.bare, self.numbers + self.plan)

    @lazy
    def equation(self) -> Equation:
        """M y − c f(t, y) = 0 with the parameters [t | c | own | numbers of M]."""
        n = self.n

        def rows(b: Builder, x: Ref) -> Ref:
            y, t, c, own, numbers = slices(b, x, (n, 1, 1, self.own, self.numbers))
            slope = emit_inline(b, self.bare, packed(b, [t, y, own]))
            moved = self.moved(b, t, y, packed(b, [own, numbers]), y)
            return b.emit("subtract", (moved, b.multiply(b.reshape(c, ()), slope)))

        sub = made(f"iteration matrix of {self.bare.name}", n + 2 + self.own + self.numbers, rows)
        if self.mass is not None and self.mass.function is not None:
            return Equation.of(n, sub)
        found = IterationEquation.of(n, sub)
        vars(found)["iteration"] = self
        return found

    @lazy
    def slope(self) -> Equation:
        """f(t, y) = 0 with the parameters [t | own]."""
        n = self.n

        def rows(b: Builder, x: Ref) -> Ref:
            y, t, own = slices(b, x, (n, 1, self.own))
            return emit_inline(b, self.bare, packed(b, [t, y, own]))

        return Equation.of(n, made(self.bare.name, self.bare.n_in, rows))

    def solver_of(self, a: Sequence[Sequence[float]]) -> LinearSolver:
        """The solver for the systems of stages with these rows of the tableau."""
        if self.products is not None:
            return self.products(self, a)
        m = len(a)
        found = self.linear if m == 1 else self.coupled or default_solver(m * self.n)
        assert found is not None
        return found

    def factors(self, m: int) -> int:
        """Size of the factors of one stage, and of those of m stages together."""
        one = 0 if self.linear is None else self.linear.factor_size(self.n)
        if m == 1 or self.products is not None:
            return one
        together = self.coupled or default_solver(m * self.n)
        return together.factor_size(m * self.n) + (0 if self.coupled else one)

    @lazy
    def is_autonomous(self) -> bool:
        """Whether f does not depend on t."""
        return not bool((self.bare.structure.indices == 0).any())

    def at(self, b: Builder, t: Ref, c: Ref, y: Ref, shared: Ref) -> "Linearised":
        """The system at (t, y)."""
        assert self.linear is not None
        further = self.plan - self.linear.plan_size
        given, _, plan = slices(b, shared, (self.own + self.numbers, further, self.linear.plan_size))
        if self.mass is not None and self.mass.is_singular:  # a step of size 0 has a regular matrix too
            c = b.emit("where", (b.emit("equal", (c, b.const(0.0))), b.const(1.0), c))
        point = Point(b, self.equation, y, packed(b, [t, c, given]), plan)
        return Linearised(self, point, self.linear.soft(point, self.linear.factor(point)))


class IterationEquation(Equation):
    """M y − c f(t, y) = 0, whose Jacobian is made of that of f."""

    iteration: Iteration

    @lazy
    def _jacobian(self) -> Table:
        own, b = self.iteration, Builder()
        y, theta = b.input((self.n,)), b.input((self.p,))
        t, c, others, numbers = slices(b, theta, (1, 1, own.own, own.numbers))
        slope = own.slope._jacobian
        matrix = inline(b, slope, [y, packed(b, [t, others])])[slope.outputs[-1]]
        mass = b.const(np.eye(self.n)) if own.mass is None else own.mass.matrix(b, numbers)
        matrix = b.reshape(matrix, (self.n, self.n))
        return compact(b.table([b.emit("subtract", (mass, b.multiply(b.reshape(c, ()), matrix)))]))


@dataclass(frozen=True, eq=False)
class Linearised:
    """M − c ∂f/∂y at a point, factorised."""

    iteration: Iteration
    point: Point
    factor: Ref

    def mass(self, v: Ref) -> Ref:
        """M v."""
        own, b = self.iteration, self.point.b
        if own.mass is None:
            return v
        start = self.point.equation.p - own.numbers
        return own.mass.times(b, b.region(self.point.theta, (start, own.numbers, 1), (own.numbers,)), v)

    def solve(self, rhs: Ref) -> Ref:
        """The solution of the system with a right side."""
        assert self.iteration.linear is not None
        return self.iteration.linear.solve(self.point, self.factor, rhs, transposed=False)

    def adjoint_residual(self) -> Ref:
        """That of the transposed system, relative."""
        linear, b = self.iteration.linear, self.point.b
        assert linear is not None
        u = b.const(without_symmetry(self.iteration.n))
        found = linear.solve(self.point, self.factor, u, transposed=True)
        return residual_of_adjoint(self.point, linear, u, found)


def without_symmetry(n: int) -> np.ndarray:
    """A vector with components of all sizes between 1 and 2 and both signs: one of ones, say, is an eigenvector of the
    transposed Jacobian wherever mass is conserved."""
    return (1.0 + (0.6180339887498949 * np.arange(n)) % 1.0) * np.where(np.arange(n) % 2, -1.0, 1.0)


def residual_of_adjoint(at: Point, linear: LinearSolver, u: Ref, r: Ref) -> Ref:
    """The residual of F_xᵀ r = u, relative to ‖F_xᵀ‖ ‖r‖ + ‖u‖ (maximum norms; to ‖u‖ where there is no matrix)."""
    b = at.b
    largest = lambda v: b.emit("amax", (b.emit("absolute", (v,)),), (1, b.size(v), 1), ())
    size = largest(u)
    if linear.has_matrix:
        size = b.add(size, b.multiply(b.reshape(linear.norm(at), ()), largest(r)))
    found = b.emit("divide", (largest(b.emit("subtract", (at.pulled(r, wrt=0), u))), size))
    return b.emit("stop_gradient", (found,))


def iteration_of(
    bare: Sub,
    mass: Mass | None,
    t: np.ndarray,
    y: np.ndarray,
    own: np.ndarray,
    numbers: np.ndarray,
) -> tuple[Iteration, np.ndarray]:
    """The systems of a right-hand side, for numbers that are typical of it, with the linear solver that suits them: a
    division, dense factors, or those of a band or of a sparse matrix; and its plan."""
    first = Iteration(bare, len(y), mass)
    c = typical(first, t, y, own)
    theta = np.concatenate([np.ravel(t), [c], own, numbers])
    linear, plan = Automatic().prepare(first.equation, y, theta)
    found = Iteration(bare, len(y), mass, linear)
    vars(found)["equation"] = first.equation  # with what is known of its pattern
    vars(found)["slope"] = first.slope
    return found, plan


def typical(iteration: Iteration, t: np.ndarray, y: np.ndarray, own: np.ndarray) -> float:
    """c for which M and c ∂f/∂y are of one size."""
    if iteration.n == 1:
        return 1.0
    slope = iteration.slope
    given = [y, np.concatenate([np.ravel(t), own])]
    table = slope.compressed.table if iteration.n > _FEW else slope._jacobian
    size = float(np.abs(evaluate(table, given, run)[-1]).max(initial=0.0))
    return 1.0 / size if 0.0 < size < np.inf else 1.0


_FEW = 100  # unknowns up to which the whole Jacobian is looked at
