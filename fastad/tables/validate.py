"""What every op table must satisfy. Executors rely on it: a table that passes cannot make them leave their arrays."""

from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.primitives import PRIMITIVES, Elementwise


def validate(table: Any) -> None:
    """Raise `TableError` unless the table is a well-formed program."""
    _check_columns(table)
    n = len(table)
    types = table.types
    if any(min(t.shape, default=0) < 0 or t.dtype not in "dfib" or len(t.dtype) != 1 for t in types):
        raise TableError("a value type with a negative dimension or an unknown dtype")
    if n and (table.columns["op"].max() >= len(PRIMITIVES) or table.columns["type"].max() >= len(types)):
        raise TableError("a row with an unknown primitive or value type")
    if n and table.columns["line"].max() >= max(len(table.lines), 1):
        raise TableError("a row with an unknown source line")
    if any(not 0 <= i < n for i in table.outputs):
        raise TableError("a result that is not a row of the table")
    _check_elementwise(table)
    for index in np.flatnonzero(np.isin(table.columns["op"], _ARRAY_OPCODES)).tolist():
        complaint = _check_array_row(table, index)
        if complaint:
            raise TableError(f"row {index} ({PRIMITIVES[table.columns['op'][index]].name}): {complaint}")


def _check_columns(table: Any) -> None:
    from fastad.tables.table import COLUMNS, POOLS

    for kinds, arrays in ((COLUMNS, table.columns), (POOLS, table.pools)):
        if set(arrays) != set(kinds):
            raise TableError(f"expected the arrays {sorted(kinds)}, found {sorted(arrays)}")
        for name, dtype in kinds.items():
            if arrays[name].dtype != dtype or arrays[name].ndim != 1:
                raise TableError(f"array {name!r} must be one-dimensional and of dtype {np.dtype(dtype)}")
    if len({len(column) for column in table.columns.values()}) > 1:
        raise TableError("columns of different lengths")


def _check_elementwise(table: Any) -> None:
    """Operands precede their row and have its size or size 1; unused operand columns are -1."""
    op = table.columns["op"]
    arity = np.where(_ELEMENTWISE[op], OPERAND_COUNT[op], 0)
    sizes = table.sizes
    for place, column in enumerate(("a", "b", "c")):
        rows = np.flatnonzero(arity > place)
        operand = table.columns[column][rows]
        if np.any(operand < 0) or np.any(operand >= rows):
            raise TableError(f"row {rows[(operand < 0) | (operand >= rows)][0]}: an operand that does not precede it")
        size = sizes[operand]
        bad = (size != sizes[rows]) & (size != 1)
        if np.any(bad):
            raise TableError(f"row {rows[bad][0]}: an operand of another size than the row")


def _check_array_row(table: Any, index: int) -> str | None:
    op, a, b, c = (int(table.columns[name][index]) for name in ("op", "a", "b", "c"))
    row: Any = PRIMITIVES[op]
    statics: tuple[int, ...] = ()
    if c >= 0:
        pool = table.pools["statics"]
        if c >= len(pool) or not 0 <= pool[c] < len(pool) - c:
            return "static integers outside of their pool"
        statics = tuple(pool[c + 1 : c + 1 + pool[c]].tolist())
    kind = table.type_of(index)
    if row.name == "input":
        return None if 0 <= a < len(table.inputs) and table.inputs[a] == kind else "an input that does not exist"
    if row.name == "const":
        return None if 0 <= a <= len(table.pools["constants"]) - kind.size else "a constant outside of its pool"
    if row.arity < 0:
        if not (0 <= a and 0 <= b and a + b <= len(table.pools["operands"])):
            return "operands outside of their pool"
        operands = table.pools["operands"][a : a + b].tolist()
    else:
        operands = [a, b][: row.arity]
    if any(not 0 <= x < index for x in operands):
        return "an operand that does not precede it"
    try:
        return row.check(statics, kind.size, [table.type_of(x).size for x in operands])
    except (IndexError, ValueError):
        return "static integers that cannot be read"


# Operands in columns a, b, c of a row (variadic rows keep theirs in a pool).
OPERAND_COUNT = np.array([max(row.arity, 0) for row in PRIMITIVES])  # type: ignore[attr-defined]
_ELEMENTWISE = np.array([isinstance(row, Elementwise) for row in PRIMITIVES])
_ARRAY_OPCODES = np.flatnonzero(~_ELEMENTWISE)
