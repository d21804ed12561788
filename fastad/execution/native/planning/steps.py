"""The steps of a native program: what a plan is made of."""

from dataclasses import dataclass, field
from typing import NamedTuple

from fastad.execution.native.planning.maps import Splits

COLLECTED = 16  # vectors of results that registers hold
SCALAR, MEMORY, VIRTUAL = 0, 1, 2  # realms of rows: unrolled in registers; stored by a step; computed inside loops


@dataclass
class ScalarStep:
    """Straight-line code on single numbers: rows of few elements, unrolled."""

    index: int
    rows: list[int] = field(default_factory=list)
    packs: dict[int, list[int]] = field(default_factory=dict)  # by the first: rows that are computed by one call


@dataclass
class LoopStep:
    """One nest of loops over `size` elements: rows stored and reductions made from values computed on the way.
    `collected`: vectors of results of reductions over all but the innermost dimension, where these are few."""

    index: int
    size: int
    splits: Splits = frozenset()
    members: int = 0
    collected: int = 0
    stores: list[int] = field(default_factory=list)
    reductions: list[int] = field(default_factory=list)


@dataclass
class CallStep:
    """A row that is a step of its own."""

    index: int
    row: int


Step = ScalarStep | LoopStep | CallStep


class Place(NamedTuple):
    """A run of doubles in memory. `kind` is in, out (inline), in_ref, out_ref (through the address in a slot), work
    or constants; `start` is the place in the vector, `offset` in what a reference points to."""

    kind: str
    start: int
    offset: int = 0

    def plus(self, offset: int) -> "Place":
        return Place(self.kind, self.start, self.offset + offset) if offset else self
