"""Norms of vectors, and those norms of matrices that need no factorisation."""

import math
from typing import Any

import numpy as np

from fastad.recording.elementwise import elementwise
from fastad.recording.functions.registry import Array, axis_set, implements, lift
from fastad.recording.source import at_line


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """np.linalg.norm"""
    (a,) = lift(x)
    a = a if a.dtype.kind == "f" else a.astype(float)
    if axis is None and (ord is None or (ord == 2 and a.ndim == 1) or (ord in ("f", "fro") and a.ndim == 2)):
        return root(np.sum(a * a, keepdims=keepdims))
    axes = axis_set(axis, a.ndim) if axis is None or np.ndim(axis) == 0 else tuple(d % a.ndim for d in axis)
    if len(axes) == 1:
        return _vector(a, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix(a, ord, axes, keepdims)
    raise ValueError("Improper number of dimensions to norm.")


def root(total: Any, order: Any = 2) -> Any:
    """total ** (1 / order), with derivative 0 at 0: a norm has its minimum there, so 0 is a subgradient."""
    if order == 2:
        return elementwise("root", *lift(total))
    if order < 0:
        return total ** (1.0 / order)
    zero = total == 0
    return np.where(zero, np.zeros_like(total), np.where(zero, np.ones_like(total), total) ** (1.0 / order))


def _vector(a: Array, ord: Any, axis: int, keepdims: bool) -> Any:
    options: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    size = np.abs(a)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors{at_line()}: numbers are")
    if ord is None or ord == 2:
        return root(np.sum(a * a, **options))
    if ord == math.inf:
        return np.max(size, **options)
    if ord == -math.inf:
        return np.min(size, **options)
    if ord == 0:
        return np.sum((a != 0).astype(a.dtype), **options)
    return np.sum(size, **options) if ord == 1 else root(np.sum(size**ord, **options), ord)


def _matrix(a: Array, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord in (None, "fro", "f"):
        return root(np.sum(a * a, axis=axes, keepdims=keepdims))
    if ord in (2, -2, "nuc"):
        return _by_singular_values(a, ord, axes, keepdims)
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f"Invalid norm order {ord!r} for matrices{at_line()}: 'fro', 'nuc', ±1, ±2 and ±inf are norms")
    row, column = axes
    summed, other = (row, column) if abs(ord) == 1 else (column, row)
    sums = np.sum(np.abs(a), axis=summed, keepdims=True)
    options: dict[str, Any] = {"axis": other, "keepdims": True}
    found = np.max(sums, initial=0, **options) if ord > 0 else np.min(sums, **options)
    return found[tuple(slice(None) if keepdims or d not in axes else 0 for d in range(a.ndim))]


def _by_singular_values(a: Array, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    values = np.linalg.svd(np.moveaxis(a, axes, (-2, -1)), compute_uv=False)
    reduced: Any = {2: np.max, -2: np.min, "nuc": np.sum}[ord]
    found = reduced(values, axis=-1, **({"initial": 0} if ord == 2 else {}))
    return np.expand_dims(found, axes) if keepdims else found


@implements("linalg.vector_norm")
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """np.linalg.vector_norm"""
    (a,) = lift(x)
    axes = axis_set(axis, a.ndim)
    size = np.abs(a)
    if len(axes) == 1:
        return norm(a, ord, axes[0], keepdims)
    if ord == 2:
        return root(np.sum(size * size, axis=axes, keepdims=keepdims))
    if ord in (math.inf, -math.inf):
        return (np.max if ord > 0 else np.min)(size, axis=axes, keepdims=keepdims)
    return root(np.sum(size**ord, axis=axes, keepdims=keepdims), ord)


@implements("linalg.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """np.linalg.matrix_norm"""
    return norm(x, ord, (-2, -1), keepdims)
