"""Batching: a table over a leading axis. Lanes become elements of rows, so they run in SIMD lanes and threads."""

from collections.abc import Sequence
from typing import Any

from fastad.errors import RecordingError
from fastad.primitives import Elementwise, Form
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.inline import compact, copy_row
from fastad.tables.table import Row, Table


def batch_table(table: Table, batched: Sequence[bool], size: int) -> tuple[Table, tuple[bool, ...]]:
    """The table with inputs (those flagged) and results over a leading axis; also which results have the axis."""
    b = Builder()
    kinds = [ValueType((size, *k.shape), k.dtype) if f else k for k, f in zip(table.inputs, batched, strict=True)]
    inputs = [b.input(*kind) for kind in kinds]
    refs, flags = batch_rows(b, table, inputs, batched, size)
    out = b.table([refs[i] for i in table.outputs], table.captured)
    return compact(out), tuple(flags[i] for i in table.outputs)


def batch_rows(
    b: Builder, table: Table, inputs: Sequence[Ref], batched: Sequence[bool], size: int
) -> tuple[list[Ref], list[bool]]:
    """Emit the rows of a table over a leading axis; returns references and whether each has the axis."""
    refs: list[Ref] = []
    flags: list[bool] = []
    for row in table.rows():
        b.source_line(table.line_of(row.index))
        if row.form is Form.INPUT:
            flags.append(bool(batched[int(table.columns["a"][row.index])]))
            refs.append(copy_row(b, table, row, refs, inputs))
        elif not any(flags[i] for i in row.operands):
            flags.append(False)
            refs.append(copy_row(b, table, row, refs, inputs))
        else:
            flags.append(True)
            refs.append(_batched_row(b, row, [refs[i] for i in row.operands], [flags[i] for i in row.operands], size))
    return refs, flags


def _batched_row(b: Builder, row: Row, operands: list[Ref], flags: list[bool], size: int) -> Ref:
    shape = (size, *row.shape)
    if isinstance(row.primitive, Elementwise):
        full = [_aligned(b, x, flag, row, size) for x, flag in zip(operands, flags, strict=True)]
        return b.emit(row.name, full, shape=shape, dtype=row.dtype)
    rule: Any = row.primitive.batch  # type: ignore[attr-defined]
    if rule is None:
        raise RecordingError(f"{row.name} cannot be batched by vmap")
    return rule(b, row, operands, flags, size)


def _aligned(b: Builder, x: Ref, flag: bool, row: Row, size: int) -> Ref:
    """An operand of an elementwise row, spread so that it has the row's batched size or size 1."""
    if flag:
        lane = b.size(x) // size
        if lane == row.size:
            return x
        return b.region(x, (0, size, row.size, 1, 0), (size, *row.shape))  # one number a lane
    if b.size(x) == 1:
        return x
    return b.broadcast(b.reshape(x, row.shape), (size, *row.shape))
