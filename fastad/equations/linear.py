"""How the linear systems of an equation are solved: with F_x(x, θ), once factorised, and with its transpose.

A solver is a small contract: `factor` gives the vector of numbers (its factors, say) that all solves at one point
share, `solve` uses it. Derivatives go by way of F_x, which `solve` gets as rows of the table, so that the factors need
no derivative and serve solves, tangents and adjoints of every order.
"""

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastad.equations.equation import Equation
from fastad.errors import TableError
from fastad.tables.builder import Ref

ILL = 1e8  # a condition number from which on derivatives lose half of their digits

_solvers: "dict[str, type[LinearSolver]]" = {}


def solver_from(data: list[Any]) -> "LinearSolver":
    """The solver of this kind with these parameters; TableError where there is none."""
    if not data or data[0] not in _solvers or [type(x) for x in data[1:]] != _solvers[data[0]].parameters:
        raise TableError(f"there is no linear solver {data!r}")
    return _solvers[data[0]](*data[1:])


class Point:
    """Where an equation is linearised: (x, θ) in a table under construction, in every lane if `lanes` is not 0. `plan`
    is the vector that the linear solver has prepared, the same for all lanes."""

    def __init__(self, b: Any, equation: Equation, x: Ref, theta: Ref, plan: Ref, lanes: int = 0) -> None:
        self.b, self.equation, self.x, self.theta, self.plan, self.lanes = b, equation, x, theta, plan, lanes
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

    def curvature(self, v: Ref) -> Ref:
        """F_xx v."""
        return self.equation.curvature(self.b, self.x, self.theta, v, self.lanes)

    def along(self, v: Ref, wrt: int) -> Ref:
        """F_x v (wrt=0) or F_θ v (wrt=1)."""
        return self.equation.along(self.b, self.x, self.theta, v, self.lanes, wrt=wrt)

    def pulled(self, u: Ref, wrt: int) -> Ref:
        """F_xᵀ u or F_θᵀ u."""
        return self.equation.pulled(self.b, self.x, self.theta, u, self.lanes, wrt=wrt)


class Judgement(NamedTuple):
    """Of systems in lanes: whether their residuals are large, and whether their solutions are so much larger than the
    right sides that the matrix must be nearly singular. None: no."""

    inaccurate: Ref | None
    ill: Ref | None


class LinearSolver:
    """The contract. `parameters` are the types of what a solver of the kind is made with.

    `has_matrix`: the elements of F_x are known.
    `has_factors`: derivatives are taken where the factors are, else one step closer to the solution.
    `is_exact`: what `solve` gives without `derived` is exact but for rounding errors.
    """

    kind: ClassVar[str]
    parameters: ClassVar[list[type]] = []
    has_matrix = True
    has_factors = True
    is_exact = True

    def prepare(self, equation: Equation, x: np.ndarray, theta: np.ndarray) -> "tuple[LinearSolver, np.ndarray]":
        """The solver for an equation, given numbers that are typical of it, and its plan: a vector of numbers that
        never change."""
        return self, np.zeros(0)

    @property
    def plan_size(self) -> int:
        """Length of the plan."""
        return 0

    def data(self) -> list[Any]:
        """Kind and parameters; equal for solvers that do the same."""
        return [self.kind]

    def __init_subclass__(cls, kind: str | None = None) -> None:
        if kind is not None:  # else it is what several kinds share
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

    def soft(self, at: Point, factor: Ref) -> Ref:
        """Factors for one lane by which solutions are NaN, not an error, where the matrix is singular, as far as the
        factors tell."""
        return factor

    def elements(self, at: Point) -> Ref:
        """The elements of F_x, in every lane."""
        return at.matrix()

    def sizes(self, at: Point, v: Ref) -> Ref:
        """|F_x| v, the absolute values of the elements times a vector."""
        b, n, batch = at.b, at.n, max(at.lanes, 1)
        magnitudes = b.emit("absolute", (at.matrix(),))
        return b.emit("matmul", (magnitudes, v), (batch, n, n, 1, 0, 0, 1, 1), at.shape(n))

    def norm(self, at: Point) -> Ref:
        """The 1-norm of F_x, for one lane."""
        b, n = at.b, at.n
        columns = b.emit("sum", (b.emit("absolute", (at.matrix(),)),), (1, n, n), (n,))
        return b.emit("amax", (columns,), (1, n, 1), ())

    def judged(self, at: Point, found: Ref, rhs: Ref, *, transposed: bool) -> Judgement:
        """How good the solution of a system is, in every lane."""
        b, n, batch = at.b, at.n, max(at.lanes, 1)
        reached = at.pulled(found, wrt=0) if transposed else at.along(found, wrt=0)
        wrong = _largest(b, b.emit("subtract", (reached, rhs)), batch, n)
        most = given = _largest(b, rhs, batch, n)
        ill = None
        if self.has_matrix:
            elements = self.elements(at)
            largest = _largest(b, elements, batch, b.size(elements) // batch)
            product = b.multiply(largest, _largest(b, found, batch, n))
            most = b.add(given, b.multiply(product, b.const(float(n))))
            ill = b.emit("greater", (product, b.multiply(given, b.const(ILL))))
        return Judgement(b.emit("greater", (wrong, b.multiply(most, b.const(self.accuracy)))), ill)

    accuracy: float = 1e-8  # residual of a solve, relative to the sizes of matrix, right side and solution


def _largest(b: Any, x: Ref, batch: int, n: int) -> Ref:
    """The largest absolute value of each of several vectors."""
    if not n:
        return b.zeros((batch,))
    return b.emit("amax", (b.emit("absolute", (x,)),), (batch, n, 1), (batch,))


def _absolute_sum(b: Any, x: Ref, shape: tuple[int, ...]) -> Ref:
    """The sum of the absolute values of each of several vectors, of this shape."""
    batch = math.prod(shape)
    if not b.size(x):
        return b.zeros(shape)
    return b.emit("sum", (b.emit("absolute", (x,)),), (batch, b.size(x) // batch, 1), shape)


class Scalar(LinearSolver, kind="scalar"):
    """One unknown: a division."""

    has_factors = False  # they are the matrix

    def factor_size(self, n: int) -> int:
        return 0

    def factor(self, at: Point) -> Ref:
        return at.b.zeros(at.shape(0))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b = at.b
        matrix = b.reshape(at.matrix(), at.shape(1))
        return b.emit("divide", (b.reshape(rhs, at.shape(1)), matrix))

    def judged(self, at: Point, found: Ref, rhs: Ref, *, transposed: bool) -> Judgement:
        """A division is as accurate as numbers are, but near a fold the slope is not: see `trust.fold`."""
        b, shape = at.b, at.shape(1)
        one = b.broadcast(b.const(1.0), shape)
        slope, bend = (b.emit("absolute", (b.reshape(v, shape),)) for v in (at.matrix(), at.curvature(one)))
        moved = _absolute_sum(b, b.multiply(at.pulled(one, wrt=1), at.theta), shape)
        moves = b.emit("maximum", (b.emit("absolute", (at.x,)), one))
        moves = b.emit("maximum", (b.emit("divide", (moved, slope)), moves))
        limit = b.multiply(slope, b.const(ILL))
        ill = b.emit("greater", (b.multiply(bend, moves), limit))
        return Judgement(None, b.reshape(ill, (max(at.lanes, 1),)))


class ByProducts(LinearSolver):
    """What solvers share that hold the elements of F_x without those that are always 0."""

    def product(self, at: Point, v: Ref, *, transposed: bool) -> Ref:
        """|F_x| v or |F_x|ᵀ v."""
        raise NotImplementedError

    def sizes(self, at: Point, v: Ref) -> Ref:
        return self.product(at, v, transposed=False)

    def norm(self, at: Point) -> Ref:
        b, n = at.b, at.n
        columns = self.product(at, b.broadcast(b.const(1.0), (n,)), transposed=True)
        return b.emit("amax", (columns,), (1, n, 1), ())


class Dense(LinearSolver, kind="dense"):
    """LU factors of the dense matrix (LAPACK's dgetrf)."""

    def factor_size(self, n: int) -> int:
        return n * n + n

    def factor(self, at: Point) -> Ref:
        statics = (max(at.lanes, 1), at.n)
        return at.b.emit("lu", (at.matrix(),), statics, at.shape(self.factor_size(at.n)))

    def soft(self, at: Point, factor: Ref) -> Ref:
        b, n = at.b, at.n
        pivots = b.region(factor, (0, n, n + 1), (n,))
        zero = b.emit("equal", (pivots, b.const(0.0)))
        pivots = b.emit("where", (zero, b.const(np.nan), pivots))
        return b.assemble([factor, pivots], [(0, n * n + n, 1), (0, n, n + 1)], (n * n + n,))

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
