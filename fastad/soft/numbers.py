"""What the relaxed operators share: real operands, dtypes of results, widths, and quotients that cannot overflow."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import Number
from fastad.recording.source import at_line

# Second derivatives need 1/sigma², which overflows for a smaller sigma.
SMALLEST_SIGMA = 1e-150
# exp(-|z|) and all its derivatives are exactly 0 for a larger |z|.
LARGEST_RATIO = 750.0
_LARGEST = float(np.finfo(np.float64).max)


def real(x: Any) -> Any:
    """An operand as float64: a recorded value, or a plain array or number."""
    if is_recorded(x):
        x = as_recorded(x)
        return x if x.dtype == np.float64 else x.astype(np.float64)
    found = np.asarray(x)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"relaxed operators take real numbers and arrays, not {found.dtype}")
    return found.astype(np.float64, copy=False)[()]


def result_dtype(*operands: Any) -> np.dtype:
    """float32 where NumPy's promotion gives float32, else float64; Python numbers follow the arrays."""
    weak = (bool, int, float)
    kinds = [type(x)(0) if type(x) in weak else as_array(x).dtype for x in operands]
    found = np.result_type(*kinds)
    return found if found == np.float32 else np.dtype(np.float64)


def as_array(x: Any) -> Any:
    """x as something with shape and dtype."""
    return as_recorded(x) if is_recorded(x) else np.asarray(x)


def delivered(x: Any, dtype: np.dtype) -> Any:
    """A result converted to its dtype."""
    return x if x.dtype == dtype else x.astype(dtype)


def width(sigma: Any) -> Any:
    """sigma as float64, at least `SMALLEST_SIGMA`. ValueError if it is not positive, as far as that is known: the value
    of a captured number that changes is."""
    found = real(sigma)
    known = sigma.value if isinstance(sigma, Number) else found
    if not isinstance(known, Recorded) and not np.all(known > 0):
        raise ValueError(f"sigma must be positive, not {sigma}{at_line()}; hardness('hard') gives the exact operators")
    return np.maximum(found, SMALLEST_SIGMA)


def bounded(t: Any, width: Any, limit: float = LARGEST_RATIO) -> Any:
    """t within ±limit * width.

    Bounding t before the division keeps the quotient and its derivatives finite for any t. At the bound, functions of
    the quotient are constant to the last bit, so neither their values nor their derivatives change.
    """
    bound = np.minimum(limit * width, _LARGEST)
    return np.maximum(np.minimum(t, bound), -bound)


def ratio(t: Any, width: Any, limit: float = LARGEST_RATIO) -> Any:
    """t / width, kept within ±limit; see `bounded`."""
    return bounded(t, width, limit) / width


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without NumPy's warnings about overflow, where the results are the right limits."""
    return np.errstate(over="ignore", under="ignore")(function)
