"""A program of small vectors over several lanes, component by component: component i of all lanes is one vector.

`batch_table` puts the lanes first, so that a component of all lanes is every n-th number. Here each element of each
value is a row of its own, over the lanes: everything is elementwise, with contiguous operands, and native code keeps
whole steps in SIMD registers. Only short programs are worth this, and only rows that come apart into such.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.primitives import Elementwise, Form
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import Sub
from fastad.tables.inline import compact
from fastad.tables.table import Row, Table

MOST = 4000  # elements of all values, and rows over lanes: longer programs take long to compile

Elements = list[Ref]


class NoLanes(Exception):
    """The program does not come apart into elementwise rows."""


def element_rows(b: Builder, table: Table, inputs: Sequence[Elements], lanes: int) -> list[Elements]:
    """Emit a table element by element; returns the elements of its results. Elements are rows of shape (lanes,), or ()
    where all lanes have the same. Raises NoLanes for a program with other rows, or of too many elements."""
    if int(table.sizes.sum()) > MOST:
        raise NoLanes
    found: list[Elements] = []
    for row in table.rows():
        if row.form is Form.INPUT:
            found.append(list(inputs[int(table.columns["a"][row.index])]))
        elif row.form is Form.CONSTANT:
            found.append([b.const(x, row.dtype) for x in table.constant(row.index).reshape(-1)])
        else:
            found.append(_elements(b, row, [found[i] for i in row.operands], lanes))
    return [found[i] for i in table.outputs]


def _elements(b: Builder, row: Row, operands: list[Elements], lanes: int) -> Elements:
    if isinstance(row.primitive, Elementwise):
        return [_function(b, row, [x[i if len(x) > 1 else 0] for x in operands], lanes) for i in range(row.size)]
    if row.sub is not None:
        own = row.sub.emit_elements(b, operands[0], lanes)
        if own is None:
            raise NoLanes
        return own
    rule: Any = row.primitive.elements  # type: ignore[attr-defined]
    rule = rule or (_combined if row.form is Form.REDUCTION else None)
    found = rule and rule(b, row, operands)
    if found is None:
        raise NoLanes
    return found


def _function(b: Builder, row: Row, operands: Sequence[Ref], lanes: int) -> Ref:
    wide = any(b.shape(x) for x in operands)
    return b.emit(row.name, operands, shape=(lanes,) if wide else (), dtype=row.dtype)


def _combined(b: Builder, row: Row, operands: list[Elements]) -> Elements:
    """A reduction, in order."""
    outer, n, inner = row.statics
    if not n:
        raise NoLanes
    name: Any = row.primitive.combine  # type: ignore[attr-defined]
    x = np.array(operands[0], int).reshape(outer, n, inner)
    found = []
    for o in range(outer):
        for i in range(inner):
            first, *others = x[o, :, i].tolist()
            for other in others:
                first = b.emit(name, (first, other))
            found.append(first)
    return found


# ── sub-programs ──────────────────────────────────────────────────────────────────────────────────────────────
def over_lanes(sub: Sub, lanes: int, name: str, extra: int = 0, more: Any = None) -> Sub:
    """The sub-program over lanes: component i of all lanes stands at [i lanes, (i + 1) lanes). Raises NoLanes.

    `extra` further components of the argument and the elements of argument and result are given to `more`, a function
    of (b, argument, result) that returns the elements of the result.
    """
    if sub.table is None or sub.rules is not None:
        raise NoLanes
    b = Builder()
    x = b.input(((sub.n_in + extra) * lanes,))
    argument = [b.region(x, region(i * lanes, (lanes,), (1,)), (lanes,)) for i in range(sub.n_in + extra)]
    (out,) = element_rows(b, sub.table, [argument[: sub.n_in]], lanes)
    if more is not None:
        out = more(b, argument, out)
    full = [b.cast(v, (lanes,), "d") if b.shape(v) and b.dtype(v) != "d" else b.broadcast(v, (lanes,)) for v in out]
    places = [region(i * lanes, (lanes,), (1,)) for i in range(len(full))]
    table = compact(b.table([b.assemble(full, places, (len(full) * lanes,))]))
    if len(table) > MOST:
        raise NoLanes
    return Sub((sub.n_in + extra) * lanes, len(full) * lanes, name, table)
