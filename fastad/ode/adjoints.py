"""Ways to the adjoint of a solve, besides the exact one of its steps, which is that of `Solve` itself.

All are made of tables: a solve backward in time is a `Solve` of a larger system, several of them are a `Loop`. So they
have derivatives of their own, of any order; those of the backward solves are exact for the steps that these make.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastad.errors import ShapeError
from fastad.ode.continuous import backward_in_time
from fastad.ode.interpolating import with_interpolated_steps
from fastad.ode.methods import METHODS
from fastad.ode.steps import StepTables
from fastad.primitives.regions import region
from fastad.recording.source import at_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.backward import Backward
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solves import Solve
from fastad.tables.composites.spans import Span, to_lanes, to_spans, without_shared
from fastad.tables.composites.sub import Sub, emit_joint_inline, made, packed, slices
from fastad.tables.inline import inline
from fastad.tables.passes.batch import batch_table

ADJOINTS = ("discrete", "continuous", "interpolating", "reversible", "forward")


def check_adjoint(adjoint: Any, method: Any, with_events: bool) -> None:
    """ShapeError unless the adjoint is one for the method, and for events if there are some."""
    if adjoint not in ADJOINTS:
        raise ShapeError(f"adjoint must be one of {', '.join(map(repr, ADJOINTS))}{at_line()}, not {adjoint!r}")
    if adjoint == "reversible" and not method.is_reversible:
        names = " and ".join(repr(name) for name, own in METHODS.items() if own.is_reversible)
        raise ShapeError(
            f"{method.name} is not reversible{at_line()}; adjoint='reversible' needs one of {names}. "
            "checkpoint=fad.checkpoint.Online(…) bounds the memory for any method"
        )
    if adjoint in ("continuous", "interpolating") and not method.is_one_step:
        raise ShapeError(
            f"adjoint={adjoint!r} is for one-step methods, and steps of {method.name} depend on several before"
            f"{at_line()}; take 'discrete', or 'Rodas5P'"
        )
    if with_events and adjoint not in ("discrete", "forward"):
        raise ShapeError(
            f"adjoint={adjoint!r} has no derivatives of events{at_line()}; take 'discrete', whose memory "
            "checkpoint=fad.checkpoint.Online(…) bounds, or 'forward', which stores nothing"
        )


def with_adjoint(
    solve: Solve, tables: StepTables, adjoint: str, pieces_of: Callable[[], tuple[int, ...] | None]
) -> Solve:
    """The solve with this adjoint; `pieces_of` gives the steps that a fixed grid has between its points (see
    `continuous`)."""
    if adjoint == "reversible":
        return replace(solve, inverse=tables.inverse(solve.sizes), schedule=None)
    if adjoint == "interpolating":
        return with_interpolated_steps(solve, tables)
    if adjoint == "continuous":
        if solve.sizes.kept and solve.sizes.dense:
            raise ShapeError(
                f"adjoint='continuous' has no derivatives of dense output{at_line()}; give t_eval, or take another one"
            )
        pieces = pieces_of()
        key = f"backward in time {solve.key} {pieces} {tables.f.key}"
        return replace(solve, backward=Backward(key, lambda: backward_in_time(solve, tables, pieces)))
    if adjoint == "forward":
        return replace(solve, backward=Backward(f"sensitivities {solve.key}", lambda: from_sensitivities(solve)))
    return solve


# ── forward sensitivities ─────────────────────────────────────────────────────────────────────────────────────
def from_sensitivities(solve: Solve) -> Sub:
    """Jᵀu from the whole Jacobian J, which one solve of the state with its tangents in all directions gives. Nothing is
    stored; the work is proportional to the number of directions."""
    s, lead = solve.sizes, total_of(solve.sizes.carried)
    moved = [(0, s.own), *([(lead, s.ends)] if solve.moving else ()), (lead + s.ends, s.shared)]
    count = sum(n for _, n in moved)
    all_points = int(solve.moving and s.points > 0)  # results at a point depend on no other: one direction for all
    m, at_points = count + all_points, solve.n_in - s.points * s.point

    def directions(b: Builder) -> Ref:
        regions, first = [], 0
        for start, n in moved:
            regions.append((first * solve.n_in + start, n, solve.n_in + 1))
            first += n
        if all_points:
            regions.append((count * solve.n_in + at_points, s.points * s.point, 1))
        used = [own for own in regions if own[1]]
        ones = [b.broadcast(b.const(1.0), (n,)) for _, n, _ in used]
        return b.assemble(ones, [region(start, (n,), (stride,)) for start, n, stride in used], (m * solve.n_in,))

    def rows(b: Builder, v: Ref) -> Ref:
        x, u, _ = slices(b, v, (solve.n_in, solve.n_results, solve.n_results))
        wide = with_directions(solve, m)
        out = b.call(wide, to_spans(b, packed(b, [x, directions(b)]), 1 + m, solve.spans_in))
        lanes = to_lanes(b, out, 1 + m, solve.spans_results)
        found = slices(b, lanes, (solve.n_results, m * solve.n_results))[1]
        u = solve.without_fixed(b, u)
        jacobian = b.reshape(found, (m, solve.n_results))
        products = b.multiply(jacobian, b.broadcast(u, (m, solve.n_results)))
        bars = slices(
            b, b.emit("sum", (products,), (m, solve.n_results, 1), (m,)), [n for _, n in moved] + [all_points]
        )
        own, shared, ends = bars[0], bars[len(moved) - 1], bars[1] if solve.moving else b.zeros((s.ends,))
        points = b.zeros((s.points * s.point,))
        if all_points:
            each = b.region(products, (count * solve.n_results + lead, s.points * s.own, 1), (s.points, s.own))
            points = b.emit("sum", (each,), (s.points, s.own, 1), (s.points,))
        fixed = b.zeros((lead - s.own,))
        return packed(b, [own, fixed, ends, shared, b.zeros((s.controls,)), points])

    return made(f"adjoint of {solve.name}, from sensitivities", solve.n_in + 2 * solve.n_results, rows)


def with_directions(solve: Solve, m: int) -> Solve:
    """The solve of the state and its tangents in m directions."""

    def joint(part: Sub, given: list[Span]) -> Any:
        b = Builder()
        x, dx = b.input((part.n_in,)), b.input((part.n_in,))
        return batch_table(b.table(emit_joint_inline(b, part, x, without_shared(b, dx, given))), [False, True], m)

    def emit(b: Any, part: Sub, given: list[Span], lanes: Ref) -> Ref:
        x, dx = slices(b, lanes, (part.n_in, m * part.n_in))
        table, (repeats, moves) = joint(part, given)
        refs = inline(b, table, [x, b.reshape(dx, (m, part.n_in))])
        y, dy = (refs[i] for i in table.outputs)
        y = b.region(y, (0, part.n_out, 1), (part.n_out,)) if repeats else y  # drivers compute it for all directions
        return packed(b, [y, dy if moves else b.broadcast(dy, (m, part.n_out))])

    return replace(solve, backward=None, strict=True).over(1 + m, " with sensitivities", emit)
