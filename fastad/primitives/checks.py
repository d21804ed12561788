"""What makes the array rows safe: `f(statics, size, sizes of operands)` returns a complaint, or None where a kernel
that is run with these static integers stays inside its arrays, and ends."""

import math
from typing import Any

import numpy as np

from fastad.primitives.regions import parts

Statics = tuple[int, ...]

_EMPTY_LOOPS = 2**31  # how often loops around nothing may turn: their bounds appear in no size


def _loops(dims: Statics, size: int) -> bool:
    """Whether nested loops of these lengths end: a zero hides the other lengths from all comparisons of sizes."""
    return 0 not in dims or math.prod(max(n, 1) for n in dims) <= max(size, _EMPTY_LOOPS)


def _inside(statics: Statics, size: int) -> bool:
    if len(statics) % 2 == 0 or any(n < 0 for n in parts(statics)[1]):
        return False
    offset, shape, strides = parts(statics)
    if 0 in shape:
        return _loops(shape, size)
    spans = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    low, high = offset + sum(x for x in spans if x < 0), offset + sum(x for x in spans if x > 0)
    return low >= 0 and high < size


def strided(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = _inside(s, sizes[0]) and math.prod(parts(s)[1]) == size
    return None if fits else "a strided region outside of its operand"


def strided_add(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = _inside(s, size) and math.prod(parts(s)[1]) == sizes[0]
    return None if fits else "a strided region outside of its result"


def middle(reduced: bool, operands: int = 1, reverse: bool = False) -> Any:
    def check(s: Statics, size: int, sizes: list[int]) -> str | None:
        if len(s) != 3 + reverse or min(s) < 0:
            return "static integers that are not outer, n, inner"
        total = s[0] * s[1] * s[2]
        fits = size == (s[0] * s[2] if reduced else total) and all(n == total for n in sizes[:operands])
        fits = fits and _loops(s[:3], size)
        return None if fits else "outer, n, inner that do not fit the operand"

    return check


def matmul(s: Statics, size: int, sizes: list[int]) -> str | None:
    if len(s) != 8 or min(s) < 0 or max(s[4:]) > 1:
        return "static integers that are not batch, m, k, n, ta, tb, sx, sy"
    batch, m, k, n, _, _, sx, sy = s
    fits = (size, *sizes) == (batch * m * n, (batch if sx else 1) * m * k, (batch if sy else 1) * k * n)
    return None if fits and _loops(s[:4], size) else "matrix sizes that do not fit the operands"


def gather(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = len(s) == 1 and s[0] > 0 and size == sizes[1] * s[0] and sizes[0] % s[0] == 0
    return None if fits else "blocks that do not fit the operands"


def scatter(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = len(s) == 1 and s[0] > 0 and sizes[0] == sizes[1] * s[0] and size % s[0] == 0
    return None if fits else "blocks that do not fit the operands"


def assemble(s: Statics, size: int, sizes: list[int]) -> str | None:
    if len(sizes) > _MANY and _are_short_pieces(s, size, sizes):
        return None
    at, seen = 0, 0
    while at < len(s):
        if s[at] == 1 and at + 3 < len(s) and seen < len(sizes) and s[at + 2] == sizes[seen] > 0:  # most pieces
            first, last = s[at + 1], s[at + 1] + (s[at + 2] - 1) * s[at + 3]
            if not (0 <= first < size and 0 <= last < size):
                return "a piece outside of the result"
            at, seen = at + 4, seen + 1
            continue
        width = 2 + 2 * s[at] if 0 <= s[at] <= 64 else 0
        region = s[at + 1 : at + width]
        if not width or len(region) != width - 1 or seen >= len(sizes) or not _inside(region, size):
            return "a piece outside of the result"
        if math.prod(parts(region)[1]) != sizes[seen]:
            return "a piece of another size than its region"
        at, seen = at + width, seen + 1
    return None if seen == len(sizes) else "regions for some pieces only"


_MANY = 64  # pieces that are looked at all at once


def _are_short_pieces(s: Statics, size: int, sizes: list[int]) -> bool:
    """Whether all pieces are rows of numbers inside of the result."""
    if len(s) != 4 * len(sizes):
        return False
    count, first, n, stride = np.array(s, np.int64).reshape(-1, 4).T
    last = first + (n - 1.0) * stride  # as floats, which do not overflow
    fits = (count == 1) & (n == sizes) & (n > 0) & (first >= 0) & (first < size) & (last >= 0) & (last < size)
    return bool(fits.all())


def wrap(s: Statics, size: int, sizes: list[int]) -> str | None:
    return None if len(s) == 1 and s[0] >= 0 and sizes == [size] else "a length or an operand that does not fit"


def search(s: Statics, size: int, sizes: list[int]) -> str | None:
    return None if len(s) == 1 and size == sizes[1] else "one index is needed for each value"


def guard(s: Statics, size: int, sizes: list[int]) -> str | None:
    return None if sizes == [size, size] else "a guard compares equal sizes"
