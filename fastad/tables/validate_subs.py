"""What composite rows that drivers run must satisfy: drivers compute addresses from the sizes that they are told."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.primitives import opcode
from fastad.tables.composite import Branch, Driver, Lanes
from fastad.tables.loops import Loop, LoopAdjoint
from fastad.tables.validate import LARGEST

_SIZES = ("state", "element", "result", "shared")


def check_subs(subs: Iterable[Any]) -> None:
    """Raise `TableError` unless the parts of all sub-programs fit together."""
    for sub in subs:
        if isinstance(sub, Driver) and "_checked" not in vars(sub):
            check_subs(sub.parts)
            complaint = _complaint(sub)
            if complaint:
                raise TableError(f"{sub.name}: {complaint}")
            vars(sub)["_checked"] = True


def check_kept(table: Any) -> None:
    """Raise `TableError` where a row would change a value that is not its own to change: an input, or a constant."""
    op, a, b, c = (table.columns[name] for name in ("op", "a", "b", "c"))
    for row in np.flatnonzero(op == opcode("call")).tolist():
        kept = int(b[row])
        if table.subs[int(table.pools["statics"][c[row] + 1])].changes_kept:
            while op[kept] == opcode("strided"):  # may be a view of its operand
                kept = int(a[kept])
            if op[kept] not in (opcode("call"), opcode("assemble")):
                raise TableError(f"row {row} (call): what was kept for it is not the result of a loop")


def _complaint(sub: Driver) -> str | None:
    if isinstance(sub, Branch):
        return _of_branch(sub)
    if isinstance(sub, Lanes):
        own = [(part.n_in * sub.size, part.n_out * sub.size) for part in sub.parts]
        return None if sub.size >= 0 and own == [(sub.n_in, sub.n_out)] else "lanes of other sizes"
    if isinstance(sub, Loop):
        return wrong_parts(sub) or _wrong_sizes(sub, (sub.n_in, sub.n_out))
    if isinstance(sub, LoopAdjoint):
        complaint = wrong_parts(sub.loop) or _wrong_sizes(sub.loop, (sub.loop.n_in, sub.loop.n_out))
        made = complaint or LoopAdjoint.of(sub.loop)
        return made if isinstance(made, str) else _states(sub.loop) or _differ(sub, (made.n_in, made.n_out))
    return "a driver that is not known"


def _of_branch(sub: Branch) -> str | None:
    if not sub.branches:
        return "a choice without branches"
    same = {(part.n_in + 1, part.n_out) for part in sub.branches} == {(sub.n_in, sub.n_out)}
    return None if same else "branches of other sizes"


def _differ(sub: Driver, sizes: tuple[int, int]) -> str | None:
    return None if (sub.n_in, sub.n_out) == sizes else "operands or results of other sizes than its parts say"


def wrong_parts(loop: Loop) -> str | None:
    """What is wrong with the parts of a loop, whose own sizes may not be known yet; None if nothing is."""
    s = loop.sizes
    if any(not 0 <= getattr(s, name) <= LARGEST for name in _SIZES) or not -1 <= loop.length <= LARGEST:
        return "sizes or a number of steps out of range"
    if max(loop.length, 0) * max(s.element, s.result) > LARGEST:
        return "elements or results of more than 8 TiB"
    if loop.length < 0 and (loop.condition is None or s.element or s.result or loop.backward):
        return "a loop of unknown length needs a condition, and has neither elements nor results"
    if loop.body is None:
        return "a loop without a body"
    inside = s.state + s.element + s.counted + s.shared
    parts = ((loop.body, s.state + s.result), (loop.condition, 1), (loop.inverse, s.state))
    if any(part is not None and (part.n_in, part.n_out) != (inside, n_out) for part, n_out in parts):
        return "a part that is not for vectors of the loop's sizes"
    return None


def _wrong_sizes(loop: Loop, sizes: tuple[int, int]) -> str | None:
    complaint = _states(loop) if loop.kept else None
    if complaint:
        return complaint
    ends = [sum(block.size for block in blocks) for blocks in (loop.blocks_in, loop.blocks_out)]
    return None if list(sizes) == ends else "operands or results of other sizes than its parts say"


def _states(loop: Loop) -> str | None:
    """The states that are kept must be within what can be addressed."""
    keeping = loop.keeping
    planner = 0 if keeping.plan is None else len(keeping.plan)
    total = (keeping.memory + keeping.disk + 1) * max(loop.sizes.state, 1) + planner
    return "kept states of more than 8 TiB" if total > LARGEST else None
