"""Two orders of the values of several lanes: lane after lane, or span after span with the lanes of each together.

A lane's vector is made of spans, each `times` times `width` numbers. Lane after lane it is (lanes, all spans); in
spans, span i is (times, lanes, width), or only (times, width) where all lanes share it. The lanes are those of a
vmap, or two: values and their tangents.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastad.primitives.regions import region
from fastad.tables.builder import Ref


class Span(NamedTuple):
    """`times` times `width` numbers; `shared`: the same for all lanes."""

    times: int
    width: int
    shared: bool = False

    @property
    def size(self) -> int:
        return self.times * self.width


def total_of(spans: Sequence[Span]) -> int:
    """Length of the vector of these spans."""
    return sum(span.size for span in spans)


def to_spans(b: Any, x: Ref, lanes: int, spans: Sequence[Span]) -> Ref:
    """From lane after lane to spans; of what is shared, the first lane's is taken."""
    total = sum(span.size for span in spans)
    moves, at, to = [], 0, 0
    for span in spans:
        own = 1 if span.shared else lanes
        shape = (own, span.times, span.width)
        moves.append(((at, shape, (total, span.width, 1)), (to, shape, (span.width, own * span.width, 1))))
        at, to = at + span.size, to + own * span.size
    return _moved(b, x, moves, to)


def to_lanes(b: Any, x: Ref, lanes: int, spans: Sequence[Span]) -> Ref:
    """From spans to lane after lane; what is shared is given to all."""
    total = sum(span.size for span in spans)
    moves, at, to = [], 0, 0
    for span in spans:
        own = 1 if span.shared else lanes
        shape = (lanes, span.times, span.width)
        source = (at, shape, (0 if span.shared else span.width, own * span.width, 1))
        moves.append((source, (to, shape, (total, span.width, 1))))
        at, to = at + own * span.size, to + span.size
    return _moved(b, x, moves, lanes * total)


def without_shared(b: Any, x: Ref, spans: Sequence[Span]) -> Ref:
    """A lane with zeros for what all lanes share."""
    if not any(span.shared for span in spans):
        return x
    moves, at = [], 0
    for span in spans:
        whole = (at, (span.size,), (1,))
        moves += [] if span.shared else [(whole, whole)]
        at += span.size
    return _moved(b, x, moves, at)


def _moved(b: Any, x: Ref, moves: Sequence[tuple[Any, Any]], size: int) -> Ref:
    """A vector of this size, made of pieces of x; `moves` are (source, target), each (offset, shape, strides)."""
    full = [(source, target) for source, target in moves if 0 not in source[1]]
    if not full:
        return b.zeros((size,))
    pieces = [b.region(x, region(*source), (math.prod(source[1]),)) for source, _ in full]
    return b.assemble(pieces, [region(*target) for _, target in full], (size,))
