"""Recorded values that a function reads from outside, as arguments of it: for code that cannot take recorded values."""

from collections.abc import Callable, Sequence
from typing import Any

from fastad.errors import RecordingError
from fastad.recording.buffers import without_buffers
from fastad.recording.capture import OutsideState
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error
from fastad.recording.standins import placed, takes_standins


class Opened:
    """A function of (values, *args) that calls another one of (*args) with these values where that finds recorded ones
    (`values`) in its closure, in globals, defaults, attributes or containers."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._places: list[tuple[Any, Any, Any]] = []
        self.values: list[Recorded] = []
        known = set()
        for holder, name, value in OutsideState((function,)).held_values:
            found = [x for x in _elements(value) if isinstance(x, Recorded)]
            if found and takes_standins(holder) and (id(holder), name) not in known:
                known.add((id(holder), name))
                self._places.append((holder, name, value))
                self.values += found

    def __call__(self, values: Sequence[Any], *args: Any) -> Any:
        given = iter(values)
        changes = [(*place, _with(place[2], given)) for place in self._places]
        try:
            with placed(changes):
                return self._function(*args)
        except (SystemError, RecordingError) as error:  # code in C may make the first of an error of ours
            own = error if isinstance(error, RecordingError) else error.__cause__ or error.__context__
            if not isinstance(own, RecordingError) or (own is error and not own.at_library):
                raise
            raise recording_error(
                f"{self.__name__} calls other libraries, and reads a recorded value from outside where fastad does not "
                "see it",
                "Pass the value as an argument, and on to SciPy by args=.",
            ) from error


def _elements(value: Any) -> list[Any]:
    """What is in a place: the value, or the elements of a tuple."""
    return without_buffers(list(value) if type(value) is tuple else [value])


def _with(value: Any, given: Any) -> Any:
    """The value of a place with plain numbers for recorded ones."""
    found = [next(given) if isinstance(x, Recorded) else x for x in _elements(value)]
    return tuple(found) if type(value) is tuple else found[0]
