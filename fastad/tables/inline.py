"""Copying the rows of one table into a builder: the common part of every pass."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.primitives import PRIMITIVES, ArrayPrimitive, Elementwise, Form, array_rows
from fastad.primitives.distinct import distinct
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.tables.builder import Builder, Ref
from fastad.tables.operands import operands_of
from fastad.tables.table import Row, Table


def inline(b: Builder, table: Table, inputs: Sequence[Ref], outer_line: bool = False) -> list[Ref]:
    """Emit all rows of a table with `inputs` in place of its inputs; returns one reference a row. Rows that the caller
    emits afterwards come from the same source line as those before."""
    refs: list[Ref] = []
    caller = b.line
    types = Lookup(lambda number: b.type_number(table.types[number]))
    lines = Lookup(lambda number: b.line_number(table.lines[number]))
    col, emit, last = table._lists, b.emit_elementwise, -1
    for index, (op, line) in enumerate(zip(col["op"], col["line"], strict=True)):
        if line != last and not outer_line:
            b.at_line(lines[line])
            last = line
        name, arity = ELEMENTWISE[op]
        if arity == 2:
            operands: tuple[Ref, ...] = (refs[col["a"][index]], refs[col["b"][index]])
        elif arity == 1:
            operands = (refs[col["a"][index]],)
        elif arity == 3:
            operands = (refs[col["a"][index]], refs[col["b"][index]], refs[col["c"][index]])
        else:
            refs.append(copy_row(b, table, table.row(index), refs, inputs))
            continue
        refs.append(emit(name, operands, types[col["type"][index]]))
    b.at_line(caller)
    return refs


class Lookup(dict[int, int]):
    """A function of numbers, called once for each of them."""

    def __init__(self, function: Callable[[int], int]) -> None:
        self._function = function

    def __missing__(self, number: int) -> int:
        found = self[number] = self._function(number)
        return found


def copy_row(b: Builder, table: Table, row: Row, refs: Sequence[Ref], inputs: Sequence[Ref]) -> Ref:
    """Emit one row of a table, its operands replaced by references."""
    if row.form is Form.INPUT:
        return inputs[int(table.columns["a"][row.index])]
    if row.form is Form.CONSTANT:
        return b.const(table.constant(row.index), row.dtype)
    if row.sub is not None:
        return b.call(row.sub, *(refs[i] for i in row.operands))
    operands, kind = tuple([refs[i] for i in row.operands]), table.types[table._lists["type"][row.index]]
    if isinstance(row.primitive, ArrayPrimitive):
        return b.emit_array(row.primitive, operands, row.statics, kind)
    return b.emit_elementwise(row.name, operands, b.type_number(kind))


def new_inputs(b: Builder, table: Table, extra: Sequence[Any] = ()) -> tuple[list[Ref], list[Ref]]:
    """Inputs for a copy of the table, with `extra` ones (types) after the explicit inputs and before the captured."""
    count = table.explicit_inputs
    explicit = [b.input(*kind) for kind in table.inputs[:count]]
    more = [b.input(*kind) for kind in extra]
    return explicit + [b.input(*kind) for kind in table.inputs[count:]], more


def compact(table: Table) -> Table:
    """The table without rows that no result, guard or check depends on; all inputs stay."""
    return kept(table, live_rows(table))


def kept(table: Table, keep: np.ndarray) -> Table:
    """The table with these rows (a mask), which depend on no others."""
    if keep.all():
        return table
    renumber = np.cumsum(keep) - 1
    columns = {name: column[keep] for name, column in table.columns.items()}
    for name, used in _operand_columns(table).items():
        column = columns[name].copy()
        mask = used[keep]
        column[mask] = renumber[column[mask]]
        columns[name] = column
    pools = dict(table.pools)
    pools["operands"] = _renumber_pool(table, keep, renumber)
    outputs = tuple(int(renumber[i]) for i in table.outputs)
    return table.reduced(columns, pools, outputs)


def live_rows(table: Table) -> np.ndarray:
    """Mask of the rows that something depends on: results, guards, index checks, inputs."""
    live = _IS_KEPT[table.columns["op"]]
    live[list(table.outputs)] = True
    counts, starts, operands = operands_of(table)
    uses = np.bincount(operands, minlength=len(live))
    found = np.flatnonzero(~live & (uses == 0))
    dead = np.zeros(len(live), bool)
    for _ in range(_WAVES):  # rows that nothing refers to, then those that only these refer to, and so on
        if not len(found):
            return ~dead
        dead[found] = True
        own = counts[found]
        inside = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        lost = operands[np.repeat(starts[found], own) + inside]
        uses -= np.bincount(lost, minlength=len(live))
        found = distinct(lost[(uses[lost] == 0) & ~live[lost]])
    return _live_rows_by_row(table, live)


_WAVES = 32


def _live_rows_by_row(table: Table, live: np.ndarray) -> np.ndarray:
    """`live_rows`, where those of the mask are: with a long chain of rows that nothing depends on."""
    found = bytearray(live.tobytes())
    columns = [table.columns[name].tolist() for name in ("op", "a", "b", "c")]
    pool = table.pools["operands"].tolist()
    for index, op, a, b, c in zip(range(len(table) - 1, -1, -1), *map(reversed, columns), strict=True):
        if not found[index]:
            continue
        count = _IN_COLUMNS[op]
        for operand in pool[a : a + b] if count < 0 else (a, b, c)[:count]:
            found[operand] = 1
    return np.frombuffer(found, np.bool_)


def used_rows(table: Table) -> np.ndarray:
    """The rows that are operands of others, or results; some more than once."""
    columns = [table.columns[name][used] for name, used in _operand_columns(table).items()]
    return np.concatenate([*columns, table.pools["operands"], np.array(table.outputs, np.int64)])


def _operand_columns(table: Table) -> dict[str, np.ndarray]:
    """For columns a, b, c: which rows hold an operand there."""
    count = OPERAND_COUNT[table.columns["op"]]
    return {name: count > place for place, name in enumerate("abc")}


def _renumber_pool(table: Table, keep: np.ndarray, renumber: np.ndarray) -> np.ndarray:
    """The pool of operand lists, renumbered; lists of dropped rows point to row 0 and are never read."""
    return np.where(keep[table.pools["operands"]], renumber[table.pools["operands"]], 0).astype(np.int32)


ELEMENTWISE = [(row.name, row.arity if isinstance(row, Elementwise) else 0) for row in PRIMITIVES]  # by opcode
_IN_COLUMNS = np.where(POOLED, -1, OPERAND_COUNT).tolist()
_IS_KEPT = np.zeros(len(PRIMITIVES), bool)
_IS_KEPT[[row.code for row in array_rows() if row.kept]] = True
