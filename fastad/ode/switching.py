"""Steps of two methods: of an explicit one where the system is not stiff, of a Rosenbrock method where it is.

The explicit method tells a lower bound of the spectral radius of the Jacobian by its last two stages, which are both at
the end of the step: ρ ≥ ‖f(Yₛ) − f(Yₛ₋₁)‖ / ‖Yₛ − Yₛ₋₁‖. Where hρ is beyond its stability for some steps, it is not
accuracy that limits them: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.2. The other method has the
Jacobian, and tells by its product with a vector without symmetries whether the explicit one would be stable with steps
of the same size. Which method makes a step, and how many steps in a row have spoken for the other one, are notes. So
derivatives are exact for the steps that were made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.kernels import records as r
from fastad.ode import explicit
from fastad.ode.dense import DenseOutput
from fastad.ode.iteration import without_symmetry
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.choices import Branch
from fastad.tables.composites.sub import Sub, made, packed, slices

MODE, SIGNALS, COUNT = range(r.NOTES, r.NOTES + 3)  # notes: 1 for the stiff method; signals for the other one
LATE, EARLY = 10.0, 5.0  # signals that make a system stiff, and not stiff
TENSE, CALM = 0.75, 0.5  # parts of its stability: at its border the control lets steps go up and down by a third


@dataclass(frozen=True, repr=False)
class Switching(Method):
    """Steps of the explicit Runge–Kutta method `explicit`, whose last two stages are at the end of the step, until the
    system is stiff; then those of the Rosenbrock method `stiff`, until it is not. `reach` is how far the stability of
    the explicit method reaches on the negative real axis."""

    explicit: Any
    stiff: Any
    reach: float
    name: str = "auto"
    has_stages, has_jacobian, counts, estimates, takes_fixed_steps = True, True, True, 1, False

    @property
    def _fastad_options(self) -> Any:
        return self.explicit._fastad_options, self.stiff._fastad_options, self.reach, self.name

    @property
    def with_mass(self) -> Method:
        found: Method = self.stiff
        return found

    @property
    def order(self) -> int:  # type: ignore[override]
        return min(self.explicit.order, self.stiff.order)

    @property
    def error_order(self) -> int:  # type: ignore[override]
        return min(self.explicit.error_order, self.stiff.error_order)

    @lazy
    def output(self) -> DenseOutput:
        """Its vectors are the coefficients of the powers of θ."""
        degree = max(len(row) for own in (self.explicit, self.stiff) for row in own.output.polynomials)
        return DenseOutput(tuple((0.0,) * p + (1.0,) for p in range(degree)))

    def caches(self, wanted: Wanted) -> bool:
        return False

    def evaluations(self, wanted: Wanted) -> int:
        return 0  # they are counted

    def notes(self, wanted: Wanted, n: int) -> int:
        return COUNT

    def emit(self, step: Step) -> Taken:
        assert step.stages is not None and step.notes is not None
        b = step.b
        sizes = [b.size(x) for x in (*step.given, step.notes)]
        chosen = slices(b, step.notes, (MODE, 1, 1))[1]
        branches = [self._branch(step, sizes, emit) for emit in (self._explicitly, self._implicitly)]
        branch = Branch.of([sub for sub, _ in branches], f"step of {self.name}")
        vectors = [b.reshape(x, (b.size(x),)) for x in (*step.given, step.notes)]
        found = b.call(branch, packed(b, [chosen, *vectors]))
        return _taken(b, found, branches[0][1], step)

    def _branch(self, step: Step, sizes: list[int], emit: Callable[[Step], Taken]) -> tuple[Sub, list[int]]:
        """The sub-program of a step by one of the methods, and the sizes of what it returns: state, notes, counts,
        errors, dense output."""
        widths: list[int] = []

        def rows(b: Builder, x: Ref) -> Ref:
            assert step.elsewhere is not None
            t, h, state, shared, notes = slices(b, x, sizes)
            own = step.elsewhere(b, (b.reshape(t, ()), b.reshape(h, ()), state, shared), notes)
            taken = emit(own)
            found = [taken.after, taken.notes, taken.counts, *taken.errors, *taken.dense]
            widths[:] = [0 if x is None else b.size(x) for x in found]
            return packed(b, [x for x in found if x is not None])

        return made(f"step of {emit.__name__.strip('_')}", sum(sizes), rows), widths

    # ── the two methods ──────────────────────────────────────────────────────────────────────────────────────
    def _explicitly(self, step: Step) -> Taken:
        b, stages = step.b, step.stages
        assert stages is not None
        slopes = explicit.stages_of(self.explicit, step)
        taken = explicit.taken(self.explicit, step, slopes)
        dense = _by_powers(b, self.explicit.output, taken.dense, len(self.output.polynomials))
        if stages.exact:
            return Taken(taken.after, dense=dense)
        s = len(self.explicit.b)
        rows = [*self.explicit.A, self.explicit.b]
        last = explicit.increment(step, slopes, np.subtract(rows[s - 1], (*rows[s - 2], 0.0)).tolist())
        between = b.multiply(step.h, b.emit("subtract", (slopes[s - 1], slopes[s - 2])))
        far = b.multiply(b.const(TENSE * self.reach), self._largest(step, last))
        signal = b.emit("greater", (self._largest(step, between), far))
        counts = np.zeros(r.COUNTS)
        counts[r.CALLS] = len(slopes)
        notes = self._notes(step, 0.0, signal, LATE)
        return Taken(taken.after, None, taken.errors, dense, notes, None, b.const(counts))

    def _implicitly(self, step: Step) -> Taken:
        b, stages = step.b, step.stages
        assert stages is not None
        taken = self.stiff.emit(step)
        dense = _by_powers(b, self.stiff.output, taken.dense, len(self.output.polynomials))
        if stages.exact:
            return Taken(taken.after, dense=dense)
        gamma, n = self.stiff.gamma, stages.n
        at = step.linearised(b.multiply(b.const(gamma), step.h)).point
        v = b.multiply(b.const(without_symmetry(n)), stages.scales)
        moved = b.emit("subtract", (v, at.along(v, wrt=0)))  # γh ∂f/∂y v
        calm = b.const(gamma * self.reach * CALM)
        signal = b.emit("less", (self._largest(step, moved), calm))
        counts = b.add(taken.counts, b.const(np.eye(r.COUNTS)[r.CALLS] * len(self.stiff.b)))
        return Taken(taken.after, None, taken.errors, dense, self._notes(step, 1.0, signal, EARLY), None, counts)

    def _largest(self, step: Step, v: Ref) -> Ref:
        """The largest component, relative to the tolerances."""
        b = step.b
        scaled = b.emit("divide", (v, step.stages.scales))  # type: ignore[union-attr]
        return b.emit("amax", (b.emit("absolute", (scaled,)),), (1, b.size(v), 1), ())

    def _notes(self, step: Step, mode: float, signal: Ref, enough: float) -> Ref:
        """The notes after a step of a method that has sent a signal for the other one."""
        b = step.b
        assert step.notes is not None
        before = b.reshape(slices(b, step.notes, (SIGNALS, 1))[1], ())
        one, zero = b.const(1.0), b.const(0.0)
        less = b.emit("maximum", (b.emit("subtract", (before, one)), zero))
        count = b.emit("where", (signal, b.add(before, one), less))
        changes = b.emit("greater_equal", (count, b.const(enough)))
        mode = b.emit("where", (changes, b.const(1.0 - mode), b.const(mode)))
        count = b.emit("where", (changes, zero, count))
        return packed(b, [b.zeros((r.NOTES,)), b.reshape(mode, (1,)), b.reshape(count, (1,))])


def _taken(b: Builder, found: Ref, widths: list[int], step: Step) -> Taken:
    after, notes, counts, *others = slices(b, found, widths)
    exact = step.stages is None or step.stages.exact
    count = 0 if exact or not step.wanted.adaptive else 1
    dense = tuple(others[count:])
    if exact:
        return Taken(after, dense=dense)
    return Taken(after, None, tuple(others[:count]), dense, notes, None, counts)


def _by_powers(b: Builder, output: DenseOutput, vectors: tuple[Ref, ...], degree: int) -> tuple[Ref, ...]:
    """The coefficients of the powers of θ of a dense output."""
    if not vectors:
        return ()
    found = []
    for p in range(degree):
        terms = [
            b.multiply(b.const(row[p]), v)
            for row, v in zip(output.polynomials, vectors, strict=True) if p < len(row) and row[p]
        ]  # fmt: skip
        found.append(b.add(*terms) if terms else b.zeros((b.size(vectors[0]),)))
    return tuple(found)
