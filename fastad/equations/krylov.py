"""Linear systems without a matrix: from products with F_x and its transpose alone.

Generalised conjugate residuals (Eisenstat, Elman & Schultz, 1983, Variational iterative methods for nonsymmetric
systems of linear equations), restarted: the iterates of GMRES, without a Hessenberg matrix. Where the residual
stagnates the last image is the next direction, as in Arnoldi's process, so that the method does not break down before
GMRES would. The derivative of y = F_x⁻¹ b is one more solve: F_x ẏ = ḃ − Ḟ_x y, and with F_xᵀ r = ȳ the adjoints are r
of b, and −∂(rᵀ F_x y) of x and θ.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.control.loops import iterate
from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point
from fastad.once import lazy
from fastad.recording.operands import recorder_of, to_ref
from fastad.recording.recorded import Recorded
from fastad.tables.builder import Ref
from fastad.tables.composites.parametric import Layout, emitted
from fastad.tables.composites.sub import Sub, emit_inline, flat_sub, packed, transposed
from fastad.tables.composites.sub_rules import RowRules, Rules
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.sparsity.sets import Structure
from fastad.transforms.call import make_call
from fastad.transforms.program import record

_BASIS = 40  # directions until a restart
_FORCING = 1e-3  # tolerance of a Newton step, relative to its right side
_STAGNANT = 1e-12  # reduction of the residual below which another direction is taken


class Krylov(LinearSolver, kind="krylov"):
    """GMRES with products from the equation. `rtol` is the residual of derivatives' systems, relative to their right
    sides; steps of an iteration need less. `nearly` is a preconditioner: [x | θ | r] to nearly F_x⁻¹ r, linear in r."""

    parameters = [float]
    has_matrix = False
    has_factors = False
    is_exact = False

    def __init__(self, rtol: float, nearly: Sub | None = None) -> None:
        self.rtol, self.nearly = rtol, nearly
        self.accuracy = 100.0 * rtol

    def data(self) -> list[Any]:
        return [self.kind, self.rtol]

    def factor_size(self, n: int) -> int:
        return 0

    def factor(self, at: Point) -> Ref:
        return at.b.zeros(at.shape(0))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b, n, p = at.b, at.n, at.equation.p
        rtol = b.broadcast(b.const(self.rtol if derived else _FORCING), at.shape(1))
        pieces = [(at.x, 0, n), (at.theta, n, p), (rhs, n + p, n), (rtol, 2 * n + p, 1)]
        sub = KrylovRules(at.equation, transposed, nearly=self.nearly).sub
        whole = Layout(at.lanes).placed(b, pieces, sub.n_in)
        found = sub.emit_batched(b, whole, at.lanes) if at.lanes else b.call(sub, whole)
        return b.reshape(found, at.shape(n))


@dataclass(frozen=True, eq=False)
class KrylovRules(RowRules, Rules, kind="krylov"):
    """The rules of the row from [x | θ | b | rtol] to F_x⁻¹ b, or F_x⁻ᵀ b if `transposed`."""

    equation: Equation
    transposed: bool
    lanes: int = 0
    nearly: Sub | None = None

    @property
    def key(self) -> str:
        nearly = self.nearly and self.nearly.key
        return f" solves with {self.equation.sub.key}, {self.transposed}, {self.lanes} lanes, {nearly}"

    def over_lanes(self, sub: Sub, size: int) -> Rules:
        return KrylovRules(self.equation, self.transposed, size * max(self.lanes, 1), self.nearly)

    @property
    def sub(self) -> Sub:
        """The row's sub-program."""
        known = vars(self.equation).setdefault("_krylov", {})
        key = self.transposed, self.nearly and self.nearly.key
        if key not in known:
            n, p = self.equation.n, self.equation.p
            call = make_call((np.ones(n), np.zeros(p), np.ones(n), np.asarray(0.5)), {})
            table = record(lambda *v: _gmres(self, *v), call).inner
            name = f"GMRES{' with the transpose' if self.transposed else ''}"
            flat = flat_sub(table, name)
            rules = KrylovRules(self.equation, self.transposed, nearly=self.nearly)
            known[key] = Sub(flat.n_in, flat.n_out, name, flat.table, rules=rules)
        found: Sub = known[key]
        return found

    @lazy
    def preconditioner(self) -> Sub | None:
        """[x | θ | r] to nearly the solution."""
        if self.nearly is None or not self.transposed:
            return self.nearly
        n, p = self.equation.n, self.equation.p
        return transposed(self.nearly, n + p, f"{self.nearly.name}, transposed")

    @property
    def _product(self) -> Any:
        """The table of (x, θ, y) to (F, F_x y), or (F, F_xᵀ y)."""
        return self.equation.derived("adjoint" if self.transposed else "tangent", 0)

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        n, p, lanes = self.equation.n, self.equation.p, self.lanes
        y = b.call(sub, x)
        own, moving = (self._parts(b, v) for v in (x, dx))
        operands = [*own[:2], self._vector(b, y), *moving[:2]]
        bent = emitted(b, tangent_table(self._product, [0, 1]), operands, lanes, (n,))
        rhs = b.emit("subtract", (moving[2], bent))
        pieces = [(own[0], 0, n), (own[1], n, p), (rhs, n + p, n), (own[3], 2 * n + p, 1)]
        return y, b.call(sub, Layout(lanes).placed(b, pieces, 2 * n + p + 1))

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        n, p, lanes = self.equation.n, self.equation.p, self.lanes
        whole = 2 * n + p + 1
        own = self._parts(b, x)
        other = KrylovRules(self.equation, not self.transposed, nearly=self.nearly).sub
        pieces = [(own[0], 0, n), (own[1], n, p), (u, n + p, n), (own[3], 2 * n + p, 1)]
        back = Layout(lanes).placed(b, pieces, whole)
        r = self._vector(b, other.emit_batched(b, back, lanes) if lanes else b.call(other, back))
        y = self._vector(b, b.call(sub, x))
        zero = b.zeros(b.shape(y))
        operands = [*own[:2], y, zero, b.emit("negative", (r,))]
        table = adjoint_table(self._product, [0, 1])
        bars = [emitted(b, table, operands, lanes, (size,), k) for size, k in ((n, -2), (p, -1))]
        return Layout(lanes).placed(b, [(bars[0], 0, n), (bars[1], n, p), (r, n + p, n)], whole)

    def _parts(self, b: Any, v: Ref) -> list[Ref]:
        n, p = self.equation.n, self.equation.p
        places = ((0, n), (n, p), (n + p, n), (2 * n + p, 1))
        layout = Layout(self.lanes)
        return [layout.cut(b, v, start, size, 2 * n + p + 1) for start, size in places]

    def _vector(self, b: Any, v: Ref) -> Ref:
        return b.reshape(v, (self.lanes, self.equation.n) if self.lanes else (self.equation.n,))

    def structure(self, sub: Sub) -> Structure:
        """Everything but the tolerance counts, for every element."""
        n, whole = self.equation.n, 2 * self.equation.n + self.equation.p
        return Structure.blocks((n, whole + 1), [(0, n, 0, whole)]).repeated(max(self.lanes, 1))

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def parts(self) -> tuple[Sub, ...]:
        return (self.equation.sub, *(() if self.nearly is None else (self.nearly,)))

    def check(self, sub: Sub) -> str | None:
        n, p, lanes = self.equation.n, self.equation.p, max(self.lanes, 1)
        if n < 0 or self.lanes < 0 or p < 0 or self.equation.sub.n_out != n or self.equation.sub.table is None:
            return "an equation of other sizes"
        fits = self.nearly is None or (self.nearly.n_in, self.nearly.n_out) == (2 * n + p, n)
        if not fits:
            return "a preconditioner of other sizes"
        return None if (sub.n_in, sub.n_out) == (lanes * (2 * n + p + 1), lanes * n) else "a solver of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        sizes = [self.equation.n, self.lanes, int(self.transposed)]
        nearly = self.nearly and write(self.nearly)
        return {"equation": write(self.equation.sub), "sizes": sizes, "nearly": nearly}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "KrylovRules":
        n, lanes, transposed = data.list_of("sizes", [int] * 3)
        nearly = data.get("nearly")
        equation = Equation(n, lambda: read(data.get("equation")))
        return KrylovRules(equation, bool(transposed), lanes, None if nearly is None else read(nearly))


# ── the iteration ─────────────────────────────────────────────────────────────────────────────────────────────
def _gmres(own: KrylovRules, x: Any, theta: Any, b: Any, rtol: Any) -> Any:
    equation, n = own.equation, own.equation.n
    m = min(n, _BASIS)

    def product(v: Any) -> Any:
        recorder = recorder_of([x, theta, v])
        refs = [to_ref(recorder, value) for value in (x, theta, v)]
        act = equation.pulled if own.transposed else equation.along
        return Recorded(recorder, act(recorder.builder, refs[0], refs[1], refs[2], 0, wrt=0))

    def direction(r: Any) -> Any:
        if own.preconditioner is None:
            return r
        recorder = recorder_of([x, theta, r])
        refs = [to_ref(recorder, value) for value in (x, theta, r)]
        return Recorded(recorder, emit_inline(recorder.builder, own.preconditioner, packed(recorder.builder, refs)))

    limit = rtol * _norm(b)

    def unfinished(state: Any) -> Any:
        _, r, *_, k, stuck = state
        return (_norm(r) > limit) & (k < 20 * n + 200) & (stuck < 2.0)

    def step(state: Any) -> Any:
        y, r, directions, images, last, k, stuck = state
        place = k % m
        fresh = place == 0
        directions, images = (np.where(fresh, 0.0, v) for v in (directions, images))
        p = direction(np.where((stuck > 0.0) & np.logical_not(fresh), last, r))
        p = p / np.where(_norm(p) > 0.0, _norm(p), 1.0)
        q = product(p)
        before = _norm(q)
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            shares = images @ q
            p, q = p - shares @ directions, q - shares @ images
        length = _norm(q)
        new = length > 1e-14 * before
        factor = np.where(new, 1.0 / np.where(new, length, 1.0), 0.0)
        p, q = factor * p, factor * q
        alpha = q @ r
        here = np.where(np.arange(m) == place, 1.0, 0.0)[:, None]
        smaller = np.abs(alpha) > _STAGNANT * _norm(r)
        after = np.where(smaller, 0.0, stuck + np.where(new, 0.5 / m, 1.0))
        return y + alpha * p, r - alpha * q, directions + here * p, images + here * q, q, k + 1.0, after

    zero = np.asarray(0.0, like=b)
    start = (0.0 * b, b, np.zeros((m, n)), np.zeros((m, n)), 0.0 * b, zero, zero)
    return iterate(unfinished, step, start)[0]


def _norm(x: Any) -> Any:
    return np.sqrt(np.sum(x * x))
