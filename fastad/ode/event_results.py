"""What a solve says about its events."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.kernels import records as r
from fastad.ode.emitting import Raw
from fastad.ode.events import Event
from fastad.ode.trajectory import Trajectory


def limits_of(events: Sequence[Event]) -> Any:
    """How often each event may happen."""
    return np.array([event.limit for event in events])


def counts_of(events: Sequence[Event], raw: Raw) -> Any:
    """How often each event has happened in a solve."""
    which = raw.log[: int(raw.run[r.HAPPENED]), r.WHICH].astype(int)
    return np.bincount(which, minlength=len(events))


def plain_events(events: Sequence[Event], pieces: Sequence[Raw]) -> tuple[Any, Any]:
    """`t_events` and `y_events`, as in SciPy."""
    if not events:
        return None, None
    counts = [int(piece.run[r.HAPPENED]) for piece in pieces]
    which, times, states = (
        np.concatenate([np.asarray(own)[:count] for own, count in zip(values, counts, strict=True)])
        for values in ([p.log[:, r.WHICH] for p in pieces], [p.times for p in pieces], [p.at_events for p in pieces])
    )
    masks = [which == number for number in range(len(events))]
    return [times[mask] for mask in masks], [states[mask] if np.any(mask) else np.zeros(0) for mask in masks]


def recorded_events(events: Sequence[Event], raw: Raw) -> tuple[Any, Any]:
    """`t_events` and `y_events` of recorded values."""
    if not events:
        return None, None
    numbers = range(len(events))
    return [Occurrences(raw.times, raw, i) for i in numbers], [Occurrences(raw.at_events, raw, i) for i in numbers]


class Occurrences(Trajectory):
    """The times at which an event happened, or the states: an array of which single elements are known without a guard
    that holds how many there are. One that there is not is NaN, and so are derivatives of what depends on it."""

    def __init__(self, values: Any, raw: Raw, number: int) -> None:
        self._values = values
        is_own = (raw.log[:, r.WHICH] == number) & (np.arange(len(raw.log)) < raw.run[r.HAPPENED])
        self._ranks = np.where(is_own, np.cumsum(is_own * 1.0), 0.0)
        self._count = np.sum(is_own * 1.0)
        self._end = np.sum(np.where(np.isfinite(raw.y), raw.y, 0.0))
        super().__init__(None, self._all)

    def with_values(self, values: Any) -> "Occurrences":
        """The same occurrences of an event, with other values."""
        found = Occurrences.__new__(Occurrences)
        vars(found).update(vars(self) | {"_values": values, "_whole": found._all})
        return found

    def _element(self, k: Any) -> Any:
        """Element k, counted from the end if it is negative."""
        chosen = self._ranks == (k + 1.0 if k >= 0 else self._count + (k + 1.0))
        chosen = chosen & (self._ranks > 0.0)
        found = np.sum(np.where(_like(chosen, self._values), self._values, 0.0), axis=0)
        # A factor, not a choice: the derivative of a NaN that is chosen would be 0, and stop an optimiser in silence.
        return found + np.where(np.any(chosen), 0.0, np.nan) * self._end

    def _all(self) -> Any:
        count = int(self._count)
        if not count:
            return np.zeros((0, *np.shape(self._values)[1:]))
        return np.stack([self._element(k) for k in range(count)])

    def __getitem__(self, index: Any) -> Any:
        first, *others = index if isinstance(index, tuple) else (index,)
        if isinstance(first, int | np.integer) and not isinstance(first, bool):
            found = self._element(int(first))
            return found[tuple(others)] if others else found
        return self.array[index]


def _like(mask: Any, values: Any) -> Any:
    return mask if np.ndim(values) == 1 else mask[:, None]
