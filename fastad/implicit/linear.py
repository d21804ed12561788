"""How the linear systems of an equation are solved: with F_x(x, θ), once factorised, and with its transpose.

A solver is a small contract: `factor` gives the vector of numbers (its factors, say) that all solves at one point
share, `solve` uses it. Derivatives go by way of F_x, which `solve` gets as rows of the table, so that the factors need
no derivative and serve solves, tangents and adjoints of every order.
"""

from typing import Any, ClassVar

from fastad.errors import TableError
from fastad.implicit.equation import Equation
from fastad.tables.builder import Ref

_solvers: "dict[str, type[LinearSolver]]" = {}


def solver_named(name: str) -> "LinearSolver":
    """The solver of a kind; TableError where there is none."""
    if name not in _solvers:
        raise TableError(f"there is no linear solver of the kind {name!r}")
    return _solvers[name]()


class Point:
    """Where an equation is linearised: (x, θ) in a table under construction, in every lane if `lanes` is not 0."""

    def __init__(self, b: Any, equation: Equation, x: Ref, theta: Ref, lanes: int = 0) -> None:
        self.b, self.equation, self.x, self.theta, self.lanes = b, equation, x, theta, lanes
        self._matrix: Ref | None = None

    @property
    def n(self) -> int:
        return self.equation.n

    def shape(self, *core: int) -> tuple[int, ...]:
        """A shape over the lanes."""
        return (self.lanes, *core) if self.lanes else core

    def residual(self) -> Ref:
        """F."""
        return self.equation.residual(self.b, self.x, self.theta, self.lanes)

    def matrix(self) -> Ref:
        """F_x."""
        if self._matrix is None:
            self._matrix = self.equation.jacobian(self.b, self.x, self.theta, self.lanes)
        return self._matrix

    def along(self, v: Ref, wrt: int) -> Ref:
        """F_x v (wrt=0) or F_θ v (wrt=1)."""
        return self.equation.along(self.b, self.x, self.theta, v, self.lanes, wrt=wrt)

    def pulled(self, u: Ref, wrt: int) -> Ref:
        """F_xᵀ u or F_θᵀ u."""
        return self.equation.pulled(self.b, self.x, self.theta, u, self.lanes, wrt=wrt)


class LinearSolver:
    """The contract; solvers of one kind are equal."""

    kind: ClassVar[str]

    def __init_subclass__(cls, kind: str) -> None:
        cls.kind, _solvers[kind] = kind, cls

    def factor_size(self, n: int) -> int:
        """Length of the vector of factors."""
        raise NotImplementedError

    def factor(self, at: Point) -> Ref:
        """The vector of factors, in every lane."""
        raise NotImplementedError

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        """F_x⁻¹ rhs or F_x⁻ᵀ rhs. Unless `derived`, nobody will differentiate it, so F_x is not needed as rows."""
        raise NotImplementedError


class Scalar(LinearSolver, kind="scalar"):
    """One unknown: a division."""

    def factor_size(self, n: int) -> int:
        return 1

    def factor(self, at: Point) -> Ref:
        return at.b.reshape(at.matrix(), at.shape(1))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b = at.b
        matrix = b.reshape(at.matrix() if derived else factor, at.shape(1))
        return b.emit("divide", (b.reshape(rhs, at.shape(1)), matrix))


class Dense(LinearSolver, kind="dense"):
    """LU factors of the dense matrix (LAPACK's dgetrf)."""

    def factor_size(self, n: int) -> int:
        return n * n + n

    def factor(self, at: Point) -> Ref:
        statics = (max(at.lanes, 1), at.n)
        return at.b.emit("lu", (at.matrix(),), statics, at.shape(self.factor_size(at.n)))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b, n, batch = at.b, at.n, max(at.lanes, 1)
        if derived:
            matrix = at.matrix()
        else:  # the kernel needs the factors only
            matrix = b.zeros(at.shape(n, n))
        return b.emit("lu_solve", (matrix, factor, rhs), (batch, n, 1, int(transposed), 1), at.shape(n))


def default_solver(n: int) -> LinearSolver:
    """The solver for so many unknowns."""
    return Scalar() if n == 1 else Dense()
