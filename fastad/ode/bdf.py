"""Backward differentiation formulas of orders 1 to 5, with a step size and an order that follow from error estimates.

The state is an array D of backward differences of the solution, Dⱼ = ∇ʲ y, for steps of equal size. A step

- interpolates: with θ the size of the step divided by that of the differences, those of the interpolation polynomial
  of degree k for the new size are D̂ = T(θ) D. So a trial step that is rejected changes nothing;
- solves d + ψ = c f(t + h, ŷ + d), ŷ = Σⱼ₌₀ᵏ D̂ⱼ, ψ = Σⱼ₌₁ᵏ γⱼ D̂ⱼ / αₖ, c = h / αₖ;
- has the differences Dᵢ = d + Σⱼ₌ᵢᵏ D̂ⱼ for i ≤ k + 1, and d − Dₖ₊₁ for i = k + 2.

The order k, the number of steps of equal size and the size of the differences are notes. They and θ have no
derivatives: those of a step are exact for the order and the sizes that were chosen. Of the weights of all this, only
powers of θ change from step to step, so they are one small product with a constant matrix for each order.

Shampine & Reichelt (1997), The MATLAB ODE suite, SIAM J. Sci. Comput. 18(1): quasi-constant steps and numerical
differentiation formulas. The choice of order and size is as in SciPy's BDF.
"""

from dataclasses import replace
from math import comb
from typing import Any

import numpy as np

from fastad.kernels.records import NOTES, TRIES
from fastad.ode import reuse
from fastad.ode.dense import DenseOutput
from fastad.ode.implicit import per_time
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.ode.stages import Stages
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import packed, slices

HIGHEST = 5
ROWS = HIGHEST + 3  # differences: up to the error of the next higher order
KAPPA = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0])  # Shampine & Reichelt, table 1
GAMMA = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, HIGHEST + 1))])
ALPHA = (1.0 - KAPPA) * GAMMA
ERROR = np.append(KAPPA * GAMMA + 1.0 / np.arange(1, HIGHEST + 2), np.nan)  # of order k: this times ∇ᵏ⁺¹ y
LEAST, MOST, UNCHANGED = 0.2, 10.0, 1.2  # factors of the step size; smaller ones than the last do not pay
SAFETY, TRIALS = 0.9, 4  # the more iterations of so many, the less is risked
ORDER, EQUAL, SIZE, COUNT = range(NOTES, NOTES + 4)  # notes


# ── coefficients ──────────────────────────────────────────────────────────────────────────────────────────────
def rescaling() -> np.ndarray:
    """T(θ), by the powers of θ: element [p, j, i] is the weight of θᵖ Dᵢ in D̂ⱼ. With the polynomials
    bᵢ(s) = Πₗ₌₁ⁱ (l − 1 − s) / l, so that y(t − s h) = Σ bᵢ(s) Dᵢ, it is ∇ʲ of bᵢ at the times −mθ."""
    found = np.zeros((HIGHEST + 1, HIGHEST + 1, HIGHEST + 1))
    for i in range(HIGHEST + 1):
        powers = np.ones(1)
        for l in range(1, i + 1):
            powers = np.convolve(powers, [(l - 1) / l, -1 / l])
        for j in range(i + 1):
            for m in range(j + 1):
                signed = (-1.0) ** m * comb(j, m)
                found[: i + 1, j, i] += signed * powers * float(m) ** np.arange(i + 1)
    return found


def weights(k: int) -> np.ndarray:
    """The weights of order k by the powers of θ: element [p, row, i] is that of θᵖ Dᵢ in ŷ, in ψ, and in what is added
    to multiples of d to give the new differences."""
    known = rescaling()
    known[:, :, k + 1 :] = 0.0
    found = np.zeros((HIGHEST + 1, 2 + ROWS, ROWS))
    inner = found[:, :, : HIGHEST + 1]
    inner[:, 0] = known[:, : k + 1].sum(axis=1)
    inner[:, 1] = np.einsum("j,pji->pi", GAMMA[: k + 1], known[:, : k + 1]) / ALPHA[k]
    for i in range(k + 1):
        inner[:, 2 + i] = known[:, i : k + 1].sum(axis=1)
    found[0, 2 + k + 2, k + 1] = -1.0
    return found


def _numbers() -> np.ndarray:
    """For each order k: 1 / αₖ, the error constants of k − 1, k and k + 1, the multiples of d in the new differences,
    and which of D₁, D₂, … the interpolation polynomial has."""
    found = []
    for k in range(1, HIGHEST + 1):
        added, used = np.arange(ROWS) <= k + 2, np.arange(1, HIGHEST + 1) <= k
        found.append(np.concatenate([[1 / ALPHA[k]], ERROR[k - 1 : k + 2], added, used]))
    return np.nan_to_num(np.array(found))


WEIGHTS = np.array([weights(k).ravel() for k in range(1, HIGHEST + 1)])
NUMBERS = _numbers()


def _between() -> DenseOutput:
    """The polynomial through the solution at the end of a step and before: y₊ + Σⱼ Dⱼ Πₘ₌₀ʲ⁻¹ (θ − 1 + m) / (m + 1).
    At θ = 0 it is the solution at the start."""
    rows = []
    for j in range(1, HIGHEST + 1):
        powers = np.ones(1)
        for m in range(j):
            powers = np.convolve(powers, [(m - 1) / (m + 1), 1 / (m + 1)])
        rows.append(tuple(powers[1:].tolist()))
    return DenseOutput(tuple(rows))


# ── the method ────────────────────────────────────────────────────────────────────────────────────────────────
class _BDF(Method):
    """BDF, of orders 1 to 5, for stiff systems with smooth solutions: numerical differentiation formulas with
    quasi-constant steps. It chooses order and step size.

    Shampine & Reichelt (1997), The MATLAB ODE suite, SIAM J. Sci. Comput. 18(1).
    """

    name, order, error_order, estimates, copies = "BDF", HIGHEST, 2, 1, ROWS
    has_stages, has_jacobian, counts, takes_fixed_steps = True, True, True, False
    is_one_step = False

    @lazy
    def output(self) -> DenseOutput:
        return _between()

    def caches(self, wanted: Wanted) -> bool:
        return False

    def evaluations(self, wanted: Wanted) -> int:
        return 1

    def notes(self, wanted: Wanted, n: int) -> int:
        return COUNT

    def memory(self, wanted: Wanted, n: int, factors: int) -> tuple[int, int]:
        return reuse.sizes(n, factors)

    def emit(self, step: Step) -> Taken:
        assert step.stages is not None and step.notes is not None
        b, n = step.b, step.stages.n
        own = _Order(b, step.notes)
        d = b.reshape(self._differences(step, own, n), (ROWS, n))
        ratio = own.ratio(step.h)
        product = b.emit("matmul", (own.weights(ratio), d), (1, 2 + ROWS, ROWS, n, 0, 0, 1, 1), (2 + ROWS, n))
        predicted, psi, base = slices(b, b.reshape(product, ((2 + ROWS) * n,)), (n, n, ROWS * n))
        stages = replace(step.stages, h=b.multiply(step.h, own.inverse_alpha), solved=[], calls=0)
        end, block = step.at(1.0), stages.block(((1.0,),), (0.0,))
        point = end, stages.h, predicted
        kept = None if step.memory is None else reuse.kept_factors(block, stages, own.tries, point, step.memory)
        base_point = b.emit("subtract", (predicted, psi))
        at = block.at(b, psi, stages.theta(end, base_point))
        factors = block.linear.factor(at) if kept is None else kept.factors
        moved = stages.solve(block, end, base_point, psi, factors, None if kept is None else kept.scale)
        change = b.emit("subtract", (moved, psi))
        after = b.add(base, b.reshape(_outer(b, own.added, change), (ROWS * n,)))
        dense = self._dense(step, own, after) if step.wanted.dense else ()
        if kept is None:
            return Taken(after, dense=dense)
        errors = stages.checked(b.multiply(own.error(0), change))
        notes = _Choice(step, own, stages, ratio).notes(errors, after, kept.is_new)
        counts = kept.counts(b, stages.counts())
        return Taken(after, errors=(errors,), dense=dense, notes=notes, memory=kept.memory, counts=counts)

    def _differences(self, step: Step, own: "_Order", n: int) -> Ref:
        """D; at the start D₁ = h f, and only D₀ is used besides."""
        b = step.b
        y, first, others = slices(b, step.state, (n, n, (ROWS - 2) * n))
        slope = b.multiply(step.h, step.slope(step.t, y))
        first = b.emit("where", (b.broadcast(own.is_first, (n,)), slope, first))
        return packed(b, [y, first, others])

    def _dense(self, step: Step, own: "_Order", after: Ref) -> tuple[Ref, ...]:
        b, n = step.b, step.b.size(after) // ROWS
        rows = slices(b, after, [n] * ROWS)[1 : HIGHEST + 1]
        return tuple(per_time(step, b.multiply(b.region(own.used, (j, 1, 1), ()), x)) for j, x in enumerate(rows))


class _Order:
    """The numbers of a step's order: of the first step, 1."""

    def __init__(self, b: Builder, notes: Ref) -> None:
        self.b = b
        _, self.tries, k, self.equal, self.size = (
            b.reshape(x, ()) if b.size(x) == 1 else x for x in slices(b, notes, (TRIES, 1, 1, 1, 1))
        )
        self.is_first = b.emit("less", (k, b.const(0.5)))
        self.k = b.emit("maximum", (k, b.const(1.0)))
        place = b.cast(b.emit("subtract", (self.k, b.const(1.0))), (1,), "i")
        self._place = place
        numbers = self._chosen(NUMBERS)
        inverse, self._errors, self.added, self.used = slices(b, numbers, (1, 3, ROWS, HIGHEST))
        self.inverse_alpha = b.reshape(inverse, ())

    def _chosen(self, table: np.ndarray) -> Ref:
        """The row of this order."""
        m = table.shape[1]
        return self.b.emit("gather", (self.b.const(table), self._place), (m,), (m,))

    def row(self, differences: Ref, more: int) -> Ref:
        """Dₖ₊ₘ of all differences."""
        b, n = self.b, self.b.size(differences) // ROWS
        place = b.cast(b.add(self.k, b.const(float(more))), (1,), "i")
        return b.emit("gather", (differences, place), (n,), (n,))

    def error(self, more: int) -> Ref:
        """The error constant of order k + more."""
        return self.b.region(self._errors, (1 + more, 1, 1), ())

    def ratio(self, h: Ref) -> Ref:
        """θ."""
        b = self.b
        size = b.emit("where", (self.is_first, b.const(1.0), self.size))
        found = b.emit("divide", (b.emit("stop_gradient", (h,)), size))
        return b.emit("where", (self.is_first, b.const(1.0), found))

    def weights(self, ratio: Ref) -> Ref:
        """The weights for this ratio."""
        b, m = self.b, (2 + ROWS) * ROWS
        powers = [b.const(1.0), ratio]
        while len(powers) <= HIGHEST:
            powers.append(b.multiply(powers[-1], ratio))
        row = packed(b, [b.reshape(x, (1,)) for x in powers])
        chosen = b.reshape(self._chosen(WEIGHTS), (HIGHEST + 1, m))
        found = b.emit("matmul", (row, chosen), (1, 1, HIGHEST + 1, m, 0, 0, 1, 1), (m,))
        return b.reshape(found, (2 + ROWS, ROWS))


class _Choice:
    """What follows from the errors of a trial step: order and size of the next one."""

    def __init__(self, step: Step, own: _Order, stages: Stages, ratio: Ref) -> None:
        self.b, self.step, self.own, self.stages, self.ratio = step.b, step, own, stages, ratio

    def _factor(self, error: Ref, y: Ref, more: int) -> Ref:
        """The factor for the size of a step of order k + more with this error."""
        b, stages, n = self.b, self.stages, self.stages.n
        largest = b.emit("maximum", (b.emit("absolute", (y,)), b.emit("absolute", (stages.y,))))
        scaled = b.emit("divide", (error, stages.scales_of(largest)))
        mean = b.multiply(b.const(1.0 / max(n, 1)), b.emit("sum", (b.emit("square", (scaled,)),), (1, n, 1), ()))
        power = b.emit("divide", (b.const(-0.5), b.add(self.own.k, b.const(1.0 + more))))
        return b.emit("power", (mean, power))

    def notes(self, errors: Ref, after: Ref, is_new: Ref) -> Ref:
        """[factors if accepted and if not | 0 | order | equal steps | size of the differences]."""
        b, own, stages = self.b, self.own, self.stages
        where, const = lambda c, x, y: b.emit("where", (c, x, y)), b.const
        k, one, zero = own.k, const(1.0), const(0.0)
        y = slices(b, after, (stages.n, (ROWS - 1) * stages.n))[0]
        less = where(b.emit("greater", (k, const(1.5))), self._at(after, y, -1), zero)
        same = self._factor(errors, y, 0)
        more = where(b.emit("less", (k, const(HIGHEST - 0.5))), self._at(after, y, 1), zero)
        best = b.emit("maximum", (less, b.emit("maximum", (same, more))))
        is_best = lambda x: b.emit("greater_equal", (x, best))
        order = where(is_best(less), b.emit("subtract", (k, one)), where(is_best(same), k, b.add(k, one)))
        count = b.reshape(b.add(*(found.count for found in stages.solved)), ())
        safety = b.emit("divide", (const(SAFETY * (2 * TRIALS + 1)), b.add(const(2.0 * TRIALS), count)))
        factor = b.emit("minimum", (const(MOST), b.multiply(safety, best)))
        goes_on = b.emit("logical_and", (b.emit("equal", (self.ratio, one)), b.emit("equal", (own.tries, zero))))
        goes_on = b.emit("logical_and", (goes_on, b.emit("logical_not", (own.is_first,))))
        equal = where(goes_on, b.add(own.equal, one), one)
        changes = b.emit("greater_equal", (equal, b.add(k, one)))
        pays = b.emit("logical_or", (b.emit("less", (factor, one)), b.emit("greater", (factor, const(UNCHANGED)))))
        changes = b.emit("logical_and", (changes, pays))
        retry = b.emit("maximum", (const(LEAST), b.multiply(safety, same)))
        unsolved = where(is_new, const(0.5), one)  # with old factors, another trial of the same size makes new ones
        found = [
            where(changes, factor, one), where(stages.failed, unsolved, retry), zero, where(changes, order, k),
            where(changes, zero, equal), self.step.h,
        ]  # fmt: skip
        return packed(b, [b.reshape(x, (1,)) for x in found])

    def _at(self, after: Ref, y: Ref, more: int) -> Ref:
        own, b = self.own, self.b
        return self._factor(b.multiply(own.error(more), own.row(after, more + 1)), y, more)


def _outer(b: Any, x: Ref, y: Ref) -> Ref:
    m, n = b.size(x), b.size(y)
    return b.emit("matmul", (x, y), (1, m, 1, n, 0, 0, 1, 1), (m, n))


BDF = _BDF()
