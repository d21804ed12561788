"""Thin products as elementwise rows: loops compute those together with what is added up from them.

A product over an inner dimension of one is x_i y_j, which takes longer to write and to read again than to compute: a
sum of many of them (a convolution of pictures with one channel, say) is one loop. So are products of several rows with
one narrow matrix, the adjoints of these, which each read all of that matrix.
"""

from collections import Counter
from typing import Any

import numpy as np

from fastad.execution.native.code.vectors import lanes
from fastad.primitives import opcode
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import Lookup, copy_row
from fastad.tables.table import Row, Table

_MATMUL = opcode("matmul")
_LEAST = 64  # elements that a loop takes


def without_thin_products(table: Table) -> Table:
    """The table with such products as elementwise rows and sums."""
    products = [table.row(i) for i in np.flatnonzero(table.columns["op"] == _MATMUL).tolist()]
    uses = Counter(row.operands[1] for row in products if _is_row(row))
    thin = {row.index for row in products if _is_outer(row) or (_is_row(row) and uses[row.operands[1]] > 1)}
    if not thin:
        return table
    b = Builder()
    inputs = [b.input(*kind) for kind in table.inputs]
    refs: list[Ref] = []
    lines = Lookup(lambda number: b.line_number(table.lines[number]))
    for index, number in enumerate(table._lists["line"]):
        b.at_line(lines[number])
        row = table.row(index)
        refs.append(_elementwise(b, row, refs) if index in thin else copy_row(b, table, row, refs, inputs))
    return b.table([refs[i] for i in table.outputs], table.captured)


def _is_outer(row: Row) -> bool:
    """Whether a product is of a column and a row."""
    batch, m, k, n, *_ = row.statics
    return batch == k == 1 and m > 1 and n > 1 and m * n >= _LEAST and row.dtype == "d"


def _is_row(row: Row) -> bool:
    """Whether a product is of a row and a narrow matrix."""
    batch, m, k, n, _, tb, *_ = row.statics
    return batch == m == 1 and k > 1 and not tb and 1 < n <= 2 * lanes() and k * n >= _LEAST and row.dtype == "d"


def _elementwise(b: Any, row: Row, refs: list[Ref]) -> Ref:
    x, y = (refs[i] for i in row.operands)
    _, m, k, n, *_ = row.statics
    if k == 1:
        across = b.region(x, region(0, (m, n), (1, 0)), row.shape)
        return b.emit("multiply", (across, b.region(y, region(0, (m, n), (0, 1)), row.shape)), shape=row.shape)
    across = b.region(x, region(0, (k, n), (1, 0)), (k, n))
    terms = b.emit("multiply", (across, b.reshape(y, (k, n))), shape=(k, n))
    return b.emit("sum", (terms,), (1, k, n), row.shape)
