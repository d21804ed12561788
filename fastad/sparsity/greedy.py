"""Greedy colorings in several orders, of which the one with the fewest colors is kept."""

from collections.abc import Callable, Iterator

import numpy as np

from fastad.calling import CalledKernel
from fastad.kernels.pattern_fields import INCIDENCE, SMALLEST_LAST
from fastad.recording.source import at_line
from fastad.tables.sparsity.sets import Structure

Order = np.ndarray
_COLOR_COLUMNS, _COLOR_STARS, _COLOR_FORESTS, _NUMBER_EDGES = (
    CalledKernel("coloring", name) for name in ("color_columns", "color_stars", "color_forests", "number_edges")
)
_DYNAMIC_ORDER = CalledKernel("ordering", "dynamic")
_THOROUGH = 64  # how many times the elements of a pattern its columns may meet, for orders that follow every meeting


def color_columns(rows: Structure, columns: Structure) -> tuple[np.ndarray, int]:
    """Colors of the columns of a pattern, given by rows and by columns, and their number: no two columns of one color
    have an element in the same row. No coloring has fewer colors than a row has elements."""
    n = rows.columns

    def greedy(order: Order) -> tuple[np.ndarray, int]:
        colors, forbidden = _none(n), _none(n + 1)
        return colors, _COLOR_COLUMNS(colors, forbidden, order, rows[:2], columns[:2])

    return _fewest(greedy, rows, columns, int(np.diff(rows.indptr).max(initial=0)))


def color_symmetric(pattern: Structure, substitution: bool) -> tuple[np.ndarray, int]:
    """Colors of the vertices of a symmetric pattern, and their number: a star coloring, or an acyclic one for recovery
    by substitution."""
    n = pattern.columns
    edges, count = numbered(pattern)
    most = int(np.diff(pattern.indptr).max(initial=0)) ** 2 + 2

    def greedy(order: Order) -> tuple[np.ndarray, int]:
        colors, forbidden, first = _none(n), _none(n + 1), _none(2 * min(n, most) + 2)
        graph = pattern.indptr, pattern.indices, edges
        if substitution:
            trees = _none(2 * count), np.empty(count, np.int32), np.empty(count, np.int32)
            return colors, _COLOR_FORESTS(colors, forbidden, order, graph, first, *trees)
        stars = np.empty(count, np.int32), np.empty(count, np.int32)
        return colors, _COLOR_STARS(colors, forbidden, order, graph, _none(n), first, *stars)

    return _fewest(greedy, pattern, pattern, min(2, count + 1) if n else 0)


def numbered(pattern: Structure) -> tuple[np.ndarray, int]:
    """The number of the edge at each place of a symmetric pattern (-1: the diagonal), and the number of edges. Raises
    ValueError if it is not symmetric."""
    edges = np.empty(len(pattern.indices), np.int32)
    count = _NUMBER_EDGES(edges, pattern.indptr, pattern.indices, pattern.indptr.copy())
    if count < 0:
        raise ValueError(f"the pattern is not symmetric{at_line()}")
    return edges, count


def _none(count: int) -> np.ndarray:
    return np.full(count, -1, np.int32)


def _fewest(
    greedy: Callable[[Order], tuple[np.ndarray, int]], rows: Structure, columns: Structure, bound: int
) -> tuple[np.ndarray, int]:
    """The coloring with the fewest colors of those for all orders; the first with `bound` colors."""
    best: tuple[np.ndarray, int] | None = None
    for order in _orders(rows, columns):
        found = greedy(order)
        if best is None or found[1] < best[1]:
            best = found
        if best[1] <= bound:
            break
    assert best is not None
    return best


def _orders(rows: Structure, columns: Structure) -> Iterator[Order]:
    """Natural, largest first, smallest last, incidence degree. The last two take time for every pair of elements in a
    row, and are left out where that is much more than the pattern has."""
    n = rows.columns
    yield np.arange(n, dtype=np.int32)
    degrees = _degrees(rows, columns)
    yield np.argsort(-degrees, kind="stable").astype(np.int32)
    if degrees.sum() > _THOROUGH * (len(rows.indices) + n):
        return
    largest = int(degrees.max(initial=0))
    for way in (SMALLEST_LAST, INCIDENCE):
        order = np.empty(n, np.int32)
        start = degrees.copy() if way == SMALLEST_LAST else np.zeros(n, np.int64)
        _DYNAMIC_ORDER(order, start, way, rows[:2], columns[:2], _none(largest + 1), _none(2 * n))
        yield order


def _degrees(rows: Structure, columns: Structure) -> np.ndarray:
    """How often each column meets others in its rows."""
    met = np.append(0, np.cumsum((np.diff(rows.indptr) - 1)[columns.indices]))
    return met[columns.indptr[1:]] - met[columns.indptr[:-1]]
