"""Derivatives of a solution by its conditions of optimality (Karush, Kuhn and Tucker) with a given active set.

The unknowns are x and one multiplier v for each number that constraints limit. With L = f + v·c, the equations are

    (∇ₓL)ᵢ = 0,  or xᵢ = its limit where a bound is active,
    cⱼ(x) = its limit where that is active,  or vⱼ = 0.

They are the system of Blondel & Roulet, The Elements of Differentiable Programming (2024), Proposition 17.71, with the
rows λ∘g divided by the factor that is not 0; so they have a regular Jacobian whether or not complementarity is strict,
as long as the gradients of the active constraints are independent and the second-order condition holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastad.equations.core import Iterate, System, solve_equation
from fastad.equations.equation import Equation
from fastad.equations.krylov import Krylov
from fastad.equations.linear import LinearSolver, Point
from fastad.equations.sparse import Sparse, is_sparse
from fastad.errors import SingularMatrixError
from fastad.optimize.constraints import Constraint
from fastad.optimize.envelope import envelope
from fastad.optimize.objective import Array, Objective
from fastad.optimize.status import as_equation, succeeded
from fastad.primitives.sparse_values import size_of_factors
from fastad.recording.elementwise import detached
from fastad.recording.recorded import Recorded
from fastad.recording.source import user_line
from fastad.tables.builder import Ref


class ActiveSet(NamedTuple):
    """For every component of x, and for every number that constraints limit: −1 where the lower limit is active, 1
    where the upper one is, or the equation, else 0."""

    bounds: Array
    constraints: Array


@dataclass(frozen=True)
class Conditions:
    """The problem min f(x), lower ≤ c(x) ≤ upper for all constraints, lower ≤ x ≤ upper."""

    f: Objective
    constraints: Sequence[Constraint]
    bounds: Constraint | None

    @property
    def parameters(self) -> Any:
        """What derivatives are by, besides what functions refer to."""
        return self.f.args, [c.inputs for c in self.constraints], None if self.bounds is None else self.bounds.inputs

    @property
    def functions(self) -> "Conditions":
        """The problem without its parameters: what a recording is found by."""
        bare = [Constraint(c.fun, (), None, None) for c in self.constraints]
        bounds = None if self.bounds is None else Constraint(None, (), None, None)
        return Conditions(Objective(self.f.fun), tuple(bare), bounds)

    def of(self, parameters: Any) -> "Conditions":
        """The same problem with other parameters."""
        args, inputs, limits = parameters
        constraints = [Constraint(c.fun, **own) for c, own in zip(self.constraints, inputs, strict=True)]
        bounds = None if limits is None else Constraint(None, **limits)
        return Conditions(Objective(self.f.fun, args), constraints, bounds)

    def limited(self, x: Array) -> Array:
        """c(x), of all constraints."""
        return np.concatenate([np.zeros(0), *(c(x) for c in self.constraints)])

    def limits(self, active: Array) -> Array:
        """The limit that is active, for every number; anything finite elsewhere."""
        lower, upper = (
            np.concatenate([np.zeros(0), *ends])
            for ends in ([c.lower for c in self.constraints], [c.upper for c in self.constraints])
        )
        return _chosen(active, lower, upper)

    def lagrangian(self, x: Array, v: Array) -> Array:
        """f + v·c."""
        return self.f(x) + v @ self.limited(x) if self.constraints else self.f(x)

    def residual(self, x: Array, v: Array, active: ActiveSet) -> Array:
        """The equations."""
        slope = Objective(lambda x: self.lagrangian(x, v)).gradient(x)
        if self.bounds is not None:
            limit = _chosen(active.bounds, self.bounds.lower, self.bounds.upper)
            slope = np.where(active.bounds != 0, x - limit, slope)
        if not self.constraints:
            return slope
        on_limits = self.limited(x) - self.limits(active.constraints)
        return np.concatenate([slope, np.where(active.constraints != 0, on_limits, v)])

    def bound_multipliers(self, x: Array, v: Array, active: Array) -> Array:
        """w with ∇L + w = 0 where a bound is active."""
        slope = Objective(lambda x: self.lagrangian(x, v)).gradient(x)
        return np.where(active != 0, -slope, 0.0)


def _chosen(active: Array, lower: Array, upper: Array) -> Array:
    """The limit that is active; limits that do not exist are not touched, so that no derivative is NaN."""
    low = np.where(active < 0, lower, 0.0)
    return np.where(active > 0, upper, low)


# ── the row ───────────────────────────────────────────────────────────────────────────────────────────────────
class OnDemand(LinearSolver, kind="dense on demand"):
    """LU factors of the dense matrix, made where a derivative needs them: values need none."""

    def factor_size(self, n: int) -> int:
        return 0

    def factor(self, at: Point) -> Ref:
        return at.b.zeros(at.shape(0))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b, matrix, batch = at.b, at.matrix(), max(at.lanes, 1)
        found = b.emit("lu", (matrix,), (batch, at.n), at.shape(at.n * (at.n + 1)))
        return b.emit("lu_solve", (matrix, found, rhs), (batch, at.n, 1, int(transposed), 1), at.shape(at.n))


class SparseOnDemand(Sparse, kind="sparse on demand"):
    """The same for a sparse matrix: factors on a fixed pattern, made where a derivative needs them."""

    def factor_size(self, n: int) -> int:
        return 0

    def factor(self, at: Point) -> Ref:
        return at.b.zeros(at.shape(0))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b, batch = at.b, max(at.lanes, 1)
        elements = self.elements(at)
        size = size_of_factors(*(self._sizes[k] for k in (0, 2, 3)))
        found = b.emit("sparse_lu", (at.plan, elements), (batch, *self._sizes), (batch, size))
        statics = (batch, *self._sizes, 1, int(transposed), 1)
        return b.emit("sparse_lu_solve", (at.plan, elements, found, rhs), statics, at.shape(at.n))


class Suited(OnDemand, kind="suited on demand"):
    """The one of both that suits the equation."""

    def prepare(self, equation: Equation, x: np.ndarray, theta: np.ndarray) -> tuple[LinearSolver, np.ndarray]:
        if not is_sparse(equation):
            return OnDemand(), np.zeros(0)
        try:
            return SparseOnDemand.of(equation, x, theta)
        except SingularMatrixError:  # whatever the numbers are; values need no factors, and derivatives raise it again
            return OnDemand(), np.zeros(0)


_LARGE = 300  # unknowns, from which on methods that make no matrix have none made for derivatives either
_RTOL = 1e-10  # residual of linear systems without a matrix


def solution(
    name: str, conditions: Conditions, found: tuple[Array, Array], active: ActiveSet, status: Array, *,
    matrix_free: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    """(x, v) as found, with the derivatives that the conditions give. `status` is one of `fastad.optimize.status`.
    `matrix_free`: linear systems are solved by products where there are many unknowns."""
    x, v = found
    if not isinstance(x, Recorded):
        return x, v
    n, active = x.shape[0], ActiveSet(*map(detached, active))

    def residual(u: Array, parameters: Any, active: Any, ok: Array) -> Array:
        found = conditions.of(parameters).residual(u[:n], u[n:], active)
        # Where nothing was found the matrix may be singular, too; the error is that nothing was found.
        return np.where(ok, found, u - detached(u) + detached(found))

    def as_found(system: System, u: Array, status: Array) -> Iterate:
        return Iterate(u, 0.0 * u, status, {}, np.zeros(0))

    def linear(n: int) -> LinearSolver:
        return Krylov(_RTOL) if matrix_free and n > _LARGE else Suited()

    u = detached(np.concatenate([x, v]))
    u.recorder.builder.source_line(user_line())
    ok = detached(succeeded(status) * 1.0) > 0.5
    given = (conditions.parameters, active, ok)
    row = solve_equation(name, residual, as_found, u, given, (as_equation(status),), linear)
    return row.x[:n], row.x[n:]


def value(
    name: str, conditions: Conditions, found: tuple[Array, Array], active: ActiveSet, solved: tuple[Array, Array]
) -> Array:
    """f at a solution, by the envelope theorem; `solved` are the status and the residual of the conditions."""
    x, v = found
    if not isinstance(x, Recorded):
        return conditions.f(x)
    n, m, active = x.shape[0], v.shape[0], ActiveSet(*map(detached, active))
    w = np.zeros(0) if conditions.bounds is None else conditions.bound_multipliers(x, v, active.bounds)

    def plain(held: Array, parameters: Any, active: Any) -> Array:
        return conditions.of(parameters).f(held[:n])

    def lagrangian(held: Array, parameters: Any, active: Any) -> Array:
        own, x, v, w = conditions.of(parameters), held[:n], held[n : n + m], held[n + m :]
        found = own.lagrangian(x, v) - v @ own.limits(active.constraints)
        return found if own.bounds is None else found - w @ _chosen(active.bounds, own.bounds.lower, own.bounds.upper)

    u, parameters = np.concatenate([x, v, w]), (conditions.parameters, active)
    status, residual = as_equation(solved[0]), detached(solved[1])
    return envelope(name, (plain, lagrangian), u, parameters, (status, residual))


__all__ = ["ActiveSet", "Conditions", "solution", "value"]
