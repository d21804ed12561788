"""The operands of rolled loops, written in one go.

While loops are found, the values of all turns are stacked, the stacks laid one turn after another, and these packed
with what the loop starts from: so a loop that goes on is recognised. Each of these would move all numbers once more.
"""

from collections.abc import Iterator

from fastad.primitives.regions import Region, contiguous_strides, inside, parts, region, whole
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import compact, copy_row
from fastad.tables.rolling.joined import flat, is_rolled, pieces_of
from fastad.tables.table import Table


def packed_at_once(table: Table) -> Table:
    """The same table, in which the operands of rolled loops are assembled from what their parts are assembled from."""
    if not any(map(is_rolled, table.subs)):
        return table
    b = Builder()
    inputs = [b.input(*kind) for kind in table.inputs]
    refs: list[Ref] = []
    for index in range(len(table)):
        row = table.row(index)
        if row.sub is not None and is_rolled(row.sub):
            refs.append(b.call(row.sub, _at_once(b, refs[row.operands[0]])))
        else:
            refs.append(copy_row(b, table, row, refs, inputs))
    return compact(b.table([refs[row] for row in table.outputs], table.captured))


def _at_once(b: Builder, x: Ref) -> Ref:
    found = list(_parts(b, x, whole(b.size(x))))
    if len(found) < 2:
        return x
    refs, regions = zip(*found, strict=True)
    return b.assemble(refs, regions, b.shape(x))


def _parts(b: Builder, x: Ref, own: Region) -> Iterator[tuple[Ref, Region]]:
    """What a value is assembled from, and where each of it is in the operand, in which the value is at `own`."""
    source = flat(b, x)
    refs, regions = pieces_of(b, source)
    places = [_within(own, r, b.size(x)) for r in regions]
    overlap = sum(map(b.size, refs)) > b.size(x)  # a piece that covers everything, under others
    if not refs or overlap or None in places or b.dtype(source) != b.dtype(x):
        yield x, own
        return
    for ref, place in zip(refs, places, strict=True):
        assert place is not None
        yield from _parts(b, ref, place)


def _within(own: Region, r: Region, size: int) -> Region | None:
    """Where region r of a value is that is itself at `own`; None if that is no region, or is not seen to be one."""
    if r == whole(size):
        return own
    offset, shape, strides = parts(own)
    steps = contiguous_strides(shape)
    if inside(r, (0, *shape, *steps)) is None:  # it goes from one line of `own` to the next
        return None
    start, dims, moves = parts(r)
    at = sum(stride * (start // step % n) for stride, step, n in zip(strides, steps, shape, strict=True))
    further = [sum(s * _digit_of(move, steps, k) for k, s in enumerate(strides)) for move in moves]
    return region(offset + at, dims, tuple(further))


def _digit_of(move: int, steps: tuple[int, ...], k: int) -> int:
    """How far digit k goes where the number goes so far, whose digits have the values `steps`."""
    sign, rest = (1 if move > 0 else -1), abs(move)
    for step in steps[:k]:
        rest %= step
    return sign * (rest // steps[k])
