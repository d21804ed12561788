"""Constraints and bounds as SciPy's callers write them, in one form: lower ≤ c(x) ≤ upper."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.optimize.objective import Array
from fastad.recording.operands import as_recorded, is_recorded, path_value
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.sparse.arrays import as_sparse


@dataclass(frozen=True)
class Constraint:
    """lower ≤ fun(x, *args) ≤ upper; `fun` None stands for x itself."""

    fun: Callable[..., Any] | None
    args: tuple[Any, ...]
    lower: Array
    upper: Array

    def __call__(self, x: Array) -> Array:
        """The values, as a vector."""
        found = x if self.fun is None else self.fun(x, *self.args)
        return np.reshape(_array(found), (-1,)) * 1.0

    @property
    def inputs(self) -> dict[str, Any]:
        """What may change from call to call."""
        return {"args": self.args, "lower": self.lower, "upper": self.upper}

    def of_size(self, n: int) -> "Constraint":
        """With limits as vectors of n numbers."""
        lower, upper = (_spread(x, n) for x in (self.lower, self.upper))
        return dataclasses.replace(self, lower=lower, upper=upper)


@dataclass(frozen=True)
class Kinds:
    """Which numbers have a lower limit, an upper one, or one value. As plain tuples they are part of the key of a
    recording."""

    has_lower: tuple[bool, ...]
    has_upper: tuple[bool, ...]
    is_equal: tuple[bool, ...]

    @staticmethod
    def of(constraint: Constraint) -> "Kinds":
        """Those of a constraint whose limits are vectors."""
        low, high = _value(constraint.lower), _value(constraint.upper)
        _hold_pattern(constraint)
        if np.any(np.isnan(low)) or np.any(np.isnan(high)) or np.any(low > high):
            worst = int(np.argmax(~(low <= high)))
            raise ShapeError(
                f"the limits {low[worst]:g} and {high[worst]:g} of component {worst} leave nothing between{at_line()}"
            )
        equal = low == high
        masks = np.isfinite(low) & ~equal, np.isfinite(high) & ~equal, equal
        return Kinds(*[tuple(mask.tolist()) for mask in masks])

    @property
    def lower(self) -> np.ndarray:
        """The mask of numbers with a lower limit, but not of equations."""
        return np.array(self.has_lower, bool)

    @property
    def upper(self) -> np.ndarray:
        """That of numbers with an upper limit."""
        return np.array(self.has_upper, bool)

    @property
    def equal(self) -> np.ndarray:
        """That of equations."""
        return np.array(self.is_equal, bool)


def _hold_pattern(c: Constraint) -> None:
    """Guard which limits there are, where they are recorded values: others need another recording."""
    for mask in (np.isfinite(c.lower), np.isfinite(c.upper), c.lower == c.upper):
        if isinstance(mask, Recorded):
            path_value(mask, mask.recorder)


def _array(x: Any) -> Any:
    """An array; a list that holds recorded values as one recorded value."""
    return as_recorded(x) if is_recorded(x) else np.asarray(x)


def _value(x: Array) -> np.ndarray:
    return np.asarray(x.value if isinstance(x, Recorded) else x, float)


def _spread(x: Array, n: int) -> Array:
    try:
        return np.broadcast_to(np.reshape(x, (-1,)) if np.ndim(x) else x, (n,)) * 1.0
    except ValueError:
        raise ShapeError(f"limits of shape {np.shape(x)} for {n} numbers{at_line()}; give one number or {n}") from None


def scattered(values: Array, mask: np.ndarray) -> Array:
    """Numbers in the places of a mask, zeros elsewhere."""
    places = np.where(mask, np.cumsum(mask) - 1, np.sum(mask))
    return np.concatenate([values, np.zeros(1)])[places]


# ── bounds ────────────────────────────────────────────────────────────────────────────────────────────────────
def bounds_of(bounds: Any, n: int) -> Constraint | None:
    """`scipy.optimize.Bounds`, a sequence of n pairs (None: no limit), or a pair (lower, upper) of arrays."""
    if bounds is None:
        return None
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        return Constraint(None, (), limit(bounds.lb), limit(bounds.ub)).of_size(n)
    pairs = list(bounds)
    if any(np.shape(_plain(pair)) != (2,) for pair in pairs) or len(pairs) != n:
        raise ShapeError(f"bounds must be {n} pairs (lower, upper){at_line()}, or scipy.optimize.Bounds")
    low, high = ([_ended(pair[k], end) for pair in pairs] for k, end in ((0, -np.inf), (1, np.inf)))
    return Constraint(None, (), limit(low), limit(high)).of_size(n)


def _plain(pair: Any) -> list[Any]:
    try:
        return [0.0 for _ in pair]
    except TypeError:
        return []


def _ended(x: Any, end: float) -> Any:
    return end if x is None else x


def limit(x: Any) -> Array:
    """A limit as an array of floats, or a recorded value."""
    found = _array(x)
    return found if isinstance(found, Recorded) else np.asarray(found, float)


def limits_of_x(bounds: Any, n: int) -> Constraint:
    """(lower, upper), each a number or n of them, or `scipy.optimize.Bounds`; None: no limits."""
    if bounds is None:
        bounds = (-np.inf, np.inf)
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = (bounds.lb, bounds.ub)
    if len(bounds) != 2:
        raise ShapeError(f"bounds must be a pair (lower, upper){at_line()}, or scipy.optimize.Bounds")
    return Constraint(None, (), *[limit(x) for x in bounds]).of_size(n)


# ── constraints ───────────────────────────────────────────────────────────────────────────────────────────────
def constraints_of(constraints: Any) -> list[Constraint]:
    """SciPy's NonlinearConstraint, LinearConstraint and dictionaries, one or several."""
    if constraints is None:
        return []
    several = isinstance(constraints, Sequence) and not isinstance(constraints, dict)
    return [_constraint(c) for c in (constraints if several else [constraints])]


def _constraint(c: Any) -> Constraint:
    if isinstance(c, dict):
        return _by_name(c)
    if hasattr(c, "A") and hasattr(c, "lb"):
        return Constraint(_product, (as_sparse(c.A),), limit(c.lb), limit(c.ub))
    if hasattr(c, "fun") and hasattr(c, "lb"):
        return Constraint(c.fun, (), limit(c.lb), limit(c.ub))
    raise ShapeError(
        f"constraints must be dictionaries, or NonlinearConstraint or LinearConstraint of scipy.optimize{at_line()}, "
        f"not {type(c).__name__}"
    )


def _product(x: Array, matrix: Array) -> Array:
    return matrix @ x


def _by_name(c: dict[str, Any]) -> Constraint:
    kind = str(c.get("type", "")).lower()
    if kind not in ("eq", "ineq") or not callable(c.get("fun")):
        raise ShapeError(
            "a constraint given as a dictionary needs 'type' ('eq': fun = 0, or 'ineq': fun ≥ 0) and 'fun', a "
            f"function{at_line()}; it has {sorted(map(str, c))}"
        )
    args = c.get("args", ())
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    return Constraint(c["fun"], args, np.zeros(()), np.asarray(np.inf if kind == "ineq" else 0.0))


__all__ = ["Constraint", "Kinds", "bounds_of", "constraints_of", "limit", "limits_of_x", "scattered"]
