"""An equation F(x, θ) = 0 of n unknowns and p parameters as a table, and the tables that derive from it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.once import lazy
from fastad.sparsity.compressed import Compressed, compressed_on
from fastad.sparsity.scalars import jacobian_by_elements
from fastad.tables.builder import Ref
from fastad.tables.composites.parametric import Parametric, emitted
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.sparsity.sets import Structure
from fastad.tables.sparsity.sweep import jacobian_structure
from fastad.tables.table import Table
from fastad.transforms.jacobians import forward_jacobian


@dataclass(frozen=True, eq=False)
class Equation(Parametric):
    """F(x, θ) = 0; the sub-program is that of [x | θ] to F. Rows are emitted for one equation, or for several
    lanes of it: then vectors have a leading axis."""

    @lazy
    def _jacobian(self) -> Table:
        """(x, θ) to F_x."""
        found = forward_jacobian(self.table, [0])
        return jacobian_by_elements(self.table, int(np.sum(found.sizes))) or found

    @lazy
    def structure(self) -> Structure:
        """The pattern of F_x."""
        return jacobian_structure(self.table, [0])[0]

    @lazy
    def compressed(self) -> Compressed:
        """The pattern of F_x, and the table of (x, θ) to its elements."""
        return compressed_on(self.table, [0], self.structure)

    @lazy
    def _derived(self) -> dict[Any, Table]:
        return {}

    def derived(self, kind: str, wrt: int) -> Table:
        """The table of (x, θ, v) to (F, F_x v) or (F, F_θ v), or of (x, θ, u) to (F, F_xᵀ u) or (F, F_θᵀ u)."""
        found = self._derived.get((kind, wrt))
        if found is None:
            derive = {"tangent": tangent_table, "adjoint": adjoint_table}[kind]
            found = self._derived.setdefault((kind, wrt), derive(self.table, [wrt]))
        return found

    @lazy
    def _curvature(self) -> Table:
        """(x, θ, v) to (F_x, F_xx v)."""
        return tangent_table(self._jacobian, [0])

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def residual(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """F."""
        return emitted(b, self.table, [x, theta], lanes, (self.n,))

    def jacobian(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """The matrix F_x."""
        return emitted(b, self._jacobian, [x, theta], lanes, (self.n, self.n))

    def elements(self, b: Any, x: Ref, theta: Ref, lanes: int) -> Ref:
        """The elements of F_x on its pattern."""
        size = len(self.compressed.structure.indices)
        return emitted(b, self.compressed.table, [x, theta], lanes, (size,))

    def curvature(self, b: Any, x: Ref, theta: Ref, v: Ref, lanes: int) -> Ref:
        """F_xx v, the change of the matrix F_x in a direction."""
        return emitted(b, self._curvature, [x, theta, v], lanes, (self.n, self.n))

    def along(self, b: Any, x: Ref, theta: Ref, v: Ref, lanes: int, *, wrt: int) -> Ref:
        """F_x v (wrt=0) or F_θ v (wrt=1)."""
        return emitted(b, self.derived("tangent", wrt), [x, theta, v], lanes, (self.n,))

    def pulled(self, b: Any, x: Ref, theta: Ref, u: Ref, lanes: int, *, wrt: int) -> Ref:
        """F_xᵀ u (wrt=0) or F_θᵀ u (wrt=1)."""
        return emitted(b, self.derived("adjoint", wrt), [x, theta, u], lanes, (self.p if wrt else self.n,))
