"""A loop that goes on where another one ends: both become one loop of more turns.

While a function is recorded its loops are rolled piece by piece, so that the table does not grow with their turns.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.primitives import ASSEMBLE, STRIDED
from fastad.primitives.regions import Region, is_contiguous, region, whole
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import CONST
from fastad.tables.composites.loops import Loop

NAME = "rolled loop"


def loop_at(b: Builder, out: Ref) -> Loop | None:
    """The rolled loop that is called in this row."""
    sub = b.subs[b.statics_at(b.definition(out)[3])[0]]
    return sub if is_rolled(sub) else None


def is_rolled(sub: Any) -> bool:
    """Whether a sub-program is a loop that was found in a table."""
    return type(sub) is Loop and sub.name == NAME


def joined(
    b: Builder, out: Ref, make: Callable[[int], Loop], shared: Sequence[Ref], stacks: Sequence[Ref]
) -> tuple[Loop, Ref] | None:
    """The loop called in row `out` with the turns of another one, which starts from its last state and has the values
    `stacks` in them; and what it is called with. `make` makes that one, its turns numbered from so many on. None where
    the two differ in more than their turns."""
    before = loop_at(b, out)
    if before is None or before.length < 0:
        return None
    loop = make(before.length)
    if before.step.key != loop.step.key or before.sizes != loop.sizes:
        return None
    if repr(before.schedule) != repr(loop.schedule):
        return None
    x = b.definition(out)[1]
    sizes = loop.sizes
    if shared or stacks:
        refs, regions = pieces_of(b, x)
        start = len(refs) - len(shared) - bool(stacks)
        if start < 0 or list(refs[start : start + len(shared)]) != list(shared):
            return None
        if stacks:
            turns = (before.length, loop.length)
            elements = _joined_elements(b, refs[-1], stacks, turns, sizes.element)
            first = sizes.state + sizes.shared
            if elements is None or regions[-1] != region(first, (turns[0] * sizes.element,), (1,)):
                return None
            refs = [*refs[:-1], elements]
            regions = [*regions[:-1], region(first, (sum(turns) * sizes.element,), (1,))]
            x = b.assemble(refs, regions, (first + sum(turns) * sizes.element,))
    turns_of_both = before.length + loop.length
    return Loop.of(NAME, sizes, turns_of_both, before.step, schedule=before.schedule), x


def pieces_of(b: Builder, x: Ref) -> tuple[Sequence[Ref], Sequence[Region]]:
    """The operands of an assembly and their places; none where x is none."""
    op, first, count, c = b.definition(x)
    return (b.operands[first : first + count], list(b.places(c))) if op == ASSEMBLE.code else ([], [])


def _joined_elements(
    b: Builder, before: Ref, stacks: Sequence[Ref], turns: tuple[int, int], width: int
) -> Ref | None:
    """The elements of all turns, given those of the first ones as one vector, and the others in stacks."""
    count, sizes = turns[0], [b.size(x) // turns[1] for x in stacks]
    if len(stacks) == 1:
        known: Sequence[Ref] = [before]
    else:
        known, regions = pieces_of(b, before)
        ends = np.cumsum(sizes).tolist()
        wanted = [region(end - own, (count, own), (width, 1)) for end, own in zip(ends, sizes, strict=True)]
        if list(regions) != wanted:
            return None
    both = [_followed(b, x, y) for x, y in zip(known, stacks, strict=True)]
    return interleaved(b, both, sum(turns), width)


def interleaved(b: Builder, stacks: Sequence[Ref], turns: int, width: int) -> Ref:
    """The elements of all turns as one vector: turn by turn."""
    places, at = [], 0
    for stack in stacks:
        own = b.size(stack) // turns
        places.append(region(at, (turns, own), (width, 1)))
        at += own
    return b.assemble(stacks, places, (turns * width,))


def _followed(b: Builder, x: Ref, y: Ref) -> Ref:
    """The elements of x, then those of y, as a vector."""
    x, y = flat(b, x), flat(b, y)
    n, m = b.size(x), b.size(y)
    (op_x, at_x, _, c_x), (op_y, at_y, _, c_y) = b.definition(x), b.definition(y)
    if op_x == op_y == CONST:
        known = b.constants
        values = np.frombuffer(known[at_x : at_x + n] + known[at_y : at_y + m])  # copied: more may be appended
        return b.const(values, b.dtype(x))
    if op_x == op_y == STRIDED.code and at_x == at_y:
        first, second = b.statics_at(c_x), b.statics_at(c_y)
        if is_contiguous(first) and is_contiguous(second) and first[0] + n == second[0]:
            return b.region(at_x, (first[0], n + m, 1), (n + m,), b.dtype(x))
    return b.assemble([x, y], [whole(n), (n, m, 1)], (n + m,))


def flat(b: Builder, x: Ref) -> Ref:
    """What a reshaped value is made of."""
    op, source, _, c = b.definition(x)
    return source if op == STRIDED.code and b.statics_at(c) == whole(b.size(source)) and b.size(source) > 1 else x
