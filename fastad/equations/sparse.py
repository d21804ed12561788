"""Linear systems with a sparse Jacobian: its elements from a few products, and factors on a fixed pattern."""

from typing import Any

import numpy as np

from fastad.equations.banded import dense_cost, narrowest, sparse_cost
from fastad.equations.equation import Equation
from fastad.equations.linear import ByProducts, Dense, LinearSolver, Point, default_solver
from fastad.execution.composites.evaluating import run
from fastad.primitives.regions import region
from fastad.primitives.sparse_values import Pattern as Parts
from fastad.primitives.sparse_values import size_of_factors
from fastad.sparse.analysis import analysis
from fastad.sparse.pattern import Pattern
from fastad.tables.builder import Ref
from fastad.tables.reference import evaluate

_FEW = 100  # unknowns up to which a matrix counts as dense
_LEAST = 12  # unknowns from which on a band is looked for
_SHARE = 0.1  # of the elements that are not zero, below which it counts as sparse


class Sparse(ByProducts, kind="sparse"):
    """Factors of a sparse matrix, in the order of elimination that SuperLU chose for the first one; the plan has this
    order and the pattern. The vector of factors starts with the elements that they were made of."""

    parameters = [int] * 4

    def __init__(self, n: int, entries: int, lower: int, upper: int) -> None:
        self._sizes = n, entries, lower, upper

    @classmethod
    def of(cls, equation: Equation, x: np.ndarray, theta: np.ndarray) -> "tuple[Sparse, np.ndarray]":
        """The solver for an equation, for matrices like the one at (x, θ), and its plan."""
        structure, table = equation.compressed.structure, equation.compressed.table
        pattern = Pattern.of(structure.rows(), structure.indices, structure.shape)
        found = analysis(pattern, evaluate(table, [x, theta], run)[0])
        return cls(*found.sizes), np.asarray(found.packed, np.float64)

    def data(self) -> list[Any]:
        return [self.kind, *self._sizes]

    @property
    def cost(self) -> float:
        """Time of factors and solves, in nanoseconds."""
        n, _, lower, upper = self._sizes
        return sparse_cost(n, lower + upper, lower * upper / n)

    @property
    def plan_size(self) -> int:
        return Parts.size(*self._sizes)

    def factor_size(self, n: int) -> int:
        _, entries, lower, upper = self._sizes
        return entries + size_of_factors(n, lower, upper)

    def elements(self, at: Point) -> Ref:
        return at.equation.elements(at.b, at.x, at.theta, at.lanes)

    def factor(self, at: Point) -> Ref:
        b, batch = at.b, max(at.lanes, 1)
        n, entries, lower, upper = self._sizes
        size = size_of_factors(n, lower, upper)
        elements = self.elements(at)
        found = b.emit("sparse_lu", (at.plan, elements), (batch, *self._sizes), (batch, size))
        whole = self.factor_size(n)
        pieces = [(0, (batch, entries), (whole, 1)), (entries, (batch, size), (whole, 1))]
        return b.assemble([elements, found], [region(*own) for own in pieces], at.shape(whole))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b, batch = at.b, max(at.lanes, 1)
        n, entries, lower, upper = self._sizes
        size, whole = size_of_factors(n, lower, upper), self.factor_size(n)
        own = b.region(factor, region(entries, (batch, size), (whole, 1)), (batch, size))
        if derived:
            elements = self.elements(at)
        else:
            elements = b.region(factor, region(0, (batch, entries), (whole, 1)), (batch, entries))
        statics = (batch, *self._sizes, 1, int(transposed), 1)
        return b.emit("sparse_lu_solve", (at.plan, elements, own, rhs), statics, at.shape(n))

    def product(self, at: Point, v: Ref, *, transposed: bool) -> Ref:
        """|F_x| v or |F_x|ᵀ v."""
        b, batch = at.b, max(at.lanes, 1)
        n, entries, _, _ = self._sizes
        places = b.region(at.plan, region(0, (entries,), (1,)), (entries,))  # with these a pattern starts
        magnitudes = b.emit("absolute", (self.elements(at),))
        statics = (batch, entries, n, n, 1, 1, 1, int(transposed))
        return b.emit("sparse_product", (places, magnitudes, v), statics, at.shape(n))


def is_sparse(equation: Equation) -> bool:
    """Whether an equation is large, and few elements of its Jacobian are not zero."""
    n = equation.n
    return n > _FEW and len(equation.structure.indices) <= _SHARE * n * n


class Automatic(Dense, kind="automatic"):
    """The solver that suits an equation: a division, dense factors, those of a band, or sparse ones; the one that takes
    least time."""

    def prepare(self, equation: Equation, x: np.ndarray, theta: np.ndarray) -> tuple[LinearSolver, np.ndarray]:
        n = equation.n
        if n < _LEAST:
            return default_solver(n).prepare(equation, x, theta)
        banded, time = narrowest(equation)
        if not is_sparse(equation):
            return (banded, np.zeros(0)) if time < dense_cost(n) else default_solver(n).prepare(equation, x, theta)
        if time <= sparse_cost(n, len(equation.structure.indices) - n, 0.0):  # as if no elements were to be filled in
            return banded, np.zeros(0)
        found, plan = Sparse.of(equation, x, theta)
        return (banded, np.zeros(0)) if time <= found.cost else (found, plan)


class AlwaysSparse(Dense, kind="always sparse"):
    """Sparse factors, whatever the pattern is."""

    def prepare(self, equation: Equation, x: np.ndarray, theta: np.ndarray) -> tuple[LinearSolver, np.ndarray]:
        return Sparse.of(equation, x, theta)
