"""Sums, products and quotients of complex operands, by parts."""

from typing import Any

import numpy as np

from fastad.recording.complex.parts import Parts, split
from fastad.recording.complex.value import Part, pair
from fastad.recording.elementwise import detached


# ── parts, of which None is 0 throughout ──────────────────────────────────────────────────────────────────────
def plus(a: Part, b: Part) -> Part:
    return b if a is None else a if b is None else a + b


def minus(a: Part, b: Part) -> Part:
    return negated(b) if a is None else a if b is None else a - b


def negated(a: Part) -> Part:
    return None if a is None else -a


def times(a: Part, b: Part) -> Part:
    return None if a is None or b is None else a * b


def over(a: Part, b: Part) -> Part:
    return None if a is None else a / b


# ── operations ────────────────────────────────────────────────────────────────────────────────────────────────
def add(x: Any, y: Any) -> Any:
    (a, b), (c, d) = split(x), split(y)
    return _spread(plus(a, c), plus(b, d), x, y)


def subtract(x: Any, y: Any) -> Any:
    (a, b), (c, d) = split(x), split(y)
    return _spread(minus(a, c), minus(b, d), x, y)


def _spread(re: Part, im: Part, x: Any, y: Any) -> Any:
    """A sum, whose parts may each have the shape of one operand only."""
    re = np.zeros(()) if re is None and im is None else re
    found = pair(re, im, (x, y))
    shape = np.broadcast_shapes(np.shape(x), np.shape(y))
    return found if found.shape == shape else pair(np.broadcast_to(re, shape), im, (x, y))


def multiply(x: Any, y: Any) -> Any:
    return pair(*product(split(x), split(y)), (x, y))


def product(x: Parts, y: Parts, apply: Any = times) -> Parts:
    """The parts of a product, or of another operation that is linear in both operands."""
    (a, b), (c, d) = x, y
    re, im = minus(apply(a, c), apply(b, d)), plus(apply(a, d), apply(b, c))
    return (apply(np.zeros_like(some_part(x)), some_part(y)) if re is None and im is None else re), im


def some_part(parts: Parts) -> Part:
    return parts[0] if parts[0] is not None else parts[1]


def divide(x: Any, y: Any) -> Any:
    return pair(*quotient(split(x), split(y)), (x, y))


def quotient(x: Parts, y: Parts) -> Parts:
    """(a + ib) / (c + id). The divisor is scaled by its larger part, which is a constant to derivatives since the
    quotient does not depend on it: so nothing overflows, as in Smith (1962), "Algorithm 116: Complex division"."""
    (a, b), (c, d) = x, y
    if d is None:
        return over(a, c), over(b, c)
    if c is None:
        return over(b, d), negated(over(a, d))
    largest = np.maximum(np.abs(c), np.abs(d))
    scale = detached(np.where(largest == 0, 1.0, largest))
    c, d = c / scale, d / scale
    factor = 1 / (c * c + d * d) / scale
    re, im = product((a, b), (c, -d))
    return times(re, factor), times(im, factor)


def square(x: Any) -> Any:
    return multiply(x, x)


def reciprocal(x: Any) -> Any:
    return divide(1.0, x)


def negative(x: Any) -> Any:
    return pair(*map(negated, split(x)))


def positive(x: Any) -> Any:
    return pair(*split(x))


def conjugate(x: Any) -> Any:
    a, b = split(x)
    return pair(a, negated(b))
