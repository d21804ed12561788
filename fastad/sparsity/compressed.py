"""Compressed evaluation: a sparse matrix of derivatives from a few products of it with vectors, one for each color.

All products are computed at once, as lanes of one table; then every element is read off. The result is a table like any
other: it is recorded, derived and compiled as such. Source: Curtis, Powell & Reid (1974), On the Estimation of Sparse
Jacobian Matrices, J. Inst. Math. Appl. 13; Griewank & Walther (2008), Evaluating Derivatives, chapter 8.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastad.primitives.regions import region
from fastad.sparsity.bicoloring import element_sides
from fastad.sparsity.coloring import Coloring, color_structure
from fastad.sparsity.substitution import Substitution, substitution_of
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.inline import compact, inline
from fastad.tables.passes.batch import batch_rows
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.passes.kinks import with_limits
from fastad.tables.sparsity.sets import Structure
from fastad.tables.sparsity.sweep import jacobian_structure
from fastad.tables.table import Table


class Compressed(NamedTuple):
    """A sparse matrix of derivatives: its pattern, its coloring, and the table from the inputs to its elements, in the
    order of CSR. `used` are the numbers of the captured arrays on whose elements the pattern depends."""

    structure: Structure
    coloring: Coloring
    table: Table
    used: tuple[int, ...] = ()


def compressed_jacobian(
    table: Table, wrt: Sequence[int], *, kind: str = "auto", captured: Sequence[Any] = ()
) -> Compressed:
    """The Jacobian of all results of a table, one after another, by the elements of the inputs `wrt`.

    `kind` as in `fastad.sparsity.coloring.color`: "column", "row", "bidirectional" or "auto". `captured` are the values
    of the table's captured arrays, for elements that these choose.
    """
    structure, used = jacobian_structure(table, wrt, captured)
    return compressed_on(table, wrt, structure, kind, used)


def compressed_on(
    table: Table, wrt: Sequence[int], structure: Structure, kind: str = "auto", used: tuple[int, ...] = ()
) -> Compressed:
    """The same on a pattern that is known."""
    coloring = color_structure(structure, kind)
    return Compressed(structure, coloring, elements_table(table, wrt, structure, coloring), used)


def compressed_hessian(
    gradient: Table, wrt: Sequence[int], *, kind: str = "star", captured: Sequence[Any] = ()
) -> Compressed:
    """The Jacobian of a gradient, by the inputs that it is the gradient for. `kind` is "star" or "acyclic", or one of
    those of a Jacobian. A pattern may say too much on one side of the diagonal, so it is what both sides say."""
    structure, used = jacobian_structure(gradient, wrt, captured)
    structure = structure.symmetric()
    coloring = color_structure(structure, kind)
    return Compressed(structure, coloring, elements_table(gradient, wrt, structure, coloring), used)


def elements_table(table: Table, wrt: Sequence[int], structure: Structure, coloring: Coloring) -> Table:
    """Table from the inputs to the elements of the Jacobian with this pattern, in the order of CSR."""
    base, b = with_limits(table), Builder()
    inputs = [b.input(*kind) for kind in base.inputs]
    dtype = "f" if all(kind.dtype == "f" for kind in base.output_types) else "d"
    products = []
    if coloring.n_column_colors:
        products.append(_tangents(b, base, inputs, wrt, coloring))
    if coloring.n_row_colors:
        products.append(_adjoints(b, base, inputs, wrt, coloring))
    if not len(structure.indices):
        return compact(b.table([b.broadcast(b.const(0.0, dtype), (0,))], base.captured))
    every = _side_by_side(b, products)
    if coloring.kind == "acyclic":
        found = _substituted(b, every, substitution_of(structure, coloring.column_colors))
    else:
        found = b.taken(every, places(structure, coloring))
    return compact(b.table([b.cast(found, b.shape(found), dtype)], base.captured))


# ── products ──────────────────────────────────────────────────────────────────────────────────────────────────
def _tangents(b: Builder, table: Table, inputs: Sequence[Ref], wrt: Sequence[int], coloring: Coloring) -> Ref:
    """J times the sum of the unit vectors of each color: (colors, elements of the results)."""
    count = coloring.n_column_colors
    seeds = _seeds(b, coloring.column_colors, count, [table.inputs[i] for i in wrt])
    return _lanes(b, tangent_table(table, wrt), inputs, seeds, count, len(table.outputs))


def _adjoints(b: Builder, table: Table, inputs: Sequence[Ref], wrt: Sequence[int], coloring: Coloring) -> Ref:
    """Jᵀ times the sum of the unit vectors of each color: (colors, elements of the inputs)."""
    count = coloring.n_row_colors
    seeds = _seeds(b, coloring.row_colors, count, table.output_types)
    return _lanes(b, adjoint_table(table, wrt), inputs, seeds, count, len(table.outputs))


def _seeds(b: Builder, colors: np.ndarray, count: int, kinds: Sequence[ValueType]) -> list[Ref]:
    """For each value the sums of unit vectors: (colors, *shape). Computed, since they are large, and few bits."""
    found, start = [], 0
    for kind in kinds:
        own = b.const(colors[start : start + kind.size].astype(np.float64).reshape(kind.shape))
        full = (count, *kind.shape)
        numbers = b.region(b.const(np.arange(float(count))), (0, count, kind.size, 1, 0), full)
        dtype = kind.dtype if kind.dtype in "df" else "d"
        found.append(b.ones_where_equal(b.broadcast(own, full), numbers, dtype))
        start += kind.size
    return found


def _lanes(b: Builder, derived: Table, inputs: Sequence[Ref], seeds: Sequence[Ref], lanes: int, results: int) -> Ref:
    """The derived results for all seeds, as an array of shape (lanes, elements)."""
    count = len(inputs) - len(derived.captured)
    if lanes * len(derived) <= _APART and not derived.subs:
        return _apart(b, derived, inputs, seeds, lanes, results)
    given = [*inputs[:count], *seeds, *inputs[count:]]
    flags = [count <= k < count + len(seeds) for k in range(len(given))]
    refs, batched = batch_rows(b, derived, given, flags, lanes)
    parts = []
    for o in derived.outputs[results:]:
        size = derived.type_of(o).size
        full = refs[o] if batched[o] else b.broadcast(refs[o], (lanes, *derived.type_of(o).shape))
        parts.append((b.cast(full, (lanes, size), "d"), size))
    return _beside(b, parts, lanes)


# Rows of all lanes up to which they are written one after another. A lane is fused as one function would be: half
# the time of batched rows where values do not fit the cache; but code for many rows takes long to compile.
_APART = 200


def _apart(b: Builder, derived: Table, inputs: Sequence[Ref], seeds: Sequence[Ref], lanes: int, results: int) -> Ref:
    """The same as rows of each lane; the rows of the value are shared."""
    count = len(inputs) - len(derived.captured)
    parts = []
    for lane in range(lanes):
        sizes = [b.size(x) // lanes for x in seeds]
        own = [b.region(x, (lane * n, n, 1), b.shape(x)[1:]) for x, n in zip(seeds, sizes, strict=True)]
        refs = inline(b, derived, [*inputs[:count], *own, *inputs[count:]])
        parts += [b.cast(refs[o], (b.size(refs[o]),), "d") for o in derived.outputs[results:]]
    total = _side_by_side(b, parts)
    return b.reshape(total, (lanes, b.size(total) // lanes))


def _beside(b: Builder, parts: Sequence[tuple[Ref, int]], lanes: int) -> Ref:
    """Arrays of shape (lanes, size) next to each other."""
    total, at, regions = sum(size for _, size in parts), 0, []
    if len(parts) == 1:
        return parts[0][0]
    for _, size in parts:
        regions.append(region(at, (lanes, size), (total, 1)))
        at += size
    return b.assemble([ref for ref, _ in parts], regions, (lanes, total))


def _side_by_side(b: Builder, products: Sequence[Ref]) -> Ref:
    """All products as one vector."""
    sizes = [b.size(x) for x in products]
    flat = [b.reshape(x, (n,)) for x, n in zip(products, sizes, strict=True)]
    if len(flat) == 1:
        return flat[0]
    ends = np.cumsum(sizes).tolist()
    regions = [region(end - n, (n,), (1,)) for end, n in zip(ends, sizes, strict=True)]
    return b.assemble(flat, regions, (ends[-1],))


# ── recovery ──────────────────────────────────────────────────────────────────────────────────────────────────
def places(structure: Structure, coloring: Coloring) -> np.ndarray:
    """Where each element stands in [products with column colors (colors, rows) | with row colors (colors, columns)]."""
    m, n = structure.shape
    row, column = structure.rows(), structure.indices.astype(np.int64)
    by_column = coloring.column_colors.astype(np.int64)[column] * m + row
    if coloring.kind == "column":
        return by_column
    if coloring.kind == "star":
        sides = element_sides(structure, structure, np.full(m, -1, np.int32), coloring.column_colors)
        mirrored = coloring.column_colors.astype(np.int64)[row] * m + column
        return np.where(sides & 1, by_column, mirrored)
    by_row = coloring.n_column_colors * m + coloring.row_colors.astype(np.int64)[row] * n + column
    if coloring.kind == "row":
        return by_row
    sides = element_sides(structure, structure.transposed(), coloring.row_colors, coloring.column_colors)
    return np.where(sides & 1, by_column, by_row)


def _substituted(b: Builder, products: Ref, how: Substitution) -> Ref:
    """Elements by substitution along the trees of two colors: see `substitution`."""
    sums = b.running_sums(b.multiply(b.taken(products, how.source), b.const(how.sign)), how.goes_on)
    before = b.multiply(b.taken(sums, how.begin), b.const(how.goes_on))
    found = b.multiply(b.subtract(b.taken(sums, how.end), before), b.const(how.sign_of))
    return b.taken(found, how.element)
