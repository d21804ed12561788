"""Colorings of sparsity patterns: which columns (or rows) of a matrix can be computed together and told apart.

A Jacobian of which no two columns of one color share a row follows from one tangent for each color (Curtis, Powell &
Reid, 1974). Gebremedhin, Manne & Pothen (2005), What Color Is Your Jacobian?, SIAM Review 47(4), is the survey.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.recording.source import at_line
from fastad.sparsity.bicoloring import color_both, split_bound
from fastad.sparsity.greedy import color_columns, color_symmetric
from fastad.tables.sparsity.sets import Structure

JACOBIAN_KINDS = ("column", "row", "bidirectional", "auto")
KINDS = (*JACOBIAN_KINDS, "star", "acyclic")


@dataclass(frozen=True, eq=False)
class Coloring:
    """Colors of the columns and rows of a pattern, from 0 on; -1 for those that are not needed.

    `kind` is "column", "row", "star", "acyclic" or "bidirectional". `colors` are those of the columns or of the rows;
    for a bidirectional coloring it is the pair (row_colors, column_colors). `n_colors` is the number of all colors:
    that of the tangents and adjoints which determine a matrix with this pattern.
    """

    kind: str
    row_colors: np.ndarray
    column_colors: np.ndarray
    n_row_colors: int
    n_column_colors: int

    @property
    def n_colors(self) -> int:
        return self.n_row_colors + self.n_column_colors

    @property
    def colors(self) -> Any:
        if self.kind == "bidirectional":
            return self.row_colors, self.column_colors
        return self.row_colors if self.kind == "row" else self.column_colors

    def __repr__(self) -> str:
        return f"<{self.kind} coloring: {self.n_colors} colors>"


def color(pattern: Any, kind: str = "auto") -> Coloring:
    """A coloring of a sparsity pattern, with the fewest colors that were found.

    `pattern` is a SciPy sparse array or matrix, or a dense array, of shape (m, n); its stored (or nonzero) elements
    are those of the pattern.

    - "column": columns of one color have no row in common: each color is one tangent.
    - "row": rows of one color have no column in common: each color is one adjoint.
    - "bidirectional": rows and columns are colored, so that every element can be read off by its row or its column
      (Coleman & Verma, 1998). It is found as a star coloring of the bipartite graph of rows and columns, from which
      colors that are not needed are taken away (Montoison, Dalle & Gebremedhin, 2025).
    - "star": of a symmetric pattern; every element can be read off the products of the matrix with one vector for each
      color (Gebremedhin, Tarafdar, Manne & Pothen, 2007, algorithm 4.1).
    - "acyclic": as "star", but elements follow by substitution, from fewer products (algorithm 3.1 there).
    - "auto": the one of "column", "row" and "bidirectional" that has the fewest colors.

    Vertices are colored greedily in their natural order, largest first, smallest last and by incidence degree; the
    coloring with the fewest colors is kept. Raises ValueError for another kind, and for "star" and "acyclic" if the
    pattern is not symmetric.

    >>> import numpy as np, fastad as fad
    >>> fad.coloring.color(np.eye(5) + np.eye(5, k=1)).colors.tolist()
    [0, 1, 0, 1, 0]
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, not {kind!r}{at_line()}")
    return color_structure(structure_from(pattern), kind)


def color_structure(rows: Structure, kind: str) -> Coloring:
    """The coloring of a pattern."""
    m, n = rows.shape
    if kind in ("star", "acyclic"):
        if m != n:
            text = f"a {kind} coloring is of a symmetric pattern, and this one has the shape {rows.shape}"
            raise ValueError(f"{text}{at_line()}")
        colors, count = color_symmetric(rows, kind == "acyclic")
        return Coloring(kind, np.full(m, -1, np.int32), colors, 0, count)
    columns = rows.transposed()
    if kind == "column":
        return _by_columns(rows, columns)
    if kind == "row":
        return _by_rows(rows, columns)
    if kind == "bidirectional":
        return _both(rows, columns)
    return _cheapest(rows, columns)


def _by_columns(rows: Structure, columns: Structure) -> Coloring:
    colors, count = color_columns(rows, columns)
    return Coloring("column", np.full(rows.shape[0], -1, np.int32), colors, 0, count)


def _by_rows(rows: Structure, columns: Structure) -> Coloring:
    colors, count = color_columns(columns, rows)
    return Coloring("row", colors, np.full(rows.shape[1], -1, np.int32), count, 0)


def _both(rows: Structure, columns: Structure) -> Coloring:
    row_colors, column_colors = color_both(rows, columns)
    counts = (int(colors.max(initial=-1)) + 1 for colors in (row_colors, column_colors))
    return Coloring("bidirectional", row_colors, column_colors, *counts)


def _cheapest(rows: Structure, columns: Structure) -> Coloring:
    """Kinds are tried in the order of their bounds: the longest row or column. What cannot be better is not tried: a
    bidirectional coloring wants a few rows or columns that are longer than the others."""
    bounds = [int(np.diff(x.indptr).max(initial=0)) for x in (rows, columns)]
    ways = [(bounds[0], _by_columns), (bounds[1], _by_rows)]
    if bounds[1] < bounds[0]:
        ways.reverse()
    best = ways[0][1](rows, columns)
    if ways[1][0] < best.n_colors and not rows.equals(columns):
        other = ways[1][1](rows, columns)
        best = other if other.n_colors < best.n_colors else best
    if min(split_bound(rows), split_bound(columns)) < min(bounds):
        both = _both(rows, columns)
        best = both if both.n_colors < best.n_colors else best
    return best


def structure_from(pattern: Any) -> Structure:
    """The structure of a SciPy sparse array, of a dense array, or of a structure."""
    if isinstance(pattern, Structure):
        return pattern
    if not hasattr(pattern, "tocsr"):
        dense = np.asarray(pattern)
        if dense.ndim != 2:
            raise ValueError(f"a pattern has two dimensions, not the shape {dense.shape}{at_line()}")
        row, column = np.nonzero(dense)
        indptr = np.searchsorted(row, np.arange(dense.shape[0] + 1)).astype(np.int64)
        return Structure(indptr, column.astype(np.int32), dense.shape[1])
    matrix = pattern.tocsr()
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.data = np.ones(len(matrix.indices), bool)  # stored zeros stay
        matrix.sum_duplicates()
    return Structure(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.shape[1])
