"""Colorings checked by their definitions, slowly and obviously."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from fastad.errors import CheckError
from fastad.sparsity.coloring import Coloring


def check_coloring(pattern: Any, coloring: Coloring) -> None:
    """Raise CheckError unless a coloring has what its kind promises for this pattern (dense, or a SciPy array).

    - "column", "row": two columns (rows) of one color have no row (column) in common.
    - "star": neighbours have different colors, and every path of four vertices has at least three.
    - "acyclic": neighbours have different colors, and so many edges between two colors as a forest has.
    - "bidirectional": every element is the only one of its column's color in its row, or of its row's color in its
      column.

    Gebremedhin, Manne & Pothen (2005), What Color Is Your Jacobian?, SIAM Review 47(4), has the definitions.

    >>> import numpy as np, fastad as fad
    >>> from fastad.checks.colorings import check_coloring
    >>> check_coloring(np.eye(3), fad.coloring.color(np.eye(3)))
    """
    filled = np.asarray(pattern.toarray() if hasattr(pattern, "toarray") else pattern) != 0
    for complaint in _COMPLAINTS[coloring.kind](filled, coloring):
        raise CheckError(f"no {coloring.kind} coloring: {complaint}")
    counts = coloring.n_row_colors, coloring.n_column_colors
    for colors, count in zip((coloring.row_colors, coloring.column_colors), counts, strict=True):
        if not np.array_equal(np.unique(colors[colors >= 0]), np.arange(count)):
            raise CheckError(f"{count} colors are counted, and these are used: {np.unique(colors)}")


def _of_columns(filled: np.ndarray, colors: np.ndarray, what: str = "columns") -> Iterator[str]:
    for row in filled:
        own = colors[row]
        if np.any(own < 0) or len(set(own.tolist())) < len(own):
            yield f"{what} {np.flatnonzero(row).tolist()} meet and have the colors {own.tolist()}"


def _between_neighbours(filled: np.ndarray, colors: np.ndarray) -> Iterator[str]:
    if not np.array_equal(filled, filled.T):
        yield "the pattern is not symmetric"
    for i, j in zip(*np.nonzero(filled), strict=True):
        if colors[i] < 0 or (i != j and colors[i] == colors[j]):
            yield f"{i} and {j} are neighbours and have the colors {colors[i]} and {colors[j]}"


def _stars(filled: np.ndarray, coloring: Coloring) -> Iterator[str]:
    colors = coloring.column_colors
    yield from _between_neighbours(filled, colors)
    around = [[int(j) for j in np.flatnonzero(row) if j != i] for i, row in enumerate(filled)]
    for b in range(len(filled)):
        for c in around[b]:
            for a in around[b]:
                for d in around[c]:
                    if len({a, b, c, d}) == 4 and len({colors[v] for v in (a, b, c, d)}) < 3:
                        yield f"the path {a}, {b}, {c}, {d} has two colors"


def _forests(filled: np.ndarray, coloring: Coloring) -> Iterator[str]:
    colors = coloring.column_colors
    yield from _between_neighbours(filled, colors)
    for a, b in combinations(range(coloring.n_column_colors), 2):
        inside = np.isin(colors, (a, b))
        part = filled[np.ix_(inside, inside)] & ~np.eye(inside.sum(), dtype=bool)
        if part.sum() // 2 != len(part) - _components(part):
            yield f"colors {a} and {b} have a cycle"


def _components(graph: np.ndarray) -> int:
    """Connected components of a graph, by searching from every vertex that was not met before."""
    met, count = set[int](), 0
    for start in range(len(graph)):
        if start in met:
            continue
        count, todo = count + 1, [start]
        while todo:
            v = todo.pop()
            if v not in met:
                met.add(v)
                todo += np.flatnonzero(graph[v]).tolist()
    return count


def _both(filled: np.ndarray, coloring: Coloring) -> Iterator[str]:
    rows, columns = coloring.row_colors, coloring.column_colors
    for i, j in zip(*np.nonzero(filled), strict=True):
        by_column = columns[j] >= 0 and np.sum(filled[i] & (columns == columns[j])) == 1
        by_row = rows[i] >= 0 and np.sum(filled[:, j] & (rows == rows[i])) == 1
        if not (by_column or by_row):
            yield f"the element ({i}, {j}) can be read off neither its row nor its column"


_COMPLAINTS = {
    "column": lambda filled, coloring: _of_columns(filled, coloring.column_colors),
    "row": lambda filled, coloring: _of_columns(filled.T, coloring.row_colors, "rows"),
    "star": _stars,
    "acyclic": _forests,
    "bidirectional": _both,
}
