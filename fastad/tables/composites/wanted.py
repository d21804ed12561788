"""Which parts of a loop's operands have adjoints that somebody wants. Data do not: their adjoints would be computed and
added up in every step, and dropped at the end.

This is activity analysis (see `fastad.tables.passes.activity`) of what the steps share, and of their elements. The
whole state is taken as wanted: the adjoint of a counter costs a number a step, those of data whole arrays.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.loop_sizes import Sizes
from fastad.tables.composites.spans import Span
from fastad.tables.composites.sub import Sub, made, packed, slices
from fastad.tables.inline import compact, inline
from fastad.tables.passes.kinks import with_limits

Parts = tuple[tuple[int, int], ...]

_MOST = 64  # parts of a vector that are told apart


@dataclass(frozen=True)
class Wanted:
    """Parts, (start, end), of a step's element and of what is shared, in order and apart from each other."""

    element: Parts
    shared: Parts

    @staticmethod
    def of(sizes: Sizes, length: int, mask: np.ndarray) -> "Wanted | None":
        """The parts of [state | shared | elements] that `mask` tells, if they are not all of them."""
        shared = mask[sizes.state : sizes.state + sizes.shared]
        elements = mask[sizes.state + sizes.shared :].reshape(length if sizes.element else 0, sizes.element)
        found = Wanted(_parts(np.any(elements, axis=0)), _parts(shared))
        return None if found == Wanted.everything(sizes) or found.number > _MOST else found

    @staticmethod
    def everything(sizes: Sizes) -> "Wanted":
        return Wanted(_parts(np.ones(sizes.element, bool)), _parts(np.ones(sizes.shared, bool)))

    @property
    def number(self) -> int:
        return len(self.element) + len(self.shared)

    @property
    def element_size(self) -> int:
        return _total(self.element)

    @property
    def shared_size(self) -> int:
        return _total(self.shared)

    def spans(self, state: int, length: int) -> list[Span]:
        """[state | wanted parts of what is shared | those of the elements]."""
        return [Span(1, state), Span(1, self.shared_size), Span(length, self.element_size)]

    def times(self, lanes: int, sizes: Sizes) -> "Wanted":
        """The same of a loop of several lanes, whose widths are `sizes`."""
        def of(own: Parts, width: int) -> Parts:
            return tuple((lane * width + start, lane * width + end) for lane in range(lanes) for start, end in own)

        return Wanted(_joined(of(self.element, sizes.element)), _joined(of(self.shared, sizes.shared)))

    def inside(self, sizes: Sizes) -> Parts:
        """The wanted parts of a step's argument, [state | element | index | shared]."""
        own, at = sizes.state, sizes.state + sizes.element + sizes.indexed
        elements = ((own + start, own + end) for start, end in self.element)
        return ((0, own), *elements, *((at + start, at + end) for start, end in self.shared))

    def spread(self, b: Any, bar: Ref, sizes: Sizes, length: int) -> Ref:
        """Adjoints of [state | shared | elements], zeros where they are not wanted."""
        n, ends = sizes.state, sizes.state + sizes.shared
        state, shared, elements = slices(b, bar, [span.size for span in self.spans(n, length)])
        pieces, places, at = [state] * (n > 0), [region(0, (n,), (1,))] * (n > 0), 0
        for start, end in self.shared:
            pieces.append(b.region(shared, region(at, (end - start,), (1,)), (end - start,)))
            places.append(region(n + start, (end - start,), (1,)))
            at += end - start
        at = 0
        for start, end in self.element:
            form = (length, end - start)
            pieces.append(b.region(elements, region(at, form, (self.element_size, 1)), (length * (end - start),)))
            places.append(region(ends + start, form, (sizes.element, 1)))
            at += end - start
        full = [(piece, place) for piece, place in zip(pieces, places, strict=True) if b.size(piece)]
        total = ends + length * sizes.element
        return b.assemble(*map(list, zip(*full, strict=True)), (total,)) if full else b.zeros((total,))

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def complaint(self, loop: Any) -> str | None:
        """What is wrong with these parts of the operands of a loop; None if nothing is."""
        if loop.step.table is None or loop.step.rules is not None:
            return "parts of an adjoint that is not derived from a table"
        for own, width in ((self.element, loop.sizes.element), (self.shared, loop.sizes.shared)):
            ends = [0, *(end for part in own for end in part), width]
            if any(a > b for a, b in pairwise(ends)) or any(a >= b for a, b in own):
                return "parts of other vectors than those of its loop"
        return None

    def to_data(self) -> list[list[list[int]]]:
        return [[list(part) for part in own] for own in (self.element, self.shared)]

    @staticmethod
    def from_data(data: Any) -> "Wanted | None":
        """What `to_data` gave, or None. Raises TableError for what is neither."""
        if data is None:
            return None
        try:
            element, shared = (tuple((int(start), int(end)) for start, end in own) for own in data)
        except (TypeError, ValueError):
            raise TableError("its header has invalid parts of an adjoint") from None
        return Wanted(element, shared)


def adjoint_of_parts(sub: Sub, parts: Parts) -> Sub:
    """From (x, u) to the adjoints of these parts of x, one after another."""
    from fastad.tables.passes.derive import adjoint_table

    assert sub.table is not None
    cuts = sorted({0, sub.n_in, *(end for part in parts for end in part)})
    sizes = [end - start for start, end in pairwise(cuts)]
    b = Builder()
    inputs = [b.input((size,)) for size in sizes]
    table = with_limits(sub.table)  # its rows are others
    found = inline(b, table, [packed(b, inputs)])[table.outputs[0]]
    wanted = [cuts.index(start) for start, end in parts if end > start]
    derived = adjoint_table(compact(b.table([found])), wanted)

    def rows(b: Builder, v: Ref) -> Ref:
        refs = inline(b, derived, slices(b, v, [*sizes, sub.n_out]))
        bars = [refs[i] for i in derived.outputs[1:]]
        return packed(b, bars) if bars else b.zeros((0,))

    return made(f"adjoint of parts of {sub.name}", sub.n_in + sub.n_out, rows)


def _parts(mask: np.ndarray) -> Parts:
    """The stretches of a mask that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return tuple(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _joined(parts: Parts) -> Parts:
    """The same parts, those that touch as one."""
    found: list[tuple[int, int]] = []
    for start, end in parts:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return tuple(found)


def _total(parts: Parts) -> int:
    return sum(end - start for start, end in parts)
