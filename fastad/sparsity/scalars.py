"""Jacobians of functions of few numbers, element by element.

Each unknown is an input of its own, and a tangent is derived for each: rows that do not depend on an unknown have none,
so what is left is the code that one would write by hand, a few operations for each element that is not zero. Sums over
rows with whole arrays would be computed for every column; then the usual Jacobian takes less.
"""

import numpy as np

from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import packed
from fastad.tables.inline import compact, inline
from fastad.tables.passes.derive import tangent_table
from fastad.tables.table import Table

_MOST_ROWS = 20_000  # rows of all tangents together, for the time that it takes to derive them


def jacobian_by_elements(table: Table, most: int) -> Table | None:
    """The table from the inputs to the Jacobian (m, n) of the first result, of m numbers, by the first input, of n
    numbers. None if it takes more than `most` operations, or is not worth a try."""
    n, m = table.inputs[0].size, table.output_types[0].size
    if table.subs or table.captured or n * len(table) > _MOST_ROWS:
        return None
    apart = _apart(table, n, m)
    if n * len(apart) > _MOST_ROWS:  # numbers to and from the arrays are rows, too
        return None
    b = Builder()
    numbers, others = [b.input(()) for _ in range(n)], [b.input(*kind) for kind in table.inputs[1:]]
    one, found, places = b.const(1.0), [], []
    for j in range(n):
        derived = tangent_table(apart, [j])
        refs = inline(b, derived, [*numbers, *others, one])
        for i in range(m):
            element = refs[derived.outputs[m + i]]
            if b.scalar(element) != 0.0:
                found.append(element)
                places.append((i * n + j, 1, 1))
    if len(b) > _MOST_ROWS:
        return None
    elements = compact(b.table(found))
    if int(np.sum(elements.sizes)) > most:
        return None
    return _whole(table, elements, places)


def _apart(table: Table, n: int, m: int) -> Table:
    """The same function of n numbers and the other inputs, to m numbers."""
    b = Builder()
    x = packed(b, [b.input(()) for _ in range(n)])
    others = [b.input(*kind) for kind in table.inputs[1:]]
    out = inline(b, table, [b.reshape(x, table.inputs[0].shape), *others])[table.outputs[0]]
    return compact(b.table([b.region(out, (i, 1, 1), ()) for i in range(m)]))


def _whole(table: Table, elements: Table, places: list[tuple[int, int, int]]) -> Table:
    """The Jacobian as an array, from the table of its elements."""
    b = Builder()
    inputs = [b.input(*kind) for kind in table.inputs]
    n, m = b.size(inputs[0]), table.output_types[0].size
    numbers: list[Ref] = [b.region(inputs[0], (i, 1, 1), ()) for i in range(n)]
    refs = inline(b, elements, [*numbers, *inputs[1:]])
    return compact(b.table([b.assemble([refs[i] for i in elements.outputs], places, (m, n))]))
