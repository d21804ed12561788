"""What NumPy lets be written into an array of another dtype, which keeps its dtype."""

from typing import Any

import numpy as np

from fastad.tables.builder import dtype_char
from fastad.tables.columns import DTYPES


def require_cast(source: np.dtype, target: np.dtype, rule: str, what: str = "array data") -> None:
    """TypeError, in NumPy's words, where its casting rule forbids the conversion."""
    if not np.can_cast(_recorded(source), _recorded(target), rule):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast {what} from {source!r} to {target!r} according to the rule {rule!r}")


def _recorded(dtype: np.dtype) -> np.dtype:
    """The dtype that stands for another one in recordings: they know one size of integers."""
    return dtype if dtype.kind == "c" else DTYPES[dtype_char(dtype)]


def require_integers(value: Any) -> None:
    """Python's error for a number, or one in a list, that has no integer part: NaN or an infinity."""
    if isinstance(value, list | tuple):
        for x in value:
            require_integers(x)
    elif isinstance(value, float | np.floating):
        int(value)
