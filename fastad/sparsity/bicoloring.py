"""Bidirectional colorings: rows and columns are colored, so that every element follows from one of the two.

Either a few long rows (or columns) are split off, as Coleman & Verma do; or the bipartite graph of rows and columns
gets a star coloring, without the colors that no element needs, as Montoison, Dalle & Gebremedhin do.

Sources: Coleman & Verma (1998), The efficient computation of sparse Jacobian matrices using automatic differentiation,
SIAM J. Sci. Comput. 19(4); Montoison, Dalle & Gebremedhin (2025), Revisiting sparse matrix coloring and bicoloring.
"""

import numpy as np

from fastad.calling import CalledKernel
from fastad.kernels.pattern_fields import BY_COLUMN, BY_ROW
from fastad.sparsity.greedy import color_columns, color_symmetric
from fastad.tables.sparsity.sets import Structure, grouped

_READABLE = CalledKernel("recovering", "readable")


def color_both(rows: Structure, columns: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Colors of the rows and of the columns, -1 where none is needed: the fewest of three ways."""
    swapped = _few_long_rows(columns, rows)[::-1]
    found = [_few_long_rows(rows, columns), (swapped[0], swapped[1]), _by_stars(rows, columns)]
    return min(found, key=lambda pair: sum(int(colors.max(initial=-1)) + 1 for colors in pair))


def _few_long_rows(rows: Structure, columns: Structure) -> tuple[np.ndarray, np.ndarray]:
    """The longest rows by row, all others by column. So many are taken that their number and the length of the next
    one, which bound the colors, are together smallest."""
    lengths = np.diff(rows.indptr)
    is_long = np.zeros(len(lengths), bool)
    is_long[np.argsort(-lengths, kind="stable")[: int(np.argmin(_split_bounds(rows)))]] = True
    own, rest = rows.of_rows(is_long), rows.of_rows(~is_long)
    row_colors, _ = color_columns(own.transposed(), own)
    column_colors, _ = color_columns(rest, rest.transposed())
    empty = np.diff(rest.transposed().indptr) == 0
    return np.where(is_long, row_colors, -1).astype(np.int32), np.where(empty, -1, column_colors).astype(np.int32)


def _split_bounds(rows: Structure) -> np.ndarray:
    """For each number of longest rows that are split off: that number and the length of the next row."""
    lengths = np.sort(np.diff(rows.indptr))[::-1]
    return np.append(lengths, 0) + np.arange(len(lengths) + 1)


def split_bound(rows: Structure) -> int:
    """A bound for the colors where long rows are split off: how many there are, and the length of the next one."""
    return int(_split_bounds(rows).min())


def _by_stars(rows: Structure, columns: Structure) -> tuple[np.ndarray, np.ndarray]:
    """A star coloring of the bipartite graph, and then the colors that some element needs."""
    m, n = rows.shape
    colors, _ = color_symmetric(_augmented(rows, columns), False)
    column_colors, row_colors = colors[:n], colors[n:]
    sides = element_sides(rows, columns, row_colors, column_colors)
    row, column = np.repeat(np.arange(m, dtype=np.int32), np.diff(rows.indptr)), rows.indices
    found = [_needed(sides, row_colors[row], column_colors[column], first) for first in (1, 2)]
    needed_rows, needed_columns = min(found, key=lambda pair: pair[0].sum() + pair[1].sum())
    return _renumbered(row_colors, needed_rows), _renumbered(column_colors, needed_columns)


def _augmented(rows: Structure, columns: Structure) -> Structure:
    """[[0, Jᵀ], [J, 0]]: first the columns, then the rows."""
    n = rows.columns
    indptr = np.concatenate([columns.indptr, rows.indptr[1:] + columns.indptr[-1]])
    return Structure(indptr, np.concatenate([columns.indices + np.int32(n), rows.indices]), n + columns.columns)


def element_sides(rows: Structure, columns: Structure, row_colors: np.ndarray, column_colors: np.ndarray) -> np.ndarray:
    """For each element (by rows): 1 if it can be read off the product with its column's color, 2 if with its row's, 3
    if with both."""
    sides, by_column = np.zeros(len(rows.indices), np.int32), np.zeros(len(rows.indices), np.int32)
    _READABLE(sides, BY_COLUMN, column_colors, _seen(column_colors), rows.indptr, rows.indices)
    _READABLE(by_column, BY_ROW, row_colors, _seen(row_colors), columns.indptr, columns.indices)
    sides[grouped(rows.indices, rows.columns)[1]] |= by_column
    return sides


def _seen(colors: np.ndarray) -> np.ndarray:
    return np.full(2 * (int(colors.max(initial=-1)) + 1), -1, np.int64)


def _needed(sides: np.ndarray, row: np.ndarray, column: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Which colors of rows and of columns are needed, if elements that both give are read by side `first`."""
    needed = [np.zeros(int(colors.max(initial=-1)) + 1, bool) for colors in (row, column)]
    needed[0][row[sides == 2]] = True
    needed[1][column[sides == 1]] = True
    left = (sides == 3) & ~needed[0][row] & ~needed[1][column]
    if first == 1:
        needed[1][column[left]] = True
    else:
        needed[0][row[left]] = True
    return needed[0], needed[1]


def _renumbered(colors: np.ndarray, needed: np.ndarray) -> np.ndarray:
    numbers = np.append(np.where(needed, np.cumsum(needed) - 1, -1), [-1] * (int(colors.max(initial=-1)) + 2))
    return numbers[colors].astype(np.int32)
