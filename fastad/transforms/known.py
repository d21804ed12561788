"""Recordings that a new function object finds, because a function with the same code and the same captured values was
recorded before: a lambda that is written inside a loop is a new object in every turn.

What is found by is the key of a call and of the outside state (see `fastad.recording.capture`). The least recently used
recordings are forgotten first, when they take more than FASTAD_RECORDING_BYTES together.
"""

import os
from collections import OrderedDict
from typing import Any

from fastad.locks import lock
from fastad.recording.keys import Key
from fastad.recording.rereading import OutsideReader
from fastad.recording.settings import Setting
from fastad.transforms.paths import Path, Recording

_MOST_BYTES = 256 << 20
MOST = 4096  # recordings: their objects in Python are not counted in bytes


class Memory:
    """What a transformation has found out about a function. It does not hold the function."""

    def __init__(self) -> None:
        self.outside = OutsideReader()
        self.paths: dict[Any, Path] = {}
        self.lock = lock()
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
            self.trim()
        return path

    def trim(self) -> None:
        """Forget the least recently used paths where they take too many bytes."""
        total = sum(path.recording.family_nbytes for path in list(self.paths.values()))
        for key, old in sorted(self.paths.items(), key=lambda item: item[1].used)[:-1]:
            if total <= most_bytes() and len(self.paths) <= MOST:
                break
            total -= old.recording.family_nbytes
            del self.paths[key]


class _Entry:
    """The recordings for one key: for every choice of the settings that the function reads."""

    def __init__(self, key: Key) -> None:
        self.key = key  # this very object is found at once, an equal one by comparing it part by part
        self.settings: tuple[Setting, ...] = ()
        self.recordings: dict[tuple[str, ...], Recording] = {}
        self.counted = 0  # bytes, when they were counted last

    @property
    def nbytes(self) -> int:
        return sum([recording.family_nbytes for recording in self.recordings.values()])

    def growth(self) -> int:
        """Bytes more than those that were counted last."""
        before, self.counted = self.counted, self.nbytes
        return self.counted - before

    def add(self, recording: Recording, settings: tuple[Setting, ...]) -> None:
        if settings != self.settings:
            self.settings, self.recordings = settings, {}
        self.recordings[tuple([setting.now for setting in settings])] = recording

    def now(self) -> Recording | None:
        return self.recordings.get(tuple([setting.now for setting in self.settings]))


class _Recordings:
    """Recordings by key, the least recently used first."""

    def __init__(self) -> None:
        self._lock = lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._counted = 0  # bytes of all entries: to count them anew for each takes longer than many recordings

    @property
    def nbytes(self) -> int:
        """Bytes of all recordings."""
        with self._lock:
            return sum(entry.nbytes for entry in self._entries.values())

    def find(self, key: Key) -> tuple[Recording, tuple[Setting, ...]] | None:
        """The recording that was made for a key, under the present settings; and the settings that it may depend on."""
        with self._lock:
            entry = self._entries.get(key)
            recording = None if entry is None else entry.now()
            if entry is None or recording is None:
                return None
            self._entries.move_to_end(entry.key)
        return recording, entry.settings

    def keep(self, key: Key, recording: Recording, settings: tuple[Setting, ...]) -> None:
        """Remember a recording, and forget others where they are too many."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry(key))
            self._entries.move_to_end(entry.key)
            entry.add(recording, settings)
            self._counted += entry.growth()
            self._forget()

    def trim(self) -> None:
        """Forget the least recently used where they are too many, after some that are known have grown."""
        with self._lock:
            self._counted += sum([entry.growth() for entry in self._entries.values()])
            self._forget()

    def _forget(self) -> None:
        while len(self._entries) > 1 and (len(self._entries) > MOST or self._counted > most_bytes()):
            self._counted -= self._entries.popitem(last=False)[1].counted

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._counted = 0


def most_bytes() -> int:
    """Bytes that recordings may take: those of one transformation, and all that are found by code."""
    return int(os.environ.get("FASTAD_RECORDING_BYTES", _MOST_BYTES))


RECORDINGS = _Recordings()
