"""The derivatives of exact stages: those of the implicit function theorem, by the factors of the matrix near them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point, solver_from
from fastad.primitives.equations import INEXACT, SOLVED
from fastad.tables.builder import Ref
from fastad.tables.composites.sub import Sub, packed, slices
from fastad.tables.composites.sub_rules import RowRules, Rules
from fastad.tables.sparsity.sets import Structure

MOST = 10  # refinements of a solution


@dataclass(frozen=True, eq=False)
class StageRules(RowRules, Rules, kind="stages"):
    """The rules of a row [first z | θ | …] to [z | status | factors near z] that solves F(z, θ) = 0: with F_z at the
    solution, by its factors nearby and iterative refinement."""

    equation: Equation
    linear: LinearSolver
    n: int
    p: int
    plan: int  # where the plan starts in θ
    stages: int
    refinements: int = 1

    @property
    def key(self) -> str:
        numbers = self.plan, self.stages, self.refinements
        return f" stages {self.equation.sub.key}, {self.linear.data()}, {numbers}"

    def at(self, b: Any, z: Ref, theta: Ref) -> Point:
        """The equations at a point."""
        size = self.linear.plan_size
        return Point(b, self.equation, z, theta, b.region(theta, (self.plan, size, 1), (size,)))

    def step(self, at: Point, factors: Ref) -> Ref:
        """Newton's step."""
        right = at.b.emit("negative", (at.residual(),))
        return self.linear.solve(at, factors, right, transposed=False, derived=not self.linear.is_exact)

    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        result = b.call(sub, x)
        at, solve = self._at(sub, b, x, result)
        moving = b.region(dx, (self.n, self.p, 1), (self.p,))
        found = solve(b.emit("negative", (at.along(moving, wrt=1),)), False)
        return result, packed(b, [found, b.zeros((sub.n_out - self.n,))])

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        at, solve = self._at(sub, b, x, b.call(sub, x))
        r = solve(b.region(u, (0, self.n, 1), (self.n,)), True)
        bar = at.pulled(b.emit("negative", (r,)), wrt=1)
        return packed(b, [b.zeros((self.n,)), bar, b.zeros((sub.n_in - self.n - self.p,))])

    def _at(self, sub: Sub, b: Any, x: Ref, result: Ref) -> tuple[Point, Callable[[Ref, bool], Ref]]:
        at, refined, status = self.linearised(sub, b, x, result)

        def solve(rhs: Ref, transposed: bool) -> Ref:
            found = refined(rhs, transposed)
            unsolved = b.emit("not_equal", (status, b.const(float(SOLVED))))
            why = b.emit("where", (unsolved, b.const(float(INEXACT)), b.const(float(SOLVED))))
            statics = 1, self.n, self.n // self.stages, 1
            return b.emit("solved", (found, self._of_components(at), why), statics, (self.n,))

        return at, solve

    def _of_components(self, at: Point) -> Ref:
        """The residual; of several stages, the largest one of each component."""
        b, m = at.b, self.stages
        if m == 1:
            return at.residual()
        return b.emit("amax", (b.emit("absolute", (at.residual(),)),), (1, m, self.n // m), (self.n // m,))

    def linearised(self, sub: Sub, b: Any, x: Ref, result: Ref) -> tuple[Point, Callable[[Ref, bool], Ref], Ref]:
        """The equations at their solution, how systems with F_z there, or its transpose, are solved, and the status."""
        z, status, factors = slices(b, result, (self.n, 1, sub.n_out - self.n - 1))
        theta = slices(b, x, (self.n, self.p))[1]
        at = self.at(b, z, theta)

        def refined(rhs: Ref, transposed: bool) -> Ref:
            found = self.linear.solve(at, factors, rhs, transposed=transposed)
            for _ in range(self.refinements):
                reached = at.pulled(found, wrt=0) if transposed else at.along(found, wrt=0)
                left = b.emit("subtract", (rhs, reached))
                found = b.add(found, self.linear.solve(at, factors, left, transposed=transposed))
            return found

        return at, refined, status

    def structure(self, sub: Sub) -> Structure:
        return Structure.blocks((sub.n_out, sub.n_in), [(0, self.n, self.n, self.p)])

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def parts(self) -> tuple[Sub, ...]:
        return (self.equation.sub,)

    def check(self, sub: Sub) -> str | None:
        equation, size = self.equation.sub, self.linear.factor_size(self.n)
        if min(self.n, self.p) < 0 or (equation.n_in, equation.n_out) != (self.n + self.p, self.n):
            return "stages of other sizes"
        if self.stages < 1 or self.n % self.stages:
            return "another number of stages"
        if equation.table is None or sub.n_in < self.n + self.p or sub.n_out != self.n + 1 + size:
            return "a solution of stages of another size"
        if not 0 < self.refinements <= MOST:
            return "another number of refinements"
        return None if 0 <= self.plan <= self.p - self.linear.plan_size else "a plan that has no place"

    def to_data(self, write: Any) -> dict[str, Any]:
        sizes = [self.n, self.p, self.plan, self.stages, self.refinements]
        return {"equation": write(self.equation.sub), "linear": self.linear.data(), "sizes": sizes}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "StageRules":
        n, p, plan, stages, refinements = data.list_of("sizes", [int] * 5)
        linear = solver_from(data.of("linear", list))
        return StageRules(Equation(n, lambda: read(data.get("equation"))), linear, n, p, plan, stages, refinements)
