"""Sparsity rules of the array rows: on which inputs each element of a result depends, given that of the operands.

A rule is `f(sets, statics, size, operands, known)`. `operands` are arrays with the number of a set for each element
(see `fastad.tables.sparsity.sets`; set 0, of nothing, for operands without a derivative). So is the result, of `size`
elements. `known(k)` are the values of operand k where they are the same in every run of the table, else None;
`known.bounds(k)` are bounds of them, or None. A rule holds for all values that are not known.
"""

import math
from typing import Any

import numpy as np

from fastad.primitives.distinct import numbered
from fastad.primitives.sparse_values import as_integers
from fastad.primitives.values import strided_view

Statics = tuple[int, ...]
Ids = np.ndarray
Known = Any


def everything(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """Every element depends on all elements of all operands."""
    return np.full(size, sets.joined(np.concatenate(operands))[0], np.int32)


def strided_add(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The elements that are added to one place."""
    return sets.together(operands[0], strided_view(np.arange(size), s).reshape(-1), size)


def middle(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The elements along the axis that is reduced."""
    labels = strided_view(np.arange(size), (0, *s, s[2], 0, 1)).reshape(-1)
    return sets.together(operands[0], labels, size)


def cumsum(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    return sets.running(operands[0], s[:3], s[3])


def linrec(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The first element of each line is that of the second operand, whatever the first one is."""
    x = operands[0].reshape(s[:3]).copy()
    x[:, -1 if s[3] else 0] = 0
    return sets.running(sets.either(x.reshape(-1), operands[1]), s[:3], s[3])


def matmul(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """A row of the first matrix and a column of the second one."""
    batch, m, k, n, ta, tb, sx, sy = s
    x = operands[0].reshape(batch if sx else 1, *((k, m) if ta else (m, k)))
    y = operands[1].reshape(batch if sy else 1, *((n, k) if tb else (k, n)))
    rows = _each(sets, x.swapaxes(1, 2) if ta else x)[:, :, None]
    columns = _each(sets, y if tb else y.swapaxes(1, 2))[:, None, :]
    shape = (batch, m, n)
    return sets.either(*(np.broadcast_to(v, shape).reshape(-1) for v in (rows, columns)))


def _each(sets: Any, x: Ids) -> Ids:
    """The union over the last axis."""
    if not x.any():
        return np.zeros(x.shape[:-1], np.int32)
    count = math.prod(x.shape[:-1])
    labels = np.repeat(np.arange(count), x.shape[-1])
    return sets.together(np.ascontiguousarray(x).reshape(-1), labels, count).reshape(x.shape[:-1])


def gather(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The blocks that are read; where they are chosen in a run, any of those within the bounds of the index."""
    blocks, index = operands[0].reshape(-1, s[0]), known(1)
    if index is not None:
        return blocks[np.asarray(index, np.intp).reshape(-1)].reshape(-1)
    low, high, which = _intervals(known.bounds(1), size // s[0], len(blocks))
    found = [_each(sets, blocks[a : b + 1].T) for a, b in zip(low, high, strict=True)]
    return np.array(found, np.int32).reshape(-1, s[0])[which].reshape(-1)


def _intervals(bounds: Any, count: int, blocks: int) -> tuple[list[int], list[int], np.ndarray]:
    """The different intervals of blocks that indices may choose, and which of them each of `count` indices has."""
    if bounds is None:
        return [0], [blocks - 1], np.zeros(count, np.intp)
    low, high = (np.clip(np.nan_to_num(x.reshape(-1)), 0, max(blocks - 1, 0)).astype(np.int64) for x in bounds)
    different, which = numbered(low * np.int64(blocks) + high)
    return (different // blocks).tolist(), (different % blocks).tolist(), which


def scatter_add(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The blocks that are added to one; where they are chosen in a run, any whose index may have this value."""
    blocks, index = operands[0].reshape(-1, s[0]), known(1)
    if index is None:
        low, high, which = _intervals(known.bounds(1), len(blocks), size // s[0])
        out = np.zeros((size // s[0], s[0]), np.int32)
        for k, (a, b) in enumerate(zip(low, high, strict=True)):
            own = np.tile(_each(sets, blocks[which == k].T), b - a + 1)
            out[a : b + 1] = sets.either(np.ascontiguousarray(out[a : b + 1]).reshape(-1), own).reshape(-1, s[0])
        return out.reshape(-1)
    labels = np.asarray(index, np.int64).reshape(-1, 1) * s[0] + np.arange(s[0])
    return sets.together(operands[0], labels.reshape(-1), size)


# ── linear algebra: dense within a system of a stack ──────────────────────────────────────────────────────────────
def of_lanes(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The statics start with the number of lanes. A lane of the result depends on all of the operands' lanes, of
    which there may be one for all."""
    lanes = [np.broadcast_to(_lanes(sets, x, s[0]), s[0]) for x in operands if x.any()]
    found = np.zeros(s[0], np.int32)
    for own in lanes:
        found = sets.either(found, np.ascontiguousarray(own))
    return np.repeat(found, size // max(s[0], 1))


def _lanes(sets: Any, x: Ids, count: int) -> Ids:
    return _each(sets, x.reshape(count if len(x) % max(count, 1) == 0 else 1, -1))


def lu(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The factors, and the pivots, which have no derivatives."""
    batch, n = s
    found = of_lanes(sets, s, batch * n * (n + 1), operands, known).reshape(batch, n * n + n).copy()
    found[:, n * n :] = 0
    return found.reshape(-1)


def cholesky(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The lower factor, by the lower triangle of the matrix."""
    batch, n = s
    lower = np.tril(np.ones((n, n), bool)).reshape(-1)
    read = np.where(lower, operands[0].reshape(batch, n * n), 0).astype(np.int32)
    found = of_lanes(sets, s, size, [read.reshape(-1)], known).reshape(batch, n * n)
    return np.where(lower, found, 0).astype(np.int32).reshape(-1)


def permute_rows(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """Any row of the same column."""
    batch, n, m = s[:3]
    columns = _each(sets, operands[1].reshape(batch, n, m).swapaxes(1, 2))
    return np.repeat(columns[:, None, :], n, axis=1).reshape(-1)


def solve(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """All of the matrix, and of the column of the right side; statics start with the batch and the sizes."""
    batch, n, m = s[:3]
    separate, matrix, right = s[-1], operands[0], operands[-1]
    columns = _each(sets, right.reshape(batch, n, m).swapaxes(1, 2))
    matrices = np.broadcast_to(_each(sets, matrix.reshape(batch if separate else 1, -1))[:, None], (batch, m))
    found = sets.either(matrices.reshape(-1), columns.reshape(-1)).reshape(batch, 1, m)
    return np.repeat(found, n, axis=1).reshape(-1)


# ── sparse matrices ───────────────────────────────────────────────────────────────────────────────────────────────
def sparse_product(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The numbers in a row, and what they are multiplied by; where the places are chosen in a run, all of a lane."""
    batch, count, height, width, m, own, other, back = s
    places = known(0)
    if places is None:
        return of_lanes(sets, s, size, operands[1:], known)
    i, j = as_integers(places)[:: -1 if back else 1]
    shape = (batch, count, m)
    numbers = np.broadcast_to(operands[1].reshape(batch if own else 1, count, 1), shape)
    given = np.broadcast_to(operands[2].reshape(batch if other else 1, width, m)[:, j], shape)
    products = sets.either(numbers.reshape(-1), np.ascontiguousarray(given).reshape(-1))
    labels = (np.arange(batch)[:, None, None] * height + i[:, None]) * m + np.arange(m)
    return sets.together(products, labels.reshape(-1), size)


def sparse_sample(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """A row of the first matrix and one of the second; where the places are chosen in a run, all of a lane."""
    batch, count, height, width, m, own, other, back = s
    places = known(0)
    if places is None:
        return of_lanes(sets, s, size, operands[1:], known)
    first = _each(sets, operands[1].reshape(batch if own else 1, height, m))
    second = _each(sets, operands[2].reshape(batch if other else 1, width, m))
    pairs = zip((first, second), as_integers(places)[:: -1 if back else 1], strict=True)
    found = (np.broadcast_to(x[:, at], (batch, count)) for x, at in pairs)
    return sets.either(*(np.ascontiguousarray(x).reshape(-1) for x in found))


def sparse_lu(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """Factors have no derivatives of their own."""
    return np.zeros(size, np.int32)


def sparse_lu_solve(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """All of a system: its numbers and its right sides."""
    return of_lanes(sets, s, size, [operands[1], operands[3]], known)


# ── writing at computed places ────────────────────────────────────────────────────────────────────────────────────
def put(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The block that is written last, or that was there; where places are chosen in a run, any that may be."""
    index = known(2)
    if index is None:
        return put_add(sets, s, size, operands, known)
    out = operands[0].reshape(-1, s[0]).copy()
    out[np.asarray(index, np.intp).reshape(-1)] = operands[1].reshape(-1, s[0])
    return out.reshape(-1)


def put_add(sets: Any, s: Statics, size: int, operands: list[Ids], known: Known) -> Ids:
    """The block that was there, and all that are added to it."""
    added = scatter_add(sets, s, size, [operands[1], operands[2]], _Later(known, 1))
    return sets.either(operands[0], added)


class _Later:
    """What is known of operands, by numbers that are so much smaller."""

    def __init__(self, known: Known, first: int) -> None:
        self._known, self._first = known, first

    def __call__(self, k: int) -> Any:
        return self._known(k + self._first)

    def bounds(self, k: int) -> Any:
        return self._known.bounds(k + self._first)
