"""Loops rolled while a function is recorded, so that the table does not grow with the turns of a Python loop.

When many rows have come together, those that repeat themselves become a loop row (see `fastad.tables.rolling`), and the
recording goes on in a new table. All recorded values then stand for other rows, so this is done only where nothing but
the user's code is running: an operator that it uses begins, and no function of fastad or of NumPy waits for its end.
"""

import sys
from types import CodeType, FrameType
from typing import Any

import numpy as np

from fastad.recording.forgetting import values_of
from fastad.recording.held import Held
from fastad.recording.recorder import Recorder, current_recorder
from fastad.recording.source import is_ours

MANY = 32_768  # rows after which it is worth looking for loops
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
    refs = np.array([x._ref for x in values], np.int64)
    written = [x for x in values if x._pending]
    pieces = np.array([ref for x in written for ref in x._pending.values()], np.int64)
    found = Held(recorder.builder, np.concatenate([refs, pieces])).rolled(recorder.schedule)
    if found is None:
        return
    recorder.go_on_in(*found)
    moved = found[-1]
    for x, ref in zip(values, moved[refs].tolist(), strict=True):
        x._ref = ref
    for x in written:
        x._pending = {own: int(moved[ref]) for own, ref in x._pending.items()}
    recorder.rolls_at = max(MANY, 2 * len(recorder.builder))


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
