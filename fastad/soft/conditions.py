"""Truth values of plain comparisons: the recorded rows are replaced by relaxed operators."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.primitives import PRIMITIVES
from fastad.primitives.row import Form
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorded import Recorded
from fastad.soft import comparisons, logic
from fastad.soft.numbers import as_array, real
from fastad.tables.columns import CONST


def _by_ufunc(*relaxed: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Relaxed operators are called as the ufuncs that they relax."""
    return {f.__name__: f for f in relaxed}


_COMPARISONS = _by_ufunc(
    comparisons.greater, comparisons.greater_equal, comparisons.less, comparisons.less_equal, comparisons.equal,
    comparisons.not_equal,
)  # fmt: skip
_LOGIC = _by_ufunc(logic.logical_and, logic.logical_or, logic.logical_not)
_SLACK = 1e-9  # truth values may leave [0, 1] by this much through rounding


def truth_value(found: Any, sigma: Any) -> Any:
    """The result of a test as a truth value in [0, 1]. Comparisons are relaxed with this sigma."""
    if np.size(as_array(found)) != 1:
        raise ShapeError(f"a test must give one truth value, not an array of shape {np.shape(found)}; use fad.soft.all")
    if is_recorded(found) and as_recorded(found).dtype == bool:
        x = as_recorded(found)
        return np.reshape(_relaxed(x, x.ref, sigma), ())
    p = np.reshape(real(found), ())
    concrete = p.value if isinstance(p, Recorded) else p
    if not -_SLACK <= concrete <= 1.0 + _SLACK and not np.isnan(concrete):
        raise ShapeError(
            f"a test returned {float(concrete)}, which is not a truth value between 0 and 1; return a comparison, such "
            "as x > 0, or a truth value made by the operators of fad.soft"
        )
    return p


def _relaxed(x: Recorded, ref: int, sigma: Any) -> Any:
    """The truth value of a recorded row: a comparison, or a logical function of comparisons."""
    recorder = x.recorder
    columns = recorder.builder.columns
    row = PRIMITIVES[columns["op"][ref]]
    name = row.name
    operands = [columns[c][ref] for c in "ab"]
    if name in _COMPARISONS:
        return _COMPARISONS[name](*(Recorded(recorder, o) for o in operands), sigma)
    if name in _LOGIC:
        return _LOGIC[name](*(_relaxed(x, o, sigma) for o in operands if o >= 0))
    if getattr(row, "form", None) is Form.VIEW:  # one element in another shape
        return _relaxed(x, operands[0], sigma)
    if columns["op"][ref] == CONST:
        return real(recorder.value(ref))
    raise ShapeError(
        f"a test made by {name} cannot be relaxed; return a comparison, comparisons joined by &, | and ~, or a truth "
        "value made by the operators of fad.soft"
    )
