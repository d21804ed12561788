"""Recovery of a symmetric matrix from an acyclic coloring, by substitution along trees.

The elements between vertices of two colors are the edges of a forest. For a vertex v below p in a tree,
H[v, p] = (H s_p)[v] - Σ_w H[w, v] over the vertices w below v, where s_p sums the unit vectors of p's color. So
H[v, p] is the sum of these products over the whole branch below v, with alternating signs; with branches laid out as
runs, it is a difference of two running sums along the tree. Source: Gebremedhin, Pothen, Tarafdar & Walther (2009),
Efficient Computation of Sparse Hessians Using Coloring and Automatic Differentiation, INFORMS J. Comput. 21(2).
"""

from typing import NamedTuple

import numpy as np

from fastad.calling import CalledKernel
from fastad.sparsity.greedy import numbered
from fastad.tables.sparsity.sets import Structure

_LAY_OUT_TREES, _BRANCH_SIZES = (CalledKernel("recovering", name) for name in ("lay_out_trees", "branch_sizes"))


class Substitution(NamedTuple):
    """By position: where the product stands in (colors, rows), its sign, whether the running sum goes on from the
    position before (then the branch has one before it, too); the end of the branch, the position before it, the sign of
    the result. By element
    of the matrix: its position."""

    source: np.ndarray
    sign: np.ndarray
    goes_on: np.ndarray
    end: np.ndarray
    begin: np.ndarray
    sign_of: np.ndarray
    element: np.ndarray


def substitution_of(structure: Structure, colors: np.ndarray) -> Substitution:
    """How the elements of a symmetric pattern follow from the products for an acyclic coloring."""
    n = structure.columns
    edges, count = numbered(structure)
    rows = structure.rows()
    by_color = np.lexsort((colors[structure.indices], rows))
    position = np.full(count, -1, np.int64)
    trees = tuple(np.empty(count, np.int64) for _ in range(3))
    pattern = structure.indptr, structure.indices, edges
    _LAY_OUT_TREES(trees, pattern, by_color, colors, position, np.empty(3 * count + 3, np.int64))
    vertex, above, parent = trees
    sizes, signs = np.ones(count, np.int64), np.empty(count)
    _BRANCH_SIZES(sizes, signs, parent)
    diagonal = rows[edges < 0]
    alone = len(diagonal)
    goes_on = np.concatenate([(parent >= 0).astype(float), np.zeros(alone)])
    full = np.concatenate([signs, np.ones(alone)])
    places = np.arange(count + alone)
    element = np.empty(len(structure.indices), np.int64)
    element[edges >= 0] = position[edges[edges >= 0]]
    element[edges < 0] = count + np.arange(alone)
    return Substitution(
        source=np.concatenate([colors[above] * np.int64(n) + vertex, colors[diagonal] * np.int64(n) + diagonal]),
        sign=full, goes_on=goes_on, end=places + np.concatenate([sizes, np.ones(alone, np.int64)]) - 1,
        begin=np.maximum(places - 1, 0), sign_of=full, element=element,
    )  # fmt: skip
