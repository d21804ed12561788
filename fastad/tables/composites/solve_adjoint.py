"""The adjoint of an ODE solve, as a composite row. Its own derivatives are those of the adjoint of any loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import FastadError, StepSizeError, TableError
from fastad.kernels import records as r
from fastad.tables.builder import Ref
from fastad.tables.composites.driver import Data, Parameters
from fastad.tables.composites.loop_adjoint import LoopAdjoint
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.solve_endings import in_step
from fastad.tables.composites.solve_lanes import emit_adjoint_lanes
from fastad.tables.composites.solve_reference import Trace
from fastad.tables.composites.sub import Sub
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner


@dataclass(frozen=True, eq=False)
class SolveAdjoint(LoopAdjoint, kind="adjoint of a solve"):
    """[argument of the solve | adjoints of its results] to adjoints of the argument; saved states as in a loop."""

    kernel = "fastad.kernels.solving.reverse_solve"

    @staticmethod
    def of(loop: Any, wanted: Any = None) -> "SolveAdjoint":
        """The adjoint of a solve, which finds the saved states if the solve saves them."""
        return SolveAdjoint(loop.n_in + loop.n_results, loop.n_in, f"adjoint of {loop.name}", loop=loop)

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        solve = self.loop
        adjoints = {"adjoint of the step": solve.step.adjoint}
        if solve.dense is not None:
            adjoints["adjoint of the step with dense output"] = solve.dense.adjoint
        if solve.sample is not None:
            adjoints["adjoint of a sample"] = solve.sample.adjoint
        if solve.event is not None:
            adjoints["adjoint of a step to an event"] = solve.event.adjoint
            adjoints["adjoint of the state at an event"] = solve.located.adjoint
        return {**solve.named_parts, **adjoints}

    def parameters(self) -> Parameters:
        return self.loop.parameters(adjoint=True)

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        solve = self.loop
        again = max(solve.length, 1) * (not solve.saves)
        samples = Operations() if solve.sample is None else solve.sizes.points * of(solve.sample.adjoint)
        return max(solve.length, 1) * of(solve.step.adjoint) + again * of(solve.body) + samples

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        from fastad.tables.sparsity.solves import solve_adjoint_dependencies

        return solve_adjoint_dependencies(sets, self.loop, x)

    def work_bytes(self, of: Callable[[Sub], int]) -> int:
        return max(map(of, self.parts), default=0) + 8 * sum(self.loop._work(adjoint=True).values())

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "SolveAdjoint":
        loop = read(data.get("loop"))
        if getattr(loop, "kind", None) != "solve":
            raise TableError("an adjoint of something else than a solve")
        return SolveAdjoint.of(loop)

    @property
    def failures(self) -> Sequence[tuple[type[Exception], str]]:
        return self.loop.failures

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        (x, u), (dx, du) = self._cut(b, x), self._cut(b, dx)
        solve = self.loop
        tangent, value = self._pulled(b, x, dx, (solve.without_fixed(b, du), u), None)
        return value, tangent

    def emit_batched(self, b: Any, x: Ref, size: int, saved: Ref | None = None) -> Ref:
        return emit_adjoint_lanes(b, self, x, size, saved)

    def failure(self, x: np.ndarray, run: Runner) -> Exception | None:
        return self.loop.failure(x[: self.loop.n_in], run) or super().failure(x, run)

    # ── definition ───────────────────────────────────────────────────────────────────────────────────────────
    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        for k, (part, argument, _) in self._back(x, run):
            yield f"step {k} of {self.loop.name}", part, argument

    def reference(self, x: np.ndarray) -> np.ndarray:
        solve, s = self.loop, self.loop.sizes
        out = np.zeros(self.n_out)
        fixed = total_of(s.carried)
        for _, (_, _, bars) in self._back(x, None):
            own, ends, shared, points = bars
            out[: s.own] = own
            out[fixed : fixed + s.ends] += ends
            out[fixed + s.ends : fixed + s.ends + s.shared] += shared
            for j, bar in points.items():
                out[solve.n_in - s.points * s.point + j * s.point :][: s.point] = bar
        return out

    def _back(self, x: np.ndarray, run: Runner | None) -> Iterator[tuple[int, tuple[Sub, np.ndarray, Any]]]:
        """Every step from the last one: its number; the adjoint that is called, its argument, the adjoints of the
        state, the ends, what is shared, and the points of the step."""
        solve, s = self.loop, self.loop.sizes
        trace, u = Trace(solve, x[: solve.n_in], run), x[solve.n_in :]
        if not trace.is_done:
            raise StepSizeError(trace.message)
        seeds = np.split(u, np.cumsum([span.size for span in solve.spans_results])[:-1])
        bar, at_points, kept, dense = seeds[0], seeds[4].reshape(-1, s.own), seeds[5], seeds[7]
        at_events = seeds[8].reshape(-1, s.own)
        for k in range(len(trace.steps) - 1, -1, -1):
            step = trace.steps[k]
            inner, dense_bar, ends, points = np.zeros(s.own), np.zeros(s.dense), np.zeros(s.ends), {}
            shared = np.zeros(s.shared)
            for j, sample in step.samples.items():
                if sample is None:
                    bar = bar + at_points[j]
                    continue
                pieces = [s.own, s.control.size, s.dense, s.point, s.ends]
                found = solve.sample.adjoint.evaluate(np.concatenate([sample, at_points[j]]), run=run)
                own, _, d, points[j], e = np.split(found, np.cumsum(pieces)[:-1])
                inner, dense_bar, ends = inner + own, dense_bar + d, ends + e
            for j, event in step.events.items():
                found = solve.located.adjoint.evaluate(np.concatenate([event, at_events[j]]), run=run)
                own, _, d, e, more = np.split(found, np.cumsum([s.own, s.control.size, s.dense, s.ends]))
                inner, dense_bar, ends, shared = inner + own, dense_bar + d, ends + e, shared + more
            if s.kept:
                bar = bar + kept[k * s.own :][: s.own]
                dense_bar = dense_bar + dense[k * s.dense :][: s.dense]
            if step.change is not None:
                changed = solve.event.adjoint.evaluate(np.concatenate([step.plain_argument, bar]), run=run)
                own, _, e, more = np.split(changed, np.cumsum([s.own, s.control.size, s.ends]))
                inner, ends, shared, bar = inner + own, ends + e, shared + more, np.zeros(s.own)
            part = solve.step if not s.dense else solve.dense
            argument = np.concatenate([step.plain_argument, bar, dense_bar])
            try:
                out = part.adjoint.evaluate(argument, run=run)
            except FastadError as error:
                control, (t0, t1) = argument[s.own :], argument[s.own + s.control.size :][:2]
                t = (1 - control[r.AT]) * t0 + control[r.AT] * t1
                raise in_step(error, solve.name, t, control[r.STEP] * (t1 - t0)) from None
            own, _, e, more = np.split(out, np.cumsum([s.own, s.control.size, s.ends]))
            bar = own + inner
            yield k, (part.adjoint, argument, (bar, ends + e, shared + more, points))
