"""Moving into a branch what it alone computes from values of outer recordings.

An operation is recorded where its operands are, so what a branch computes from outer values only is at first made
outside, where it would run whether or not the branch is taken: at its cost, and with a derivative of NaN where the
adjoint 0 of a branch not taken meets an infinite partial derivative.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fastad.control.parts import Part
from fastad.execution.compiled import Plan
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder, open_recordings
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import compact, copy_row, inline
from fastad.tables.table import Table

Lengths = dict[Recorder, int]


def lengths() -> Lengths:
    """How many rows each open recording has now."""
    return {recorder: len(recorder.builder) for recorder in open_recordings()}


def sunk(part: Part, before: Lengths) -> Part:
    """The part with the rows inside that were made outside of it since `before`, as far as it needs them."""
    program = part.program
    given = [(x.recorder, x.ref) for x in program.lifted]
    if all(ref < before[recorder] for recorder, ref in given):
        return part
    outer = {recorder: recorder.builder.table(()) for recorder, _ in given}
    inside, leaves = _divided(given, outer, before)
    b = Builder()
    lead = [b.input(*kind) for kind in part.lead]
    found: dict[Recorder, dict[int, Ref]] = {recorder: {} for recorder in outer}
    for recorder, ref in leaves:
        found[recorder][ref] = b.input(*outer[recorder].type_of(ref))
    captured = [b.input(*kind) for kind in program.table.inputs[len(lead) + len(given) :]]
    for recorder, ref in inside:
        refs: Any = found[recorder]
        b.source_line(outer[recorder].line_of(ref))
        refs[ref] = copy_row(b, outer[recorder], outer[recorder].row(ref), refs, ())
    lifted = [found[recorder][ref] for recorder, ref in given]
    rows = inline(b, program.table, [*lead, *lifted, *captured])
    table = compact(b.table([rows[i] for i in program.table.outputs], program.captured))
    sources = (*range(len(lead)), *(-1 - k for k in range(len(leaves))))
    values = tuple(Recorded(recorder, ref) for recorder, ref in leaves)
    return replace(part, program=replace(program, plan=Plan(table), sources=sources, lifted=values))


def _divided(given: Iterable[tuple[Recorder, Ref]], outer: dict[Recorder, Table], before: Lengths) -> tuple[Any, Any]:
    """The rows to copy, in order, and the values that these start from."""
    inside: set[tuple[Recorder, Ref]] = set()
    leaves: dict[tuple[Recorder, Ref], None] = {}
    todo = list(given)
    while todo:
        place = recorder, ref = todo.pop()
        row = outer[recorder].row(ref)
        if row.name != "const" and (ref < before[recorder] or row.name == "input"):
            leaves[place] = None
        elif place not in inside:
            inside.add(place)
            todo += [(recorder, operand) for operand in row.operands]
    return sorted(inside, key=lambda place: place[1]), list(leaves)
