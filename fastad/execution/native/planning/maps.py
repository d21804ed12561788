"""Index maps: how the loops of a nest walk through an array.

A nest runs over dimensions n_0, …, n_{k-1}; a map (offset, strides) takes its indices i to the element
offset + Σ strides_d i_d. A domain of N elements is split into dimensions at a chain of suffix products, each a multiple
of the next: N = 24 split at {6, 2} has dimensions (4, 3, 2). A domain of one dimension may instead be cut into
segments, each with code of its own; a cut before element c is written -c, so that one set holds either.
"""

from collections.abc import Iterable

from fastad.primitives.regions import Region, contiguous_strides, parts

Splits = frozenset[int]
Map = tuple[int, tuple[int, ...]]


_MOST_CUTS = 8  # at least what the runs of one row need


class Incompatible(Exception):
    """No affine map exists; `split` would make one possible, unless it is 0."""

    def __init__(self, split: int = 0) -> None:
        super().__init__(split)
        self.split = split


def dimensions(size: int, splits: Iterable[int]) -> tuple[int, ...]:
    """Dimensions of a domain of `size` elements split at a chain of suffix products."""
    dims, rest = [], size
    for split in sorted(splits, reverse=True):
        if split > 0:
            dims.append(rest // split)
            rest = split
    return (*dims, rest)


def segments(size: int, splits: Iterable[int]) -> list[tuple[int, int]]:
    """The pieces (start, end) of a domain that is cut."""
    ends = [*sorted(-s for s in splits if s < 0), size]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def contiguous(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of an array that has one element for each point of the domain, in order."""
    return contiguous_strides(dims)


def identity(dims: tuple[int, ...]) -> Map:
    """The map to such an array."""
    return 0, contiguous_strides(dims)


def is_chain(size: int, splits: Splits) -> bool:
    """Whether each suffix product divides the next larger one; or else, whether there are cuts only, and few."""
    if splits and min(splits) < 0:
        return max(splits) < 0 and len(splits) <= _MOST_CUTS
    last = size
    for split in sorted(splits, reverse=True):
        if split <= 0 or last % split:
            return False
        last = split
    return True


def useful(size: int, splits: Iterable[int]) -> Splits:
    return frozenset(s for s in splits if 1 < s < size)


def compose(dims: tuple[int, ...], outer: Map, region: Region) -> Map:
    """The map to the source of a region, for a map to the region's own elements; raises Incompatible."""
    offset, strides = outer
    start, shape, steps = parts(region)
    own = contiguous_strides(shape)
    coordinates, rest = [], offset
    for step in own:
        coordinates.append(rest // step)
        rest %= step
    low, high = list(coordinates), list(coordinates)
    result = []
    for d, (n, t) in enumerate(zip(dims, strides, strict=True)):
        if t == 0 or n == 1:
            result.append(0)
            continue
        j = _dimension(abs(t), own)
        if abs(t) % own[j]:
            raise Incompatible
        q = t // own[j] if t > 0 else -(-t // own[j])
        reach = q * (n - 1)
        if j and (low[j] + min(reach, 0) < 0 or high[j] + max(reach, 0) >= shape[j]):
            raise Incompatible(_split_for(dims, d, shape[j], coordinates[j], q))
        low[j] += min(reach, 0)
        high[j] += max(reach, 0)
        result.append(q * steps[j])
    return start + sum(c * s for c, s in zip(coordinates, steps, strict=True)), tuple(result)


def _dimension(step: int, own: tuple[int, ...]) -> int:
    """The dimension in which a step stays, as long as there is room: the outermost one it reaches."""
    for j, stride in enumerate(own):
        if step >= stride:
            return j
    raise Incompatible


def _split_for(dims: tuple[int, ...], d: int, extent: int, coordinate: int, q: int) -> int:
    """Where to split dimension d of the domain so that it does not run over the edge of a dimension."""
    if q < 1 or coordinate or extent % q or extent // q >= dims[d] or dims[d] % (extent // q):
        return 0
    inner = 1
    for n in dims[d + 1 :]:
        inner *= n
    return inner * (extent // q)
