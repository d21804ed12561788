"""Functions sent to other processes: recorded programs travel, as bytes that `fad.load` reads; no code is pickled.

A worker may meet an item that takes a path which was not recorded before. It says so, and the sender, who has the
function's source, runs that item and sends the program again.
"""

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastad.errors import FastadError
from fastad.transforms import saved
from fastad.transforms.base import Loaded, Transformed, restore
from fastad.transforms.call import unflatten

Item = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments


class Items(Protocol):
    """Arguments of many calls. A part of them is one object for the library that sends it."""

    def __len__(self) -> int: ...

    def item(self, k: int) -> Item: ...

    def part(self, numbers: Sequence[int]) -> "Items": ...


@dataclass(frozen=True)
class Listed:
    """Items one by one."""

    items: Sequence[Item]

    def __len__(self) -> int:
        return len(self.items)

    def item(self, k: int) -> Item:
        return self.items[k]

    def part(self, numbers: Sequence[int]) -> "Listed":
        return Listed([self.items[k] for k in numbers])


@dataclass(frozen=True)
class Along:
    """Items along the first axis of arrays, the leaves of a tree."""

    leaves: Sequence[np.ndarray]
    tree: Any

    def __len__(self) -> int:
        return len(self.leaves[0])

    def item(self, k: int) -> Item:
        return (unflatten(self.tree, [leaf[k] for leaf in self.leaves]),), {}

    def part(self, numbers: Sequence[int]) -> "Along":
        return Along([leaf[list(numbers)] for leaf in self.leaves], self.tree)


DONE, FAILED, UNRECORDED = "done", "failed", "unrecorded"


class Shipped(NamedTuple):
    """A function as it travels."""

    digest: str
    data: bytes
    tier: str
    threads: int | None


class Outcome(NamedTuple):
    """What became of one item: its result (DONE), its error (FAILED), or nothing (UNRECORDED)."""

    status: str
    value: Any = None


def ship(function: Transformed) -> Shipped:
    """The paths of the function that have been recorded so far."""
    data = saved.to_bytes(function.save)
    return Shipped(hashlib.sha256(data).hexdigest(), data, function.tier, function.threads)


def run_items(function: Shipped | Transformed, items: Items) -> list[Outcome]:
    """The function's outcome for each item. This is what runs in the worker."""
    run = _arrived(function) if isinstance(function, Shipped) else function
    return [_outcome(run, items.item(k)) for k in range(len(items))]


def _outcome(run: Transformed, item: Item) -> Outcome:
    args, kwargs = item
    try:
        return Outcome(DONE, run(*args, **kwargs))
    except saved.Unrecorded:
        return Outcome(UNRECORDED)
    except Exception as error:
        return Outcome(FAILED, _portable(error))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return FastadError(f"{type(error).__name__}: {error}")
    return error


class _ByDigest(NamedTuple):
    """A shipped function, found in the cache by its digest alone."""

    function: Shipped

    def __hash__(self) -> int:
        return hash(self.function.digest)


def _arrived(function: Shipped) -> Loaded:
    return _restored(_ByDigest(function))


@lru_cache(maxsize=16)
def _restored(key: _ByDigest) -> Loaded:
    return restore(*key.function[1:])
