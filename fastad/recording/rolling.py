"""Loops rolled while a function is recorded, so that the table does not grow with the turns of a Python loop.

When many rows have come together, those that repeat themselves become a loop row (see `fastad.tables.rolling`), and the
recording goes on in a new table. All recorded values then stand for other rows, so this is done only where nothing but
the user's code is running: an operator that it uses begins, and no function of fastad or of NumPy waits for its end.
"""

import sys
from types import CodeType, FrameType
from typing import Any

from fastad.recording.forgetting import values_of
from fastad.recording.recorder import Recorder, current_recorder
from fastad.recording.source import is_ours
from fastad.tables.builder import Builder
from fastad.tables.inline import compact, inline
from fastad.tables.rolling.rolled import roll

MANY = 32_768  # rows after which it is worth looking for loops
_KEPT = 16  # rows for each value that is still of use
# Code of fastad that holds no rows while it runs: the operators that lead here, and what runs the user's function.
OPERATORS: set[CodeType] = set()
RUNNERS: set[CodeType] = set()


def roll_loops(recorder: Recorder, schedule: Any = None) -> None:
    """From now on, loops of this recording are rolled. `schedule` says which of their states are stored for adjoints
    (see `fastad.schedules`; None: all of them)."""
    recorder.rolls_at, recorder.schedule = MANY, schedule


def roll_rows(recorder: Recorder) -> None:
    """Roll the rows of a recording, if this is a place to do so. Operators call it before they read any row."""
    rows = len(recorder.builder)
    values = values_of(recorder) if _is_apart(recorder) else None
    if values is None:
        recorder.rolls_at = rows + rows // 8
        return
    recorder.rolls_at = 2 * rows
    live = list(dict.fromkeys(ref for x in values for ref in (x._ref, *x._pending.values())))
    if len(live) * _KEPT > rows:
        return  # values of the turns are collected: one loop at the end has them in one piece
    old = recorder.builder
    table = compact(old.table(live))
    rolled = roll(table, recorder.schedule)
    if 2 * len(rolled) > rows:
        return
    new = Builder()
    inputs = [new.input(*kind) for kind in old.inputs]
    refs = inline(new, rolled, inputs)
    moved = {ref: refs[i] for ref, i in zip(live, rolled.outputs, strict=True)}
    if any(old.type(x) != new.type(y) for x, y in moved.items()):
        return
    recorder.go_on_in(new, inputs, moved)
    for x in values:
        x._ref = moved[x._ref]
        x._pending = {own: moved[ref] for own, ref in x._pending.items()} if x._pending else x._pending
    recorder.rolls_at = max(MANY, 2 * len(new))


def _is_apart(recorder: Recorder) -> bool:
    """Whether the user's code, and nothing else, has called the operator that is running now."""
    if current_recorder() is not recorder:
        return False
    frame: FrameType | None = sys._getframe(3)  # what has called the operator
    while frame is not None and is_ours(frame.f_code):
        if frame.f_code not in OPERATORS:
            return False
        frame = frame.f_back
    while frame is not None and not is_ours(frame.f_code):
        frame = frame.f_back
    while frame is not None and frame.f_code in RUNNERS:
        if frame.f_locals.get("recorder") is recorder:
            return True
        frame = frame.f_back
    return False
