"""Moves rows into a branch that were recorded outside of it and that only the branch needs.

An operation is recorded by the recorder of its operands. So what a branch computes from outer values alone is first
recorded outside, where it would run even if the branch is not taken. That costs time, and it makes derivatives NaN
where the adjoint 0 of a branch that is not taken is multiplied by an infinite partial derivative.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from fastad.control.parts import Part
from fastad.execution.request import Request
from fastad.primitives import Form
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder, open_recordings
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import compact, copy_row, inline
from fastad.tables.table import Table

Lengths = dict[Recorder, int]
RecordedRow = tuple[Recorder, Ref]


def lengths() -> Lengths:
    """The number of rows of each open recording."""
    return {recorder: len(recorder.builder) for recorder in open_recordings()}


def sunk(part: Part, before: Lengths) -> Part:
    """The part with the rows copied into it that were recorded outside since `before` and that it needs."""
    program = part.program
    given = [(x.recorder, x.ref) for x in program.lifted]
    if all(ref < before[recorder] for recorder, ref in given):
        return part
    table_of = cache(lambda recorder: recorder.builder.table(()))
    inside, leaves = _divided(given, table_of, before)
    b = Builder()
    lead = [b.input(*kind) for kind in part.lead]
    found: dict[Recorder, Any] = {recorder: {} for recorder in before}
    for recorder, ref in leaves:
        found[recorder][ref] = b.input(*table_of(recorder).type_of(ref))
    captured = [b.input(*kind) for kind in program.table.inputs[len(lead) + len(given) :]]
    for recorder, ref in inside:
        refs, table, source = found[recorder], table_of(recorder), _source(recorder, ref)
        b.source_line(table.line_of(ref))
        refs[ref] = found[source[0]][source[1]] if source else copy_row(b, table, table.row(ref), refs, ())
    lifted = [found[recorder][ref] for recorder, ref in given]
    rows = inline(b, program.inner, [*lead, *lifted, *captured])
    table = compact(b.table([rows[i] for i in program.inner.outputs], program.captured))
    sources = (*range(len(lead)), *(-1 - k for k in range(len(leaves))))
    values = tuple(Recorded(recorder, ref) for recorder, ref in leaves)
    return replace(part, program=replace(program, request=Request(table), sources=sources, lifted=values))


def _divided(
    given: Iterable[RecordedRow], table_of: Callable[[Recorder], Table], before: Lengths
) -> tuple[list[RecordedRow], list[RecordedRow]]:
    """(the rows to copy, operands first; the values outside that these depend on)."""
    inside: set[RecordedRow] = set()
    leaves: dict[RecordedRow, None] = {}
    todo = list(given)
    while todo:
        place = recorder, ref = todo.pop()
        row, source = table_of(recorder).row(ref), _source(recorder, ref)
        if source and source[1] >= before[source[0]]:
            operands = [source]
        elif row.form is Form.CONSTANT or (ref >= before[recorder] and row.form is not Form.INPUT):
            operands = [(recorder, operand) for operand in row.operands]
        else:
            leaves[place] = None
            continue
        if place not in inside:
            inside.add(place)
            todo += operands
    return sorted(inside, key=lambda place: (place[0].level, place[1])), list(leaves)


def _source(recorder: Recorder, ref: Ref) -> RecordedRow | None:
    """The value of an outer recording that a row stands for, if it is an input of that kind."""
    return next(((value.recorder, value.ref) for value, own in recorder.lifted if own == ref), None)
