"""Recorded values in the places of numbers: Python's, and NumPy's floats."""

from operator import index
from typing import Any

import numpy as np

from fastad.recording.recorded import Recorded, RecordedIntegral, RecordedReal
from fastad.recording.recorder import Recorder, open_recordings
from fastad.recording.source import asked_by_user
from fastad.tables.builder import Ref


class NumberNeeded(BaseException):
    """Python needs a number itself, which is an input of the recording: it must be a constant. No user's code may
    catch this."""


class Number(Recorded):
    """A recorded scalar in the place of a Python number: in operations with arrays it takes their dtype, and where
    Python needs the number itself, a guard holds it. It has no derivative."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        if asked_by_user():
            return int if self.dtype.kind in "iu" else float
        return RecordedIntegral if self.dtype.kind in "iu" else RecordedReal

    @property
    def is_live(self) -> bool:
        """Whether this thread is recording it. To all others, and afterwards, it is a plain number."""
        return self._recorder.open and self._recorder in open_recordings()

    def held(self) -> int | float:
        """The number, which every replay is held to; where it is not recorded, a plain one."""
        recorder, ref = self._recorder, self._ref
        if self.is_live:
            found = recorder.guard(self.ref)
        else:  # another thread must not evaluate rows
            found = recorder.given[ref] if ref in recorder.given else recorder.value(ref)
        number: int | float = found.item()
        return number

    def __hash__(self) -> int:
        if self.is_live:
            raise NumberNeeded  # as a key of a dict it would outlive the recording
        return hash(self.held())

    def __bool__(self) -> bool:
        return super().__bool__() if self.is_live else bool(self.held())

    def __int__(self) -> int:
        return super().__int__() if self.is_live else int(self.held())

    def __index__(self) -> int:
        return index(self.held())  # type: ignore[arg-type]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.held(), dtype)

    def __repr__(self) -> str:
        return repr(self.held())

    def __float__(self) -> float:
        return float(self.held())

    def __str__(self) -> str:
        return str(self.held())

    def __format__(self, spec: str) -> str:
        return format(self.held(), spec)

    def __getattr__(self, name: str) -> Any:
        getattr(int if self.dtype.kind in "iu" else float, name)  # what it has not needs no guard
        return getattr(self.held(), name)


def _of_arrays(name: str) -> Any:
    """An attribute of arrays that the user's code does not find in a number."""
    inherited = getattr(Recorded, name)

    def read(self: Number) -> Any:
        if asked_by_user():
            raise AttributeError(name)
        return inherited.__get__(self)

    return property(read)


_OF_ARRAYS = ("base", "dtype", "itemsize", "nbytes", "ndim", "shape", "size")
for _name in _OF_ARRAYS:
    setattr(Number, _name, _of_arrays(_name))


class Scalar(Number):
    """A recorded scalar in the place of one of NumPy's floats: it has a dtype of its own."""

    __slots__ = ()
    __class__ = Recorded.__class__

    def held(self) -> Any:
        """The number as NumPy's."""
        return self.dtype.type(super().held())


for _name in _OF_ARRAYS:
    setattr(Scalar, _name, getattr(Recorded, _name))
NUMBERS = frozenset([Number, Scalar])


def number_at(recorder: Recorder, ref: Ref, value: Any) -> Number:
    """What stands in the place of this number."""
    return (Number if type(value) in (int, float) else Scalar)(recorder, ref)
