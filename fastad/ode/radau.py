"""Radau IIA of order 5: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.5 and IV.8."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.kernels.records import NOTES
from fastad.ode import reuse
from fastad.ode.coupled import STAGES, with_coupled
from fastad.ode.dense import DenseOutput
from fastad.ode.implicit import per_time
from fastad.ode.iteration import Iteration
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.ode.newton import SMALL, Block
from fastad.ode.stages import Stages
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import packed, slices

_S6 = 6**0.5
_NODES = ((4 - _S6) / 10, (4 + _S6) / 10, 1.0)
_A = (
    ((88 - 7 * _S6) / 360, (296 - 169 * _S6) / 1800, (-2 + 3 * _S6) / 225),
    ((296 + 169 * _S6) / 1800, (88 + 7 * _S6) / 360, (-2 - 3 * _S6) / 225),
    ((16 - _S6) / 36, (16 + _S6) / 36, 1 / 9),
)
_INVERSE = np.linalg.inv(_A).tolist()
_REAL = 3 + 3 ** (2 / 3) - 3 ** (1 / 3)  # the real eigenvalue of the inverse
_ERROR = ((-13 - 7 * _S6) / 3, (-13 + 7 * _S6) / 3, -1 / 3)


def _integrals() -> tuple[tuple[float, ...], ...]:
    """Coefficients of θ, θ², … of the integrals of the Lagrange polynomials."""
    found = []
    for i, node in enumerate(_NODES):
        others = [c for j, c in enumerate(_NODES) if j != i]
        own = np.poly1d(others, r=True) / np.prod([node - c for c in others])
        found.append(tuple(own.integ().coeffs[::-1][1:].tolist()))
    return tuple(found)


@dataclass(frozen=True)
class _Both:
    """The equations of the stages, and the system that the error estimate needs."""

    block: Block
    real: Block

    @property
    def factors(self) -> int:
        return self.block.factors + self.real.factors

    def factored(self, b: Builder, theta: Ref) -> Ref:
        return packed(b, [self.block.factored(b, theta), self.real.factored(b, theta)])


class Radau(Method):
    """The collocation method at the zeros of Radau's polynomial, of three stages, which are solved for together. It is
    L-stable and stiffly accurate, and its dense output is the collocation polynomial. The first guess of the stages is
    that of the step before."""

    name, order, error_order, estimates = "RadauIIA5", 5, 4, 1
    has_stages, has_jacobian, counts = True, True, True
    coupled = STAGES
    output = DenseOutput(_integrals())

    def caches(self, wanted: Wanted) -> bool:
        return False

    def evaluations(self, wanted: Wanted) -> int:
        return int(wanted.adaptive)

    def notes(self, wanted: Wanted, n: int) -> int:
        return NOTES + 2 + 3 * n  # start, size and slopes of the step before, of which the guess is made

    def memory(self, wanted: Wanted, n: int, factors: int) -> tuple[int, int]:
        return reuse.sizes(n, factors) if n > SMALL and factors else (0, 0)

    def prepared(self, iteration: Iteration, plan: Any, start: Any) -> tuple[Iteration, Any]:
        return with_coupled(iteration, plan, _A, _NODES, start)

    def emit(self, step: Step) -> Taken:
        b, stages, y = step.b, step.stages, step.state
        assert stages is not None
        block, single = stages.block(_A, _NODES), stages.block(((1.0 / _REAL,),), (0.0,))
        both = block if stages.exact or stages.iteration.coupled else _Both(block, single)
        kept, factors, scale = reuse.factors_of(both, stages, step)
        z = stages.solve(block, step.t, y, self._guess(step), slices(b, factors, (block.factors,))[0], scale)
        parts = slices(b, z, [stages.n] * 3)
        slopes = [per_time(step, _sum(b, row, parts)) for row in _INVERSE]
        after = b.add(y, parts[2])
        dense = tuple(slopes) if step.wanted.dense else ()
        if stages.exact:
            return Taken(after, dense=dense)
        real = slices(b, factors, (0 if both is block else block.factors, single.factors))[1]
        errors = (self._error(step, stages, parts, single, real),) if step.wanted.adaptive else ()
        counts = stages.counts() if kept is None else kept.counts(b, stages.counts())
        memory = None if kept is None else kept.memory
        return Taken(after, None, errors, dense, self._noted(step, stages, kept, slopes), memory, counts)

    def _error(self, step: Step, stages: Stages, parts: list[Ref], real: Block, factors: Ref) -> Ref:
        """(M − h/γ₀ ∂f/∂y)⁻¹ (h f(t, y) + M Σ eᵢ zᵢ) / γ₀ for the real eigenvalue γ₀."""
        b = step.b
        right = b.multiply(step.h, step.slope(step.t, step.state))
        right = b.multiply(b.const(1.0 / _REAL), b.add(right, stages.mass(_sum(b, _ERROR, parts))))
        return stages.checked(stages.filtered(real, step.t, factors, right))

    # ── the first guess ──────────────────────────────────────────────────────────────────────────────────────
    def _guess(self, step: Step) -> Ref:
        """The polynomial of an earlier step at the stages of this one, relative to its value at the start."""
        b, n = step.b, step.b.size(step.state)
        assert step.notes is not None
        _, start, size, *slopes = slices(b, step.notes, (NOTES, 1, 1, n, n, n))
        start, size = b.reshape(start, ()), b.reshape(size, ())
        none = b.emit("equal", (size, b.const(0.0)))
        divisor = b.add(size, b.cast(none, (), "d"))
        theta = lambda node: b.emit("divide", (b.emit("subtract", (step.at(node), start)), divisor))
        here = self.output.weights(b, theta(0.0))
        found = []
        for node in _NODES:
            moved = [b.emit("subtract", pair) for pair in zip(self.output.weights(b, theta(node)), here, strict=True)]
            terms = [b.multiply(w, k) for w, k in zip(moved, slopes, strict=True)]
            found.append(b.multiply(size, b.add(*terms)))
        return packed(b, found)

    def _noted(self, step: Step, stages: Stages, kept: "reuse.Factors | None", slopes: list[Ref]) -> Ref:
        """What the next guess is made of, behind the first notes."""
        first = step.b.zeros((NOTES,)) if kept is None else kept.notes(step.b, stages.failed)
        return packed(step.b, [first, step.t, step.h, *slopes])


def _sum(b: Builder, weights: Any, vectors: list[Ref]) -> Ref:
    return b.add(*(b.multiply(b.const(float(w)), v) for w, v in zip(weights, vectors, strict=True)))


RadauIIA5 = Radau()
