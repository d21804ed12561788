"""How patterns combine: found once for a pattern, and the numbers follow by gathering and adding up."""

from typing import Any

import numpy as np

from fastad.recording import sparse as rows
from fastad.recording.operands import is_recorded, path_value, recorder_of
from fastad.sparse.pattern import Pattern


def summed(data: Any, groups: np.ndarray, size: int) -> Any:
    """The sums of the numbers of every group."""
    return rows.summed(data, groups, size)


def starts(sorted_places: np.ndarray, size: int) -> np.ndarray:
    """Where every row starts, of sorted ones."""
    return np.concatenate([[0], np.cumsum(np.bincount(sorted_places, minlength=size))])


def _merged(i: np.ndarray, j: np.ndarray, shape: tuple[int, int]) -> tuple[Pattern, np.ndarray]:
    """The pattern with every place once, by row, then column; the entry that each given one belongs to."""
    keys, groups = np.unique(i * max(shape[1], 1) + j, return_inverse=True)
    return Pattern.of(keys // max(shape[1], 1), keys % max(shape[1], 1), shape), groups.reshape(-1)


def canonical(pattern: Pattern) -> tuple[Pattern, np.ndarray]:
    """The places of a pattern once each, by row, then column; the entry that each of its own belongs to."""
    found: tuple[Pattern, np.ndarray] = pattern.known("canonical", lambda: _merged(*pattern.both, pattern.shape))
    return found


def union(a: Pattern, b: Pattern) -> tuple[Pattern, np.ndarray]:
    """The places of either; the entry that each of a's, then of b's belongs to."""

    def find() -> tuple[Pattern, np.ndarray]:
        pairs = zip(a.both, b.both, strict=True)
        i, j = (np.concatenate(pair) for pair in pairs)
        return _merged(i, j, a.shape)

    found: tuple[Pattern, np.ndarray] = a.known(("union", b), find)
    return found


def intersection(a: Pattern, b: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray]:
    """The places of both of two patterns that have every place once, by row, then column; a's and b's entries there."""

    def find() -> tuple[Pattern, np.ndarray, np.ndarray]:
        own, other = (x.rows * max(x.shape[1], 1) + x.columns for x in (a, b))
        _, first, second = np.intersect1d(own, other, assume_unique=True, return_indices=True)
        return Pattern.of(a.rows[first], a.columns[first], a.shape), first, second

    found: tuple[Pattern, np.ndarray, np.ndarray] = a.known(("intersection", b), find)
    return found


def product(a: Pattern, b: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray, np.ndarray]:
    """The pattern of A B, and all products of two entries: that of A, that of B, the entry to which it adds."""

    def find() -> tuple[Pattern, np.ndarray, np.ndarray, np.ndarray]:
        (ai, aj), (bi, bj) = a.both, b.both
        order = np.argsort(bi, kind="stable")
        first = starts(bi[order], b.shape[0])
        counts = np.diff(first)[aj]
        left = np.repeat(np.arange(len(ai)), counts)
        within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        right = order[first[aj][left] + within]
        pattern, groups = _merged(ai[left], bj[right], (a.shape[0], b.shape[1]))
        return pattern, left, right, groups

    found: tuple[Pattern, np.ndarray, np.ndarray, np.ndarray] = a.known(("product", b), find)
    return found


def on_diagonal(pattern: Pattern, k: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The entries on a diagonal, their places along it, and its length."""
    height, width = pattern.shape
    i, j = pattern.both
    chosen = np.flatnonzero(j - i == k)
    return chosen, (i[chosen] if k >= 0 else j[chosen]), max(min(height + min(k, 0), width - max(k, 0)), 0)


def chosen(key: Any, size: int) -> tuple[np.ndarray, bool]:
    """The rows (columns) that a key asks for, and whether it is a single one."""
    if isinstance(key, slice):
        return np.arange(size)[key], False
    found = np.asarray(path_value(key, recorder_of((key,)))) if is_recorded(key) else np.asarray(key)
    if found.ndim == 0:
        return np.arange(size)[int(found)].reshape(1), True
    return np.arange(size)[found], False


def part(pattern: Pattern, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, Pattern]:
    """A[i][:, j]: the entries that are taken, and their places."""
    key = ("part", i.tobytes(), j.tobytes())

    def find() -> tuple[np.ndarray, Pattern]:
        taken, rows = _taken(pattern.rows, i, pattern.shape[0])
        kept, columns = _taken(pattern.columns[taken], j, pattern.shape[1])
        return taken[kept], Pattern.of(rows[kept], columns, (len(i), len(j)))

    found: tuple[np.ndarray, Pattern] = pattern.known(key, find)
    return found


def _taken(own: np.ndarray, wanted: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Entries in wanted rows, by wanted row, each as often as it is wanted; and which of the wanted it is."""
    order = np.argsort(own, kind="stable")
    first = starts(own[order], size)
    counts = np.diff(first)[wanted]
    which = np.repeat(np.arange(len(wanted)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[first[wanted][which] + within], which
