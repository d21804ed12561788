"""What the rows of sparse linear algebra compute: evaluation on concrete NumPy values, by SciPy's SuperLU."""

from typing import Any, NamedTuple

import numpy as np

from fastad.errors import IndexRangeError, SingularMatrixError
from fastad.kernels import superlu

Statics = tuple[int, ...]
Shape = tuple[int, ...]
_MULTIPLIER, _GROWTH, _TINY = 1e3, 1e5, 1e-14  # those of `fastad.kernels.sparse_factoring`, which says what they are


class Pattern(NamedTuple):
    """The pattern of a factorisation, in parts. Column j of L, below the diagonal, has the rows
    lower[lower_starts[j] : lower_starts[j + 1]] (permuted ones, ascending); so has U above it."""

    rows: np.ndarray  # of the entries of A, in the caller's order
    columns: np.ndarray
    row_places: np.ndarray  # where row i of A is in L U
    column_places: np.ndarray
    entry_starts: np.ndarray
    entries: np.ndarray  # by permuted column
    lower_starts: np.ndarray
    lower: np.ndarray
    upper_starts: np.ndarray
    upper: np.ndarray
    nested: np.ndarray  # how many columns of L from each one on have the rows of the next one, and one more

    @staticmethod
    def _lengths(n: int, count: int, lower: int, upper: int) -> tuple[int, ...]:
        """Those of the places, as pairs, and of all parts behind them."""
        return 2 * count, n, n, n + 1, count, n + 1, lower, n + 1, upper, n

    @staticmethod
    def size(n: int, count: int, lower: int, upper: int) -> int:
        """The length of the array of all parts: two integers take the memory of a float64."""
        return (sum(Pattern._lengths(n, count, lower, upper)) + 1) // 2

    @staticmethod
    def of(packed: Any, n: int, count: int, lower: int, upper: int) -> "Pattern":
        """The parts of an array; IndexRangeError if it is no pattern."""
        bounds = np.cumsum(Pattern._lengths(n, count, lower, upper))
        whole = np.ascontiguousarray(np.reshape(packed, -1), np.float64).view(np.int32).astype(np.int64)
        places, *others = np.split(whole, bounds)[:-1]
        found = Pattern(places[::2], places[1::2], *others)
        found._check(n, count)
        return found

    def _check(self, n: int, count: int) -> None:
        tops = (n, n, n, n, count + 1, count, len(self.lower) + 1, n, len(self.upper) + 1, n, n + 1)
        for part, top in zip(self, tops, strict=True):
            if np.any((part < 0) | (part >= top)):
                raise IndexRangeError("a pattern of a sparse matrix that is none")

    def packed(self) -> np.ndarray:
        """All parts in one array of float64, as 32-bit integers."""
        places = np.stack([self.rows, self.columns], axis=1).reshape(-1)
        parts = [x.astype(np.int32) for x in (places, *self[2:])]
        return _in_numbers(np.concatenate([*parts, np.zeros(sum(map(len, parts)) % 2, np.int32)]))


def _in_numbers(integers: np.ndarray) -> np.ndarray:
    """Pairs of 32-bit integers in the memory of float64, for good: recordings that refer to what may change are not
    found again."""
    integers.flags.writeable = False
    return integers.view(np.float64)


def size_of_factors(n: int, lower: int, upper: int) -> int:
    """Numbers in a value of factors."""
    return 1 + lower + upper + n


def as_places(rows: Any, columns: Any) -> np.ndarray:
    """Places as `fastad.kernels.sparse_products` takes them: two 32-bit integers in the memory of a float64."""
    return _in_numbers(np.stack([rows, columns], axis=1).astype(np.int32).reshape(-1))


def as_integers(places: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of places."""
    pairs = np.ascontiguousarray(np.reshape(places, -1), np.float64).view(np.int32).reshape(-1, 2)
    return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)


# ── products ──────────────────────────────────────────────────────────────────────────────────────────────────
def _within(places: Any, height: int, width: int, back: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns; IndexRangeError unless they are those of a matrix of this shape."""
    i, j = as_integers(places)[:: -1 if back else 1]
    if not (np.all((i >= 0) & (i < height)) and np.all((j >= 0) & (j < width))):
        raise IndexRangeError("an entry outside of the sparse matrix")
    return i, j


def sparse_product(s: Statics, shape: Shape, places: Any, data: Any, x: Any) -> np.ndarray:
    batch, count, height, width, m, own, other, back = s
    i, j = _within(places, height, width, back)
    numbers = np.reshape(np.asarray(data, float), (batch if own else 1, count))
    given = np.reshape(np.asarray(x, float), (batch if other else 1, width, m))
    out = np.zeros((batch, height, m))
    for p in range(batch):
        np.add.at(out[p], i, numbers[p if own else 0][:, None] * given[p if other else 0][j])
    return out.reshape(shape)


def sparse_sample(s: Statics, shape: Shape, places: Any, x: Any, y: Any) -> np.ndarray:
    batch, count, height, width, m, own, other, back = s
    i, j = _within(places, height, width, back)
    first = np.reshape(np.asarray(x, float), (batch if own else 1, height, m))
    second = np.reshape(np.asarray(y, float), (batch if other else 1, width, m))
    return np.broadcast_to(np.sum(first[:, i] * second[:, j], axis=-1), (batch, count)).reshape(shape)


# ── factors ───────────────────────────────────────────────────────────────────────────────────────────────────
def sparse_lu(s: Statics, shape: Shape, packed: Any, data: Any) -> np.ndarray:
    batch, n, count, lower, upper = s
    pattern = Pattern.of(packed, n, count, lower, upper)
    numbers = np.reshape(np.asarray(data, float), (batch, count))
    return np.array([_factors(pattern, x, n) for x in numbers]).reshape(shape)


def _factors(pattern: Pattern, data: np.ndarray, n: int) -> np.ndarray:
    """One matrix: its factors in the order of the pattern, or a status of 1."""
    nothing = np.zeros(size_of_factors(n, len(pattern.lower), len(pattern.upper)))
    if not np.all(np.isfinite(data)):
        nothing[1:] = np.nan
        return nothing
    nothing[0] = 1
    found = _in_order(pattern, data, n)
    if found is None:
        return nothing
    lower, upper, diagonal = found
    factors = np.concatenate([[0.0], lower, upper, diagonal])
    return factors if _are_good(pattern, data, lower, upper, diagonal) else nothing


def _in_order(pattern: Pattern, data: np.ndarray, n: int) -> tuple[np.ndarray, ...] | None:
    """L, U and the diagonal by the pivots of the pattern; None where one of them is 0."""
    known = superlu.factorisation(pattern.rows, pattern.columns, data, n)
    places = (pattern.row_places, pattern.column_places)
    found = _ordered(known.lu, places, pattern, n)
    if found is not None:
        return found
    try:
        lu = _by_diagonal(places[0][pattern.rows], places[1][pattern.columns], data, n)
    except RuntimeError:  # exactly singular
        return None
    return _ordered(lu, (np.arange(n), np.arange(n)), pattern, n)


def _by_diagonal(rows: np.ndarray, columns: np.ndarray, data: np.ndarray, n: int) -> Any:
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    matrix = coo_array((data, (rows.astype(np.int32), columns.astype(np.int32))), shape=(n, n)).tocsc()
    return splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0)


def _ordered(lu: Any, places: tuple[np.ndarray, np.ndarray], pattern: Pattern, n: int) -> tuple[np.ndarray, ...] | None:
    """SuperLU's factors where the pattern has them; None if the pivots are others. `places` are those of the rows and
    columns of the matrix that SuperLU was given."""
    if lu is None:
        return None
    rows, columns = np.empty(n, np.intp), np.empty(n, np.intp)
    rows[lu.perm_r], columns[lu.perm_c] = places
    if not np.array_equal(rows, columns):
        return None
    diagonal = np.zeros(n)
    diagonal[rows] = lu.U.diagonal()
    lower = _looked_up(lu.L, rows, pattern.lower_starts, pattern.lower, n)
    return lower, _looked_up(lu.U, rows, pattern.upper_starts, pattern.upper, n), diagonal


def _looked_up(factor: Any, places: np.ndarray, starts: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """The numbers of a factor at the places of a pattern. SuperLU leaves out what has cancelled."""
    entries = factor.tocoo()
    keys = np.repeat(np.arange(n), np.diff(starts)) * n + rows
    wanted = places[entries.col] * n + places[entries.row]
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    hit = keys[at] == wanted if len(keys) else np.zeros(len(wanted), bool)
    found = np.zeros(len(rows))
    found[at[hit]] = entries.data[hit]
    return found


def _are_good(pattern: Pattern, data: np.ndarray, lower: Any, upper: Any, diagonal: Any) -> bool:
    """Whether these pivots lose few digits."""
    n = len(diagonal)
    given, largest = np.zeros(n), np.abs(diagonal)
    from scipy.sparse import coo_array

    places = (pattern.rows.astype(np.int32), pattern.columns.astype(np.int32))
    own = abs(coo_array((data, places), shape=(n, n)).tocsc())
    given[pattern.column_places] = np.ravel(own.max(axis=0).toarray()) if n else given
    np.maximum.at(largest, np.repeat(np.arange(n), np.diff(pattern.upper_starts)), np.abs(upper))
    tiny = np.abs(diagonal) <= _TINY * np.maximum(given, largest)
    return not (np.any(np.abs(lower) > _MULTIPLIER) or np.any(largest > _GROWTH * given) or np.any(tiny))


# ── solving ───────────────────────────────────────────────────────────────────────────────────────────────────
def sparse_lu_solve(s: Statics, shape: Shape, packed: Any, data: Any, factors: Any, b: Any) -> np.ndarray:
    batch, n, count, lower, upper, m, trans, separate = s
    pattern, lanes = Pattern.of(packed, n, count, lower, upper), batch if separate else 1
    numbers = np.reshape(np.asarray(data, float), (lanes, count))
    found = np.reshape(np.asarray(factors, float), (lanes, size_of_factors(n, lower, upper)))
    sides = np.reshape(np.asarray(b, float), (batch, n, m))
    out = np.empty((batch, n, m))
    for p in range(batch):
        own = p if separate else 0
        out[p] = _solved(pattern, numbers[own], found[own], sides[p], trans)
    return out.reshape(shape)


def _solved(pattern: Pattern, data: np.ndarray, factors: np.ndarray, b: np.ndarray, trans: int) -> np.ndarray:
    """One system, by its factors, or by SuperLU with other pivots where these have the status 1."""
    if factors[0]:
        try:
            return np.asarray(superlu.solved(pattern.rows, pattern.columns, data, b, trans))
        except superlu.SingularError as error:
            raise SingularMatrixError(f"the sparse matrix is singular ({error})") from None
    if not np.all(np.isfinite(factors)) or not b.size or not np.all(factors[-len(b) :]):
        return np.full(b.shape, np.nan)
    rows, columns = pattern.row_places, pattern.column_places
    if trans:
        rows, columns = columns, rows
    given = np.empty_like(b)
    given[rows] = b
    return _by_triangles(pattern, factors, given, trans)[columns]


def _by_triangles(pattern: Pattern, factors: np.ndarray, b: np.ndarray, trans: int) -> np.ndarray:
    """(L U)⁻¹ B, or (L U)⁻ᵀ B."""
    from scipy.sparse import csc_array, diags_array, eye_array
    from scipy.sparse.linalg import spsolve_triangular

    n, at = len(b), 1 + len(pattern.lower)
    lower = csc_array((factors[1:at], pattern.lower, pattern.lower_starts), shape=(n, n)) + eye_array(n)
    upper = csc_array((factors[at:-n], pattern.upper, pattern.upper_starts), shape=(n, n))
    upper = upper + diags_array(factors[-n:])
    x = b
    for triangle, is_lower in ((upper.T, True), (lower.T, False)) if trans else ((lower, True), (upper, False)):
        x = spsolve_triangular(triangle.tocsc(), x, lower=is_lower)
    return np.asarray(x)
