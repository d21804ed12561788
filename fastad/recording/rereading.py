"""Reads what functions take from outside at every call, and walks again only where something has changed."""

from collections.abc import Iterable
from typing import Any

from fastad.recording.capture import OutsideState
from fastad.recording.settings import Setting
from fastad.recording.walk import read_place


class OutsideReader:
    """The outside state of functions at the last call."""

    def __init__(self) -> None:
        self._last: OutsideState | None = None
        self.settings: tuple[Setting, ...] = ()  # those that the functions have read so far

    def read(self, *roots: Any) -> OutsideState:
        """The state now of the functions, which are the same at every call."""
        last = self._last
        if last is None or not last.unchanged():
            last = self._last = (last and last.renumbered()) or OutsideState(roots, self.settings)
        return last

    def add_settings(self, settings: Iterable[Setting]) -> bool:
        """Include these settings from now on. Returns whether any of them is new."""
        new = [s for s in settings if s not in self.settings]
        if new:
            self.settings = (*self.settings, *new)
            self._last = None
        return bool(new)


def same_choices(settings: Iterable[tuple[Any, Any, Any]]) -> bool:
    """Whether settings (variable, default, choice) have the same choices now, in the calling thread."""
    return all(read_place(variable, default) is choice for variable, default, choice in settings)
