"""Recordings that a new function object finds, because a function with the same code and the same captured values was
recorded before: a lambda that is written inside a loop is a new object in every turn.

What is found by is the key of a call and of the outside state (see `fastad.recording.capture`). The least recently used
recordings are forgotten first, when they take more than FASTAD_RECORDING_BYTES together.
"""

import os
import threading
from collections import OrderedDict
from typing import Any

from fastad.recording.capture import OutsideReader
from fastad.recording.keys import Key
from fastad.recording.settings import Setting
from fastad.transforms.paths import Path, Recording

_MOST_BYTES = 256 << 20
_MOST = 4096  # recordings: their objects in Python are not counted in bytes


class Memory:
    """What a transformation has found out about a function. It does not hold the function."""

    def __init__(self) -> None:
        self.outside = OutsideReader()
        self.paths: dict[Any, Path] = {}
        self.lock = threading.RLock()
        self.recordings = 0
        self._clock = 0

    def touched(self, path: Path) -> Path:
        """Note that a path is used."""
        self._clock += 1
        path.used = self._clock
        return path

    def keep(self, path: Path) -> Path:
        """Remember a path, and forget the least recently used where they take too many bytes."""
        known = len(self.paths)
        self.paths[path.call_key, path.outside.key] = self.touched(path)
        if len(self.paths) > max(known, 1):
            total = sum(other.recording.nbytes for other in list(self.paths.values()))
            for key, old in sorted(self.paths.items(), key=lambda item: item[1].used)[:-1]:
                if total <= _most_bytes() and len(self.paths) <= _MOST:
                    break
                total -= old.recording.nbytes
                del self.paths[key]
        return path


class _Recordings:
    """Recordings by key, under every choice of the settings that the function reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[Any, ...], tuple[Recording, int]] = OrderedDict()
        self._settings: dict[Key, tuple[Setting, ...]] = {}
        self._bytes = 0

    def settings(self, key: Key) -> tuple[Setting, ...]:
        """The settings that a function is known to read."""
        return self._settings.get(key, ())

    def find(self, key: Key) -> Recording | None:
        """The recording that was made for a key, under the present settings."""
        full = self._full(key)
        with self._lock:
            entry = self._found.get(full)
            if entry is None:
                return None
            self._found.move_to_end(full)
        return entry[0]

    def keep(self, key: Key, recording: Recording, settings: tuple[Setting, ...]) -> None:
        """Remember a recording, and forget others where they are too many."""
        with self._lock:
            self._settings[key] = settings
            full = self._full(key)
            self._drop(full)
            self._found[full] = recording, recording.nbytes
            self._bytes += recording.nbytes
            while len(self._found) > 1 and (len(self._found) > _MOST or self._bytes > _most_bytes()):
                self._drop(next(iter(self._found)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._found.clear()
            self._settings.clear()
            self._bytes = 0

    def _full(self, key: Key) -> tuple[Any, ...]:
        return key, *[setting.now for setting in self.settings(key)]

    def _drop(self, full: tuple[Any, ...]) -> None:
        old = self._found.pop(full, None)
        if old is not None:
            self._bytes -= old[1]


def _most_bytes() -> int:
    return int(os.environ.get("FASTAD_RECORDING_BYTES", _MOST_BYTES))


RECORDINGS = _Recordings()
