"""Factors of M − c ∂f/∂y that serve many steps: kept in the memory of a method (see `fastad.ode.method.Method`).

They are made anew when c has changed by more than a third, after twenty steps, and when a trial step with older ones
has failed; corrections with factors for another c are scaled by 2 / (1 + c / c′). These are the rules of CVODE:
Hindmarsh et al. (2005), SUNDIALS, ACM Trans. Math. Softw. 31(3), 2.1.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

from fastad.kernels.records import COUNTS, FACTORISATIONS, JACOBIANS, NOTES, TRIES
from fastad.ode.stages import Stages
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.choices import Branch
from fastad.tables.composites.sub import made, packed, slices

CHANGED, OLD = 0.3, 20.0


def sizes(n: int, factors: int) -> tuple[int, int]:
    """Sizes of the linear point [age | t | c | y] and of [whether there are factors | factors]."""
    return 3 + n, 1 + factors


@dataclass(frozen=True)
class Factors:
    """The factors for a trial step; whether they are new; what corrections are scaled by; the memory after it."""

    factors: Ref
    is_new: Ref
    scale: Ref
    memory: Ref

    def notes(self, b: Builder, failed: Ref) -> Ref:
        """The first notes of a step whose sizes follow from its errors: one that has failed with older factors is tried
        again with new ones, and one that has failed with these with a quarter of its size."""
        retry = b.emit("where", (self.is_new, b.const(0.25), b.const(1.0)))
        retry = b.emit("where", (failed, retry, b.const(0.0)))
        return packed(b, [b.const([0.0]), b.reshape(retry, (1,)), b.zeros((NOTES - 2,))])

    def counts(self, b: Builder, counts: Ref) -> Ref:
        """What a step has counted, which has these factors."""
        lead, _, _, rest = slices(b, counts, (JACOBIANS, 1, 1, COUNTS - FACTORISATIONS - 1))
        once = b.reshape(b.cast(self.is_new, (), "d"), (1,))
        return packed(b, [lead, once, once, rest])


def factors_of(block: Any, stages: Stages, step: Any) -> tuple[Factors | None, Ref, Ref | None]:
    """The factors of a step at its start, and what corrections are scaled by: those that are kept, if it has a
    memory."""
    b = stages.b
    if step.memory is None:
        return None, block.factored(b, stages.theta(stages.t, stages.y)), None
    tries = b.region(step.notes, (TRIES, 1, 1), ())
    found = kept_factors(block, stages, tries, (stages.t, stages.h, stages.y), step.memory)
    return found, found.factors, found.scale


def kept_factors(block: Any, stages: Stages, tries: Ref, given: tuple[Ref, Ref, Ref], memory: Ref) -> Factors:
    """The factors for (t, c, y), those of the memory if they will do. `tries`: trials of the step before this one."""
    b, n, size = stages.b, stages.n, block.factors
    age, t, c, y, known, factors = slices(b, memory, (1, 1, 1, n, 1, size))
    number, vector = lambda x: b.reshape(x, ()), lambda x: b.reshape(x, (b.size(x),))
    either = lambda *xs: reduce(lambda x, y: b.emit("logical_or", (x, y)), xs)
    none = b.emit("less", (number(age), b.const(0.5)))
    ratio = b.emit("divide", (given[1], b.emit("where", (none, b.const(1.0), number(c)))))
    far = b.emit("greater", (b.emit("absolute", (b.emit("subtract", (ratio, b.const(1.0))),)), b.const(CHANGED)))
    old = b.emit("greater_equal", (number(age), b.const(OLD)))
    failed = b.emit("greater", (tries, b.const(0.5)))
    is_new = either(none, far, old, failed, b.emit("logical_not", (b.emit("equal", (ratio, ratio)),)))
    where = lambda x, other: b.emit("where", (b.broadcast(is_new, (b.size(x),)), vector(x), other))
    t, c, y = (where(x, other) for x, other in zip(given, (t, c, y), strict=True))
    age = b.emit("where", (b.broadcast(is_new, (1,)), b.const([1.0]), b.add(age, b.const([1.0]))))
    missing = b.emit("less", (number(known), b.const(0.5)))
    wanted = b.reshape(b.cast(either(is_new, missing), (), "d"), (1,))
    shared = slices(b, stages.shared, (stages.iteration.shared,))[0]
    factors = b.call(_factored(block, stages), packed(b, [wanted, t, c, y, shared, factors]))
    scale = b.emit("divide", (b.const(2.0), b.add(b.const(1.0), b.emit("where", (is_new, b.const(1.0), ratio)))))
    if not size:  # what solves the systems is made anew for every one
        scale = b.const(1.0)
    return Factors(factors, is_new, scale, packed(b, [age, t, c, y, b.const([1.0]), factors]))


def _factored(block: Any, stages: Stages) -> Branch:
    """[whether | t | c | y | shared | factors] to these factors, or to new ones."""
    n, shared, size = stages.n, stages.iteration.shared, block.factors
    cut = (1, 1, n, shared, size)

    def new(b: Builder, x: Ref) -> Ref:
        t, c, y, others, _ = slices(b, x, cut)
        return block.factored(b, packed(b, [t, c, y, others]))

    total = sum(cut)
    kept = made("factors that are kept", total, lambda b, x: slices(b, x, cut)[-1])
    return Branch.of([kept, made("new factors", total, new)], "factors")
