"""Walking: what a row's value at the places of an index map comes from, while a loop runs.

Planning asks this to find out whether a loop can compute all it has to, and emission to compute it.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from fastad.execution.native.planning.maps import Incompatible, Map, compose
from fastad.execution.native.planning.planner import Planner
from fastad.execution.native.planning.steps import VIRTUAL
from fastad.primitives import PRIMITIVES


class Way(Enum):
    """How a loop gets a value: from memory, as zero, as that of another row, or by its primitive."""

    READ = 0
    ZERO = 1
    SAME = 2
    APPLIED = 3


class Origin(NamedTuple):
    """Where a value comes from: the way, and the rows and maps of what it is made of."""

    way: Way
    operands: tuple[tuple[int, Map], ...] = ()


_READ, _ZERO = Origin(Way.READ), Origin(Way.ZERO)


def resolved(p: Planner, x: int, where: Map) -> tuple[int, Map]:
    """A row and places in it, by the row that has the elements."""
    x, shift = p.base(x)
    return x, (where[0] + shift, where[1]) if shift else where


def origin(p: Planner, loop: int, dims: tuple[int, ...], x: int, where: Map) -> Origin:
    """Where a (resolved) row's value comes from in a loop; raises Incompatible where no map leads to it."""
    if p.realm[x] != VIRTUAL or (x in p.stored and p.home[x] < loop):
        return _READ
    if x in p.regions:
        source, own = p.regions[x]
        return Origin(Way.SAME, ((source, compose(dims, where, own)),))
    if x in p.joined:
        return _run(p, dims, x, where)
    operands = (p.a[x], p.b[x], p.c[x])[: len(PRIMITIVES[p.op[x]].domain)]  # type: ignore[attr-defined]
    nowhere = (0, (0,) * len(dims))
    return Origin(Way.APPLIED, tuple((y, where if p.size[y] > 1 else nowhere) for y in operands))


def _run(p: Planner, dims: tuple[int, ...], x: int, where: Map) -> Origin:
    """Of a row of runs: the domain lies in one of them."""
    found = list(p.runs(x, dims, where))
    if len(found) != 1:
        raise Incompatible
    source, offset, _, _ = found[0]
    return _ZERO if source < 0 else Origin(Way.SAME, ((source, (offset, (1,))),))


def walk(p: Planner, loop: int, dims: tuple[int, ...], rows: Iterable[int], own: Map) -> None:
    """Raise Incompatible unless a loop over these dimensions can compute the rows at the places of a map."""
    todo = [(x, own) for x in rows]
    seen: set[tuple[int, Map]] = set()
    while todo:
        place = resolved(p, *todo.pop())
        if place not in seen:
            seen.add(place)
            todo += origin(p, loop, dims, *place).operands
