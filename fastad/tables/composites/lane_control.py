"""Step size control as rows over lanes: the error of a trial step, whether it is accepted, and the next step's place.

What `fastad.kernels.stepsize` defines for one solve, so that native code does it for all lanes in SIMD registers. Where
a lane needs more than this, such as a rejected step or the end of its span, the driver sees to that lane alone.
"""

from fastad.kernels.records import (
    AT,
    CONTROL,
    KNOWN,
    LARGEST,
    LAST,
    LEAST_ERROR,
    LEAST_LAST,
    MEMORY,
    NEXT,
    ROUNDING,
    SAFETY,
    SMALLEST,
    STEP,
)
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solve_sizes import SolveSizes

_LARGEST_NUMBER = 1.7976931348623157e308
_SPACING = 10 * 2.220446049250313e-16  # of steps, relative to the time: `stepsize.smallest_fraction`
_EIGHT_BITS = 2.0**45  # for `stepsize.rounded`


def with_verdict(b: Builder, x: list[Ref], out: list[Ref], sizes: SolveSizes, estimates: int, order: int) -> list[Ref]:
    """The result of a step followed by its error norm, the factor for the next step, the component with the largest
    error, the verdict (0: the driver must judge it; 1: accepted; 2: accepted, and the driver must see whether it was
    the last one), and the control of the next step.

    `x` is the argument of the step, followed by absolute tolerances of n components, relative ones, and the largest
    step.
    """
    own, n = sizes.own, sizes.errors // estimates
    tolerances = x[len(x) - 1 - 2 * n : -1]
    magnitudes = [b.emit("absolute", (y,)) for y in out[:n]]
    scales = [
        b.add(absolute, b.multiply(relative, b.emit("maximum", (b.emit("absolute", (old,)), size))))
        for absolute, relative, old, size in zip(tolerances[:n], tolerances[n:], x[:n], magnitudes, strict=True)
    ]
    errors = out[total_of(sizes.step_out[:-2]) :][: n * estimates]
    squares = [b.emit("square", (b.emit("divide", (e, scales[i % n])),)) for i, e in enumerate(errors)]
    norm, worst = _norm(b, squares, n, estimates), _largest(b, squares[:n])
    control = x[own : own + CONTROL]
    logarithm = b.emit("log", (b.emit("maximum", (norm, b.const(LEAST_ERROR))),))
    factor = _next_factor(b, logarithm, control[LAST], order)
    if not n:
        return [*out, norm, factor, worst, b.const(0.0), *control]
    is_small = b.emit("less_equal", (norm, b.const(1.0)))
    is_sound = b.emit("logical_and", (_is_finite(b, magnitudes), _says(b, norm, tolerances[n])))
    accepted = b.emit("logical_and", (is_small, is_sound))
    noted = out[own + NEXT] if sizes.notes else None
    after, step, goes_on = _next_place(b, control, factor, noted, x[total_of(sizes.carried) :][:2], x[-1])
    verdict = b.emit("where", (goes_on, b.const(1.0), b.const(2.0)))
    verdict = b.emit("where", (accepted, verdict, b.const(0.0)))
    following = {AT: after, STEP: step, LAST: b.emit("maximum", (logarithm, b.const(LEAST_LAST))), KNOWN: b.const(0.0)}
    return [*out, norm, factor, worst, verdict, *(following[i] for i in range(CONTROL))]


# ── the error ─────────────────────────────────────────────────────────────────────────────────────────────────
def _norm(b: Builder, squares: list[Ref], n: int, estimates: int) -> Ref:
    """The error norm, as `fastad.kernels.stepsize.error_norm` defines it."""
    if not n:
        return b.const(0.0)
    total = b.add(*squares[:n])
    if estimates == 1:
        return b.emit("sqrt", (b.emit("divide", (total, b.const(float(n)))),))
    other = b.add(*squares[n:])
    bottom = b.multiply(b.const(float(n)), b.add(total, b.multiply(b.const(0.01), other)))
    none = b.emit("equal", (bottom, b.const(0.0)))
    root = b.emit("sqrt", (b.emit("where", (none, b.const(1.0), bottom)),))
    return b.emit("divide", (total, root))


def _largest(b: Builder, squares: list[Ref]) -> Ref:
    """The component with the largest error, or one that is not finite."""
    worst, largest = b.const(0.0), b.const(-1.0)
    for i, square in enumerate(squares):
        smaller = b.emit("less_equal", (square, largest))
        worst = b.emit("where", (smaller, worst, b.const(float(i))))
        largest = b.emit("where", (smaller, largest, square))
    return worst


def _is_finite(b: Builder, sizes: list[Ref]) -> Ref:
    """Whether the new state is finite: its scaled error is 0 where it is infinite."""
    largest, *others = sizes
    for size in others:
        largest = b.emit("maximum", (largest, size))
    return b.emit("less_equal", (largest, b.const(_LARGEST_NUMBER)))


def _says(b: Builder, norm: Ref, relative: Ref) -> Ref:
    """Whether the error is more than rounding errors: not `fastad.kernels.stepsize.says_nothing`."""
    positive = b.emit("greater", (relative, b.const(0.0)))
    divisor = b.emit("where", (positive, relative, b.const(1.0)))
    part = b.emit("where", (positive, b.emit("divide", (b.const(ROUNDING), divisor)), b.const(0.0)))
    return b.emit("greater_equal", (norm, b.add(b.const(LEAST_ERROR), part)))


# ── the next step ─────────────────────────────────────────────────────────────────────────────────────────────
def _next_factor(b: Builder, error: Ref, before: Ref, order: int) -> Ref:
    """The factor for the next step, as `fastad.kernels.stepsize.next_factor` defines it."""
    exponents = b.const((0.75 * MEMORY - 1.0) / order), b.const(MEMORY / order)
    factor = b.emit("exp", (b.add(*map(b.multiply, exponents, (error, before))),))
    factor = b.multiply(b.const(SAFETY), factor)
    most, least = b.const(LARGEST), b.const(SMALLEST)
    factor = b.emit("where", (b.emit("less", (factor, most)), factor, most))
    return b.emit("where", (b.emit("greater", (factor, least)), factor, least))


def _next_place(
    b: Builder, control: list[Ref], factor: Ref, noted: Ref | None, ends: list[Ref], longest: Ref
) -> tuple[Ref, Ref, Ref]:
    """The position after the step, the size of the next one, and whether there is one that time can resolve; see
    `_choose_step` in `fastad.kernels.solve_lanes`."""
    at, fraction, one = control[AT], control[STEP], b.const(1.0)
    rest = b.emit("subtract", (one, at))
    reaches = b.emit("greater_equal", (fraction, rest))
    after = b.emit("where", (reaches, one, b.add(at, fraction)))
    rest = b.emit("subtract", (one, after))
    careful = b.emit("greater_equal", (control[KNOWN], b.const(2.0)))  # after rejections, it does not grow
    factor = b.emit("where", (careful, b.emit("minimum", (factor, one)), factor))
    if noted is not None:
        factor = b.emit("where", (b.emit("greater", (noted, b.const(0.0))), noted, factor))
    least = _smallest(b, after, ends)
    step = _rounded(b, b.multiply(fraction, factor))
    step = b.emit("minimum", (b.emit("maximum", (step, least)), longest))
    in_reach = b.emit("less_equal", (rest, b.multiply(b.const(1.01), step)))
    last = b.emit("logical_and", (in_reach, b.emit("less_equal", (rest, longest))))
    possible = b.emit("logical_or", (last, b.emit("greater_equal", (step, least))))
    goes_on = b.emit("logical_and", (b.emit("less", (after, one)), possible))
    return after, b.emit("where", (last, rest, step)), goes_on


def _smallest(b: Builder, position: Ref, ends: list[Ref]) -> Ref:
    """The smallest step, as `fastad.kernels.stepsize.smallest_fraction` defines it; not finite for a span of 0."""
    t0, t1 = ends
    left = b.multiply(b.emit("subtract", (b.const(1.0), position)), t0)
    time = b.emit("absolute", (b.add(left, b.multiply(position, t1)),))
    span = b.emit("absolute", (b.emit("subtract", (t1, t0)),))
    size = b.emit("maximum", (time, b.const(1e-300)))
    return b.emit("divide", (b.multiply(b.const(_SPACING), size), span))


def _rounded(b: Builder, fraction: Ref) -> Ref:
    """Eight significant bits, as `fastad.kernels.stepsize.rounded` defines them."""
    large = b.multiply(b.const(_EIGHT_BITS), fraction)
    return b.emit("subtract", (b.add(large, fraction), large))
