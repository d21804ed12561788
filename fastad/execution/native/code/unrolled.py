"""Array primitives unrolled: straight-line code, element by element: what a row of few elements becomes.

`UNROLLED[name](code, row)` returns the elements of the result, given the function that they go to (see
`fastad.execution.native.code.scalars.ScalarCode`). A primitive is unrolled where its row's `unrolls` says so.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.execution.native.code.operations import ZERO
from fastad.tables.columns import CONST

UNROLLED: dict[str, Callable[[Any, Any], list[str]]] = {}


def unrolled(name: str) -> Callable[[Callable[[Any, Any], list[str]]], Callable[[Any, Any], list[str]]]:
    def add(function: Callable[[Any, Any], list[str]]) -> Callable[[Any, Any], list[str]]:
        UNROLLED[name] = function
        return function

    return add


# ── along an axis ─────────────────────────────────────────────────────────────────────────────────────────────
def reduced(code: Any, row: Any) -> list[str]:
    """A reduction: values are combined pairwise, which is both accurate and quick."""
    outer, n, inner = row.statics
    x = np.array(code.all(row.operands[0]), object).reshape(outer, n, inner)
    return [_fold(code, row.primitive.combine, x[o, :, i].tolist()) for o in range(outer) for i in range(inner)]


def _fold(code: Any, name: str, values: list[str]) -> str:
    while len(values) > 1:
        rest = values[len(values) & ~1 :]
        values = [code.entry.apply(name, *values[i : i + 2]) for i in range(0, len(values) - 1, 2)] + rest
    return values[0]


def _scan(row: Any, step: Callable[[Any, int], str]) -> list[str]:
    outer, n, inner, reverse = row.statics
    places = np.arange(row.size).reshape(outer, n, inner)
    out = [ZERO] * row.size
    for o in range(outer):
        for i in range(inner):
            state = None
            for place in places[o, :: -1 if reverse else 1, i].tolist():
                state = out[place] = step(state, place)
    return out


@unrolled("cumsum")
def _cumsum(code: Any, row: Any) -> list[str]:
    x = code.all(row.operands[0])
    return _scan(row, lambda state, k: x[k] if state is None else code.entry.apply("add", state, x[k]))


@unrolled("linrec")
def _linrec(code: Any, row: Any) -> list[str]:
    x, y = map(code.all, row.operands)

    def step(state: str | None, k: int) -> str:
        if state is None:
            return y[k]  # the first x multiplies nothing, even if it is infinite
        return code.entry.apply("add", code.entry.apply("multiply", x[k], state), y[k])

    return _scan(row, step)


# ── matrices ──────────────────────────────────────────────────────────────────────────────────────────────────
@unrolled("matmul")
def _matmul(code: Any, row: Any) -> list[str]:
    batch, m, k, n, ta, tb, sx, sy = row.statics
    a = np.array(code.all(row.operands[0]), object).reshape((batch if sx else 1, *((k, m) if ta else (m, k))))
    b = np.array(code.all(row.operands[1]), object).reshape((batch if sy else 1, *((n, k) if tb else (k, n))))
    a, b = (a.swapaxes(1, 2) if ta else a), (b.swapaxes(1, 2) if tb else b)
    return [
        _dot(code, a[p * sx, i].tolist(), b[p * sy, :, j].tolist())
        for p in range(batch) for i in range(m) for j in range(n)
    ]  # fmt: skip


def _dot(code: Any, a: list[str], b: list[str]) -> str:
    total = ZERO
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        product = code.entry.apply("multiply", x, y)
        total = code.entry.apply("add", total, product) if i else product
    return total


# ── indices ───────────────────────────────────────────────────────────────────────────────────────────────────
def _outside(code: Any, v: str, size: int) -> str:
    """Whether v is no integer in [0, size)."""
    block = code.entry
    low = block.apply("less", v, ZERO)
    high = block.emit(f"xor i1 {block.apply('less', v, block.constant(float(size)))}, true")
    broken = block.apply("not_equal", block.apply("floor", v), v)
    return str(block.emit(f"or i1 {low}, {block.emit(f'or i1 {high}, {broken}')}"))


def _stop_outside(code: Any, row: Any, values: list[str], size: int) -> None:
    """Stop unless all values are integers in [0, size): one branch, since each of them costs as much as some rows."""
    outside = [_outside(code, v, size) for v in values]
    while len(outside) > 1:
        outside.append(code.entry.emit(f"or i1 {outside.pop(0)}, {outside.pop(0)}"))
    code.stop_if(outside[0], -(row.index + 1))


@unrolled("wrap_index")
def _wrap_index(code: Any, row: Any) -> list[str]:
    block, (n,) = code.entry, row.statics
    results = []
    for v in code.all(row.operands[0]):
        wrapped = block.apply("add", v, block.constant(float(n)))
        results.append(block.apply("where", block.apply("less", v, ZERO), wrapped, v))
    _stop_outside(code, row, results, n)
    return results


@unrolled("gather")
def _gather(code: Any, row: Any) -> list[str]:
    x, y = row.operands
    p, size = code.p, code.p.size[x]
    if (known := _known_places(p, y, size)) is not None:
        return [code.entry.number(code.get(x, k)) for k in known]
    start, values = code.pointer(x), code.all(y)
    if not _are_wrapped(p, y, size):
        _stop_outside(code, row, values, size)
    places = [code.entry.emit(f"fptosi double {v} to i64") for v in values]
    starts = [code.entry.emit(f"getelementptr double, ptr {start}, i64 {k}") for k in places]
    return [code.entry.emit(f"load double, ptr {at}") for at in starts]


def _known_places(p: Any, y: int, size: int) -> list[int] | None:
    """Places that are constants, if they are right."""
    if p.op[y] != CONST:
        return None
    places = p.table.constant(y).reshape(-1).tolist()
    return [int(k) for k in places] if all(0 <= k < size and k == int(k) for k in places) else None


def _are_wrapped(p: Any, y: int, size: int) -> bool:
    """Whether a row before has stopped the program unless these are places in an array of this size."""
    row = p.table.row(y)
    return row.name == "wrap_index" and row.statics[0] <= size
