"""Two orders of the values of several lanes: lane after lane, or block after block with the lanes of each together.

A lane's vector is made of blocks, each `times` times `width` numbers. Lane after lane it is (lanes, all blocks); in
blocks, block i is (times, lanes, width), or only (times, width) where all lanes share it. The lanes are those of a
vmap, or two: values and their tangents.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastad.primitives.regions import region
from fastad.tables.builder import Ref


class Block(NamedTuple):
    """`times` times `width` numbers; `shared`: the same for all lanes."""

    times: int
    width: int
    shared: bool = False

    @property
    def size(self) -> int:
        return self.times * self.width


def block_sizes(blocks: Sequence[Block], lanes: int) -> int:
    """Length of the vector in blocks."""
    return sum(x.size if x.shared else lanes * x.size for x in blocks)


def to_blocks(b: Any, x: Ref, lanes: int, blocks: Sequence[Block]) -> Ref:
    """From lane after lane to blocks; of what is shared, the first lane's is taken."""
    total = sum(block.size for block in blocks)
    moves, at, to = [], 0, 0
    for block in blocks:
        own = 1 if block.shared else lanes
        shape = (own, block.times, block.width)
        moves.append(((at, shape, (total, block.width, 1)), (to, shape, (block.width, own * block.width, 1))))
        at, to = at + block.size, to + own * block.size
    return _moved(b, x, moves, to)


def to_lanes(b: Any, x: Ref, lanes: int, blocks: Sequence[Block]) -> Ref:
    """From blocks to lane after lane; what is shared is given to all."""
    total = sum(block.size for block in blocks)
    moves, at, to = [], 0, 0
    for block in blocks:
        own = 1 if block.shared else lanes
        shape = (lanes, block.times, block.width)
        source = (at, shape, (0 if block.shared else block.width, own * block.width, 1))
        moves.append((source, (to, shape, (total, block.width, 1))))
        at, to = at + own * block.size, to + block.size
    return _moved(b, x, moves, lanes * total)


def _moved(b: Any, x: Ref, moves: Sequence[tuple[Any, Any]], size: int) -> Ref:
    """A vector of this size, made of pieces of x; `moves` are (source, target), each (offset, shape, strides)."""
    full = [(source, target) for source, target in moves if 0 not in source[1]]
    if not full:
        return b.zeros((size,))
    pieces = [b.emit("strided", (x,), region(*source), (math.prod(source[1]),)) for source, _ in full]
    return b.assemble(pieces, [region(*target) for _, target in full], (size,))
