"""A loop with a condition, over many lanes at once: component by component, with lanes that have ended held still.

Several steps are one sweep over the lanes, which native code keeps in SIMD registers and splits over threads; between
sweeps it is seen whether a lane goes on. This suits lanes that need about as many steps as each other.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import made
from fastad.tables.passes.lanes import element_rows

_STEPS = 6  # in one sweep


def emit_wide_loop(b: Any, loop: Any, x: Sequence[Ref], lanes: int) -> list[Ref] | None:
    """The elements of the last state of a loop of unknown length, in all lanes; see `Sub.emit_elements`."""
    s = loop.sizes
    if loop.condition is None or loop.length >= 0 or s.element or s.result or s.indexed or loop.saves or loop.progress:
        return None
    if any(part.table is None or part.fails or part.rules is not None for part in (loop.step, loop.condition)):
        return None
    state, shared = list(x[: s.state]), list(x[s.state :])
    widths = [b.size(v) for v in shared]
    own = s.state * lanes + 1  # the last number says whether any lane goes on

    def parts(b: Builder, v: Ref) -> tuple[list[Ref], list[Ref]]:
        first = [b.region(v, region(i * lanes, (lanes,), (1,)), (lanes,)) for i in range(s.state)]
        rest, at = [], own
        for width in widths:
            rest.append(b.region(v, region(at, (width,), (1,)), (width,) if width == lanes else ()))
            at += width
        return first, rest

    def goes_on(b: Builder, state: list[Ref], shared: list[Ref]) -> Ref:
        (found,) = element_rows(b, loop.condition.table, [[*state, *shared]], lanes)
        return b.emit("not_equal", (found[0], b.const(0.0)), shape=(lanes,))

    def steps(b: Builder, v: Ref) -> Ref:
        state, shared = parts(b, v)
        for _ in range(_STEPS):
            on = goes_on(b, state, shared)
            (new,) = element_rows(b, loop.step.table, [[*state, *shared]], lanes)
            state = [b.emit("where", (on, n, o), shape=(lanes,), dtype="d") for n, o in zip(new, state, strict=True)]
        on = b.emit("where", (goes_on(b, state, shared), b.const(1.0), b.const(0.0)), shape=(lanes,), dtype="d")
        return _joined(b, [*state, b.emit("amax", (on,), (1, lanes, 1), (1,))])

    def any_goes_on(b: Builder, v: Ref) -> Ref:
        return b.region(v, region(own - 1, (1,), (1,)), (1,))

    total = own + sum(widths)
    name = f"{loop.name} over {lanes} lanes"
    body, condition = made(name, total, steps), made(f"condition of {name}", total, any_goes_on)
    wide = loop.with_parts(name, own, sum(widths), body, condition)
    full = [b.broadcast(v, (lanes,)) if b.shape(v) != (lanes,) else v for v in state]
    full = [v if b.dtype(v) == "d" else b.cast(v, (lanes,), "d") for v in full]
    out = b.call(wide, _joined(b, [*full, b.const(np.ones(1)), *shared]))
    return [b.region(out, region(i * lanes, (lanes,), (1,)), (lanes,)) for i in range(s.state)]


def _joined(b: Any, values: Sequence[Ref]) -> Ref:
    """Values one after another."""
    places, at = [], 0
    for v in values:
        places.append(region(at, (b.size(v),), (1,)))
        at += b.size(v)
    return b.assemble([b.reshape(v, (b.size(v),)) for v in values], places, (at,))

