"""Finite differences along a direction: central, forward and complex steps, with the error to expect of each.

The truncation error of a central difference is of order h² and its rounding error of order ε|f|/h, so the best step
is about ε^(1/3) times the scale of the argument, which leaves an error of about ε^(2/3) ≈ 4e-11. How large the
constants are, a fixed step cannot know: a ladder of steps is tried, and each element takes the step at which two
neighbours on the ladder agree best. Forward differences err by about h. A complex step has no rounding error at all
(Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions").
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastad.checks.problem import Line, Problem, make_problem, split
from fastad.errors import CheckError, ShapeError

FORWARD_STEP = 1e-3  # the notes' ε
COMPLEX_STEP = 1e-30
_RATIO = 8.0  # between neighbours on the ladder
_LADDER = _RATIO ** np.arange(-3.0, 3.0)
METHODS = ("central", "forward", "complex")


@dataclass(frozen=True)
class Estimate:
    """A derivative of all result elements along a direction, one entry an element.

    `error` is what to expect, `noise` the part of it that rounding explains; `coarse` is the largest quotient seen at
    this or a larger step, the scale on which `error` is small where the function is smooth. `jump` holds the one-sided
    quotients where they disagree however small the step.
    """

    value: np.ndarray
    step: np.ndarray
    error: np.ndarray
    noise: np.ndarray
    coarse: np.ndarray
    jump: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


class Difference(NamedTuple):
    """A directional derivative in the structure of f's result, with the step used and the error to expect."""

    derivative: Any
    step: float
    expected_error: float
    method: str


def finite_difference(
    f: Callable[..., Any], args: Any, v: Any, method: str = "central", step: float | None = None
) -> Difference:
    """Derivative of f at args along v, by differences of plain NumPy calls; nothing is recorded.

    central: (f(x + hv) − f(x − hv)) / 2h, with h near ε^(1/3), error near ε^(2/3);
    forward: (f(x + hv) − f(x)) / h, with h = 0.001, error near h; complex: Im f(x + ihv) / h, error near ε, for
    functions that are analytic as they are written. Item S2 of the notes.

    Parameters
    ----------
    args, v
        The tuple of arguments and a direction in the same structure (a single array stands for itself).
    step
        h, in units of v. By default chosen for the scale of the arguments, for central differences also for every
        element of the result: the largest step used is reported.

    Returns
    -------
    Difference
        (derivative, step, expected_error, method).

    Raises
    ------
    CheckError
        Where f is not finite near args, or the complex step does not apply (the message says why).

    >>> import numpy as np, fastad as fad
    >>> found = fad.finite_difference(np.sin, 1.0, 1.0)
    >>> bool(abs(found.derivative - np.cos(1.0)) <= 10 * found.expected_error < 1e-8)
    True
    >>> float(fad.finite_difference(np.sin, 1.0, 1.0, "forward").step)
    0.001
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    arguments = args if isinstance(args, tuple | list) else (args,)
    problem = make_problem(f, arguments)
    direction = _direction(problem, v if isinstance(args, tuple | list) else (v,))
    line = problem.along(direction)
    found = ESTIMATES[method](line, problem.sizes, unit(problem.point, direction), step)
    if not np.isfinite(found.value).all():
        raise CheckError("f is not finite near the arguments: they lie at the edge of its domain, or outside of it")
    derivative = problem.packed(split(found.value, problem.shapes))
    expected = float(found.error.max(initial=0.0))
    return Difference(derivative, float(found.step.max(initial=0.0)), expected, method)


def _direction(problem: Problem, v: Any) -> list[np.ndarray]:
    given = [np.asarray(x, np.float64) for x in problem.chosen(tuple(v))]
    for t, x in zip(given, problem.point, strict=True):
        if t.shape != x.shape:
            raise ShapeError(f"a direction of shape {t.shape} for an argument of shape {x.shape}")
    return given


def unit(point: Sequence[np.ndarray], direction: Sequence[np.ndarray]) -> float:
    """The multiple of a direction that moves the point by about its own size (by 1 where that is 0)."""
    ratios = [np.abs(v).max() / scale(x) for x, v in zip(point, direction, strict=True) if v.size]
    largest = max(ratios, default=0.0)
    return 1.0 / float(largest) if largest > 0 else 1.0


def scale(x: np.ndarray) -> float:
    """Size of an argument: its largest element, or 1 where all are zero (or next to it)."""
    largest = float(np.abs(x).max(initial=0.0))
    return largest if np.isfinite(largest) and largest > 1e-100 else 1.0


# ── the methods ───────────────────────────────────────────────────────────────────────────────────────────────
def central(line: Line, sizes: Sequence[int], unit: float, step: float | None = None) -> Estimate:
    """Central differences: the best step of the ladder for every element, or one step."""
    at, eps = line(0.0), line.eps
    steps = unit * eps ** (1 / 3) * _LADDER if step is None else step * np.array([1 / _RATIO, 1.0])
    ahead, behind = np.array([line(h) for h in steps]), np.array([line(-h) for h in steps])
    h = steps[:, None]
    with np.errstate(all="ignore"):
        quotients = (ahead - behind) / (2 * h)
        noise = eps * (_leaf_size(np.maximum(np.abs(ahead), np.abs(behind)), sizes) / h + np.abs(quotients) * unit / h)
        error = np.abs(np.diff(quotients, axis=0)) + noise[1:]
    best = 1 + np.argmin(np.where(np.isfinite(error), error, np.inf), axis=0)
    pick = (best, np.arange(at.size))
    seen = np.where(np.arange(len(steps))[:, None] >= best, np.abs(quotients), 0.0)
    jump = _jump(at, ahead, behind, steps, noise) if step is None else None
    return Estimate(quotients[pick], steps[best], error[best - 1, pick[1]], noise[pick], np.nanmax(seen, axis=0), jump)


def forward(line: Line, sizes: Sequence[int], unit: float, step: float | None = None) -> Estimate:
    """Forward differences with one step."""
    h = FORWARD_STEP if step is None else step
    at = line(0.0)
    value, finer = (line(h) - at) / h, (line(h / _RATIO) - at) / (h / _RATIO)
    noise = line.eps * _leaf_size(np.abs(at), sizes) * _RATIO / h
    error = np.abs(value - finer) * _RATIO / (_RATIO - 1) + noise
    return Estimate(value, np.full(at.size, h), error, noise, np.abs(value))


def complex_step(line: Line, sizes: Sequence[int], unit: float, step: float | None = None) -> Estimate:
    """The complex step; raises `CheckError` where f is no function of complex arguments."""
    h = COMPLEX_STEP * unit if step is None else step
    real = line(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            shifted = line(1j * h)
        except Exception as cause:
            text = str(cause).splitlines()[0][:100] if str(cause) else ""
            raise CheckError(f"no complex step: {type(cause).__name__}: {text}") from None
    if not np.iscomplexobj(shifted):
        raise CheckError("no complex step: f drops the imaginary part (abs, real, a cast)")
    if not np.allclose(shifted.real, real, rtol=1e-9, atol=0):
        raise CheckError("no complex step: f takes another value on complex arguments")
    value = shifted.imag / h
    error = line.eps * np.abs(value) + COMPLEX_STEP
    return Estimate(value, np.full(real.size, h), error, error, np.abs(value))


ESTIMATES = {"central": central, "forward": forward, "complex": complex_step}


def _leaf_size(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Every element replaced by the largest one of its result array: what its rounding errors may come from."""
    parts = np.split(values, np.cumsum(sizes)[:-1], axis=-1) if len(sizes) else []
    spread = [np.broadcast_to(x.max(axis=-1, keepdims=True, initial=0.0), x.shape) for x in parts]
    return np.concatenate(spread, axis=-1) if spread else values


def _jump(
    at: np.ndarray, ahead: np.ndarray, behind: np.ndarray, steps: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mask, quotient from the left, from the right): where these differ as much at a small step as at a large one."""
    with np.errstate(all="ignore"):
        right, left = (ahead - at) / steps[:, None], (at - behind) / steps[:, None]
        gap = np.abs(right - left)
        apart = (gap[0] > 0.5 * gap[-2]) & (gap[0] > 100 * noise[0]) & (gap[0] > 1e-4 * np.abs(right[0] + left[0]))
    return apart, left[0], right[0]
