"""Where a kernel finds its inputs and results: inline in the `in` and `out` vectors, or by reference.

A kernel's `in` vector holds its inputs one after another. A large input is passed by reference: its place in the
vector is one 8-byte slot with the address of its (C-contiguous, float64) data, so nothing is copied. Results
likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fastad.tables.columns import ValueType
from fastad.tables.table import Table

BY_REFERENCE_FROM = 257  # elements: smaller values are cheaper to copy than to address


@dataclass(frozen=True)
class Slot:
    """Place of one value in a vector: `offset` in doubles, `size` elements, inline or by reference."""

    offset: int
    size: int
    by_reference: bool


@dataclass(frozen=True)
class Layout:
    """Places of all inputs and results of a kernel, and the lengths of both vectors in doubles."""

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    in_size: int
    out_size: int


def layout_of(table: Table, threshold: int | None = BY_REFERENCE_FROM) -> Layout:
    """Layout of a table's kernel; values of `threshold` elements or more go by reference (None: none do)."""
    return make_layout(table.inputs, table.output_types, threshold)


def make_layout(inputs: Sequence[ValueType], outputs: Sequence[ValueType], threshold: int | None) -> Layout:
    """Layout for given types of inputs and results."""
    placed_in, in_size = _place(inputs, threshold)
    placed_out, out_size = _place(outputs, threshold)
    return Layout(placed_in, placed_out, in_size, out_size)


def _place(kinds: Sequence[ValueType], threshold: int | None) -> tuple[tuple[Slot, ...], int]:
    slots, at = [], 0
    for kind in kinds:
        reference = threshold is not None and kind.size >= threshold
        slots.append(Slot(at, kind.size, reference))
        at += 1 if reference else kind.size
    return tuple(slots), at
