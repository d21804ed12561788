"""Numbers that a function reads from outside and that change from call to call: inputs of the recording.

While the function is recorded, recorded numbers stand in the places where it finds them. At a replay their values are
those that the places hold then, like the elements of arrays.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastad.recording.recorded_numbers import NUMBERS, number_at
from fastad.recording.recorder import Recorder
from fastad.recording.standins import as_bound, held, placed, placing, put


class NumberPlace(NamedTuple):
    """A place that holds a plain number, Python's or a float of NumPy's: (cell, None), (dict, key) or (list, index); or
    element `position` of a tuple there, or at (function, "__defaults__") or (functools.partial, "args")."""

    holder: Any
    name: Any
    value: Any
    position: int | None = None
    whole: tuple[Any, ...] = ()  # the tuple

    @property
    def key(self) -> tuple[type, Any]:
        """The number as a part of a key: -0.0 is not 0.0, and NaN is NaN."""
        return type(self.value), self.value if type(self.value) is int else repr(self.value)

    def now(self, missing: Any) -> Any:
        """What is in the place now."""
        found = as_bound(self.holder, self.name, held(self.holder, self.name, missing))
        if self.position is None or not isinstance(found, tuple):
            return found
        return found[self.position] if self.position < len(found) else missing

    def put_back(self) -> None:
        """Put the number into its place, which the recording has written to."""
        put(self.holder, self.name, self.value if self.position is None else self.whole)

    def make_plain(self) -> None:
        """Where the function has left a recorded number, put a plain one: others are known by their address."""
        now = held(self.holder, self.name)
        if type(now) in NUMBERS:
            put(self.holder, self.name, now.held())
        elif type(now) is tuple and self.position is not None:
            put(self.holder, self.name, tuple([x.held() if type(x) in NUMBERS else x for x in now]))


class ChangingNumber(NamedTuple):
    """A number that is an input, as an array that the program captures."""

    number: int  # among those that a walk finds
    place: NumberPlace
    array: np.ndarray


class _Pending(threading.local):
    numbers: Sequence[ChangingNumber] = ()


_pending = _Pending()


@contextmanager
def reading_anew(numbers: Sequence[ChangingNumber]) -> Iterator[bool]:
    """Within, what is recorded reads these numbers as inputs. The value is False if it does not, because another thread
    is recording with numbers of its own, which may stand in the same places."""
    if not numbers or not placing.acquire(blocking=False):
        yield not numbers
        return
    before, _pending.numbers = _pending.numbers, numbers
    try:
        yield True
    finally:
        _pending.numbers = before
        placing.release()


def placed_numbers(recorder: Recorder) -> AbstractContextManager[None]:
    """Within, recorded numbers stand in the places of those that change. Recordings inside of another one find those
    of the outer one there."""
    return placed(_changes(recorder, _pending.numbers) if recorder.level == 1 else ())


def _changes(recorder: Recorder, numbers: Iterable[ChangingNumber]) -> list[tuple[Any, Any, Any, Any]]:
    """(holder, name, value, what stands there) for every place, tuples as a whole."""
    found: dict[tuple[int, Any], tuple[Any, Any, Any, Any]] = {}
    for _, (holder, name, value, position, whole), array in numbers:
        number = number_at(recorder, recorder.capture(array), value if position is None else whole[position])
        if position is None:
            found[id(holder), name] = holder, name, value, number
            continue
        there = held(holder, name)  # whose arrays may be watched
        there = there if type(there) is tuple and len(there) == len(whole) else whole
        changed = list(found.get((id(holder), name), (None, None, None, there))[3])
        changed[position] = number
        found[id(holder), name] = holder, name, whole, tuple(changed)
    return list(found.values())
