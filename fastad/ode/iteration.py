"""The linear systems of implicit methods: M − c ∂f/∂y, where M is the mass matrix and c = γh.

They are those of the equation M y − c f(t, y) = 0, so its pattern, its compressed Jacobian and its factors come from
`fastad.equations`. One vector of factors serves all stages of a step, and the derivatives of these at any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point, default_solver
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import Sub, emit_inline, made, packed, slices
from fastad.tables.sparsity.sets import Structure


@dataclass(frozen=True, eq=False)
class Iteration:
    """The systems of a right-hand side f: [t | y | shared] to [f(t, y)], and how they are solved. What the steps share
    ends with the plan of the linear solver."""

    f: Sub
    n: int
    linear: LinearSolver

    @property
    def shared(self) -> int:
        return self.f.n_in - 1 - self.n

    @lazy
    def equation(self) -> Equation:
        """M y − c f(t, y) = 0 with the parameters [t | c | shared]."""
        n, shared = self.n, self.shared

        def rows(b: Builder, x: Ref) -> Ref:
            y, t, c, others = slices(b, x, (n, 1, 1, shared))
            slope = emit_inline(b, self.f, packed(b, [t, y, others]))
            return b.emit("subtract", (y, b.multiply(b.reshape(c, ()), slope)))

        return Equation.of(n, made(f"iteration matrix of {self.f.name}", n + 2 + shared, rows))

    @lazy
    def is_autonomous(self) -> bool:
        """Whether f does not depend on t."""
        structure: Structure = self.f.structure
        return not bool((structure.indices == 0).any())

    def at(self, b: Builder, t: Ref, c: Ref, y: Ref, shared: Ref) -> "Linearised":
        """The system at (t, y). What the steps share may go on behind what f is given."""
        shared = b.region(shared, (0, self.shared, 1), (self.shared,))
        theta = packed(b, [t, c, shared])
        size = self.linear.plan_size
        plan = b.region(shared, (self.shared - size, size, 1), (size,))
        point = Point(b, self.equation, y, theta, plan)
        return Linearised(self, point, self.linear.factor(point))


@dataclass(frozen=True, eq=False)
class Linearised:
    """M − c ∂f/∂y at a point, factorised."""

    iteration: Iteration
    point: Point
    factor: Ref

    def mass(self, v: Ref) -> Ref:
        """M v."""
        return v

    def solve(self, rhs: Ref) -> Ref:
        """The solution of the system with a right side."""
        return self.iteration.linear.solve(self.point, self.factor, rhs, transposed=False)


def iteration_of(f: Sub, t: Any, y: np.ndarray, values: Sequence[Any]) -> tuple[Iteration, list[Any]]:
    """The systems of a right-hand side, for numbers that are typical of it; and the plan of their solver, if it has
    one."""
    n = len(y)
    return Iteration(f, n, default_solver(n)), []
