"""Regions: the strided pieces of a flat array that `strided`, `strided_add` and `assemble` read and write.

A region is (offset, shape..., strides...) in elements, as NumPy's basic indexing makes them.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

Shape = tuple[int, ...]
Region = tuple[int, ...]


def region(offset: int, shape: Shape, strides: Shape) -> Region:
    """The region in normal form: no dimensions of size 1, neighbours merged where one stride spans both."""
    if len(shape) == 1:
        n = shape[0]
        return (offset, n, strides[0]) if n > 1 else (offset, 1, 1) if n else (0, 0, 1)
    return (0, 0, 1) if 0 in shape else (offset, *_merged(shape, strides))


@lru_cache(maxsize=8192)
def _merged(shape: Shape, strides: Shape) -> Region:
    """Shape and strides of a region in normal form."""
    dims: list[tuple[int, int]] = []
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if dims and dims[-1][1] == n * s:
            dims[-1] = (dims[-1][0] * n, s)
        else:
            dims.append((n, s))
    if not dims:
        dims = [(1, 1)]
    return (*(n for n, _ in dims), *(s for _, s in dims))


def parts(r: Region) -> tuple[int, Shape, Shape]:
    """Offset, shape and strides of a region."""
    nd = (len(r) - 1) // 2
    return r[0], r[1 : 1 + nd], r[1 + nd :]


def evenly(places: Sequence[float], inner: int, size: int) -> Region | None:
    """The region of blocks of so many elements at these places of an array, if these follow each other at one distance
    upwards, inside of it."""
    n, first, last = len(places), places[0], places[-1]
    step = (last - first) / (n - 1) if n > 1 else 1.0
    if first < 0 or (last + 1) * inner > size or step < 1 or step % 1 or first % 1:
        return None
    if any(place != first + k * step for k, place in enumerate(places)):
        return None
    return region(int(first) * inner, (n, inner), (int(step) * inner, 1))


@lru_cache(maxsize=8192)
def contiguous_strides(shape: Shape) -> Shape:
    """Strides (in elements) of a C-contiguous array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def elements_of(x: np.ndarray, r: Region) -> np.ndarray:
    """The elements of a flat array that are in a region, as a view."""
    offset, shape, strides = parts(r)
    return np.lib.stride_tricks.as_strided(x[offset:], shape, [x.itemsize * s for s in strides])


def whole(size: int) -> Region:
    """The region that is all of an array of this size, in order."""
    return (0, size, 1)


def is_contiguous(r: Region) -> bool:
    """Whether the region is a run of neighbours in order, so that it can be read in place."""
    return len(r) == 3 and (r[2] == 1 or r[1] == 1)


def span(r: Region) -> tuple[int, int]:
    """The first and the last position of a region that is not empty."""
    offset, shape, strides = parts(r)
    reach = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    return offset + sum(n for n in reach if n < 0), offset + sum(n for n in reach if n > 0)


def is_injective(r: Region) -> bool:
    """Whether no element is met twice (sufficient test: every stride spans all the smaller ones)."""
    _, shape, strides = parts(r)
    reach = 0
    for s, n in sorted((abs(s), n) for n, s in zip(shape, strides, strict=True)):
        if n > 1:
            if s <= reach:
                return False
            reach += (n - 1) * s
    return True


def inverse(r: Region, size: int) -> Region | None:
    """The region that undoes r when r is a permutation of all `size` elements, else None."""
    offset, shape, strides = parts(r)
    if math.prod(shape) != size or size == 0:
        return None
    own = contiguous_strides(shape)
    order = sorted(range(len(shape)), key=lambda d: -abs(strides[d]))
    span, start = size, 0
    new_shape, new_strides, new_offset = [], [], 0
    for d in order:
        n, s = shape[d], strides[d]
        span //= n
        if abs(s) != span:
            return None
        start += (n - 1) * span if s < 0 else 0
        new_offset += (n - 1) * own[d] if s < 0 else 0
        new_shape.append(n)
        new_strides.append(-own[d] if s < 0 else own[d])
    return region(new_offset, tuple(new_shape), tuple(new_strides)) if start == offset else None


@lru_cache(maxsize=8192)
def inside(r: Region, own: Region) -> Region | None:
    """The region of a piece that is read by region r of an array where the piece's elements are at `own`; None if r
    does not lie in the piece, or that is not seen. Every position is a number whose digits have the strides of `own` as
    their values: where each digit depends linearly on r's indices and stays within its size, so does the position in
    the piece."""
    (offset, shape, strides), (base, sizes, steps) = parts(r), parts(own)
    if 0 in shape or min(steps) <= 0:
        return None
    rest, left, start, found = offset - base, list(strides), 0, [0] * len(shape)
    for size, step, place in zip(sizes, steps, contiguous_strides(sizes), strict=True):
        digit, rest = divmod(rest, step)
        low = high = digit
        start += digit * place
        for j, n in enumerate(shape):
            move = abs(left[j]) // step * (1 if left[j] > 0 else -1)
            left[j] -= move * step
            found[j] += move * place
            low, high = low + min(0, (n - 1) * move), high + max(0, (n - 1) * move)
        if low < 0 or high >= size:
            return None
    if rest or any(step for step, n in zip(left, shape, strict=True) if n > 1):
        return None
    return region(start, shape, tuple(found))


def split_broadcast(r: Region) -> tuple[list[tuple[int, int, int]], Region]:
    """The sums (outer, n, inner) that undo the zero strides of a region, and the region without them."""
    offset, shape, strides = parts(r)
    dims = list(zip(shape, strides, strict=True))
    sums = []
    for d in reversed(range(len(dims))):
        n, s = dims[d]
        if s == 0 and n != 1:
            outer = math.prod(m for m, _ in dims[:d])
            inner = math.prod(m for m, _ in dims[d + 1 :])
            sums.append((outer, n, inner))
            del dims[d]
    return sums, region(offset, tuple(n for n, _ in dims), tuple(s for _, s in dims))


def batched(r: Region, count: int, step: int) -> Region:
    """The region repeated `count` times, `step` elements apart, as a new leading dimension."""
    offset, shape, strides = parts(r)
    return region(offset, (count, *shape), (step, *strides))


def pieces(statics: Region) -> list[Region]:
    """Split the statics of `assemble` into one region (offset, shape, strides) a piece."""
    found, at = [], 0
    while at < len(statics):
        size = 2 + 2 * statics[at]
        found.append(statics[at + 1 : at + size])
        at += size
    return found
