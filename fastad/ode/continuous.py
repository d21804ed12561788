"""The continuous adjoint: optimise, then discretise. y, λ and the adjoints of the parameters are integrated from t₁
back to t₀,

    y' = f(t, y, θ),    λ' = −(∂f/∂y)ᵀ λ,    μ' = −(∂f/∂θ)ᵀ λ,

and at each point λ jumps by the adjoint of the result there, where y starts anew from that result: Pontryagin et al.,
The Mathematical Theory of Optimal Processes (1962); Chen, Rubanova, Bettencourt & Duvenaud (2018), Neural Ordinary
Differential Equations, Algorithm 1. Memory does not grow with the steps. Where y cannot be integrated backward, the
derivatives are wrong: use the discrete adjoint there.
"""

from collections.abc import Sequence
from itertools import groupby

from fastad.kernels import records as r
from fastad.ode.method import Method, Wanted
from fastad.ode.methods import METHODS
from fastad.ode.steps import StepTables, scales, tables_of_system
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.loop_sizes import Sizes
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solves import Solve
from fastad.tables.composites.sub import Sub, emit_inline, made, packed, slices


def backward_in_time(solve: Solve, tables: StepTables, pieces: tuple[int, ...] | None) -> Sub:
    """The adjoint of a solve. Of a fixed grid, `pieces` are the steps between t₀, all points (without points, all kept
    steps) and t₁."""
    n_in = solve.n_in + 2 * solve.n_results
    return made(f"continuous adjoint of {solve.name}", n_in, lambda b, v: _Rows(b, v, solve, tables).emit(pieces))


def pulled_system(f: Sub, n: int) -> Sub:
    """[t | y λ μ | shared] to their derivatives."""
    shared = f.n_in - 1 - n

    def rows(b: Builder, x: Ref) -> Ref:
        t, y, bar, _, theta = slices(b, x, (1, n, n, shared, shared))
        argument = packed(b, [t, y, theta])
        pulled = slices(b, emit_inline(b, f.adjoint, packed(b, [argument, bar])), (1, n, shared))
        return packed(b, [emit_inline(b, f, argument), *(b.emit("negative", (p,)) for p in pulled[1:])])

    return made(f"{f.name} with adjoints", 1 + 2 * n + 2 * shared, rows)


def general_method(method: Method) -> Method:
    """The method for the adjoint system, which has not the structure that some methods need."""
    return METHODS.get(method.general, method)


def tolerances(b: Builder, controls: Ref, n: int) -> list[Ref]:
    """The means of the absolute and of the relative tolerances of n components."""
    kinds = slices(b, controls, (r.TOLERANCES, n, n))[1:]
    return [b.multiply(b.const(1.0 / max(n, 1)), b.total(kind, (1,))) for kind in kinds]


def dot(b: Builder, x: Ref, y: Ref) -> Ref:
    return b.total(b.multiply(x, y), (1,))


class _Rows:
    """The rows of the adjoint of a solve, from [argument | adjoints of the results | results]."""

    def __init__(self, b: Builder, v: Ref, solve: Solve, tables: StepTables) -> None:
        self.b, self.solve, self.tables = b, solve, tables
        self.n, self.shared = tables.n, tables.shared
        x, u, out = slices(b, v, (solve.n_in, solve.n_results, solve.n_results))
        cut = lambda x, spans: slices(b, x, [span.size for span in spans])
        state, _, _, _, self.ends, self.theta, self.controls, self.points = cut(x, solve.spans_in)
        self.bars, self.results = cut(u, solve.spans_results), cut(out, solve.spans_results)
        self.t0, self.t1 = slices(b, self.ends, (1, 1))
        self.y0, self.y1 = self._first(state), self._first(self.results[0])
        system = pulled_system(tables.f, self.n)
        wanted = Wanted(solve.adaptive, dense=False, moving=solve.moving)
        self.back = tables_of_system(general_method(tables.method), system, 2 * self.n + self.shared, wanted)

    def _first(self, state: Ref, count: int = 1) -> Ref:
        """y in the method's states."""
        return self.b.region(state, region(0, (count, self.n), (self.solve.sizes.own, 1)), (count * self.n,))

    @property
    def marks(self) -> int:
        """The number of times at which λ jumps."""
        return self.solve.sizes.points or self.solve.sizes.kept

    def _marked(self) -> tuple[Ref, Ref, Ref, Ref | None]:
        """These times, states and adjoints there; of kept steps, the positions in the span. Places of steps that were
        not made count as the end."""
        b, m, s = self.b, self.marks, self.solve.sizes
        if s.points:
            return self.points, self._first(self.results[4], m), self._first(self.bars[4], m), None
        made_steps = b.region(self.results[-1], (r.ACCEPTED, 1, 1), (1,))
        live = b.cast(b.emit("less", (b.const([float(k) for k in range(m)]), made_steps)), (m,), "d")
        missing = b.emit("subtract", (b.const(1.0), live))
        places = b.add(b.multiply(live, self.results[6]), missing)
        each = lambda x: b.broadcast(b.reshape(x, (m, 1)), (m, self.n))
        kept = b.multiply(each(live), b.reshape(self._first(self.results[5], m), (m, self.n)))
        kept = b.add(kept, b.multiply(each(missing), b.broadcast(self.y1, (m, self.n))))
        before = b.emit("subtract", (b.const(1.0), places))
        at = b.add(b.multiply(before, self.t0), b.multiply(places, self.t1))
        return at, b.reshape(kept, (m * self.n,)), self._first(self.bars[5], m), places

    # ── the intervals ────────────────────────────────────────────────────────────────────────────────────────
    def emit(self, pieces: tuple[int, ...] | None) -> Ref:
        b, n, m, s = self.b, self.n, self.marks, self.solve.sizes
        times, states, jumps, places = self._marked() if m else (b.zeros((0,)), b.zeros((0,)), b.zeros((0,)), None)
        last_bar = self._first(self.bars[0])
        width, columns = 2 + 2 * n, [
            packed(b, [times, self.t1]), packed(b, [self.t0, times]), packed(b, [b.zeros((n,)), jumps]),
            packed(b, [self.y0, states]),
        ]  # fmt: skip
        starts, widths = (0, 1, 2, 2 + n), (1, 1, n, n)
        regions = [region(a, (m + 1, w), (width, 1)) for a, w in zip(starts, widths, strict=True)]
        elements = b.assemble(columns, regions, ((m + 1) * width,))
        state = packed(b, [self.y1, last_bar, b.zeros((self.shared,))])
        state, slopes = self._integrated(state, elements, width, pieces or (0,) * (m + 1))
        _, bar, theta_bar = slices(b, state, (n, n, self.shared))
        ends_bar, points_bar = self._time_bars(bar, last_bar, slopes, places)
        fixed = total_of(s.carried) - n
        return packed(b, [bar, b.zeros((fixed,)), ends_bar, theta_bar, b.zeros((s.controls,)), points_bar])

    def _integrated(self, state: Ref, elements: Ref, width: int, pieces: Sequence[int]) -> tuple[Ref, Ref | None]:
        """The state at t₀, by loops over the intervals from the last one on, each over intervals of as many steps; and
        the products of slopes and adjoints at their left ends."""
        b = self.b
        found: list[Ref] = []
        shared, size = self._shared(), 2 * self.n + self.shared
        stop = len(pieces)
        for steps, group in groupby(reversed(pieces)):
            count = len(list(group))
            start = stop - count
            own = b.region(elements, (start * width, count * width, 1), (count * width,))
            sizes = Sizes(size, width, int(self.solve.moving), b.size(shared))
            loop = Loop.of("continuous adjoint", sizes, count, self._interval(sizes, steps), backward=True)
            out = slices(b, b.call(loop, packed(b, [state, shared, own])), (size, count * sizes.result))
            state, stop = out[0], start
            found.insert(0, out[1])
        return state, packed(b, found) if self.solve.moving else None

    def _shared(self) -> Ref:
        """What all intervals share: the parameters, and the controls of an adaptive solve."""
        b, n, rest = self.b, self.n, self.n + self.shared
        if not self.solve.adaptive:
            return self.theta
        limits, absolute, relative = slices(b, self.controls, (r.TOLERANCES, n, n))
        most = slices(b, limits, (1, r.TOLERANCES - 1))[0]
        means = [b.broadcast(mean, (rest,)) for mean in tolerances(b, self.controls, n)]
        return packed(b, [self.theta, most, b.zeros((r.TOLERANCES - 1,)), absolute, means[0], relative, means[1]])

    def _interval(self, sizes: Sizes, steps: int) -> Sub:
        """The body of the loop: integrate from the right to the left end of an interval, and jump."""
        n, solve, back = self.n, self.solve, self.back
        controls = r.TOLERANCES + 2 * back.n if solve.adaptive else 3
        length = solve.length if solve.adaptive else max(steps, 1)
        segment = back.solve(0, 0, controls, length, strict=True)

        def rows(b: Builder, x: Ref) -> Ref:
            state, element, shared = slices(b, x, (sizes.state, sizes.element, sizes.shared))
            span, jump, restart = slices(b, element, (2, n, n))
            theta, own = slices(b, shared, (self.shared, sizes.shared - self.shared))
            more = scales(b, back, own if solve.adaptive else None)
            given = packed(b, [theta, *more, own if solve.adaptive else b.const([0.0, 1.0 / length, 0.0])])
            fixed = b.zeros((total_of(segment.sizes.carried[1:]),))
            out = b.call(segment, packed(b, [*[state] * back.method.copies, fixed, span, given]))
            _, bar, rest = slices(b, out, (n, n, self.shared))
            after = [restart, b.add(bar, jump), rest]
            if solve.moving:
                at = slices(b, span, (1, 1))[1]
                after.append(dot(b, jump, self.tables.evaluated(b, at, restart, theta)))
            return packed(b, after)

        return made("interval of the continuous adjoint", sizes.inside, rows)

    def _time_bars(self, bar: Ref, last_bar: Ref, slopes: Ref | None, places: Ref | None) -> tuple[Ref, Ref]:
        """Adjoints of the ends of the span, and of the points."""
        b, m, s = self.b, self.marks, self.solve.sizes
        if slopes is None:
            return b.zeros((s.ends,)), b.zeros((s.points * s.point,))
        slope = lambda t, y: self.tables.evaluated(b, t, y, self.theta)
        first = b.emit("negative", (dot(b, bar, slope(self.t0, self.y0)),))
        last = dot(b, last_bar, slope(self.t1, self.y1))
        at_marks = slices(b, slopes, (1, m))[1]
        if places is not None:  # the times of kept steps move with both ends
            first = b.add(first, dot(b, at_marks, b.emit("subtract", (b.const(1.0), places))))
            last = b.add(last, dot(b, at_marks, places))
        return packed(b, [first, last]), at_marks if s.points else b.zeros((0,))
