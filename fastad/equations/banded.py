"""Linear systems whose Jacobian is a band matrix: its diagonals from a few products, and factors inside the band."""

from typing import Any, NamedTuple

import numpy as np

from fastad.equations.equation import Equation
from fastad.equations.linear import ByProducts, Point
from fastad.errors import TableError
from fastad.primitives.factor_values import band_factors
from fastad.primitives.regions import region
from fastad.sparse.pattern import Pattern
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.parametric import emitted
from fastad.tables.inline import compact, inline
from fastad.tables.sparsity.sets import Structure
from fastad.tables.table import Table


class Order(NamedTuple):
    """An order of the unknowns, None for their own, and how many diagonals the matrix has then below and above the main
    one."""

    order: np.ndarray | None
    low: int
    high: int

    @property
    def place(self) -> np.ndarray | None:
        """Where each unknown goes."""
        return None if self.order is None else np.argsort(self.order)


class Banded(ByProducts, kind="banded"):
    """Factors of a band matrix with `low` diagonals below the main one and `high` above it, of n unknowns in their own
    order or, if `ordered`, in that of Cuthill & McKee. The vector of factors are those of the row `banded_lu`."""

    parameters = [int] * 4

    def __init__(self, n: int, low: int, high: int, ordered: int) -> None:
        self.n, self.low, self.high, self.ordered = n, low, high, ordered

    def data(self) -> list[Any]:
        return [self.kind, self.n, self.low, self.high, self.ordered]

    @property
    def _bands(self) -> int:
        return self.low + self.high + 1

    def factor_size(self, n: int) -> int:
        return band_factors(n, self.low, self.high)

    def _order(self, at: Point) -> Order:
        """The order of the unknowns. Solvers from files may say another width than the equation has."""
        found = order_of(at.equation, bool(self.ordered))
        if (at.n, found.low, found.high) != (self.n, self.low, self.high):
            raise TableError(f"the band of the equation is {found[1:]}, not {(self.low, self.high)}")
        return found

    def _diagonals(self, at: Point) -> Ref:
        """The band of F_x, in every lane."""
        table = _table(at.equation, self._order(at), bool(self.ordered))
        return emitted(at.b, table, [at.x, at.theta], at.lanes, (self._bands, self.n))

    def elements(self, at: Point) -> Ref:
        return at.equation.elements(at.b, at.x, at.theta, at.lanes)

    def factor(self, at: Point) -> Ref:
        statics = (max(at.lanes, 1), self.n, self.low, self.high)
        return at.b.emit("banded_lu", (self._diagonals(at),), statics, at.shape(self.factor_size(self.n)))

    def soft(self, at: Point, factor: Ref) -> Ref:
        b, size = at.b, self.factor_size(self.n)
        main = region(self.low + self.high, (self.n,), (self.low + self._bands,))
        pivots = b.region(factor, main, (self.n,))
        pivots = b.emit("where", (b.emit("equal", (pivots, b.const(0.0))), b.const(np.nan), pivots))
        return b.assemble([factor, pivots], [region(0, (size,), (1,)), main], (size,))

    def solve(self, at: Point, factor: Ref, rhs: Ref, *, transposed: bool, derived: bool = True) -> Ref:
        b, batch, count = at.b, max(at.lanes, 1), self._bands * self.n
        own = self._order(at)
        if derived:
            diagonals = self._diagonals(at)
        else:  # the kernel needs the factors only; any numbers will do in the place of the matrix
            whole = self.factor_size(self.n)
            diagonals = b.region(factor, region(0, (batch, count), (whole, 1)), at.shape(count))
        statics = (batch, self.n, self.low, self.high, 1, int(transposed), 1)
        rhs = _moved(at, rhs, own.order)
        return _moved(at, b.emit("banded_lu_solve", (diagonals, factor, rhs), statics, at.shape(self.n)), own.place)

    def product(self, at: Point, v: Ref, *, transposed: bool) -> Ref:
        """|F_x| v or |F_x|ᵀ v."""
        b, batch, structure = at.b, max(at.lanes, 1), at.equation.structure
        pattern, entries = Pattern.of(structure.rows(), structure.indices, structure.shape), len(structure.indices)
        magnitudes = b.emit("absolute", (self.elements(at),))
        statics = (batch, entries, self.n, self.n, 1, 1, 1, int(transposed))
        return b.emit("sparse_product", (b.const(pattern.places), magnitudes, v), statics, at.shape(self.n))


def _moved(at: Point, v: Ref, order: np.ndarray | None) -> Ref:
    """The elements of a vector in an order, in every lane."""
    if order is None:
        return v
    b, n, batch = at.b, at.n, max(at.lanes, 1)
    places = (np.arange(batch)[:, None] * n + order).reshape(-1)
    return b.reshape(b.taken(b.reshape(v, (batch * n,)), places.astype(float)), at.shape(n))


# ── orders and their bands ────────────────────────────────────────────────────────────────────────────────────
def order_of(equation: Equation, ordered: bool) -> Order:
    """The own order of the unknowns, or that of Cuthill & McKee (1969), Reducing the bandwidth of sparse symmetric
    matrices, reversed."""
    known: dict[bool, Order] = vars(equation).setdefault("_orders", {})
    if ordered not in known:
        order = _cuthill_mckee(equation.structure) if ordered else None
        known[ordered] = Order(order, *_widths(equation.structure, order))
    return known[ordered]


def _cuthill_mckee(structure: Structure) -> np.ndarray:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    entries = np.ones(len(structure.indices)), (structure.rows(), structure.indices)
    both = csr_array(entries, shape=structure.shape)
    return np.asarray(reverse_cuthill_mckee(csr_array(both + both.T), symmetric_mode=True), np.int64)


def _offsets(structure: Structure, order: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the elements, in an order of the unknowns."""
    row, column = structure.rows().astype(np.int64), structure.indices.astype(np.int64)
    if order is None:
        return row, column
    place = np.argsort(order)
    return place[row], place[column]


def _widths(structure: Structure, order: np.ndarray | None) -> tuple[int, int]:
    row, column = _offsets(structure, order)
    return int(np.max(row - column, initial=0)), int(np.max(column - row, initial=0))


def _table(equation: Equation, own: Order, ordered: bool) -> Table:
    """(x, θ) to the diagonals of F_x."""
    known: dict[bool, Table] = vars(equation).setdefault("_diagonals", {})
    if ordered not in known:
        b, n = Builder(), equation.n
        structure, table = equation.compressed.structure, equation.compressed.table
        row, column = _offsets(structure, own.order)
        count = len(row)
        places = np.full((own.low + own.high + 1, n), float(count))
        places[own.high + row - column, column] = np.arange(float(count))
        inputs = [b.input((n,)), b.input((equation.p,))]
        elements = inline(b, table, inputs)[table.outputs[-1]]
        both = b.assemble([elements], [region(0, (count,), (1,))], (count + 1,))  # and 0
        known[ordered] = compact(b.table([b.taken(both, places.reshape(-1))]))
    return known[ordered]


# ── the choice ────────────────────────────────────────────────────────────────────────────────────────────────
_SOLVES = 8  # for one factorisation


def band_cost(n: int, low: int, high: int) -> float:
    """Time of factors and solves in nanoseconds, as measured (see bench/RESULTS.md)."""
    wide = low + high
    return n * (15.0 + 2.0 * wide + 0.17 * low * wide + _SOLVES * (12.0 + 0.3 * (low + wide)))


def sparse_cost(n: int, fill: int, products: float) -> float:
    """The same of sparse factors with so many numbers off the diagonal, for which so many products are made."""
    return 35.0 * n + 2.6 * fill + products + _SOLVES * (8.0 * n + 1.4 * fill)


def dense_cost(n: int) -> float:
    """The same of dense factors."""
    return 0.2 * n**3 + _SOLVES * 0.7 * n * n


def narrowest(equation: Equation) -> tuple[Banded, float]:
    """The order of the unknowns in which band factors take least time, and that time."""
    n = equation.n

    def found(ordered: bool) -> tuple[Banded, float]:
        _, low, high = order_of(equation, ordered)
        return Banded(n, low, high, int(ordered)), band_cost(n, low, high)

    own = found(False)
    least = band_cost(n, 1, 1)
    return own if own[1] <= least else min(own, found(True), key=lambda pair: pair[1])
