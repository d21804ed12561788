"""np.einsum as pairwise contractions, in the order of np.einsum_path. Each is one matrix product where possible."""

import math
from typing import Any

import numpy as np
from numpy import diagonal as numpy_diagonal
from numpy import swapaxes as numpy_swapaxes
from numpy import transpose as numpy_transpose

from fastad.recording.functions.products import matmul_stack
from fastad.recording.functions.registry import Array, implements, lift
from fastad.recording.geometry import dummy, reframe, reshape
from fastad.recording.recorded import Recorded

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@implements(np.einsum)
def einsum(
    *operands: Any, optimize: Any = "greedy", dtype: Any = None, order: str = "K", casting: str = "safe"
) -> Array:
    """np.einsum"""
    inputs, output, arrays = _parse(operands)
    values = lift(*arrays)
    if dtype is not None:
        values = [x.astype(dtype) for x in values]
    inputs, output = _spelled_out(inputs, output, [x.ndim for x in values])
    sizes = _sizes(inputs, output, values)
    terms = [_diagonals(x, labels) for x, labels in zip(values, inputs)]
    for picked in _order(inputs, output, values, optimize):
        chosen = [terms.pop(i) for i in sorted(picked, reverse=True)]
        while chosen:
            others = {c for _, labels in terms + chosen[2:] for c in labels} | set(output)
            if len(chosen) == 1:
                terms.append(_sum_out(*chosen.pop(), keep=others))
            else:
                x, y = chosen.pop(0), chosen.pop(0)
                z = _contract(*x, *y, keep=others, sizes=sizes)
                chosen.insert(0, z) if chosen else terms.append(z)
    x, labels = _sum_out(*terms[0], keep=set(output))
    kind = np.result_type(*(v.dtype for v in values))
    x = x if x.dtype == kind else x.astype(kind)  # np.sum widens narrow integers, np.einsum does not
    return reframe(x, numpy_transpose, tuple([labels.index(c) for c in output])) if labels != output else x


def _order(inputs: list[str], output: str, values: list[Array], optimize: Any) -> list[tuple[int, ...]]:
    if len(values) <= 2:
        return [tuple(range(len(values)))]
    dummies = [np.broadcast_to(np.float64(0), x.shape) for x in values]
    how = "greedy" if optimize in (False, True) else optimize
    path, _ = np.einsum_path(f"{','.join(inputs)}->{output}", *dummies, optimize=how)
    return [tuple(p) for p in path[1:]]


# ── reading the subscripts ────────────────────────────────────────────────────────────────────────────────────
@implements(np.einsum_path)
def einsum_path(*operands: Any, **options: Any) -> Any:
    """np.einsum_path, which asks the operands for their shapes only"""
    return np.einsum_path(*(dummy(x.frame()) if isinstance(x, Recorded) else x for x in operands), **options)


def _parse(operands: tuple[Any, ...]) -> tuple[list[str], str | None, list[Any]]:
    """(subscripts of every operand, subscripts of the result or None if they are implied, the operands)."""
    if not isinstance(operands[0], str):
        return _parse_lists(operands)
    subscripts = operands[0].replace(" ", "")
    left, arrow, right = subscripts.partition("->")
    inputs = left.split(",")
    arrays = list(operands[1:])
    if len(inputs) != len(arrays):
        more = "more" if len(inputs) < len(arrays) else "fewer"
        raise ValueError(f"{more} operands provided to einstein sum function than specified in the subscripts string")
    bad = set(subscripts) - set(_LETTERS) - set(",.->")
    if bad:
        raise ValueError(
            f"invalid subscript '{bad.pop()}' in einstein sum subscripts string, subscripts must be letters"
        )
    return inputs, right if arrow else None, arrays


def _parse_lists(operands: tuple[Any, ...]) -> tuple[list[str], str | None, list[Any]]:
    """The form einsum(operand, labels, operand, labels, …, labels of the result) with lists of integers as labels."""

    def text(labels: Any) -> str:
        return "".join("..." if n is Ellipsis else _LETTERS[n] for n in labels)

    count = len(operands) // 2
    arrays, lists = list(operands[0 : 2 * count : 2]), list(operands[1 : 2 * count : 2])
    return [text(x) for x in lists], text(operands[-1]) if len(operands) % 2 else None, arrays


def _spelled_out(inputs: list[str], output: str | None, ndims: list[int]) -> tuple[list[str], str]:
    """The subscripts with ellipses replaced by letters, and those of the result filled in where they are implied."""
    used = set("".join(inputs) + (output or ""))
    free = [c for c in _LETTERS if c not in used]
    extra = [n - len(s.replace("...", "")) if "..." in s else 0 for s, n in zip(inputs, ndims)]
    if min(extra, default=0) < 0:
        raise ValueError("einstein sum subscripts string contains too many subscripts for an operand")
    dots = "".join(free[: max(extra, default=0)])
    full = [s.replace("...", dots[len(dots) - n :]) for s, n in zip(inputs, extra)]
    if any("." in s for s in full):
        raise ValueError("einstein sum subscripts string contains a '.' that is not part of an ellipsis ('...')")
    if output is None:
        joined = "".join(full)
        named = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots)
        output = dots + "".join(named)
    else:
        if "..." not in output and any(extra):
            raise ValueError(
                "einstein sum subscripts string: the output needs an ellipsis ('...'), as the operands have"
            )
        output = output.replace("...", dots)
    if len(set(output)) != len(output) or not set(output) <= set("".join(full)):
        raise ValueError(f"einstein sum subscripts string: output subscripts {output!r} are repeated or unknown")
    return full, output


def _sizes(inputs: list[str], output: str, values: list[Array]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for labels, x in zip(inputs, values):
        if len(labels) != x.ndim:
            raise ValueError(f"operand has {x.ndim} dimensions, but its subscripts {labels!r} name {len(labels)}")
        for c, n in zip(labels, x.shape):
            if sizes.setdefault(c, n) != n and 1 not in (sizes[c], n):
                raise ValueError(
                    f"operands could not be broadcast together: subscript {c!r} has sizes {sizes[c]} and {n}"
                )
            sizes[c] = n if sizes[c] == 1 else sizes[c]
    return sizes


# ── one operand, two operands ─────────────────────────────────────────────────────────────────────────────────
def _diagonals(x: Array, labels: str) -> tuple[Array, str]:
    """Take the diagonal for every label that is repeated within one operand."""
    for c in dict.fromkeys(labels):
        while labels.count(c) > 1:
            i = labels.index(c)
            j = labels.index(c, i + 1)
            x = reframe(x, numpy_diagonal, 0, i, j)
            labels = labels[:i] + labels[i + 1 : j] + labels[j + 1 :] + c
    return x, labels


def _sum_out(x: Array, labels: str, keep: set[str]) -> tuple[Array, str]:
    """Sum over the labels that are not in `keep`."""
    gone = tuple(i for i, c in enumerate(labels) if c not in keep)
    if gone:
        x = np.sum(x, axis=gone)
    return x, "".join(c for c in labels if c in keep)


def _contract(x: Array, xl: str, y: Array, yl: str, keep: set[str], sizes: dict[str, int]) -> tuple[Array, str]:
    """Product of two operands, summed over the labels that are not in `keep`."""
    x, xl = _sum_out(*_squeezed(x, xl, yl, sizes), keep=keep | set(yl))
    y, yl = _sum_out(*_squeezed(y, yl, xl, sizes), keep=keep | set(xl))
    both = [c for c in xl if c in yl]
    batch, summed = [c for c in both if c in keep], [c for c in both if c not in keep]
    rows, columns = [c for c in xl if c not in yl], [c for c in yl if c not in xl]
    if not summed or (batch and not rows and not columns):
        return _multiply(x, xl, y, yl, batch + rows + columns, summed)
    lead = [sizes[c] for c in batch]
    m, k, n = (math.prod(sizes[c] for c in group) for group in (rows, summed, columns))
    out = matmul_stack(
        _grouped(x, xl, batch, rows, summed, (*lead, m, k)), _grouped(y, yl, batch, summed, columns, (*lead, k, n))
    )
    labels = batch + rows + columns
    return reshape(out, tuple(sizes[c] for c in labels)), "".join(labels)


def _squeezed(x: Array, labels: str, others: str, sizes: dict[str, int]) -> tuple[Array, str]:
    """Drop axes of size 1 whose label has another size in a different operand."""
    gone = tuple(i for i, (c, n) in enumerate(zip(labels, x.shape)) if n == 1 and sizes[c] != 1)
    if not gone:
        return x, labels
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in gone)), "".join(
        c for i, c in enumerate(labels) if i not in gone
    )


def _grouped(
    x: Array, labels: str, batch: list[str], first: list[str], second: list[str], shape: tuple[int, ...]
) -> Array:
    """x with its axes grouped as (batch, first, second). Where only the last two groups are exchanged it stays a
    transposed view, which `matmul` reads in place."""
    wanted = [labels.index(c) for c in (*batch, *first, *second)]
    swapped = [labels.index(c) for c in (*batch, *second, *first)]
    if wanted != sorted(wanted) and swapped == sorted(swapped):
        return reframe(reshape(x, (*shape[:-2], shape[-1], shape[-2])), numpy_swapaxes, -1, -2)
    return reshape(reframe(x, numpy_transpose, tuple(wanted)), shape)


def _multiply(x: Array, xl: str, y: Array, yl: str, kept: list[str], summed: list[str]) -> tuple[Array, str]:
    """The elementwise product over all labels, then a sum: for outer products and batches of dot products."""
    full = kept + summed
    product = _aligned(x, xl, full) * _aligned(y, yl, full)
    axes = tuple(range(len(kept), len(full)))
    return np.sum(product, axis=axes) if axes else product, "".join(kept)


def _aligned(x: Array, labels: str, full: list[str]) -> Array:
    order = [labels.index(c) for c in full if c in labels]
    x = reframe(x, numpy_transpose, tuple(order))
    sizes = iter(x.shape)
    return reshape(x, tuple(next(sizes) if c in labels else 1 for c in full))
