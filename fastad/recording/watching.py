"""Which arrays from outside a function looks into itself while it is recorded, as by `if data[0] > 0`.

An array that is only an operand of recorded operations is read anew at every run. An array whose elements have gone
anywhere else, into a branch, a plain number or code in C, must be compared at every call. To tell the two apart, the
function is recorded with a `Watched` in every place that holds an array. An array that is held in a place where
nothing can be put, such as a class, counts as looked into.
"""

import sys
import threading
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastad.recording.libraries import in_library
from fastad.recording.standins import held, placed, placing, standin_for, takes_standins
from fastad.recording.walk import Walk
from fastad.recording.watched import Watched, all_watched, are_watched

_WAITS = ("threading.py", "queue.py", "selectors.py", "thread.py")  # where threads wait for others


class _Counted(Walk):
    """Counts the references to arrays and tuples."""

    def __init__(self, roots: Iterable[Any]) -> None:
        self.references: Counter[int] = Counter()
        self.hides = False  # whether an object was found that may hold arrays where a walk does not see them
        super().__init__(roots)

    def _of(self, value: Any) -> Hashable:
        if isinstance(value, np.ndarray | tuple):
            self.references[id(value)] += 1
        return super()._of(value)

    def _elements(self, holder: Any, name: Any, values: tuple[Any, ...]) -> Iterable[Hashable]:
        self.references[id(values)] += 1
        return super()._elements(holder, name, values)

    def _hidden(self, value: Any) -> Hashable:
        self.hides = self.hides or not type(value).__module__.startswith("numpy.random")
        return super()._hidden(value)

    def _of_wrapper(self, value: Any, wrapped: Any) -> Hashable:
        self.hides = True
        return super()._of_wrapper(value, wrapped)


class Watch:
    """What is seen of the arrays that a function refers to."""

    def __init__(self, state: _Counted) -> None:
        self._state = state
        self._seen: set[int] = set()
        self._standins: dict[int, Any] = {}
        self._replaced: Counter[int] = Counter()
        self._parents: dict[int, list[int]] = {}
        found = [(*place, self._counted(*place)) for place in state.held_values]
        self.changes = [change for change in found if change[-1] is not None]

    def _counted(self, holder: Any, name: Any, value: Any) -> Any:
        if not takes_standins(holder) or not isinstance(value, np.ndarray | tuple):
            return None
        self._replaced[id(value)] += 1
        return self._standin(value)

    def _standin(self, value: Any) -> Any:
        """The stand-in for an array, or for a tuple that holds some; else None."""
        if id(value) not in self._standins:
            self._standins[id(value)] = None
            if type(value) is np.ndarray and value.dtype.kind in "biuf":
                self._standins[id(value)] = Watched(value, lambda: self._seen.add(id(value)))
            elif isinstance(value, tuple):
                self._standins[id(value)] = self._tuple(value)
        return self._standins[id(value)]

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        for x in value:
            self._replaced[id(x)] += 1
            self._parents.setdefault(id(x), []).append(id(value))
        items = [standin_for(x) if (found := self._standin(x)) is None else found for x in value]
        if all(map(lambda x, y: x is y, items, value)):
            return None
        return type(value)(items) if type(value) is tuple else type(value)._make(items)  # type: ignore[attr-defined]

    @property
    def watched(self) -> list[Watched]:
        """All that has been put in place."""
        return [x for x in self._standins.values() if type(x) is Watched]

    def is_clean(self, array: np.ndarray) -> bool:
        """Whether the function has not looked into the array."""
        return id(array) not in self._seen and type(array) is np.ndarray and self._is_watched(id(array))

    def _is_watched(self, key: int) -> bool:
        """Whether all that refers to an array (or a tuple) refers to its stand-in."""
        return (
            self._standins.get(key) is not None
            and self._replaced[key] == self._state.references[key]
            and all(map(self._is_watched, self._parents.get(key, ())))
        )


@contextmanager
def watching(roots: Iterable[Any]) -> Iterator[Watch | None]:
    """Within, the arrays that functions and other objects refer to are watched. None where that is not possible now:
    something else stands in their places, or another thread runs code of the user's, which needs the arrays
    themselves."""
    state = _Counted(roots)
    if state.hides or are_watched() or _others_run() or not placing.acquire(blocking=False):
        yield None
        return
    try:
        watch = Watch(state)
        with placed(watch.changes), all_watched(watch.watched):
            there = all(held(holder, name) is standin for holder, name, _, standin in watch.changes)
            yield watch if there else None
    finally:
        placing.release()


def _others_run() -> bool:
    """Whether another thread runs code of the user's."""
    own = threading.get_ident()
    return any(ident != own and not _waits(frame) for ident, frame in sys._current_frames().items())


def _waits(frame: Any) -> bool:
    if frame.f_code.co_filename.endswith(_WAITS):
        return True
    while frame is not None:
        if not in_library(frame.f_code):
            return False
        frame = frame.f_back
    return True
