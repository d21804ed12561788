"""Linear systems that are solved by iteration, as rows: products with A(θ) and its transpose are tables.

The derivative of A(θ) x = b is one more system with the same method and the same tolerance, A ẋ = ḃ − (∂A θ̇) x; for
adjoints it has the transposed operator and the transposed preconditioner: Aᵀ r = x̄, b̄ = r, θ̄ = −∂(rᵀ A(θ) x)/∂θ. The
preconditioner has no say in the solution, and has no derivative.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.once import lazy
from fastad.recording.operands import recorder_of, to_ref
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import tentatively
from fastad.sparse.iterations import METHODS, norm
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.parametric import Layout, Parametric, emitted
from fastad.tables.composites.sub import Sub, flat_sub
from fastad.tables.composites.sub_rules import RowRules, Rules
from fastad.tables.inline import compact, inline
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.sparsity.sets import Structure
from fastad.tables.table import Table
from fastad.transforms.call import make_call
from fastad.transforms.program import record


# ── operators ─────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Operator(Parametric):
    """v → A(θ) v for n numbers; the sub-program is that of [v | θ]."""

    @lazy
    def transposed(self) -> Table:
        """(u, θ) to Aᵀ u."""
        b = Builder()
        u, theta = b.input((self.n,)), b.input((self.p,))
        table = adjoint_table(self.table, [0])
        return compact(b.table([inline(b, table, [b.zeros((self.n,)), theta, u])[table.outputs[-1]]]))


def _along(product: Table) -> Table:
    """(v, θ, θ̇) to (∂A θ̇) v."""
    table = tangent_table(product, [1])
    return compact(_only_last(table))


def _pulled(product: Table) -> Table:
    """(v, θ, r) to ∂(rᵀ A(θ) v)/∂θ."""
    return compact(_only_last(adjoint_table(product, [1])))


def _only_last(table: Table) -> Table:
    b = Builder()
    inputs = [b.input(*kind) for kind in table.inputs]
    return b.table([inline(b, table, inputs)[table.outputs[-1]]])


# ── the row ───────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class IterativeRules(RowRules, Rules, kind="iterative"):
    """The rules of the row from [θ | b | first x | rtol, atol, limit] to [x | info]: info is 0, or the number of steps
    after which the residual was not small enough. `operators` are A and M."""

    method: str
    restart: int
    operators: tuple[Operator, Operator]
    transposed: bool = False
    lanes: int = 0

    @property
    def n(self) -> int:
        return self.operators[0].n

    @property
    def p(self) -> int:
        return self.operators[0].p

    @property
    def ends(self) -> tuple[int, int]:
        """Lengths of the vectors of one lane."""
        return self.p + 2 * self.n + 3, self.n + 1

    @property
    def key(self) -> str:
        parts = ", ".join(operator.sub.key for operator in self.operators)
        return f" {self.method} {self.restart} with {parts}, {self.transposed}, {self.lanes} lanes"

    def over_lanes(self, sub: Sub, size: int) -> Rules:
        lanes = size * max(self.lanes, 1)
        return IterativeRules(self.method, self.restart, self.operators, self.transposed, lanes)

    # ── its sub-program ──────────────────────────────────────────────────────────────────────────────────────
    @property
    def own(self) -> Sub:
        """The sub-program of one lane."""
        known = vars(self.operators[0]).setdefault("_solvers", {})
        if self.transposed not in known:
            sizes = (self.p, self.n, self.n, 3)
            call = make_call(tuple(np.ones(k) for k in sizes), {})
            name = f"{self.method}{' with the transpose' if self.transposed else ''}"
            with tentatively():  # what θ is does not matter now, and it may hold places
                flat = flat_sub(record(self._iterated, call).inner, name)
            rules = IterativeRules(self.method, self.restart, self.operators, self.transposed)
            known[self.transposed] = Sub(flat.n_in, flat.n_out, name, flat.table, rules=rules)
        found: Sub = known[self.transposed]
        return found

    def _tables(self) -> list[Table]:
        return [operator.transposed if self.transposed else operator.table for operator in self.operators]

    def _iterated(self, theta: Any, b: Any, x: Any, numbers: Any) -> Any:
        def rows(table: Table) -> Callable[[Any], Any]:
            def product(v: Any) -> Any:
                recorder = recorder_of([theta, v])
                refs = [to_ref(recorder, value) for value in (v, theta)]
                return Recorded(recorder, emitted(recorder.builder, table, refs, 0, (self.n,)))

            return product

        product, nearly = map(rows, self._tables())
        tol = np.maximum(numbers[0] * norm(b), numbers[1])
        x, r, k = METHODS[self.method](product, nearly, b, x, tol, numbers[2], self.restart)
        info = np.where(norm(r) <= tol, 0.0, np.maximum(k, 1.0))
        return np.concatenate([x, np.reshape(info, (1,))])

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _run(self, b: Any, sub: Sub, given: Ref, rhs: Ref) -> Ref:
        """The solution for another right side, from zero on; an error where there is none."""
        n, p, lanes = self.n, self.p, self.lanes
        theta, numbers = self._part(b, given, 0, p), self._part(b, given, p + 2 * n, 3)
        whole = Layout(lanes).placed(b, [(theta, 0, p), (rhs, p, n), (numbers, p + 2 * n, 3)], self.ends[0])
        out = sub.emit_batched(b, whole, lanes) if lanes else b.call(sub, whole)
        return self._checked(b, out, rhs)

    def _checked(self, b: Any, out: Ref, rhs: Ref) -> Ref:
        """x of a result; an error unless it is a solution."""
        n, lanes = self.n, self.lanes
        x, info = Layout(lanes).cut(b, out, 0, n, n + 1), Layout(lanes).cut(b, out, n, 1, n + 1)
        status = b.emit("minimum", (b.reshape(info, (max(lanes, 1),)), b.const(1.0)))
        return b.emit("solved", (x, rhs, status), (max(lanes, 1), n, n, 1), b.shape(x))

    def _part(self, b: Any, v: Ref, start: int, size: int) -> Ref:
        return Layout(self.lanes).cut(b, v, start, size, self.ends[0])

    def _other(self, transposed: bool) -> Sub:
        return IterativeRules(self.method, self.restart, self.operators, transposed).own

    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        n, p, lanes = self.n, self.p, self.lanes
        result = b.call(sub, x)
        y = self._checked(b, result, self._part(b, x, p, n))
        operands = [y, self._part(b, x, 0, p), self._part(b, dx, 0, p)]
        bent = emitted(b, _along(self._tables()[0]), operands, lanes, (n,)) if p else b.zeros(b.shape(y))
        rhs = b.emit("subtract", (self._part(b, dx, p, n), bent))
        moved = self._run(b, self._other(self.transposed), x, rhs)
        return result, Layout(lanes).placed(b, [(moved, 0, n)], n + 1)

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        n, p, lanes = self.n, self.p, self.lanes
        y = self._checked(b, b.call(sub, x), self._part(b, x, p, n))
        r = self._run(b, self._other(not self.transposed), x, Layout(lanes).cut(b, u, 0, n, n + 1))
        pieces = [(r, p, n)]
        if p:
            operands = [y, self._part(b, x, 0, p), b.emit("negative", (r,))]
            pieces.append((emitted(b, _pulled(self._tables()[0]), operands, lanes, (p,)), 0, p))
        return Layout(lanes).placed(b, pieces, self.ends[0])

    def structure(self, sub: Sub) -> Structure:
        """Every element of x depends on all of θ and b."""
        one = Structure.blocks(self.ends[::-1], [(0, self.n, 0, self.p + self.n)])
        return one.repeated(max(self.lanes, 1))

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def parts(self) -> tuple[Sub, ...]:
        return tuple(operator.sub for operator in self.operators)

    def check(self, sub: Sub) -> str | None:
        n, p, lanes = self.n, self.p, max(self.lanes, 1)
        fits = all((s.n_in, s.n_out) == (n + p, n) and s.table is not None for s in self.parts)
        if self.method not in METHODS or min(n, p, self.restart, self.lanes) < 0 or not fits:
            return "an operator of other sizes"
        sizes = (lanes * self.ends[0], lanes * self.ends[1])
        return None if (sub.n_in, sub.n_out) == sizes else "a solver of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        sizes = [self.n, self.restart, int(self.transposed), self.lanes]
        return {"method": self.method, "sizes": sizes, "operators": [write(part) for part in self.parts]}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "IterativeRules":
        n, restart, transposed, lanes = data.list_of("sizes", [int] * 4)
        first, second = data.of("operators", list)
        operators = Operator(n, lambda: read(first)), Operator(n, lambda: read(second))
        return IterativeRules(data.of("method", str), restart, operators, bool(transposed), lanes)
