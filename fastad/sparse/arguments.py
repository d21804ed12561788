"""What sparse matrices are made of, and what meets them, checked: sizes, places, numbers, dense operands."""

from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.sparse.pattern import places


def sizes(name: str, shape: Any) -> tuple[int, int]:
    if shape is None or len(shape) != 2:
        raise ShapeError(f"{name}: the shape {shape}{at_line()}. Give (rows, columns).")
    height, width = (int(n) for n in shape)
    return height, width


def compressed(name: str, data: Any, indices: Any, indptr: Any, shape: Any, axis: int) -> tuple[int, int, np.ndarray]:
    """Sizes, and the row (column) of every entry."""
    found = sizes(name, shape)
    bounds = places(indptr, name, "indptr", np.shape(indices)[0] + 1)
    if len(bounds) != found[axis] + 1 or bounds[0] != 0 or bounds[-1] != len(indices) or np.any(np.diff(bounds) < 0):
        what = ("rows", "columns")[axis]
        raise ShapeError(
            f"{name}: indptr of {len(bounds)} numbers that are not the bounds of {found[axis]} {what} with "
            f"{len(indices)} indices{at_line()}. Give 0, then where each of the {what} ends."
        )
    return *found, np.repeat(np.arange(found[axis]), np.diff(bounds))


def numbers(data: Any, count: int, name: str) -> Any:
    """The numbers of the entries, as floats."""
    if is_recorded(data):
        data = as_recorded(data)
    else:
        data = np.asarray(data)
    if data.shape != (count,):
        raise ShapeError(f"{name}: numbers of shape {data.shape} for {count} entries{at_line()}. Give one an entry.")
    return data if data.dtype.kind == "f" else data.astype(float)


# ── operands ──────────────────────────────────────────────────────────────────────────────────────────────────
def dense(x: Any) -> Any:
    """An operand as a recorded value or a plain array."""
    return x if isinstance(x, Recorded) or type(x) is np.ndarray else _recorded_or_plain(x)


def _recorded_or_plain(x: Any) -> Any:
    return as_recorded(x) if is_recorded(x) else np.asarray(x)


def typed(x: Any, *operands: Any) -> Any:
    """A plain result in the operands' dtype; recorded ones have it."""
    return x if isinstance(x, Recorded) else np.asarray(x).astype(np.result_type(*operands), copy=False)


def spread(a: Any, factor: Any) -> Any:
    """A factor for every entry."""
    x = dense(factor)
    if x.ndim == 0:
        return x
    height, width = a.shape
    shape = (1,) * (2 - x.ndim) + tuple(x.shape)
    if len(shape) != 2 or shape[0] not in (1, height) or shape[1] not in (1, width):
        fix = f"Columns are scaled by ({width},) or (1, {width}), rows by ({height}, 1)."
        raise ShapeError(f"a factor of shape {x.shape} for a sparse array of shape {a.shape}{at_line()}. {fix}")
    i, j = a.pattern.both
    flat = (i if shape[0] != 1 else 0 * i) * shape[1] + (j if shape[1] != 1 else 0)
    return x.reshape(-1)[flat]


_OF_ENTRIES = ("max", "min", "power", "sqrt", "sin", "tan", "tanh", "expm1", "log1p", "floor", "ceil", "sign", "argmax")


def no_attribute(name: str) -> AttributeError:
    """The error for what SciPy's matrices may have, and these have not."""
    if name.startswith("_"):  # libraries ask for those
        return AttributeError(name)
    fix = f"np.{name} takes A.data, or A.toarray()" if name in _OF_ENTRIES else "It has what docs/sparse.md lists"
    return AttributeError(f"a matrix of fad.sparse has no attribute {name!r}{at_line()}. {fix}.", name=name)


def no_writes() -> TypeError:
    """The error for an entry that is written: the places of a pattern are fixed."""
    return TypeError(
        f"entries of a matrix of fad.sparse cannot be written{at_line()}. Give all of them when it is made: "
        "coo_array((data, (rows, columns)), shape=shape) adds those at the same place."
    )
