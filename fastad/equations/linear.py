"""How the linear systems of an equation are solved: with F_x(x, θ), once factorised, and with its transpose.

A solver is a small contract: `factor` gives the vector of numbers (its factors, say) that all solves at one point
share, `solve` uses it. Derivatives go by way of F_x, which `solve` gets as rows of the table, so that the factors need
no derivative and serve solves, tangents and adjoints of every order.
"""

from typing import Any, ClassVar

from fastad.errors import TableError
from fastad.equations.equation import Equation
from fastad.primitives.equations import INACCURATE
from fastad.tables.builder import Ref

_solvers: "dict[str, type[LinearSolver]]" = {}


def solver_from(data: list[Any]) -> "LinearSolver":
    """The solver of this kind with these parameters; TableError where there is none."""
    if not data or data[0] not in _solvers or [type(x) for x in data[1:]] != _solvers[data[0]].parameters:
        raise TableError(f"there is no linear solver {data!r}")
    return _solvers[data[0]](*data[1:])


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
    """The contract. `parameters` are the types of what a solver of the kind is made with. `has_matrix`: F_x is a dense
    matrix. `is_cheap`: it costs less to factorise than to decide whether to."""

    kind: ClassVar[str]
    parameters: ClassVar[list[type]] = []
    has_matrix = True
    is_cheap = False

    def data(self) -> list[Any]:
        """Kind and parameters; equal for solvers that do the same."""
        return [self.kind]

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

    def checked(self, at: Point, found: Ref, rhs: Ref, status: Ref, *, transposed: bool) -> Ref:
        """The status of the equation, or INACCURATE where a solve was."""
        b, n, batch = at.b, at.n, max(at.lanes, 1)
        reached = at.pulled(found, wrt=0) if transposed else at.along(found, wrt=0)
        wrong = _largest(b, b.emit("subtract", (reached, rhs)), batch, n)
        most = _largest(b, rhs, batch, n)
        if self.has_matrix:
            norm = b.emit("multiply", (_largest(b, at.matrix(), batch, n * n), _largest(b, found, batch, n)))
            most = b.add(most, b.emit("multiply", (norm, b.const(float(n)))))
        limit = b.emit("multiply", (most, b.const(self.accuracy)))
        good = b.emit("less_equal", (wrong, limit))
        own = b.emit("where", (good, b.const(0.0), b.const(float(INACCURATE))))
        return b.emit("maximum", (b.reshape(status, (batch,)), own))

    accuracy: float = 1e-8  # residual of a solve, relative to the sizes of matrix, right side and solution


def _largest(b: Any, x: Ref, batch: int, n: int) -> Ref:
    """The largest absolute value of each of several vectors."""
    if not n:
        return b.zeros((batch,))
    return b.emit("amax", (b.emit("absolute", (x,)),), (batch, n, 1), (batch,))


class Scalar(LinearSolver, kind="scalar"):
    """One unknown: a division."""

    is_cheap = True

    def factor_size(self, n: int) -> int:
        return 1

    def factor(self, at: Point) -> Ref:
        return at.b.reshape(at.matrix(), at.shape(1))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b = at.b
        matrix = b.reshape(at.matrix() if derived else factor, at.shape(1))
        return b.emit("divide", (b.reshape(rhs, at.shape(1)), matrix))

    def checked(self, at: Point, found: Ref, rhs: Ref, status: Ref, *, transposed: bool) -> Ref:
        return status  # a division is as accurate as numbers are


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
