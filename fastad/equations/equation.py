"""An equation F(x, θ) = 0 of n unknowns and p parameters as a table, and the tables that derive from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.sparsity.compressed import Compressed, compressed_jacobian
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import Sub, packed
from fastad.tables.inline import compact, inline
from fastad.tables.passes.batch import batch_rows
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.passes.kinks import with_limits
from fastad.tables.table import Table
from fastad.transforms.jacobians import forward_jacobian


@dataclass(frozen=True, eq=False)
class Equation:
    """F(x, θ) = 0; `make_sub` gives the sub-program of [x | θ] to F. Rows are emitted for one equation, or for several
    lanes of it: then vectors have a leading axis."""

    n: int
    make_sub: Callable[[], Sub]

    @staticmethod
    def of(n: int, sub: Sub) -> "Equation":
        """That of a sub-program which is there already."""
        found = Equation(n, lambda: sub)
        vars(found)["sub"] = sub
        return found

    @lazy
    def sub(self) -> Sub:
        return self.make_sub()

    @property
    def p(self) -> int:
        """The number of parameters."""
        return self.sub.n_in - self.n

    @lazy
    def _apart(self) -> Table:
        """(x, θ) to F."""
        b = Builder()
        x, theta = b.input((self.n,)), b.input((self.p,))
        table = with_limits(self.sub.table)  # type: ignore[arg-type]
        return compact(b.table([inline(b, table, [packed(b, [x, theta])])[table.outputs[0]]]))

    @lazy
    def _jacobian(self) -> Table:
        """(x, θ) to F_x."""
        return forward_jacobian(self._apart, [0])

    @lazy
    def compressed(self) -> Compressed:
        """The pattern of F_x, and the table of (x, θ) to its elements."""
        return compressed_jacobian(self._apart, [0])

    @lazy
    def _derived(self) -> dict[Any, Table]:
        return {}

    def derived(self, kind: str, wrt: int) -> Table:
        """The table of (x, θ, v) to (F, F_x v) or (F, F_θ v), or of (x, θ, u) to (F, F_xᵀ u) or (F, F_θᵀ u)."""
        found = self._derived.get((kind, wrt))
        if found is None:
            derive = {"tangent": tangent_table, "adjoint": adjoint_table}[kind]
            found = self._derived.setdefault((kind, wrt), derive(self._apart, [wrt]))
        return found

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def residual(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """F."""
        return emitted(b, self._apart, [x, theta], lanes, (self.n,))

    def jacobian(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """The matrix F_x."""
        return emitted(b, self._jacobian, [x, theta], lanes, (self.n, self.n))

    def elements(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """The elements of F_x on its pattern."""
        size = len(self.compressed.structure.indices)
        return emitted(b, self.compressed.table, [x, theta], lanes, (size,))

    def along(self, b: Any, x: Ref, theta: Ref, v: Ref, lanes: int, *, wrt: int) -> Ref:
        """F_x v (wrt=0) or F_θ v (wrt=1)."""
        return emitted(b, self.derived("tangent", wrt), [x, theta, v], lanes, (self.n,))

    def pulled(self, b: Any, x: Ref, theta: Ref, u: Ref, lanes: int, *, wrt: int) -> Ref:
        """F_xᵀ u (wrt=0) or F_θᵀ u (wrt=1)."""
        return emitted(b, self.derived("adjoint", wrt), [x, theta, u], lanes, (self.p if wrt else self.n,))


def emitted(b: Any, table: Table, operands: Sequence[Ref], lanes: int, shape: tuple[int, ...], result: int = -1) -> Ref:
    """A result of a table, the last one if no other is chosen, in every lane if there are some."""
    output, line = table.outputs[result], b.line
    if not lanes:
        found = inline(b, table, operands)[output]
        b.at_line(line)  # what follows belongs to the row that is derived
        return b.reshape(found, shape)
    refs, flags = batch_rows(b, table, operands, [True] * len(operands), lanes)
    b.at_line(line)
    full = refs[output] if flags[output] else b.broadcast(refs[output], (lanes, *b.shape(refs[output])))
    return b.reshape(full, (lanes, *shape))


class Layout:
    """How vectors of several lanes lie in one: lane after lane, or in blocks of so many lanes, each component after
    component. No lanes: one vector."""

    def __init__(self, lanes: int, block: int = 0) -> None:
        self.lanes, self.block = lanes, block

    def _region(self, start: int, size: int, whole: int) -> Any:
        if not self.lanes:
            return region(start, (size,), (1,))
        if self.block:
            shape = (self.lanes // self.block, self.block, size)
            return region(start * self.block, shape, (whole * self.block, 1, self.block))
        return region(start, (self.lanes, size), (whole, 1))

    def cut(self, b: Any, v: Ref, start: int, size: int, whole: int) -> Ref:
        """`size` elements, from `start` on, of a vector of `whole` elements, in every lane."""
        return b.region(v, self._region(start, size, whole), (self.lanes, size) if self.lanes else (size,))

    def placed(self, b: Any, pieces: Sequence[tuple[Ref, int, int]], whole: int) -> Ref:
        """A vector of `whole` elements, in every lane, of zeros and of pieces (value, start, size)."""
        regions = [self._region(start, size, whole) for _, start, size in pieces]
        return b.assemble([ref for ref, _, _ in pieces], regions, (max(self.lanes, 1) * whole,))
