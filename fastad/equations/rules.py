"""Derivatives of a solution x(θ) of F(x, θ) = 0, whatever has computed it.

The implicit function theorem: F_x ẋ = −F_θ θ̇, and with F_xᵀ r = x̄ the adjoint is θ̄ = −F_θᵀ r (Blondel & Roulet, The
Elements of Differentiable Programming, 2024, Proposition 17.73). Both are rows of the table, so they are derived again
for higher orders; and as x and the factors of F_x are results of the row that has solved the equation, nothing is
solved or factorised twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastad.equations.equation import Equation
from fastad.equations.linear import ILL, Judgement, LinearSolver, Point, solver_from
from fastad.primitives.equations import INACCURATE
from fastad.tables.builder import Ref
from fastad.tables.composites.choices import Lanes
from fastad.tables.composites.notices import warned_if
from fastad.tables.composites.parametric import Layout
from fastad.tables.composites.sub import Sub, made
from fastad.tables.composites.sub_rules import RowRules, Rules
from fastad.tables.passes.lanes import NoLanes, over_lanes
from fastad.tables.sparsity.sets import Structure

_MANY, _BLOCK = 64, 1024  # lanes from which on scalar equations are solved in SIMD registers; the most of a block
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
class ImplicitRules(RowRules, Rules, kind="implicit"):
    """The rules of a row that solves F(x, θ) = 0, or of several lanes of such a row."""

    equation: Equation
    sizes: Sizes
    linear: LinearSolver
    lanes: int = 0
    block: int = 0  # lanes of a block, in which vectors lie component after component; 0: lane after lane

    @property
    def key(self) -> str:
        lanes = f"{self.lanes} lanes, {self.block}"
        return f" solves {self.equation.sub.key}, {self.sizes}, {self.linear.data()}, {lanes}"

    def over_lanes(self, sub: Sub, size: int) -> Rules:
        if self.block:
            return super().over_lanes(sub, size)
        return ImplicitRules(self.equation, self.sizes, self.linear, size * max(self.lanes, 1))

    @property
    def _layout(self) -> Layout:
        return Layout(self.lanes, self.block)

    def emit_batched(self, sub: Sub, b: Any, x: Ref, size: int) -> Ref:
        """One unknown in many lanes is solved for component by component, if its solver comes apart into elements."""
        wide = self._wide(sub, size) if self.sizes.n == 1 and not self.lanes and size >= _MANY else None
        if wide is None:
            return super().emit_batched(sub, b, x, size)
        (n_in, n_out), lanes = self.sizes.ends, Layout(size)
        blocks = Layout(size, wide.rules.block)
        out = b.call(wide, _moved(b, x, lanes, blocks, n_in))
        return _moved(b, out, blocks, lanes, n_out)

    def _wide(self, sub: Sub, size: int) -> Sub | None:
        """The solver of all lanes, block by block; None if there is none."""
        known = vars(sub).setdefault("_wide", {})
        if size not in known:
            try:
                known[size] = self._in_blocks(sub, size)
            except NoLanes:
                known[size] = None
        found: Sub | None = known[size]
        return found

    def _in_blocks(self, sub: Sub, size: int) -> Sub:
        block = next((k for k in range(_BLOCK, _MANY - 1, -1) if size % k == 0), size)
        one = over_lanes(Sub(sub.n_in, sub.n_out, sub.name, sub.table), block, f"{sub.name} of {block} lanes")
        name = f"{sub.name} of {size} lanes"
        found = made(name, size * sub.n_in, lambda b, x: b.call(Lanes.of(one, size // block), x))
        rules = ImplicitRules(self.equation, self.sizes, self.linear, size, block)
        return Sub(found.n_in, found.n_out, name, found.table, rules=rules)

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        result = b.call(sub, x)
        at, solve = self._solved(b, x, result)
        s = self.sizes
        moving = self._layout.cut(b, dx, s.n, s.p, s.ends[0])
        out = solve(b.emit("negative", (at.along(moving, wrt=1),)), False)
        return result, self._layout.placed(b, [(out, 0, s.n)], s.ends[1])

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        at, solve = self._solved(b, x, b.call(sub, x))
        s = self.sizes
        r = solve(self._layout.cut(b, u, 0, s.n, s.ends[1]), True)
        bar = at.pulled(b.emit("negative", (r,)), wrt=1)
        return self._layout.placed(b, [(bar, s.n, s.p)], s.ends[0])

    def structure(self, sub: Sub) -> Structure:
        """Every unknown depends on every parameter; nothing else depends on anything."""
        s = self.sizes
        one = Structure.blocks((s.ends[1], s.ends[0]), [(0, s.n, s.n, s.p)])
        if self.block:
            return one.interleaved(self.block).repeated(self.lanes // self.block)
        return one.repeated(max(self.lanes, 1))

    def _solved(self, b: Any, v: Ref, result: Ref) -> tuple[Point, Callable[[Ref, bool], Ref]]:
        """The point of the solution, and the function that solves linear systems there: an error unless the equation
        was solved."""
        s, lanes, end = self.sizes, self.lanes, self.sizes.ends[1]
        cut = self._layout.cut
        x, status = cut(b, result, 0, s.n, end), cut(b, result, 2 * s.n, 1, end)
        if not self.linear.has_factors:
            x = b.add(x, cut(b, result, s.n, s.n, end))
        factor = cut(b, result, 2 * s.n + 1 + s.facts, s.factors, end)
        plan = Layout(0).cut(b, v, s.n + s.p, s.plan, s.ends[0])  # that of the first lane
        at = Point(b, self.equation, x, cut(b, v, s.n, s.p, s.ends[0]), plan, lanes)

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
        planned = self.linear.factor_size(s.n), self.linear.plan_size
        if min(*vars(s).values(), self.lanes, self.block) < 0 or (s.factors, s.plan) != planned:
            return "an equation of sizes out of range"
        if (equation.n_in, equation.n_out) != (s.n + s.p, s.n) or self.equation.n != s.n or equation.callback:
            return "an equation of other sizes"
        if self.block and self.lanes % self.block:
            return "blocks of another number of lanes"
        return None if (sub.n_in, sub.n_out) == (lanes * s.ends[0], lanes * s.ends[1]) else "a solver of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        sizes = list(vars(self.sizes).values())
        return {"equation": write(self.equation.sub), "sizes": sizes, "linear": self.linear.data(), "lanes": self.lanes,
                "block": self.block}  # fmt: skip

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "ImplicitRules":
        sizes = Sizes(*data.list_of("sizes", [int] * 6))
        equation = Equation(sizes.n, lambda: read(data.get("equation")))
        lanes, block = data.of("lanes", int), data.of("block", int)
        return ImplicitRules(equation, sizes, solver_from(data.of("linear", list)), lanes, block)


def _moved(b: Any, x: Ref, source: Layout, target: Layout, n: int) -> Ref:
    """Vectors of n elements from one layout to another, element by element, so that nothing is moved in vain."""
    pieces = [(source.cut(b, x, i, 1, n), i, 1) for i in range(n)]
    return target.placed(b, pieces, n)


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
