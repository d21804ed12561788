"""Choosing elements: where, take, clip, masks, sorting into places; boolean conditions that decide on shapes are
part of the path."""

from typing import Any

import numpy as np

from fastad.recording.functions.registry import axis_index, constant, implements, lift
from fastad.recording.operands import as_recorded, elementwise, is_recorded, recorder_of, reshape
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error


def concrete(x: Any) -> np.ndarray:
    """The value of a condition or of indices, to which every replay is held."""
    if isinstance(x, Recorded):
        return np.asarray(x.recorder.guard(x.ref))
    if is_recorded(x):
        return concrete(as_recorded(x))
    return np.asarray(x)


@implements(np.where)
def where(condition: Any, *branches: Any, **named: Any) -> Any:
    """np.where"""
    x, y = branches if branches else (named.get("x"), named.get("y"))
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    if not isinstance(condition, Recorded) or condition.dtype != bool:
        recorder = recorder_of((condition, x, y))
        condition = elementwise("not_equal", as_recorded(condition, recorder), 0)
    return elementwise("where", condition, x, y)


@implements(np.nonzero)
def nonzero(a: Any) -> tuple[np.ndarray, ...]:
    """np.nonzero: plain index arrays; which elements are zero is part of the path."""
    (x,) = lift(a)
    mask = x if x.dtype == bool else elementwise("not_equal", x, 0)
    return np.nonzero(concrete(mask))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> np.ndarray:
    """np.flatnonzero"""
    return nonzero(reshape(lift(a)[0], -1))[0]


@implements(np.argwhere)
def argwhere(a: Any) -> np.ndarray:
    """np.argwhere"""
    (x,) = lift(a)
    return np.transpose(nonzero(x)) if x.ndim else np.argwhere(concrete(x != 0))
