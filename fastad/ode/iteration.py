"""The linear systems of implicit methods: M − c ∂f/∂y, where M is the mass matrix and c = γh.

They are those of the equation M y − c f(t, y) = 0, so its pattern, its compressed Jacobian and its factors come from
`fastad.equations`. One vector of factors serves all stages of a step, and the derivatives of these at any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point
from fastad.equations.sparse import Automatic
from fastad.execution.composites.evaluating import run
from fastad.ode.mass import Mass
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import Sub, emit_inline, made, packed, slices
from fastad.tables.inline import compact, inline
from fastad.tables.reference import evaluate
from fastad.tables.table import Table


@dataclass(frozen=True, eq=False)
class Iteration:
    """The systems of a right-hand side f: [t | y | own] to [f(t, y)], and how they are solved. Behind `own` the steps
    share the numbers of the mass matrix and the plan of the linear solver."""

    f: Sub
    n: int
    mass: Mass | None = None
    linear: LinearSolver | None = None

    @property
    def own(self) -> int:
        return self.f.n_in - 1 - self.n

    @property
    def numbers(self) -> int:
        """Size of the numbers of the mass matrix."""
        return 0 if self.mass is None else self.mass.size

    @property
    def further(self) -> int:
        """Size of what stands behind `own`."""
        return self.numbers + (0 if self.linear is None else self.linear.plan_size)

    @lazy
    def equation(self) -> "IterationEquation":
        """M y − c f(t, y) = 0 with the parameters [t | c | own | numbers of M]."""
        n = self.n

        def rows(b: Builder, x: Ref) -> Ref:
            y, t, c, own, numbers = slices(b, x, (n, 1, 1, self.own, self.numbers))
            slope = emit_inline(b, self.f, packed(b, [t, y, own]))
            moved = y if self.mass is None else self.mass.times(b, numbers, y)
            return b.emit("subtract", (moved, b.multiply(b.reshape(c, ()), slope)))

        sub = made(f"iteration matrix of {self.f.name}", n + 2 + self.own + self.numbers, rows)
        found = IterationEquation.of(n, sub)
        vars(found)["iteration"] = self
        return found

    @lazy
    def slope(self) -> Equation:
        """f(t, y) = 0 with the parameters [t | own]."""
        n = self.n

        def rows(b: Builder, x: Ref) -> Ref:
            y, t, own = slices(b, x, (n, 1, self.own))
            return emit_inline(b, self.f, packed(b, [t, y, own]))

        return Equation.of(n, made(self.f.name, self.f.n_in, rows))

    @lazy
    def is_autonomous(self) -> bool:
        """Whether f does not depend on t."""
        return not bool((self.f.structure.indices == 0).any())

    def at(self, b: Builder, t: Ref, c: Ref, y: Ref, shared: Ref) -> "Linearised":
        """The system at (t, y)."""
        assert self.linear is not None
        sizes = (self.own + self.numbers, self.linear.plan_size)
        given, plan, _ = slices(b, shared, (*sizes, b.size(shared) - sum(sizes)))
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


def iteration_of(
    f: Sub, mass: Mass | None, t: np.ndarray, y: np.ndarray, own: np.ndarray, numbers: np.ndarray
) -> tuple[Iteration, np.ndarray]:
    """The systems of a right-hand side, for numbers that are typical of it, with the linear solver that suits them: a
    division, dense factors, or those of a sparse matrix; and the plan of this solver."""
    first = Iteration(f, len(y), mass)
    c = _typical(first, t, y, own)
    theta = np.concatenate([np.ravel(t), [c], own, numbers])
    linear, plan = Automatic().prepare(first.equation, y, theta)
    found = Iteration(f, len(y), mass, linear)
    vars(found)["equation"] = first.equation  # with what is known of its pattern
    return found, plan


def _typical(iteration: Iteration, t: np.ndarray, y: np.ndarray, own: np.ndarray) -> float:
    """c for which M and c ∂f/∂y are of one size."""
    if iteration.n == 1:
        return 1.0
    slope = iteration.slope
    given = [y, np.concatenate([np.ravel(t), own])]
    table = slope.compressed.table if iteration.n > _FEW else slope._jacobian
    size = float(np.abs(evaluate(table, given, run)[-1]).max(initial=0.0))
    return 1.0 / size if 0.0 < size < np.inf else 1.0


_FEW = 100  # unknowns up to which the whole Jacobian is looked at
