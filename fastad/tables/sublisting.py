"""Composite rows as text: what they run, and the tables of that, each once and indented."""

from collections.abc import Iterator
from typing import Any

from fastad.tables.composite import Branch, Lanes
from fastad.tables.loops import Loop, LoopAdjoint


def kind_text(sub: Any) -> str:
    """What a composite row runs, in words.

    >>> from fastad.tables.loops import Loop, Sizes
    >>> kind_text(Loop(2, 2, "scan", sizes=Sizes(2), length=1000))
    'loop of 1,000 steps'
    """
    if isinstance(sub, LoopAdjoint):
        return f"adjoint of a {kind_text(sub.loop)}"
    if isinstance(sub, Loop):
        return _loop_text(sub)
    if isinstance(sub, Branch):
        return f"choice among {len(sub.branches)} branches"
    if isinstance(sub, Lanes):
        return f"{sub.size:,} lanes"
    return "sub-program" if sub.table is not None else "Python function"


def _loop_text(loop: Loop) -> str:
    text = f"loop of {loop.length:,} steps"
    if loop.condition is not None:
        text = "loop while a condition holds" + (f", for {loop.length:,} steps at most" if loop.length >= 0 else "")
    text += ", backwards" if loop.backward else ""
    if loop.inverse is not None:
        return f"{text}, inverted"
    return text if loop.schedule is None else f"{text}, {loop.schedule!r}"


def named_parts(sub: Any) -> Iterator[tuple[str, Any]]:
    """The sub-programs that a composite row calls, with what each is to it."""
    if isinstance(sub, LoopAdjoint):
        yield from named_parts(sub.loop)
        yield "adjoint of the body", sub.parts[-1]
    elif isinstance(sub, Loop):
        for name in ("body", "condition", "inverse"):
            if getattr(sub, name) is not None:
                yield name, getattr(sub, name)
    else:
        for number, part in enumerate(sub.parts):
            yield f"branch {number}" if isinstance(sub, Branch) else "of each lane", part


def sub_lines(table: Any, limit: int | None, seen: set[str]) -> Iterator[str]:
    """The sub-programs of a table; those in `seen` are only named."""
    for number, sub in enumerate(table.subs):
        yield from _lines(f"sub {number}", sub, limit, seen)


def _lines(what: str, sub: Any, limit: int | None, seen: set[str]) -> Iterator[str]:
    known = sub.key in seen
    seen.add(sub.key)
    yield f"{what}: {sub.name}, {kind_text(sub)}{' (shown above)' if known and (sub.table or sub.parts) else ''}"
    if known:
        return
    inner: list[str] = []
    if sub.table is not None:
        from fastad.tables.listing import table_lines

        inner = table_lines(sub.table, limit, seen)
    for name, part in named_parts(sub):
        inner += _lines(name, part, limit, seen)
    yield from (f"    {line}" for line in inner)
