"""A step along a descent direction that satisfies the strong Wolfe conditions.

Nocedal & Wright, Numerical Optimization (2006), Algorithms 3.5 (bracketing) and 3.6 (zooming), as one loop with one
value and gradient in every turn. Close to a minimum, differences of values are lost in rounding errors; there the
decrease is judged by slopes (the approximate Wolfe conditions of Hager & Zhang, 2005, A new conjugate gradient method
with guaranteed descent, SIAM J. Optim. 16, section 4).
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.optimize.objective import Array, Objective

DECREASE = 1e-4  # of the first condition: c₁
MOST_TRIALS = 30
_NOISE = 1e-12  # relative differences of values that may be rounding errors
_LARGEST = 1e10  # step
_EXPANSION = 2.0


class Point(NamedTuple):
    """A trial step with the value and slope of the objective along the line there."""

    step: Array
    value: Array
    slope: Array


class Found(NamedTuple):
    """Where a search ended. `ok`: the conditions hold, or at least the value has fallen."""

    x: Array
    value: Array
    gradient: Array
    evaluations: Array
    ok: Array


class _Search(NamedTuple):
    trial: Array  # the next step
    low: Point  # bracketing: the last trial; zooming: the best point so far
    high: Point
    zooming: Array
    best: Found  # of all trials that decrease enough
    done: Array


def choose(condition: Array, yes: Any, no: Any) -> Any:
    """np.where for named tuples."""
    return type(yes)(*[np.where(condition, a, b) for a, b in zip(yes, no, strict=True)])


def wolfe_step(f: Objective, at: tuple[Array, Array, Array], direction: Array, first: Array, curvature: float) -> Found:
    """Search from `at` (x, value, gradient) along a direction, beginning with the step `first`.

    `curvature` is c₂ of |φ'(α)| ≤ c₂ |φ'(0)|: 0.9 for Newton and quasi-Newton directions.
    """
    x0, value0, gradient0 = at
    start = Point(0.0, value0, gradient0 @ direction)
    noise = _NOISE * np.abs(value0)

    def decreases(p: Point) -> Array:
        by_value = p.value <= value0 + DECREASE * p.step * start.slope
        lost = -DECREASE * p.step * start.slope <= noise
        by_slope = (p.value <= value0 + noise) & (p.slope <= (2 * DECREASE - 1) * start.slope)
        return by_value | (lost & by_slope)

    def turn(s: _Search) -> _Search:
        x = x0 + s.trial * direction
        value, gradient = f.with_gradient(x)
        here = Point(s.trial, value, gradient @ direction)
        finite = np.isfinite(value) & np.all(np.isfinite(gradient))
        good = finite & decreases(here)
        too_far = ~good | (~(value < s.low.value + noise) & (s.zooming | (s.low.step > 0.0)))
        flat = good & ~too_far & (np.abs(here.slope) <= -curvature * start.slope)
        return _next(s, here, too_far, flat, _better(s.best, Found(x, value, gradient, s.best.evaluations + 1, good)))

    nothing = Found(x0, value0, gradient0, 0, False)
    first_search = _Search(first, start, start, False, nothing, False)
    last = iterate(lambda s: ~s.done & (s.best.evaluations < MOST_TRIALS), turn, first_search)
    return last.best


def _better(best: Found, new: Found) -> Found:
    """The last trial that decreases enough: each is lower than the one before."""
    kept = choose(new.ok, new, best)
    return kept._replace(evaluations=new.evaluations, ok=best.ok | new.ok)


def _next(s: _Search, here: Point, too_far: Array, flat: Array, best: Found) -> _Search:
    """Algorithm 3.5 until the interval is bracketed, then 3.6."""
    rises = np.where(s.zooming, here.slope * (s.high.step - s.low.step) >= 0.0, here.slope >= 0.0)
    bracketed = s.zooming | too_far | rises
    # The interval holds a step that satisfies both conditions; its lower end is the better one.
    behind = Point(*[np.where(s.zooming & ~rises, h, b) for h, b in zip(s.high, s.low, strict=True)])
    low = choose(too_far, s.low, here)
    high = choose(too_far, here, behind)
    trial = np.where(bracketed, _inside(low, high), _EXPANSION * here.step)
    narrow = bracketed & (np.abs(high.step - low.step) <= 1e-14 * np.maximum(low.step, high.step))
    done = flat | narrow | (trial > _LARGEST)
    return _Search(trial, low, high, bracketed, best, done)


def _inside(low: Point, high: Point) -> Array:
    """A step inside the interval: the minimum of the cubic through both ends, not too close to either
    (Nocedal & Wright, equation 3.59)."""
    width = high.step - low.step
    mean = (high.value - low.value) / np.where(width == 0.0, 1.0, width)
    a = low.slope + high.slope - 3.0 * mean
    root = np.sqrt(np.maximum(a * a - low.slope * high.slope, 0.0)) * np.sign(width)
    below = high.slope - low.slope + 2.0 * root
    share = 1.0 - (high.slope + root - a) / np.where(below == 0.0, 1.0, below)
    usable = np.isfinite(share) & np.isfinite(high.value) & (below != 0.0)
    return low.step + width * np.where(usable, np.clip(np.where(usable, share, 0.5), 0.1, 0.9), 0.5)


__all__ = ["Found", "choose", "wolfe_step"]
