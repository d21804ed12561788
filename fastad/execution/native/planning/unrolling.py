"""How many elements a row may have to be unrolled: written out element by element, its values in registers.

In a short program all rows of few elements are. In a long one it is weighed for all its rows at once: straight-line
code takes time for every element, to compile and to run; a loop's vector takes about as long as three elements do, and
no longer if it is not full, but what loops cannot fuse (little products, pieces that are put together, sums) ends them,
and each end costs calls, and stores and loads of what others read.
"""

from typing import Any

import numpy as np

from fastad.execution.native.code.vectors import lanes
from fastad.execution.native.target import target
from fastad.primitives import PRIMITIVES, Elementwise, Form
from fastad.tables.table import Table

UNROLL = 16  # elements at most
_MOST = 2000  # numbers of all of these, if they are more than the single ones: so many are always unrolled

# ns of a run, and of compiling spread over some 40,000 runs (measured on programs of vectors of 3 to 16 numbers).
_ELEMENT, _MULTIPLICATION = 0.95, 0.4  # unrolled: an element; an addition and multiplication of a product
_ROW, _VECTOR = 5.0, 2.5  # in loops: a row, and each of its vectors
_SUM, _CALL = 6.0, 12.0  # what a row costs on top that ends loops


def unrolling(table: Table) -> int:
    """Elements of the largest rows that are unrolled."""
    sizes = table.sizes
    few = (sizes > 1) & (sizes <= UNROLL)
    most = max(_MOST, 2 * int((sizes == 1).sum()))
    if sizes[sizes <= UNROLL].sum() <= most:
        return UNROLL
    if not target().simd:
        return 4 if sizes[sizes <= 4].sum() <= most else 2
    unrolled, looped = np.zeros(UNROLL + 1), np.zeros(UNROLL + 1)
    for r in np.flatnonzero(few).tolist():
        n = int(sizes[r])
        own = _costs(table, r, n)
        if own is not None:
            unrolled[n] += own[0]
            looped[n] += own[1]
    return min((16, 8, 4, 2), key=lambda u: unrolled[: u + 1].sum() + looped[u + 1 :].sum())


def _costs(table: Table, r: int, n: int) -> tuple[float, float] | None:
    """What a row of n elements costs unrolled, and otherwise; None if that makes no difference."""
    primitive: Any = PRIMITIVES[int(table.columns["op"][r])]
    looped = _ROW + _VECTOR * -(-n // lanes())
    if isinstance(primitive, Elementwise):
        return _ELEMENT * n, looped
    if primitive.form in (Form.INPUT, Form.CONSTANT):
        return None
    if primitive.form is Form.VIEW:
        return 0.0, looped
    row = table.row(r)
    if primitive.form is Form.REDUCTION:
        return _ELEMENT * sum(int(table.sizes[x]) for x in row.operands), looped + _SUM
    if primitive.form is Form.PIECES:
        return _ELEMENT * n, looped + _CALL
    if not primitive.unrolls(row.statics, n):
        return None
    count = primitive.operations(row.statics, n, [int(table.sizes[x]) for x in row.operands]).get("products", 0)
    return max(_ELEMENT * n, _MULTIPLICATION * count), looped + _CALL
