"""The step size of adaptive solvers: the first one, errors, and the next one.

Sizes are fractions of the whole span; a position in the span goes from 0 to 1. So times are t = (1 − s) t₀ + s t₁, both
ends exact, and their derivatives with respect to t₀ and t₁ follow from the step's table.
"""

import math

from .flags import exact_helper, helper
from .memory import shift, view
from .records import (
    CHOSEN,
    FIRST_STEP,
    LARGEST,
    LEAST_ERROR,
    MAX_STEP,
    MEMORY,
    ROUNDING,
    SAFETY,
    SMALLEST,
    TOLERANCES,
)

EPSILON = 2.220446049250313e-16
GUESS = 1e-6  # the trial step where the state or its derivative is nearly 0
CHANGE = 1e-2  # relative size of the change that is tried then


@helper
def time_at(ends, position):
    """The time at a position of the span."""
    return (1.0 - position) * ends[0] + position * ends[1]


@helper
def scale_of(controls, i, n, size):
    """What an error in component i of n is measured by."""
    return controls[TOLERANCES + i] + controls[TOLERANCES + n + i] * size


@helper
def _sum_of_squares(error, old, new, controls, n):
    """Sum of the squares of scaled errors, and the component with the largest one."""
    total, worst, largest = 0.0, 0, -1.0
    for i in range(n):
        a, b = abs(old[i]), abs(new[i])
        part = error[i] / scale_of(controls, i, n, a if a > b else b)
        part *= part
        total += part
        if not part <= largest:
            worst, largest = i, part
    return total, worst


@helper
def error_norm(error, old, new, controls, n, estimates):
    """Root mean square of the scaled error, and the worst component. NaN where the step is not finite.

    Of two estimates E₅ and E₃ the norm is ‖E₅‖² / √(n (‖E₅‖² + 0.01 ‖E₃‖²)): Hairer, Nørsett & Wanner, Solving Ordinary
    Differential Equations I, II.10.
    """
    if n == 0:
        return 0.0, 0
    total, worst = _sum_of_squares(error, old, new, controls, n)
    if estimates == 1:
        return math.sqrt(total / n), worst
    other, _ = _sum_of_squares(shift(error, n), old, new, controls, n)
    if total == 0.0 and other == 0.0:
        return 0.0, worst
    return total / math.sqrt(n * (total + 0.01 * other)), worst


@exact_helper
def rounded(fraction):
    """A step size with eight significant bits: those that are left when 2⁴⁵ times as much is added to it.

    The code of a value, of its tangents and of its adjoint rounds differently, and an error estimate is a small
    difference of large numbers. So that all of them make the same steps, such errors must not reach the step size.
    """
    large = fraction * 35184372088832.0
    return (large + fraction) - large


@helper
def retry_factor(norm, order):
    """Factor for the step size after a step whose error was too large, or not finite."""
    factor = SAFETY * norm ** (-1.0 / order)
    return factor if factor > SMALLEST else SMALLEST


@helper
def logarithm(norm):
    """The logarithm of an error norm, for `next_factor`."""
    return math.log(max(norm, LEAST_ERROR))


@helper
def next_factor(error, before, order):
    """Factor for the step size after an accepted step, from the logarithms of its error and of that of the step before.

    PI control: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.2, with the exponents of their DOPRI5
    for any order.
    """
    factor = SAFETY * math.exp((0.75 * MEMORY - 1.0) / order * error + MEMORY / order * before)
    return min(max(factor, SMALLEST), LARGEST)


@helper
def _norm(x, y, controls, n):
    """Root mean square of x, scaled by tolerances for y."""
    total = 0.0
    for i in range(n):
        part = x[i] / scale_of(controls, i, n, abs(y[i]))
        total += part * part
    return math.sqrt(total / n)


@helper
def says_nothing(norm, last, controls, n, is_implicit):
    """Whether an error estimate is no more than rounding errors, and so says nothing about the step: see
    `solve_steps.probe`. A first step whose size was chosen from derivatives is small because of them. Implicit methods
    damp fast changes and do not resolve them."""
    relative = controls[TOLERANCES + n] if n else 0.0
    return (
        n > 0
        and not is_implicit
        and last != CHOSEN
        and norm < LEAST_ERROR + (ROUNDING / relative if relative > 0.0 else 0.0)
    )


@helper
def change_of(controls, i, n, y):
    """A change of component i of n, of the size of what it is measured by, relative to the relative tolerance."""
    absolute, relative = controls[TOLERANCES + i], controls[TOLERANCES + n + i]
    size = abs(y) + (absolute / relative if relative > 0.0 else 0.0)
    part = 1.0 + (0.6180339887498949 * i) % 1.0  # no two are alike, and signs change: no symmetry is kept
    return size * part if i % 2 == 0 else -size * part


@helper
def trial_step(y, slope, controls, n, span):
    """The trial step of `first_step`, in time."""
    d0, d1 = _norm(y, y, controls, n), _norm(slope, y, controls, n)
    h = GUESS if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    return min(h, span)


@helper
def first_step(y, slope, other, controls, n, order, trial, span):
    """The first step, in time, from the derivatives before and after the trial step: Hairer, Nørsett & Wanner,
    Solving Ordinary Differential Equations I, II.4, Starting Step Size. `order` is the power of the step size in the
    error."""
    d1, total = _norm(slope, y, controls, n), 0.0
    for i in range(n):
        part = (other[i] - slope[i]) / scale_of(controls, i, n, abs(y[i]))
        total += part * part
    d2 = math.sqrt(total / n) / trial
    most = max(d1, d2)
    h = max(1e-6, trial * 1e-3) if most <= 1e-15 else (0.01 / most) ** (1.0 / order)
    h = min(100.0 * trial, h)
    return min(h, span)


@helper
def largest_fraction(controls, span):
    """The largest step, as a fraction of the span."""
    most = controls[MAX_STEP]
    return 1.0 if not most < span else most / span


@helper
def given_fraction(controls, span):
    """The first step that the user gave, as a fraction of the span; 0 if none."""
    first = controls[FIRST_STEP]
    return 0.0 if first == 0.0 else (1.0 if not first < span else first / span)


@helper
def smallest_fraction(ends, position, span):
    """The smallest step that the time can resolve, as a fraction of the span."""
    size = max(abs(time_at(ends, position)), 1e-300)
    return 10.0 * EPSILON * size / span if span > 0.0 else 0.0


@helper
def all_finite(x, n):
    """Whether n numbers are finite."""
    own, total = view(x, n), 0.0
    for i in range(n):
        total += own[i] * 0.0
    return total == 0.0


@helper
def first_not_finite(x, n):
    """The first of n numbers that is not finite."""
    for i in range(n):
        if not x[i] * 0.0 == 0.0:
            return i
    return 0
