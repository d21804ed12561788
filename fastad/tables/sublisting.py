"""Composite rows as text: what they run, and the tables of that, each once and indented."""

from collections.abc import Iterator
from typing import Any


def sub_lines(table: Any, limit: int | None, seen: set[str]) -> Iterator[str]:
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
        from fastad.tables.listing import table_lines

        inner = table_lines(sub.table, limit, seen)
    for name, part in sub.named_parts.items():
        inner += _lines(name, part, limit, seen)
    yield from (f"    {line}" for line in inner)
