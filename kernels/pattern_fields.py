"""What Python and the kernels of sparsity patterns and colorings agree on."""

from typing import Any, NamedTuple

NO_ROOM = -1  # what a union is without room in the pool, and what a kernel returns then
# What `state` of a pool holds: the number of sets, that of the last union, the number of integers there are.
SETS, STAMP, MEMBERS = range(3)
# What a sweep does with a row.
CONSTANT, ELEMENTWISE, VIEW, PIECES, OTHER = range(5)
# Orders that follow the degrees as vertices are taken away.
SMALLEST_LAST, INCIDENCE = range(2)
# How an element of a matrix can be read off its products, as bits.
BY_COLUMN, BY_ROW = 1, 2


class Pool(NamedTuple):
    """The arrays of a pool of sets: int32, int64, int64 (one for each integer), int64."""

    items: Any
    starts: Any
    marks: Any
    state: Any


class Rows(NamedTuple):
    """The rows of a table: what to do (uint8), the operands that count, as bits (uint8), operands a, b, c (int32),
    where the ids of a value begin and how many they are (int64), pools of operands and static integers, all ids
    (int32), and a counter of as many int64 as the largest region has dimensions."""

    action: Any
    mask: Any
    a: Any
    b: Any
    c: Any
    offset: Any
    size: Any
    operands: Any
    statics: Any
    ids: Any
    counter: Any
