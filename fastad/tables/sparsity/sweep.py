"""The pattern of a table's Jacobian: one sweep over its rows, with a set of inputs for every element of every value.

A row passes on what its operands depend on, through the operands by which it has a derivative (Griewank & Walther,
Evaluating Derivatives, 2008, section 7.1). So a pattern holds for all inputs of the same shapes on the same path.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from fastad.kernels import pattern_fields as f
from fastad.primitives import PRIMITIVES, Elementwise, Form
from fastad.primitives.patterns import everything
from fastad.tables.sparsity.known import Facts, Known
from fastad.tables.sparsity.sets import Ids, Sets, Structure
from fastad.tables.table import Row, Table


def jacobian_structure(
    table: Table, wrt: Sequence[int], captured: Sequence[Any] = ()
) -> tuple[Structure, tuple[int, ...]]:
    """The pattern of the derivatives of all results, one after another, by the elements of the inputs `wrt`.

    `captured` are the values of the captured arrays, which come last among the inputs: elements that they choose are
    found for these values, and the numbers of the arrays on which the pattern so depends are returned too."""
    sizes = [table.inputs[i].size for i in wrt]
    sets = Sets(sum(sizes))
    parts = np.split(sets.singles(), np.cumsum(sizes)[:-1]) if sizes else []
    known = Known(table, captured)
    found = dependencies(table, sets, dict(zip(wrt, parts, strict=True)), known)
    return sets.rows(np.concatenate([np.zeros(0, np.int32), *found])), known.used


def dependencies(table: Table, sets: Sets, inputs: dict[int, Ids], known: Known) -> list[Ids]:
    """The sets of all results, given those of some inputs by number."""
    rows = _rows(table)
    for number, own in inputs.items():
        for row in np.flatnonzero((table.columns["op"] == _INPUT) & (table.columns["a"] == number)).tolist():
            rows.ids[_place(rows, row)] = own if table.type_of(row).dtype in "df" else 0
    row = 0
    while row < len(table):
        row = sets.sweep(rows, row)
        if row < len(table):
            rows.ids[_place(rows, row)] = _by_rule(sets, rows, table.row(row), known)
            row += 1
    return [rows.ids[_place(rows, i)] for i in table.outputs]


def _place(rows: f.Rows, row: int) -> slice:
    return slice(rows.offset[row], rows.offset[row] + rows.size[row])


def _by_rule(sets: Sets, rows: f.Rows, row: Row, known: Known) -> Ids:
    """The sets of a row that the sweep leaves to its own rule."""
    primitive: Any = row.primitive
    operands = [rows.ids[_place(rows, i)] for i in row.operands]
    if row.sub is not None:
        if not operands[0].any():
            return np.zeros(row.size, np.int32)
        return row.sub.dependencies(sets, operands[0])
    operands = [x if primitive.is_differentiable(k) else np.zeros_like(x) for k, x in enumerate(operands)]
    if not any(x.any() for x in operands):
        return np.zeros(row.size, np.int32)
    rule = primitive.sparsity or everything
    return rule(sets, row.statics, row.size, operands, Facts(known, row))


# ── what the kernel does with a row ───────────────────────────────────────────────────────────────────────────
_FORMS = {
    Form.INPUT: f.CONSTANT, Form.CONSTANT: f.CONSTANT, Form.GUARD: f.CONSTANT,
    Form.VIEW: f.VIEW, Form.PIECES: f.PIECES,
}  # fmt: skip
_INPUT = next(row.code for row in PRIMITIVES if getattr(row, "form", None) is Form.INPUT)


@cache
def _actions() -> tuple[np.ndarray, np.ndarray]:
    """By opcode: what to do, and the operands that count, as bits."""
    action, mask = np.zeros(len(PRIMITIVES), np.uint8), np.zeros(len(PRIMITIVES), np.uint8)
    for code, row in enumerate(PRIMITIVES):
        if isinstance(row, Elementwise):
            mask[code] = sum(row.is_differentiable(k) << k for k in range(row.arity))
            action[code] = f.ELEMENTWISE if mask[code] else f.CONSTANT
        else:
            form: Any = row.form  # type: ignore[attr-defined]
            passes = row.adjoint is not None or form in _FORMS  # type: ignore[attr-defined]
            action[code] = _FORMS.get(form, f.OTHER) if passes else f.CONSTANT
    return action, mask


def _rows(table: Table) -> f.Rows:
    by_opcode, masks = _actions()
    op, kinds = table.columns["op"], table.columns["type"]
    floating = np.array([kind.dtype in "df" for kind in table.types], bool)
    action = np.where(floating[kinds], by_opcode[op], f.CONSTANT).astype(np.uint8)
    sizes = table.sizes
    ends = np.cumsum(sizes)
    ids = np.zeros(int(ends[-1]) if len(ends) else 0, np.int32)
    statics = table.pools["statics"]
    counter = np.zeros(int(statics.max(initial=0)) + 1 if len(statics) < 128 else 128, np.int64)
    a, b, c = (table.columns[name] for name in "abc")
    return f.Rows(action, masks[op], a, b, c, ends - sizes, sizes, table.pools["operands"], statics, ids, counter)
