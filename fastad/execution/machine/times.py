"""How long things take to make ready on this machine: estimates that every new measurement corrects.

A thing is counts of kinds, each of which takes so many seconds. Where it took twice as long as expected, the kinds that
the expectation came from take more from then on, each by its share in it. The seconds are kept in the cache's folder as
text, for each processor; what is written there is checked and never far from what the text of the program says.
"""

import atexit
import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastad.execution.machine import cache, folders
from fastad.execution.machine.processor import host
from fastad.locks import lock

_FILE, _LONGEST = "times.json", 100_000  # bytes
_WEIGHT = 0.5  # of a new measurement, against all before
_FARTHEST = 30.0  # from the first estimates, as a factor: measurements of a busy machine may be nonsense

Counts = Mapping[str, float]


class Times:
    """Seconds by kind; `first` are those of a machine on which nothing has been measured."""

    def __init__(self, first: Mapping[str, float]) -> None:
        self._first = dict(first)
        self.spent = 0.0  # seconds of this process, all together
        self._seconds: dict[str, float] | None = None
        self._changed: set[str] = set()
        self._lock = lock()

    def expected(self, counts: Counts) -> float:
        """Seconds that a thing is expected to take."""
        seconds = self._known()
        return sum(seconds[kind] * count for kind, count in counts.items())

    def measured(self, counts: Counts, taken: float) -> None:
        """Take note that a thing has taken so many seconds."""
        expected = self.expected(counts)
        if not (expected > 0.0 and taken > 0.0):
            return
        with self._lock:
            self.spent += taken
            seconds = self._known()
            for kind, count in counts.items():
                if not count:
                    continue
                share = seconds[kind] * count / expected
                moved = seconds[kind] * (taken / expected) ** (_WEIGHT * share)
                seconds[kind] = _bounded(moved, self._first[kind])
                self._changed.add(kind)

    def _known(self) -> dict[str, float]:
        if self._seconds is None:
            self._seconds = self._first | _read(self._first)
        return self._seconds

    def store(self) -> None:
        """Keep what was measured, beside what other processes have measured of other kinds meanwhile."""
        if self._changed and self._seconds is not None and (path := _path()) is not None:
            with self._lock:  # threads may go on to measure
                own = {kind: self._seconds[kind] for kind in self._changed}
                self._changed.clear()
            whole = _all(path)
            whole[_processor()] = _read(self._first) | own
            with contextlib.suppress(OSError):
                folders.write(path, json.dumps(whole, indent=1).encode())


def _bounded(seconds: float, first: float) -> float:
    return min(max(seconds, first / _FARTHEST), first * _FARTHEST)


def _path() -> Path | None:
    where = cache.folder()
    return where / _FILE if where is not None else None


def _processor() -> str:
    return host()[0]


def _read(first: Mapping[str, float]) -> dict[str, float]:
    """What is kept for these kinds and this processor, if it is what `store` writes."""
    path = _path()
    found = _all(path).get(_processor()) if path is not None else None
    if not isinstance(found, dict):
        return {}
    return {kind: _bounded(found[kind], first[kind]) for kind in first if _is_time(found.get(kind))}


def _is_time(value: Any) -> bool:
    return type(value) is float and math.isfinite(value) and value > 0.0


def _all(path: Path) -> dict[str, Any]:
    """The file's contents; empty if it is none of ours."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if os.path.getsize(path) <= _LONGEST:
            found = json.loads(path.read_bytes())
            return found if isinstance(found, dict) else {}
    return {}


# ── the times of this machine ─────────────────────────────────────────────────────────────────────────────────
# Measured on two cores of a server (Emerald Rapids). Native code: of any table; a row of one number; a number of a row
# of few; a row of many that is a map, a reduction, a region or pieces of values, or a function; to import what makes
# it. Sweeps of a mode: to load them, and to make them on a machine where they have never run.
TIMES = Times({
    "table": 4e-3, "scalar": 19e-6, "few": 20e-6, "map": 3e-4, "reduction": 1e-4, "region": 2e-3, "function": 12e-3,
    "native import": 0.05, "sweeps": 0.06, "new sweeps": 0.4,
})  # fmt: skip
atexit.register(TIMES.store)
