"""The rows of a step of an explicit Runge–Kutta method."""

from collections.abc import Callable, Sequence
from typing import Any

from fastad.ode.method import Step, Taken, Wanted
from fastad.tables.builder import Ref


def caches(method: Any, wanted: Wanted) -> bool:
    return wanted.dense or (wanted.adaptive and method.is_fsal)


def _needs_end(method: Any, wanted: Wanted) -> bool:
    """Whether a step needs the derivative at its end."""
    widest = max(map(len, method.error or ()), default=0)
    return caches(method, wanted) or (wanted.adaptive and (method.is_fsal or widest > len(method.b)))


def evaluations(method: Any, wanted: Wanted) -> int:
    return len(_rows(method, wanted)) - caches(method, wanted)


def _rows(method: Any, wanted: Wanted) -> list[tuple[Sequence[float], float]]:
    """Row of the tableau and node of every derivative that a step computes: the stages, that at the end, those of the
    dense output."""
    rows, nodes, s = [*method.A], [*method.c], len(method.b)
    if not method.is_fsal:
        rows.insert(s, method.b)
        nodes.insert(s, 1.0)
    end = s - method.is_fsal
    count = len(rows) + len(method.extra) if wanted.dense else end + _needs_end(method, wanted)
    return list(zip([*rows, *method.extra], nodes, strict=True))[:count]


def emit(method: Any, step: Step) -> Taken:
    return taken(method, step, stages_of(method, step))


def stages_of(method: Any, step: Step) -> list[Ref]:
    """All derivatives that a step computes."""
    stages = [] if step.cache is None else [step.cache]
    for row, node in _rows(method, step.wanted)[len(stages) :]:
        stages.append(step.slope(step.at(node), _moved(step, stages, row)))
    return stages


def taken(method: Any, step: Step, stages: list[Ref]) -> Taken:
    """What follows from the derivatives."""
    wanted = step.wanted
    return Taken(
        _moved(step, stages, method.b),
        stages[len(method.b) - method.is_fsal] if caches(method, wanted) else None,
        tuple(increment(step, stages, row) for row in method.error or ()) if wanted.adaptive else (),
        tuple(_sum(step, stages, row, step.b.const) for row in method.dense_vectors) if wanted.dense else (),
    )


def _sum(step: Step, stages: list[Ref], weights: Sequence[float], factor: Callable[[float], Ref]) -> Ref:
    """Σ wᵢ kᵢ, with `factor` of the weights."""
    b = step.b
    used = [b.multiply(factor(w), k) for w, k in zip(weights, stages, strict=False) if w != 0.0]
    return b.add(*used) if used else b.zeros((b.size(step.state),))


def increment(step: Step, stages: list[Ref], weights: Sequence[float]) -> Ref:
    """Σ (h wᵢ) kᵢ, so that after the last kᵢ there is only one operation to wait for."""
    return _sum(step, stages, weights, lambda w: step.b.multiply(step.h, step.b.const(w)))


def _moved(step: Step, stages: list[Ref], weights: Sequence[float]) -> Ref:
    """y + h Σ wᵢ kᵢ."""
    return step.b.add(step.state, increment(step, stages, weights)) if any(weights) else step.state
