"""Finite differences along a direction: central, forward and complex steps, with the error to expect of each.

A central difference has a truncation error of order h² and a rounding error of order ε|f|/h. The best step is about
ε^(1/3) times the scale of the argument, with an error of about ε^(2/3) ≈ 4e-11. The constants depend on the function,
so a ladder of steps is tried. Two neighbouring steps extrapolate to h = 0 (Richardson, 1911), with an error of order
h⁴, and each element uses the steps at which two neighbouring quotients, or two extrapolations, agree best. Forward
differences err by about h. Complex steps have no cancellation, so h can be tiny and the error is that of rounding
(Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions").
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastad.checks.problem import DirectionalLine, Problem, make_problem, split
from fastad.errors import CheckError, ShapeError

FORWARD_STEP = 1e-3
COMPLEX_STEP = 1e-30
_RATIO = 8.0  # of neighbouring steps on the ladder
_LADDER = _RATIO ** np.arange(-3.0, 4.0)
METHODS = ("central", "forward", "complex")


@dataclass(frozen=True)
class Estimate:
    """The derivative along a direction, with one entry for each result element.

    `error` is the expected error, `noise` the part of it due to rounding. `coarse` is the largest quotient at this or a
    larger step: for a smooth function, `error` is small compared with it. `jump` is (mask, quotient from the left,
    quotient from the right), where the mask marks elements whose one-sided quotients differ at every step.
    """

    value: np.ndarray
    step: np.ndarray
    error: np.ndarray
    noise: np.ndarray
    coarse: np.ndarray
    jump: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


class Difference(NamedTuple):
    """A directional derivative in the structure of f's result, with the step used and the expected error."""

    derivative: Any
    step: float
    expected_error: float
    method: str


def finite_difference(
    f: Callable[..., Any], args: Any, v: Any, method: str = "central", step: float | None = None
) -> Difference:
    """Derivative of f at args along v, by differences of plain NumPy calls. Nothing is recorded.

    - central: (f(x + hv) − f(x − hv)) / 2h, with h near ε^(1/3) and an error near ε^(2/3);
    - forward: (f(x + hv) − f(x)) / h, with h = 0.001 and an error near h;
    - complex: Im f(x + ihv) / h, with an error near ε, if the code of f is analytic (no abs, comparison or conj).

    Parameters
    ----------
    args, v
        The tuple of arguments, and a direction of the same structure. A single array needs no tuple.
    step
        h, in units of v. The default is chosen from the scale of the arguments, and for central differences separately
        for every element of the result; the largest step used is reported.

    Returns
    -------
    Difference
        (derivative, step, expected_error, method).

    Raises
    ------
    CheckError
        Where f is not finite near args, or where the complex step is not possible (the message says why).

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
        raise CheckError(
            f"{problem.name} is not finite near the arguments: they are at the edge of its domain or outside of it; "
            "choose others"
        )
    derivative = problem.packed(split(found.value, problem.shapes))
    expected = float(found.error.max(initial=0.0))
    return Difference(derivative, float(found.step.max(initial=0.0)), expected, method)


def _direction(problem: Problem, v: Any) -> list[np.ndarray]:
    given = [np.asarray(x, np.float64) for x in problem.chosen(tuple(v))]
    for t, x in zip(given, problem.point, strict=True):
        if t.shape != x.shape:
            raise ShapeError(f"a direction has shape {t.shape}, but its argument has shape {x.shape}")
    return given


def unit(point: Sequence[np.ndarray], direction: Sequence[np.ndarray]) -> float:
    """The multiple of the direction that moves an element by about its own size (or by 1 where that is 0), and the
    others by less."""
    ratios = [(np.abs(v) / scales(x)).max() for x, v in zip(point, direction, strict=True) if v.size]
    largest = max(ratios, default=0.0)
    return 1.0 / float(largest) if largest > 0 else 1.0


def scales(x: np.ndarray) -> np.ndarray:
    """Size of each element of an argument: its magnitude, or `scale` of the argument where that is zero or tiny."""
    size = np.abs(x)
    return np.where(np.isfinite(size) & (size > 1e-100), size, scale(x))


def scale(x: np.ndarray) -> float:
    """Size of an argument: the magnitude of its largest element, or 1 where that is zero, tiny or not finite."""
    largest = float(np.abs(x).max(initial=0.0))
    return largest if np.isfinite(largest) and largest > 1e-100 else 1.0


# ── the methods ───────────────────────────────────────────────────────────────────────────────────────────────
def central(line: DirectionalLine, sizes: Sequence[int], unit: float, step: float | None = None) -> Estimate:
    """Central differences, with the best step of the ladder for every element, or with the given step."""
    at, eps = line(0.0), line.eps
    steps = unit * eps ** (1 / 3) * _LADDER if step is None else step * np.array([1 / _RATIO, 1.0])
    ahead, behind = np.array([line(h) for h in steps]), np.array([line(-h) for h in steps])
    h = steps[:, None]
    with np.errstate(all="ignore"):
        quotients = (ahead - behind) / (2 * h)
        noise = eps * (_leaf_size(np.maximum(np.abs(ahead), np.abs(behind)), sizes) / h + np.abs(quotients) * unit / h)
        found, error = _candidates(quotients, noise)
    best = np.argmin(np.where(np.isfinite(error), error, np.inf), axis=0)
    pick = (best, np.arange(at.size))
    place = 1 + best % (len(steps) - 1)  # the coarsest step of a candidate, or the one before it
    seen = np.where(np.arange(len(steps))[:, None] >= place, np.abs(quotients), 0.0)
    jump = _jump(at, ahead, behind, steps, noise) if step is None else None
    own = noise[place, pick[1]]
    return Estimate(found[pick], steps[place], error[pick], own, np.nanmax(seen, axis=0, initial=0.0), jump)


def _candidates(quotients: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates of the derivative, and their errors by the difference of two neighbouring ones: the quotients of all
    steps but the finest; then the extrapolations from pairs of steps, where there are three steps."""
    plain = quotients[1:], np.abs(np.diff(quotients, axis=0)) + noise[1:]
    if len(quotients) < 3:
        return plain
    limits = quotients[:-1] - np.diff(quotients, axis=0) / (_RATIO**2 - 1)
    apart = np.abs(np.diff(limits, axis=0)) + 2 * noise[1:-1]
    return np.concatenate([plain[0], limits[1:]]), np.concatenate([plain[1], apart])


def forward(line: DirectionalLine, sizes: Sequence[int], unit: float, step: float | None = None) -> Estimate:
    """Forward differences with a fixed step."""
    h = FORWARD_STEP if step is None else step
    at = line(0.0)
    value, finer = (line(h) - at) / h, (line(h / _RATIO) - at) / (h / _RATIO)
    noise = line.eps * _leaf_size(np.abs(at), sizes) * _RATIO / h
    error = np.abs(value - finer) * _RATIO / (_RATIO - 1) + noise
    return Estimate(value, np.full(at.size, h), error, noise, np.abs(value))


def complex_step(line: DirectionalLine, sizes: Sequence[int], unit: float, step: float | None = None) -> Estimate:
    """The complex step; raises `CheckError` where f does not accept complex arguments or is not analytic."""
    h = COMPLEX_STEP * unit if step is None else step
    real = line(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            shifted = line(1j * h)
        except Exception as cause:
            text = str(cause).splitlines()[0][:100] if str(cause) else ""
            raise CheckError(f"no complex step: {type(cause).__name__}: {text}") from None
    if shifted.size != real.size:
        raise CheckError("no complex step: a result of f is complex itself")
    if not np.iscomplexobj(shifted):
        raise CheckError("no complex step: f drops the imaginary part (abs, real, a cast)")
    if not np.allclose(shifted.real, real, rtol=1e-9, atol=0):
        raise CheckError("no complex step: the real part of f changes on complex arguments")
    value = shifted.imag / h
    error = line.eps * np.abs(value) + COMPLEX_STEP
    return Estimate(value, np.full(real.size, h), error, error, np.abs(value))


ESTIMATES = {"central": central, "forward": forward, "complex": complex_step}


def _leaf_size(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Every element replaced by the largest one of its result array, which bounds its rounding errors."""
    parts = np.split(values, np.cumsum(sizes)[:-1], axis=-1) if len(sizes) else []
    spread = [np.broadcast_to(x.max(axis=-1, keepdims=True, initial=0.0), x.shape) for x in parts]
    return np.concatenate(spread, axis=-1) if spread else values


def _jump(
    at: np.ndarray, ahead: np.ndarray, behind: np.ndarray, steps: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mask, quotient from the left, quotient from the right). The mask marks elements where the two quotients differ
    as much at a small step as at a large one."""
    with np.errstate(all="ignore"):
        right, left = (ahead - at) / steps[:, None], (at - behind) / steps[:, None]
        gap = np.abs(right - left)
        apart = (gap[0] > 0.5 * gap[-2]) & (gap[0] > 100 * noise[0]) & (gap[0] > 1e-4 * np.abs(right[0] + left[0]))
    return apart, left[0], right[0]
