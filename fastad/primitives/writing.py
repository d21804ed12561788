"""Rows that write blocks into an array at computed places: `y[index] = v`, and `np.add.at(y, index, v)`.

Their first operand is the array before. Plans write in place where nobody reads that array later (see
`Row.written_over`), so that a row costs what it writes, as do its tangent and its adjoint. Indices of `put_blocks` come
in groups, such as those of a column of a matrix: any two groups are of the same blocks in the same order, or of others.
"""

from typing import Any

import numpy as np

from fastad.primitives import patterns
from fastad.primitives.arrays import CONST, array
from fastad.primitives.regions import region
from fastad.primitives.row import INDEX_ERROR, Form
from fastad.primitives.rules import lane_index, lead

Ref = int
Statics = tuple[int, ...]


def _blocks(s: Statics, x: Any, y: Any, z: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The array before, as a copy, in blocks; where to write; what."""
    before = np.array(x, np.result_type(x, y)).reshape(-1, s[0])
    index = np.ravel(z).astype(np.intp)
    return before, index, np.reshape(y, (len(index), s[0]))


def put(s: Statics, shape: tuple[int, ...], x: Any, y: Any, z: Any) -> np.ndarray:
    out, index, values = _blocks(s, x, y, z)
    out[index] = values  # NumPy writes one after another: the last value counts
    return out.reshape(shape)


def put_add(s: Statics, shape: tuple[int, ...], x: Any, y: Any, z: Any) -> np.ndarray:
    out, index, values = _blocks(s, x, y, z)
    np.add.at(out, index, values)
    return out.reshape(shape)


def _check_put(s: Statics, size: int, sizes: list[int]) -> str | None:
    if len(s) == 2 and s[1] > 0 and sizes[2] % s[1] == 0:
        return _check(s[:1], size, sizes)
    return "indices that are not whole groups"


def _check(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = len(s) == 1 and s[0] > 0 and sizes[0] == size and sizes[1] == sizes[2] * s[0] and size % s[0] == 0
    return None if fits else "blocks that do not fit the operands"


def _tangent(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref | None:
    dx, dy = (b.zeros(b.shape(x)) if t is None else t for x, t in zip(operands[:2], tangents[:2], strict=True))
    return b.emit(row.name, (dx, dy, operands[2]), row.statics, row.shape)


def _adjoint_put(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    _, y, z = operands
    inner, group = row.statics
    taken = b.emit("gather", (u, z), (inner,), b.shape(y))  # before the places are cleared
    counts = _counts(b, z, group)
    if counts is not None:
        n = b.size(counts)
        mask = b.emit("strided", (counts,), region(0, (n, b.size(y) // n), (1, 0)), b.shape(y))
        taken = b.emit("where", (mask, taken, b.zeros(b.shape(y))))
    return [b.emit("put_blocks", (u, b.zeros(b.shape(y)), z), row.statics, row.shape), taken, None]


def _counts(b: Any, z: Ref, group: int) -> Ref | None:
    """Whether each group of indices is the last one of its values, whose blocks stay; None if all are."""
    op, start, _, _ = b.definition(z)
    n = b.size(z) // group
    if n < 2:
        return None
    if op == CONST.code:
        index = np.array(b.constants[start : start + b.size(z) : group])
        last = np.zeros(len(index), bool)
        last[len(index) - 1 - np.unique(index[::-1], return_index=True)[1]] = True
        return None if last.all() else b.const(last)
    flat = b.emit("strided", (z,), region(0, (n,), (group,)), (n,))
    order = b.emit("argsort", (flat,), (1, n, 1), (n,))  # stable
    ordered = b.emit("gather", (flat, order), (1,), (n,))
    now = b.emit("strided", (ordered,), region(0, (n - 1,), (1,)), (n - 1,))
    after = b.emit("strided", (ordered,), region(1, (n - 1,), (1,)), (n - 1,))
    ends = b.assemble(
        [b.const(np.ones(n)), b.cast(b.emit("not_equal", (now, after)), (n - 1,), "d")],
        [region(0, (n,), (1,)), region(0, (n - 1,), (1,))], (n,),
    )  # fmt: skip
    found = b.emit("scatter_add", (ends, order), (1,), (n,))
    return b.emit("not_equal", (found, b.const(0.0)))


def _adjoint_put_add(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    _, y, z = operands
    return [u, b.emit("gather", (u, z), row.statics, b.shape(y)), None]


def _batch(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    x, y, z = operands
    z = lane_index(b, z, flags[2], size, row.size // row.statics[0])
    full = (lead(b, x, flags[0], size), lead(b, y, flags[1], size), z)
    return b.emit(row.name, full, row.statics, (size, *row.shape))


def _moves(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"moves": sizes[1]}


def _additions(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"additions": sizes[1]}


_COMMON: dict[str, Any] = {
    "form": Form.WRITE, **INDEX_ERROR, "linear": (0, 1), "differentiable": (0, 1), "tangent": _tangent,
    "batch": _batch, "result": "same", "domain": ("R", "R", "index"),
}  # fmt: skip
# fmt: off
array("put_blocks", put, 3, "inner group", check=_check_put, operations=_moves, adjoint=_adjoint_put,
      sparsity=patterns.put, **_COMMON)
array("add_blocks", put_add, 3, "inner", check=_check, operations=_additions, adjoint=_adjoint_put_add,
      sparsity=patterns.put_add, **_COMMON)
# fmt: on
