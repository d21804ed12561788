"""The rules that every op table must satisfy. A table that does cannot make an executor access memory outside its
arrays."""

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.primitives import CONST, INPUT, PRIMITIVES, STRIDED, Elementwise, Form
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.tables.columns import COLUMNS, DTYPES, POOLS
from fastad.tables.operands import operands_of

LARGEST = 2**40  # elements of a value (8 TiB), and of all values together, so that sizes and offsets cannot overflow
MOST_DIMENSIONS = 64  # NumPy's limit
_REGION = 2 * MOST_DIMENSIONS + 2  # most static integers of one operand: nd, offset, shape, strides


def validate(table: Any) -> None:
    """Raise `TableError` unless the table is a well-formed program."""
    _check_columns(table)
    n = len(table)
    types = table.types
    check_types((*types, *table.inputs))
    if len(table.captured) > len(table.inputs):
        raise TableError("there are more captured arrays than inputs")
    if n and (table.columns["op"].max() >= len(PRIMITIVES) or table.columns["type"].max() >= len(types)):
        raise TableError("a row has an unknown primitive or value type")
    if n and table.columns["line"].max() >= len(table.lines):
        raise TableError("a row has an unknown source line")
    if any(not 0 <= i < n for i in table.outputs):
        raise TableError("a result is not a row of the table")
    if table.sizes.sum(dtype=np.float64) > LARGEST:
        raise TableError("the values take more than 8 TiB")
    _check_elementwise(table)
    _check_constants(table)
    _check_pool(table)
    _check_array_rows(table)
    if table.subs:
        from fastad.tables.composites.validate_subs import check_saved, check_subs

        check_subs(table.subs)
        check_saved(table)


def check_types(types: Iterable[Any]) -> None:
    """Raise `TableError` unless all value types have a known dtype and dimensions whose products fit an int64."""
    for shape, dtype in types:
        if dtype not in DTYPES:
            raise TableError(f"a value type has the unknown dtype {dtype!r}")
        if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
            raise TableError("a value type has a negative dimension or too many dimensions")
        # A dimension of 0 counts as 1, because NumPy and loops also form the product of the other dimensions.
        if math.prod(max(int(n), 1) for n in shape) > LARGEST:
            raise TableError("a value type takes more than 8 TiB")


def _check_columns(table: Any) -> None:
    for kinds, arrays in ((COLUMNS, table.columns), (POOLS, table.pools)):
        if set(arrays) != set(kinds):
            raise TableError(f"expected the arrays {sorted(kinds)}, found {sorted(arrays)}")
        for name, dtype in kinds.items():
            array = arrays[name]
            if array.dtype != dtype or array.ndim != 1 or not (array.flags.c_contiguous and array.flags.aligned):
                raise TableError(f"array {name!r} must be contiguous, one-dimensional and of dtype {np.dtype(dtype)}")
    if len({len(column) for column in table.columns.values()}) > 1:
        raise TableError("the columns have different lengths")
    if len(table) >= 2**31:
        raise TableError("there are more than 2,147,483,647 rows")


def _check_elementwise(table: Any) -> None:
    """Operands must precede their row, and have its size or size 1."""
    op = table.columns["op"]
    arity = np.where(_ELEMENTWISE[op], OPERAND_COUNT[op], 0)
    sizes = table.sizes
    for place, column in enumerate(("a", "b", "c")):
        rows = np.flatnonzero(arity > place)
        operand = table.columns[column][rows]
        if np.any(operand < 0) or np.any(operand >= rows):
            raise TableError(f"row {rows[(operand < 0) | (operand >= rows)][0]}: an operand does not precede it")
        size = sizes[operand]
        bad = (size != sizes[rows]) & (size != 1)
        if np.any(bad):
            raise TableError(f"row {rows[bad][0]}: an operand has neither the row's size nor size 1")


def _check_constants(table: Any) -> None:
    """Constants must lie in their pool. All are checked at once, because programs on scalars have many."""
    rows = np.flatnonzero(table.columns["op"] == _CONST)
    start = table.columns["a"][rows].astype(np.int64)
    bad = (start < 0) | (start > len(table.pools["constants"]) - table.sizes[rows])
    bad |= table.columns["c"][rows] >= 0
    if np.any(bad):
        raise TableError(f"row {rows[bad][0]}: a constant is outside its pool, or has static integers")


def _check_pool(table: Any) -> None:
    """Operand lists must not overlap in their pool, so that the cost of checking and running is bounded by the size of
    the file."""
    counts = table.columns["b"][POOLED[table.columns["op"]]]
    if len(counts) and (counts.min() < 0 or counts.sum(dtype=np.int64) > len(table.pools["operands"])):
        raise TableError("the lists of operands are longer than their pool")


def _check_array_rows(table: Any) -> None:
    """Check every array row. Rows with equal static integers and sizes of operands are checked once."""
    rows = np.flatnonzero(_IS_ARRAY[table.columns["op"]])
    sizes, pool = table.sizes, table.pools["operands"]
    if len(rows) > _MANY:
        rows = _kinds(table, rows)
    else:
        sizes, pool = sizes.tolist(), pool.tolist()
    columns = [table.columns[name][rows].tolist() for name in ("op", "type", "a", "b", "c")]
    known: dict[Any, str | None] = {}
    for index, op, kind, a, b, c in zip(rows.tolist(), *columns, strict=True):
        row: Any = PRIMITIVES[op]
        if row.is_pooled and (a < 0 or b < 0 or a + b > len(pool)):
            raise _complaint(index, op, "operands are outside their pool")
        operands = list(map(int, pool[a : a + b])) if row.is_pooled else (a, b)[: row.arity]
        if len(operands) != row.arity >= 0:
            raise _complaint(index, op, f"{len(operands)} operands instead of {row.arity}")
        if operands and not 0 <= min(operands) <= max(operands) < index:
            raise _complaint(index, op, "an operand does not precede it")
        own = [int(sizes[x]) for x in operands]
        key = (op, kind, c, a if op == _INPUT else -1, *own)
        if key not in known:
            known[key] = _check_array_row(table, op, table.types[kind], a, c, own)
        complaint = known[key]
        if complaint:
            raise _complaint(index, op, complaint)


_LONG = 2**20  # elements of a stride
_MANY = 128  # rows from which on it takes less time to look for their kinds


def _kinds(table: Any, rows: np.ndarray) -> np.ndarray:
    """Of these rows one of each kind: all others have the type, static integers and sizes of operands of one of them.
    And those whose operands are wrong."""
    col, n = table.columns, len(table.pools["operands"])
    a, b = (col[name].astype(np.int64) for name in "ab")
    wrong = POOLED[col["op"]] & ((a < 0) | (b < 0) | (a + b > n))
    counts, starts, operands = found = operands_of(table, wrong | ~_IS_ARRAY[col["op"]])
    owners = found.owners
    wrong[owners[(operands < 0) | (operands >= owners)]] = True
    operands[wrong[owners]] = 0
    sizes = table.sizes[operands]
    # Rows whose sums are equal are likely to be of one kind; whether they are is looked at.
    weights = np.cumprod(np.full(int(counts.max()) + 1, _ODD, np.uint64))
    inside = np.arange(len(owners)) - starts[owners]
    before = np.concatenate([np.zeros(1, np.uint64), np.cumsum(sizes.astype(np.uint64) * weights[inside])])
    parts = (col["op"], col["type"], col["c"], np.where(col["op"] == _INPUT, a, -1), counts)
    total = before[starts + counts] - before[starts]
    for part in parts:
        total = total * _ODD + part.astype(np.uint64)
    order = rows[np.argsort(total[rows], kind="stable")]
    is_first = np.append(True, total[order[1:]] != total[order[:-1]])
    first = np.arange(len(col["op"]))
    first[order] = order[is_first][np.cumsum(is_first) - 1]
    differ = np.zeros(len(first), bool)
    for part in parts:
        differ |= part != part[first]
    same = ~differ[owners]
    differ[owners[same][sizes[same] != sizes[(starts[first[owners]] + inside)[same]]]] = True
    look = wrong | differ | (first == np.arange(len(first)))
    reads = np.flatnonzero(look & ~wrong & (col["op"] == _STRIDED))
    look[reads[_stay_inside(table, reads)]] = False
    return rows[look[rows]]


def _stay_inside(table: Any, reads: np.ndarray) -> np.ndarray:
    """Which of these reads are of one dimension and stay inside their operands; those of very long strides are left
    out. In loops each turn may read elsewhere, so that no two are of one kind."""
    pool, c, size = table.pools["statics"], table.columns["c"][reads].astype(np.int64), table.sizes[reads]
    fits = (c >= 0) & (c + 3 < len(pool))
    c = np.where(fits, c, 0)
    if not fits.any():
        return fits
    three, offset, n, stride = (pool[np.minimum(c + k, len(pool) - 1)] for k in range(4))
    fits &= (three == 3) & (n == size) & (n > 0) & (offset >= 0) & (offset <= LARGEST)
    fits &= (stride > -_LONG) & (stride < _LONG)
    reach = np.where(fits, (n - 1) * np.where(fits, stride, 0), 0)
    inside = table.sizes[table.columns["a"][reads]]
    return fits & (offset + np.minimum(reach, 0) >= 0) & (offset + np.maximum(reach, 0) < inside)


def _complaint(index: int, op: int, text: str) -> TableError:
    return TableError(f"row {index} ({PRIMITIVES[op].name}): {text}")


def _check_array_row(table: Any, op: int, kind: Any, a: int, c: int, sizes: list[int]) -> str | None:
    """What is wrong with a row of this type and these static integers, on operands of these sizes."""
    row: Any = PRIMITIVES[op]
    statics: tuple[int, ...] = ()
    if c >= 0:
        pool = table.pools["statics"]
        if c >= len(pool) or not 0 <= pool[c] < len(pool) - c:
            return "static integers outside of their pool"
        if pool[c] > max(len(sizes), 1) * _REGION:
            return "it has more static integers than its primitive can have"
        statics = tuple(pool[c + 1 : c + 1 + pool[c]].tolist())
        if max(map(abs, statics), default=0) > LARGEST:
            return "a static integer is larger than any size"
    if row.form is Form.COMPOSITE:
        if statics[:1] not in [(k,) for k in range(len(table.subs))]:
            return "its sub-program does not exist"
        if (table.subs[statics[0]].n_in, table.subs[statics[0]].n_out) != (sizes[0], kind.size):
            return "its sub-program is for vectors of other sizes"
        if sizes[1] != (table.subs[statics[0]].n_saved or sizes[0]):
            return "its sub-program takes saved states of another size"
    if row.form is Form.INPUT:
        exists = 0 <= a < len(table.inputs) and table.inputs[a] == kind
        return None if exists else "it names an input that does not exist"
    try:
        known = _checked if len(statics) + len(sizes) <= _SHORT else _checked.__wrapped__
        return known(row.check, statics, kind.size, tuple(sizes))
    except (IndexError, ValueError, OverflowError):
        return "its static integers cannot be read"


_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHORT = 32  # integers of a row that are worth keeping


@functools.lru_cache(4096)
def _checked(check: Any, statics: tuple[int, ...], size: int, sizes: tuple[int, ...]) -> str | None:
    """What a primitive's own check says. The tables of one recording have most of their rows in common: to ask once
    takes a tenth less of the time to record the gradient of a stiff solve."""
    return check(statics, size, list(sizes))


_ELEMENTWISE = np.array([isinstance(row, Elementwise) for row in PRIMITIVES])
_CONST, _INPUT, _STRIDED = CONST.code, INPUT.code, STRIDED.code
_IS_ARRAY = ~_ELEMENTWISE
_IS_ARRAY[_CONST] = False
