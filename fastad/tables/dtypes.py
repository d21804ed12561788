"""The dtypes of results of rows, by the characters that tables use for them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.tables.columns import DTYPES, NARROW

_RANK = {"b": 0, **dict.fromkeys(NARROW, 1), "i": 2, "f": 3, "d": 4}


def strong_dtypes(dtypes: Sequence[str], constants: Sequence[Any]) -> Sequence[str]:
    """The dtypes that determine the dtype of a result. Constants are weak: x * 2.0 has the dtype of x if x is a float,
    but an integer or boolean x becomes a float."""
    strong = [dtype for dtype, constant in zip(dtypes, constants, strict=True) if not constant]
    return dtypes if not strong or (not _has_float(strong) and _has_float(dtypes)) else strong


def result_dtype(rule: str, dtypes: Sequence[str]) -> str:
    """Dtype of a result by the rule of a row: float, bool, int, first, same (promoted) or total (bool and narrow
    integers become int64)."""
    if rule in ("bool", "int"):
        return rule[0]
    if rule == "first":
        return dtypes[0]
    top = max(dtypes, key=_RANK.__getitem__, default="d")
    if rule == "float" and top not in "fd":
        return "d"
    if rule == "total" and top not in "fd":
        return "i"
    return dtype_char(np.result_type(*(DTYPES[c] for c in dtypes))) if top in NARROW else top


def _has_float(dtypes: Iterable[str]) -> bool:
    return any(char in "df" for char in dtypes)


def dtype_char(dtype: np.dtype) -> str:
    """The character that tables use for a NumPy dtype; TableError if a table cannot hold it."""
    for char, known in DTYPES.items():
        if dtype == known:
            return char
    if dtype.kind in "iu":
        return "i"
    raise TableError(f"values of dtype {dtype} cannot be recorded; use float64, float32, integers or bool")
