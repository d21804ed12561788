"""The adjoint of a loop, as a composite row.

Its own derivatives are adjoints of augmented loops: the adjoint of (x, dx) -> (f(x), f'(x) dx) for the seeds (v, u) is
(d/dx of [u·f'(x) dx + v·f(x)], f'(x)ᵀ u), and its first part is the tangent of (x, u) -> f'(x)ᵀ u in the direction
(dx, v). So nothing else is needed for any order, and the schedule of the states is respected at every order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.choices import Lanes
from fastad.tables.composites.driver import Data, Driver, Parameters
from fastad.tables.composites.spans import to_lanes, to_spans
from fastad.tables.composites.sub import Sub, made, packed, slices
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner


@dataclass(frozen=True, eq=False)
class LoopAdjoint(Driver, kind="adjoint"):
    """[argument of the loop | adjoints of its results] to adjoints of the argument. If the loop saves states, its whole
    result is the second operand; it follows from the argument, so it has no derivative."""

    loop: Any = None  # a Loop, which knows of this class
    kernel = "fastad.kernels.looping.reverse_loop"

    @staticmethod
    def of(loop: Any) -> "LoopAdjoint":
        """The adjoint of a loop, which finds the saved states if the loop saves them."""
        n = loop.n_in + loop.n_results
        return LoopAdjoint(n, loop.n_in, f"adjoint of {loop.name}", loop=loop)

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {**self.loop.named_parts, "adjoint of the body": self.loop.step.adjoint}

    @lazy
    def key(self) -> str:
        return f"adjoint of {self.loop.key}"

    @property
    def kind_text(self) -> str:
        return f"adjoint of a {self.loop.kind_text}"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def parameters(self) -> Parameters:
        return self.loop.parameters(adjoint=True)

    @property
    def repetitions(self) -> int | None:
        return self.loop.repetitions

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        loop = self.loop
        steps, total = max(loop.length, 1), loop.total_steps(adjoint=True)
        again = steps * (not loop.saves) if total is None else total - steps * (1 + (loop.inverse is not None))
        found = steps * of(loop.step.adjoint) + again * of(loop.step) + steps * Operations(additions=loop.sizes.shared)
        return found + steps * of(loop.inverse) if loop.inverse is not None else found

    def work_bytes(self, of: Callable[[Sub], int]) -> int:
        loop, s = self.loop, self.loop.sizes
        step = s.inside + s.state + s.result
        own = 2 * step + s.inside + s.shared
        own += 0 if loop.saves else sum(span.size for span in loop.storage.spans(s.state))
        return super().work_bytes(of) + 8 * own

    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        for k, argument, _ in self.steps_back(x, run):
            yield f"step {k} of {self.loop.name}", self.loop.step.adjoint, argument

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        from fastad.tables.sparsity.loops import adjoint_dependencies

        return adjoint_dependencies(sets, self.loop, x)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        complaint = self.loop.check() or self.loop.too_many_states()
        made_of = complaint or LoopAdjoint.of(self.loop)
        if isinstance(made_of, str):
            return made_of
        same = (self.n_in, self.n_out) == (made_of.n_in, made_of.n_out)
        return None if same else "operands or results of other sizes than its parts say"

    @property
    def stored_parts(self) -> Sequence[Sub]:
        return self.loop.parts

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"loop": write(self.loop)}

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "LoopAdjoint":
        loop = read(data.get("loop"))
        if getattr(loop, "kind", None) != "loop":
            raise TableError("an adjoint of something else than a loop")
        return LoopAdjoint.of(loop)

    # ── saved states ─────────────────────────────────────────────────────────────────────────────────────────
    @property
    def standalone(self) -> Sub:
        return type(self).of(self.loop.without_saving)

    @property
    def n_saved(self) -> int:
        return self.loop.n_out if self.loop.saves else 0

    @property
    def overwrites_saved(self) -> bool:
        return self.loop.result_is_overwritten

    def _cut(self, b: Any, x: Ref) -> tuple[Ref, Ref]:
        x, u = slices(b, x, (self.loop.n_in, self.loop.n_results))
        return x, u

    def _pulled(self, b: Any, x: Ref, dx: Ref, seeds: tuple[Ref, Ref], saved: Ref | None) -> list[Ref]:
        """Both parts of the adjoint of (x, dx) to (y, dy)."""
        loop, wide = self.loop, self.loop.augmented
        operands = to_spans(b, packed(b, [x, dx]), 2, loop.spans_in)
        u = to_spans(b, packed(b, seeds), 2, loop.spans_results)
        out = to_lanes(b, wide.emit_adjoint(b, operands, u, saved), 2, loop.spans_in)
        return slices(b, out, (loop.n_in, loop.n_in))

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        (x, u), (dx, du) = self._cut(b, x), self._cut(b, dx)
        tangent, value = self._pulled(b, x, dx, (du, u), None)
        return value, tangent

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None) -> Ref:
        loop = self.loop
        x, seed = self._cut(b, x)
        wide, own = loop.augmented, None
        operands = to_spans(b, packed(b, [x, u]), 2, loop.spans_in)
        if wide.can_save:
            out, own = wide.emit_saving(b, operands)
        else:
            out = b.call(wide, operands)
        moved = slices(b, to_lanes(b, out, 2, loop.spans_results), (loop.n_results, loop.n_results))[1]
        bar = self._pulled(b, x, u, (b.zeros((loop.n_results,)), seed), own)[0]
        return packed(b, [bar, moved])

    def emit_batched(self, b: Any, x: Ref, size: int, saved: Ref | None = None) -> Ref:
        loop = self.loop
        if loop.condition is not None:
            return b.call(Lanes.of(self, size), x, saved)
        if saved is not None:
            saved = to_spans(b, saved, size, loop.spans_out)
        operands = to_spans(b, x, size, [*loop.spans_in, *loop.spans_results])
        out = b.call(LoopAdjoint.of(loop._wide(size)), operands, saved)
        return to_lanes(b, out, size, loop.spans_in)

    def batched(self, size: int) -> Sub:
        return made(f"{self.name} over {size} lanes", size * self.n_in, lambda b, x: self.emit_batched(b, x, size))

    def reference(self, x: np.ndarray) -> np.ndarray:
        loop, s, n = self.loop, self.loop.sizes, self.loop.sizes.state
        bar, shared = x[loop.n_in :][:n], np.zeros(s.shared)
        elements = np.zeros((max(loop.length, 0), s.element))
        for k, _, out in self.steps_back(x):
            bar = out[:n]
            if s.element:
                elements[loop._place(k)] = out[n : n + s.element]
            shared = shared + out[n + s.element + s.indexed :]
        return np.concatenate([bar, shared, elements.reshape(-1)])

    def steps_back(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Every step from the last one: its number, argument and result of its adjoint."""
        loop, s, n = self.loop, self.loop.sizes, self.loop.sizes.state
        u = x[loop.n_in :]
        states, _, _ = loop.trajectory(x[: loop.n_in], run)
        bar = u[:n]
        for k in range(len(states) - 1, -1, -1):
            place = loop._place(k)
            seed = np.concatenate([bar, u[n + place * s.result :][: s.result]])
            argument = np.concatenate([loop.step_argument(x, states[k], k), seed])
            out = loop.step.adjoint.evaluate(argument, run=run)
            yield k, argument, out
            bar = out[:n]
