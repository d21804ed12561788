"""Op tables as text: one line for each row, with operands, named static integers, and the user's source line."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from fastad.primitives import ArrayPrimitive, Form
from fastad.tables.columns import Line
from fastad.tables.table import Row, Table

_SHOWN_VALUES = 4  # elements of a constant array
_WIDEST = 60  # characters of the operands, so that the source line stays visible


def listing(table: Table, limit: int | None = 60) -> str:
    """The table as text. Of a table with more than `limit` rows, only the first and the last are shown.

    `limit=None` shows all rows. The tables of sub-programs follow their row, indented, each once.

    >>> from fastad.tables.builder import Builder
    >>> b = Builder()
    >>> x = b.input((3,))
    >>> print(listing(b.table([b.emit("sum", [b.emit("sin", [x])], (1, 3, 1), ())])))
    op table: 3 rows (86 bytes), 7 values (56 bytes)
    %0  float64[3]  input  x0
    %1  float64[3]  sin    %0
    %2  float64     sum    %1, outer=1 n=3 inner=1
    return %2
    """
    return "\n".join(table_lines(table, limit, set()))


def table_lines(table: Table, limit: int | None, seen: set[str]) -> list[str]:
    """The lines of a table and of its sub-programs, except those in `seen`."""
    n = len(table)
    if limit is None or n <= limit:
        shown, gap = list(range(n)), n
    else:
        gap = (limit + 1) // 2
        shown = [*range(gap), *range(n - limit // 2, n)]
    rows = [_cells(table, table.row(i)) for i in shown]
    lines = _aligned(rows)
    if gap < n:
        lines.insert(gap, f"… {n - len(shown)} more rows")
    return [_header(table), *lines, _results(table), *_sub_lines(table, limit, seen)]


def statics_text(row: Row) -> str:
    """The static integers of a row, each with its name."""
    if not row.statics or not isinstance(row.primitive, ArrayPrimitive):
        return ""
    if row.form is Form.PIECES:
        return ", ".join(f"{_operand(i)} to {region_text(r)}" for i, r in zip(row.operands, row.regions, strict=True))
    if row.primitive.statics[:1] == ("offset",):
        return region_text(row.statics)
    return " ".join(f"{name}={value}" for name, value in zip(row.primitive.statics, row.statics, strict=False))


def region_text(region: tuple[int, ...]) -> str:
    """A region of a flat array as text: a slice if it has one dimension, else offset, shape and strides."""
    nd = (len(region) - 1) // 2
    offset, shape, strides = region[0], region[1 : 1 + nd], region[1 + nd :]
    if nd == 1 and shape[0] == 1:
        return f"[{offset}]"
    if nd == 1 and strides[0] > 0:
        step = f":{strides[0]}" if strides[0] > 1 else ""
        return f"[{offset}:{offset + (shape[0] - 1) * strides[0] + 1}{step}]"
    return f"offset={offset} shape={_tuple(shape)} strides={_tuple(strides)}"


def constant_text(table: Table, index: int) -> str:
    """The first values of a constant."""
    values = table.constant(index).reshape(-1)
    texts = [f"{v:.10g}" for v in values[:_SHOWN_VALUES].tolist()]
    if table.constant(index).ndim == 0:
        return texts[0]
    return f"[{', '.join(texts)}{', …' if len(values) > _SHOWN_VALUES else ''}]"


def input_name(table: Table, index: int) -> str:
    """Name of an input row: x0, x1, … for arguments, c0, c1, … for captured arrays."""
    number = int(table.columns["a"][index])
    count = table.explicit_inputs
    return f"x{number}" if number < count else f"c{number - count}"


def line_text(line: Line) -> str:
    """File, number and, in derived tables, role of a source line as short text; empty if it is not known."""
    if not line.number:
        return ""
    return f"{PurePath(line.file).name}:{line.number}{f' ({line.role})' if line.role else ''}"


# ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _header(table: Table) -> str:
    values = int(table.sizes.sum())
    rows, bytes_of = count_text(len(table), "row"), size_text
    return f"op table: {rows} ({bytes_of(table.nbytes)}), {count_text(values, 'value')} ({bytes_of(8 * values)})"


def count_text(n: int, what: str) -> str:
    """A number and a noun, in the plural where needed."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def size_text(n: float) -> str:
    """A number of bytes with a suitable unit."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1024
    raise AssertionError


def _cells(table: Table, row: Row) -> tuple[str, ...]:
    where = line_text(table.line_of(row.index))
    return f"%{row.index}", str(table.type_of(row.index)), row.name, _arguments(table, row), where


def _arguments(table: Table, row: Row) -> str:
    if row.form is Form.INPUT:
        return input_name(table, row.index)
    if row.form is Form.CONSTANT:
        return constant_text(table, row.index)
    text = statics_text(row)
    if row.form is not Form.PIECES:
        shown = row.operands[:1] if row.sub is not None and not row.sub.n_saved else row.operands
        text = ", ".join([*map(_operand, shown), *([text] if text else [])])
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _operand(index: int) -> str:
    return f"%{index}"


def _tuple(values: tuple[int, ...]) -> str:
    return f"({','.join(map(str, values))})"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _results(table: Table) -> str:
    shown = [f"%{i}" for i in table.outputs[:16]]
    more = len(table.outputs) - len(shown)
    return f"return {', '.join(shown)}{f', … {more} more' if more else ''}".rstrip()


# ── what composite rows run, each once and indented ──────────────────────────────────────────────────────────
def _sub_lines(table: Any, limit: int | None, seen: set[str]) -> Iterator[str]:
    """The sub-programs of a table; those in `seen` are only named."""
    for number, sub in enumerate(table.subs):
        yield from _lines(f"sub {number}", sub, limit, seen)


def _lines(what: str, sub: Any, limit: int | None, seen: set[str]) -> Iterator[str]:
    known = sub.key in seen
    seen.add(sub.key)
    yield f"{what}: {sub.name}, {sub.kind_text}{' (shown above)' if known and (sub.table or sub.parts) else ''}"
    if known:
        return
    inner: list[str] = []
    if sub.table is not None:
        inner = table_lines(sub.table, limit, seen)
    for name, part in sub.named_parts.items():
        inner += _lines(name, part, limit, seen)
    yield from (f"    {line}" for line in inner)
