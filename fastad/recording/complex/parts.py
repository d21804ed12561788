"""The parts of operands, and complex values made of operands."""

from typing import Any

import numpy as np

from fastad.recording.buffers import Buffer, twin_of
from fastad.recording.complex.value import Part, RecordedComplex, pair
from fastad.recording.operands import is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder
from fastad.recording.watched import Watched

Parts = tuple[Part, Part]


def split(x: Any) -> Parts:
    """The real and the imaginary part of an operand; None for one that is 0 throughout."""
    kind = type(x)
    if kind is RecordedComplex:
        return x._re, x._im
    if isinstance(x, Recorded | int | float):
        return x, None
    if isinstance(x, complex | np.complexfloating):
        return (x.real if x.real else None if x.imag else x.real), (x.imag if x.imag else None)
    if kind is list or kind is tuple:
        return _split_elements(list(map(split, x))) if is_recorded(x) else split(np.asarray(x))
    if kind is Watched:
        x = x.array if x.ndim else x.seen()
    if isinstance(x, np.ndarray):
        return _split_array(x)
    return x, None


def _split_array(x: np.ndarray) -> Parts:
    twin = twin_of(x) if type(x) is Buffer or x.base is not None else None
    if twin is not None:
        return split(twin)
    if x.dtype == object:
        found = [split(y) for y in x.reshape(-1).tolist()]
        re, im = _split_elements(found)
        return tuple([None if part is None else part.reshape(x.shape) for part in (re, im)])  # type: ignore[return-value]
    if x.dtype.kind != "c":
        return x, None
    memory = np.ndarray.view(x, np.ndarray)
    return memory.real, memory.imag  # views, which are read anew as the array itself would be


def _split_elements(found: list[Parts]) -> Parts:
    """The parts of an array of elements that have these."""
    columns = []
    for column in zip(*found, strict=True):
        filled = [0.0 if x is None else x for x in column]
        columns.append(None if all(x is None for x in column) else np.stack(np.broadcast_arrays(*filled)))
    return (columns[0], columns[1]) if columns else (np.zeros(0), None)


def is_complex(x: Any) -> bool:
    """Whether x is a complex operand, or a list or an array of objects that holds one."""
    if type(x) is RecordedComplex or isinstance(x, complex):
        return True
    if type(x) is list or type(x) is tuple:
        return any(map(is_complex, x))
    if isinstance(x, np.ndarray) and x.dtype == object:
        return any(map(is_complex, x.reshape(-1).tolist()))
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "c"


def complex_constant(recorder: Recorder, value: Any) -> RecordedComplex:
    """A constant by value, which may be written to."""
    x = np.asarray(value)
    re, im = (Recorded(recorder, recorder.const(np.array(part))) for part in (x.real, x.imag))
    return RecordedComplex(re, im)


def to_complex(x: Any, sources: Any = ()) -> Any:
    """An operand as a complex recorded value; itself where it is one."""
    return x if type(x) is RecordedComplex else pair(*split(x), sources=(x, *sources))

