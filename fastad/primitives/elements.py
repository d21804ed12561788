"""Array rows as elementwise ones: `f(b, row, operands)` gives the elements of the result from those of the operands.

An operand is the list of its elements, each a row. None: the row does not come apart.
"""

from typing import Any

import numpy as np

from fastad.primitives.values import strided_view

Elements = list[int]


def _places(own: Any, size: int) -> Any:
    return strided_view(np.arange(size), own).reshape(-1).tolist()


def strided(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    (x,) = operands
    if x and row.dtype != b.dtype(x[0]):
        if row.dtype != "d" or b.dtype(x[0]) in "fd":
            return None
        x = [b.cast(element, b.shape(element), "d") for element in x]
    return [x[i] for i in _places(row.statics, len(x))]


def strided_add(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    found = [b.const(0.0)] * row.size
    for i, x in zip(_places(row.statics, row.size), operands[0], strict=True):
        found[i] = b.add(found[i], x)
    return found


def assemble(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    found = [b.const(0.0)] * row.size
    for own, x in zip(row.regions, operands, strict=True):
        for i, element in zip(_places(own, row.size), x, strict=True):
            found[i] = element
    return found


def matmul(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    batch, m, k, n, ta, tb, sx, sy = row.statics
    if not k:
        return None
    x = np.array(operands[0], int).reshape(batch if sx else 1, *((k, m) if ta else (m, k)))
    y = np.array(operands[1], int).reshape(batch if sy else 1, *((n, k) if tb else (k, n)))
    x, y = (x.swapaxes(1, 2) if ta else x), (y.swapaxes(1, 2) if tb else y)
    rows = [(p, i, j) for p in range(batch) for i in range(m) for j in range(n)]
    return [
        b.add(*(b.multiply(int(u), int(v)) for u, v in zip(x[p * sx, i], y[p * sy, :, j], strict=True)))
        for p, i, j in rows
    ]
