"""Derivatives of a solution x(θ) of F(x, θ) = 0, whatever has computed it.

The implicit function theorem: F_x ẋ = −F_θ θ̇, and with F_xᵀ r = x̄ the adjoint is θ̄ = −F_θᵀ r (Blondel & Roulet, The
Elements of Differentiable Programming, 2024, Proposition 17.73). Both are rows of the table, so they are derived again
for higher orders; and as x and the factors of F_x are results of the row that has solved the equation, nothing is
solved or factorised twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastad.equations.equation import Equation, cut, placed
from fastad.equations.linear import ILL, Judgement, LinearSolver, Point, solver_from
from fastad.primitives.equations import INACCURATE
from fastad.tables.builder import Ref
from fastad.tables.composites.choices import made
from fastad.tables.composites.notices import warned_if
from fastad.tables.composites.sub import Sub, slices
from fastad.tables.composites.sub_rules import Rules

_NOTICE = (
    "the Jacobian of an equation is nearly singular at its solution, as near a fold: the condition number is more than "
    f"{ILL:.0e}, and derivatives lose as many digits"
)


@dataclass(frozen=True)
class Sizes:
    """Lengths of the vectors of a row that solves an equation: [first x | θ | plan | own] to
    [x | correction | status | facts | factors].

    The solution is x + correction, and the factors are those of F_x at x, where the derivatives are taken if there are
    factors. The plan of
    the linear solver, and what the solver needs besides, `own` (a tolerance, say), have no derivative, nor has the
    first guess.
    """

    n: int
    p: int
    plan: int
    own: int
    facts: int
    factors: int

    @property
    def ends(self) -> tuple[int, int]:
        return self.n + self.p + self.plan + self.own, 2 * self.n + 1 + self.facts + self.factors


@dataclass(frozen=True, eq=False)
class ImplicitRules(Rules, kind="implicit"):
    """The rules of a row that solves F(x, θ) = 0, or of several lanes of such a row."""

    equation: Equation
    sizes: Sizes
    linear: LinearSolver
    lanes: int = 0

    @property
    def key(self) -> str:
        return f" solves {self.equation.sub.key}, {self.sizes}, {self.linear.data()}, {self.lanes} lanes"

    def over_lanes(self, sub: Sub, size: int) -> Rules:
        return ImplicitRules(self.equation, self.sizes, self.linear, size * max(self.lanes, 1))

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        result = b.call(sub, x)
        at, solve = self._solved(b, x, result)
        s = self.sizes
        moving = cut(b, dx, self.lanes, s.n, s.p, s.ends[0])
        out = solve(b.emit("negative", (at.along(moving, wrt=1),)), False)
        return result, placed(b, [(out, 0, s.n)], self.lanes, s.ends[1])

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        at, solve = self._solved(b, x, b.call(sub, x))
        s = self.sizes
        r = solve(cut(b, u, self.lanes, 0, s.n, s.ends[1]), True)
        bar = at.pulled(b.emit("negative", (r,)), wrt=1)
        return placed(b, [(bar, s.n, s.p)], self.lanes, s.ends[0])

    def tangent(self, sub: Sub) -> Sub:
        def rows(b: Any, v: Ref) -> Ref:
            return self.emit_joint(sub, b, *slices(b, v, (sub.n_in, sub.n_in)))[1]

        return made(f"tangent of {sub.name}", 2 * sub.n_in, rows)

    def adjoint(self, sub: Sub) -> Sub:
        def rows(b: Any, v: Ref) -> Ref:
            return self.emit_adjoint(sub, b, *slices(b, v, (sub.n_in, sub.n_out)))

        return made(f"adjoint of {sub.name}", sub.n_in + sub.n_out, rows)

    def _solved(self, b: Any, v: Ref, result: Ref) -> tuple[Point, Callable[[Ref, bool], Ref]]:
        """The point of the solution, and the function that solves linear systems there: an error unless the equation
        was solved."""
        s, lanes, end = self.sizes, self.lanes, self.sizes.ends[1]
        x, status = cut(b, result, lanes, 0, s.n, end), cut(b, result, lanes, 2 * s.n, 1, end)
        if not self.linear.has_factors:
            x = b.add(x, cut(b, result, lanes, s.n, s.n, end))
        factor = cut(b, result, lanes, 2 * s.n + 1 + s.facts, s.factors, end)
        plan = cut(b, v, 0, s.n + s.p, s.plan, s.ends[0])  # that of the first lane
        at = Point(b, self.equation, x, cut(b, v, lanes, s.n, s.p, s.ends[0]), plan, lanes)

        def solve(rhs: Ref, transposed: bool) -> Ref:
            found = self.linear.solve(at, factor, rhs, transposed=transposed)
            checked = _judged(at, self.linear.judged(at, found, rhs, transposed=transposed), status)
            statics = (max(lanes, 1), s.n, s.n, 1)
            return b.emit("solved", (found, at.residual(), checked), statics, at.shape(s.n))

        return at, solve

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def parts(self) -> tuple[Sub, ...]:
        return (self.equation.sub,)

    def check(self, sub: Sub) -> str | None:
        s, equation = self.sizes, self.equation.sub
        lanes = max(self.lanes, 1)
        if min(vars(s).values()) < 0 or self.lanes < 0 or (s.factors, s.plan) != (
            self.linear.factor_size(s.n), self.linear.plan_size
        ):  # fmt: skip
            return "an equation of sizes out of range"
        if (equation.n_in, equation.n_out) != (s.n + s.p, s.n) or self.equation.n != s.n or equation.table is None:
            return "an equation of other sizes"
        return None if (sub.n_in, sub.n_out) == (lanes * s.ends[0], lanes * s.ends[1]) else "a solver of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        sizes = list(vars(self.sizes).values())
        return {"equation": write(self.equation.sub), "sizes": sizes, "linear": self.linear.data(), "lanes": self.lanes}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "ImplicitRules":
        sizes = Sizes(*data.list_of("sizes", [int] * 6))
        equation = Equation(sizes.n, lambda: read(data.get("equation")))
        return ImplicitRules(equation, sizes, solver_from(data.of("linear", list)), data.of("lanes", int))


def _judged(at: Point, judgement: Judgement, status: Ref) -> Ref:
    """The status in every lane, INACCURATE where a system was not solved well; after a warning where the matrix is
    nearly singular."""
    b, batch = at.b, max(at.lanes, 1)
    status = b.reshape(status, (batch,))
    if judgement.inaccurate is not None:
        bad = b.emit("where", (judgement.inaccurate, b.const(float(INACCURATE)), b.const(0.0)))
        status = b.emit("maximum", (status, bad))
    if judgement.ill is None:
        return status
    ill = b.emit("logical_and", (judgement.ill, b.emit("equal", (status, b.const(0.0)))))
    return warned_if(b, b.emit("amax", (ill,), (1, batch, 1), ()), status, _NOTICE)
