"""Reversible methods: the state before a step is computed from that after it, so an adjoint stores no states."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.ode.dense import HERMITE
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.recording.source import at_line
from fastad.tables.builder import Ref
from fastad.tables.composites.sub import packed, slices
from fastad.tables.reference import Stopped


class _ReversibleHeun(Method):
    """ReversibleHeun, of order 2, for any system, with fixed or adaptive steps: besides y it carries ŷ, at which it
    evaluates the right-hand side once a step,

        ŷ₊ = 2 y − ŷ + h f(t, ŷ),    y₊ = y + ½ h (f(t, ŷ) + f(t + h, ŷ₊)).

    It suits steps well within its stability, which is that of ±i on the imaginary axis: y − ŷ grows where f contracts.

    Kidger, Foster, Li & Lyons (2021), Efficient and accurate gradients for neural SDEs, NeurIPS, Algorithms 1 and 2.
    """

    name, order, error_order, estimates, copies, is_reversible, output = "ReversibleHeun", 2, 2, 1, 2, True, HERMITE
    general = "Heun"

    def caches(self, wanted: Wanted) -> bool:
        return True

    def evaluations(self, wanted: Wanted) -> int:
        return 1

    def emit(self, step: Step) -> Taken:
        b = step.b
        y, other = _halves(step, step.state)
        start = step.slope(step.t, other) if step.cache is None else _halves(step, step.cache)[1]
        moved = self._reflected(step, y, other, start, 1.0)
        end = step.slope(step.at(1.0), moved)
        mean, half = b.multiply(b.const(0.5), b.add(start, end)), b.const(0.5)
        error = b.multiply(b.multiply(half, step.h), b.emit("subtract", (end, start)))
        after = packed(b, [step.moved(y, 1.0, mean), moved])
        return Taken(after, packed(b, [end, end]), (error,) * step.wanted.adaptive, (start, mean, end))

    def emit_inverse(self, step: Step) -> Ref:
        b = step.b
        y, other = _halves(step, step.state)
        end = step.slope(step.at(1.0), other)
        moved = self._reflected(step, y, other, end, -1.0)
        mean = b.multiply(b.const(0.5), b.add(step.slope(step.t, moved), end))
        return packed(b, [step.moved(y, -1.0, mean), moved])

    def _reflected(self, step: Step, y: Ref, other: Ref, slope: Ref, sign: float) -> Ref:
        """2 y − ŷ ± h f."""
        b = step.b
        return step.moved(b.emit("subtract", (b.multiply(b.const(2.0), y), other)), sign, slope)


class _Leapfrog(Method):
    """Leapfrog (Störmer–Verlet), of order 2, symplectic, with fixed steps, for separable systems y = [q, p] with
    q' = v(t, p) and p' = a(t, q): half a kick, a drift, half a kick,

        p½ = p + ½ h a(t, q),    q₊ = q + h v(t + ½ h, p½),    p₊ = p½ + ½ h a(t + h, q₊).

    Hairer, Lubich & Wanner, Geometric Numerical Integration, I.1.4.
    """

    name, order, is_reversible, output = "Leapfrog", 2, True, HERMITE
    general = "Midpoint"

    def caches(self, wanted: Wanted) -> bool:
        return True

    def evaluations(self, wanted: Wanted) -> int:
        return 2

    def emit(self, step: Step) -> Taken:
        b = step.b
        q, p = _halves(step, step.state)
        at_start = step.slope(step.t, step.state) if step.cache is None else step.cache
        first = _halves(step, at_start)[1]
        middle = step.moved(p, 0.5, first)
        drift = self._drift(step, q, middle)
        moved = step.moved(q, 1.0, drift)
        at_end = step.slope(step.at(1.0), packed(b, [moved, middle]))
        last = _halves(step, at_end)[1]
        after = packed(b, [moved, step.moved(middle, 0.5, last)])
        dense: tuple[Ref, ...] = ()
        if step.wanted.dense:  # only the half of a cached slope that is a(t, q) is that at the state
            mean = packed(b, [drift, b.multiply(b.const(0.5), b.add(first, last))])
            dense = (step.slope(step.t, step.state), mean, step.slope(step.at(1.0), after))
        return Taken(after, at_end, (), dense)

    def emit_inverse(self, step: Step) -> Ref:
        q, p = _halves(step, step.state)
        middle = step.moved(p, -0.5, _halves(step, step.slope(step.at(1.0), step.state))[1])
        before = step.moved(q, -1.0, self._drift(step, q, middle))
        first = _halves(step, step.slope(step.t, packed(step.b, [before, middle])))[1]
        return packed(step.b, [before, step.moved(middle, -0.5, first)])

    def _drift(self, step: Step, q: Ref, p: Ref) -> Ref:
        return _halves(step, step.slope(step.at(0.5), packed(step.b, [q, p])))[0]

    def check(self, slope: Callable[[Any, Any], Any], t: Any, y: Any) -> None:
        n = len(y)
        if n % 2:
            raise ShapeError(f"Leapfrog needs y = [q, p], but y has {n} components{at_line()}")
        halves = np.arange(n) < n // 2
        for own, names in ((halves, "q' depends on q"), (~halves, "p' depends on p")):
            moved = np.where(own, 1.001 * y + 0.001, y)
            try:
                before, after = np.asarray(slope(t, y))[own], np.asarray(slope(t, moved))[own]
            except Stopped:  # a branch on values goes the other way there
                continue
            if not np.array_equal(before, after, equal_nan=True):
                raise ShapeError(
                    f"Leapfrog needs a separable system y = [q, p], with q' = v(t, p) and p' = a(t, q){at_line()}, but "
                    f"{names}; use 'ReversibleHeun', or 'Tsit5'"
                )


def _halves(step: Step, x: Ref) -> tuple[Ref, Ref]:
    n = step.b.size(x) // 2
    first, second = slices(step.b, x, (n, n))
    return first, second


Leapfrog, ReversibleHeun = _Leapfrog(), _ReversibleHeun()
