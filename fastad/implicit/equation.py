"""An equation F(x, θ) = 0 of n unknowns and p parameters as a table, and the tables that derive from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastad.once import lazy
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
    def _tangents(self) -> dict[int, Table]:
        return {}

    def _tangent(self, wrt: int) -> Table:
        found = self._tangents.get(wrt)
        return found if found is not None else self._tangents.setdefault(wrt, tangent_table(self._apart, [wrt]))

    @lazy
    def _adjoints(self) -> dict[int, Table]:
        return {}

    def _adjoint(self, wrt: int) -> Table:
        found = self._adjoints.get(wrt)
        return found if found is not None else self._adjoints.setdefault(wrt, adjoint_table(self._apart, [wrt]))

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def residual(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """F."""
        return _emitted(b, self._apart, [x, theta], lanes, (self.n,))

    def jacobian(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """The matrix F_x."""
        return _emitted(b, self._jacobian, [x, theta], lanes, (self.n, self.n))

    def along(self, b: Any, x: Ref, theta: Ref, v: Ref, lanes: int, *, wrt: int) -> Ref:
        """F_x v (wrt=0) or F_θ v (wrt=1)."""
        return _emitted(b, self._tangent(wrt), [x, theta, v], lanes, (self.n,))

    def pulled(self, b: Any, x: Ref, theta: Ref, u: Ref, lanes: int, *, wrt: int) -> Ref:
        """F_xᵀ u (wrt=0) or F_θᵀ u (wrt=1)."""
        return _emitted(b, self._adjoint(wrt), [x, theta, u], lanes, (self.p if wrt else self.n,))


def _emitted(b: Any, table: Table, operands: Sequence[Ref], lanes: int, shape: tuple[int, ...]) -> Ref:
    """The last result of a table, in every lane if there are some."""
    if not lanes:
        return b.reshape(inline(b, table, operands)[table.outputs[-1]], shape)
    refs, flags = batch_rows(b, table, operands, [True] * len(operands), lanes)
    found = refs[table.outputs[-1]]
    full = found if flags[table.outputs[-1]] else b.broadcast(found, (lanes, *b.shape(found)))
    return b.reshape(full, (lanes, *shape))
