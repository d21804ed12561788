"""Buffers: the plain arrays that a function makes while it is recorded, and may write recorded values into.

A buffer is a NumPy array with NumPy's behaviour until a recorded value is written into it or into a view of it. From
then on the array that owns the memory has a *twin*, a recorded array with the same elements, and every view of that
memory reads and writes the twin. The memory itself is filled with a NaN of its own kind: code in C that reads it past
NumPy's protocols must not go on with old numbers, and where that NaN comes back, it is an error. Only floats get twins.
A recorded integer or truth value that is written into a buffer of its kind becomes a plain one with a guard, as
everywhere.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastad.recording.alternatives import plain_array_error
from fastad.recording.complex_operands import complex_package
from fastad.recording.late import arrived
from fastad.recording.outside_arrays import address, owner_of
from fastad.recording.recorded import Frame, Recorded
from fastad.recording.recorder import (
    ERASED,
    Recorder,
    current_recorder,
    open_recorders,
    open_recordings,
    recording_error,
)
from fastad.recording.source import at_line


class Buffer(np.ndarray):
    """A plain array made while a function is recorded. `buffer_operators` installs its operators and methods."""

    _twin: Recorded | None = None  # of an array that owns its memory
    _twin_shape: Any = None
    _maker: Any = None  # weak reference to the recorder that was innermost when it was made

    def __array_finalize__(self, source: Any) -> None:
        recorder = current_recorder()
        if recorder is not None:
            self._maker = recorder.reference

    @classmethod
    def define(cls, name: str, method: Any) -> None:
        """Add an operator or a method: see `buffer_operators`."""
        setattr(cls, name, method)

    @property
    def twin(self) -> Recorded | None:
        """The recorded value of this array or view, if anything recorded has been written."""
        return twin_of(self)


def twin_of(array: np.ndarray) -> Recorded | None:
    """The recorded value of a view of a buffer, or None if nothing recorded has been written there."""
    owner = owner_of(array)
    if type(owner) is not Buffer or owner._twin is None:
        return None
    return _viewed(array, owner, owner._twin)


def target_of(array: Any, what: str) -> Any:
    """The array as one that recorded values can be written into. RecordingError for arrays from outside the function;
    `what` says in the message what was tried."""
    if isinstance(array, Recorded):
        return array
    owner = owner_of(array) if isinstance(array, np.ndarray) else None
    if type(owner) is not Buffer or owner.base is not None:
        raise plain_array_error(f"{what} into a plain array from outside the function")
    if owner.dtype.char not in "dfDF":
        fix = "Make it with dtype float64 or float32 (complex128 or complex64 for complex elements)."
        raise recording_error(f"{what} into an array of dtype {owner.dtype}", fix)
    if not array.flags.writeable:
        raise ValueError("assignment destination is read-only")
    if owner._twin is None:
        _give_twin(owner, _maker_of(owner, what))
    assert owner._twin is not None
    return _viewed(array, owner, owner._twin)


def takes_guards(array: Any) -> bool:
    """Whether recorded values that are written into this array become plain ones with a guard."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "biu" and type(owner_of(array)) is Buffer


def _maker_of(owner: Buffer, what: str) -> Recorder:
    recorder = owner._maker and owner._maker()
    if recorder is None or recorder not in open_recordings():
        raise plain_array_error(f"{what} into an array that an earlier recording made")
    return recorder


def _give_twin(owner: Buffer, recorder: Recorder) -> None:
    elements = np.ndarray.view(owner, np.ndarray)
    if not elements.flags.c_contiguous:
        elements = elements.ravel(order="K")  # in the order of memory, in which views are described
    native = elements.astype(elements.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "c":
        owner._twin = complex_package().complex_constant(recorder, native)
    else:
        owner._twin = Recorded(recorder, recorder.const(native))
    owner._twin_shape = elements.shape
    for opened in open_recordings():
        opened.keep_snapshot(owner)
        opened.erased = opened.erased or at_line()
    np.ndarray.fill(owner, ERASED)


def _viewed(array: np.ndarray, owner: Buffer, twin: Recorded) -> Recorded:
    """The part of the owner's twin that a view of its memory shows."""
    kind = array.dtype
    if kind is not twin.dtype and kind.newbyteorder("=") != twin.dtype:
        raise recording_error(
            "an array that recorded values were written into is viewed with another dtype", "Use x.astype(dtype)."
        )
    if array is owner and array.shape == owner._twin_shape:
        return twin
    return twin.view(_frame(array, owner), keep=True)


def _frame(array: np.ndarray, owner: np.ndarray) -> Frame:
    size = owner.itemsize
    start, origin = (np.ndarray.__array_interface__.__get__(x)["data"][0] for x in (array, owner))
    offset = (start - origin) // size if array.size else 0
    return offset, array.shape, tuple(n // size for n in array.strides)


def plain(x: Any) -> Any:
    """An operand without buffers: those with a twin become recorded values, others plain arrays."""
    kind = type(x)
    if kind is Buffer:
        twin = twin_of(x)
        return np.ndarray.view(x, np.ndarray) if twin is None else twin
    if kind is list or kind is tuple:
        return kind([plain(y) for y in x])
    return {k: plain(v) for k, v in x.items()} if kind is dict else x


def without_buffers(leaves: list[Any]) -> list[Any]:
    """`plain` of all leaves of a pytree; quick where nothing is being recorded."""
    if not open_recorders:
        return leaves
    leaves = arrived(leaves)
    return plain(leaves) if Buffer in set(map(type, leaves)) else leaves


def as_view(array: np.ndarray, sources: Iterable[Any]) -> Buffer | None:
    """An array that shows the memory of a buffer among these, but does not say so, as a view of the buffer."""
    for source in sources:
        owner = owner_of(source) if isinstance(source, np.ndarray) else None
        if type(owner) is Buffer and np.may_share_memory(array, memory := np.ndarray.view(owner, np.ndarray)):
            flat = np.ndarray.view(np.ravel(memory, order="K"), Buffer)
            return np.ndarray.__new__(
                Buffer, array.shape, array.dtype, flat, address(array) - address(memory), array.strides
            )
    return None


def as_buffer(array: np.ndarray) -> Buffer:
    """A copy of a plain array that may be written to."""
    return np.ndarray.copy(array.view(Buffer), order="K")
