"""The adjoint of a loop, as a composite row.

Its own derivatives are adjoints of augmented loops: the adjoint of (x, dx) -> (f(x), f'(x) dx) for the seeds (v, u) is
(d/dx of [u·f'(x) dx + v·f(x)], f'(x)ᵀ u), and its first part is the tangent of (x, u) -> f'(x)ᵀ u in the direction
(dx, v). So nothing else is needed for any order, and the schedule of the states is respected at every order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.choices import Lanes
from fastad.tables.composites.driver import Data, Driver, Parameters
from fastad.tables.composites.spans import Span, to_lanes, to_spans, total_of
from fastad.tables.composites.sub import Sub, made, packed, slices
from fastad.tables.composites.wanted import Wanted, adjoint_of_parts
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner


@dataclass(frozen=True, eq=False)
class LoopAdjoint(Driver, kind="adjoint"):
    """[argument of the loop | adjoints of its results] to adjoints of the argument, or of those parts of it that are
    `wanted`: [state | shared | elements]. If the loop saves states, its whole result is the second operand; it follows
    from the argument, so it has no derivative."""

    loop: Any = None  # a Loop, which knows of this class
    wanted: Wanted | None = None  # None: all of it
    kernel = "fastad.kernels.looping.reverse_loop"

    @staticmethod
    def of(loop: Any, wanted: Wanted | None = None) -> "LoopAdjoint":
        """The adjoint of a loop, which finds the saved states if the loop saves them."""
        n_out = loop.n_in if wanted is None else total_of(wanted.spans(loop.sizes.state, max(loop.length, 0)))
        return LoopAdjoint(loop.n_in + loop.n_results, n_out, f"adjoint of {loop.name}", loop=loop, wanted=wanted)

    @lazy
    def step(self) -> Sub:
        """The adjoint of a step: of the whole of its argument, the index too, or of the wanted parts of it."""
        if self.wanted is None:
            return self.loop.step.adjoint
        return adjoint_of_parts(self.loop.step, self.wanted.inside(self.loop.sizes))

    @property
    def parts_found(self) -> Wanted:
        """The parts of element and shared values whose adjoints are found."""
        return self.wanted or Wanted.everything(self.loop.sizes)

    @property
    def shared_place(self) -> int:
        """Where the adjoint of a step has those of what is shared."""
        s = self.loop.sizes
        return s.state + self.parts_found.element_size + (s.indexed and self.wanted is None)

    @property
    def spans_found(self) -> list[Span]:
        """Of the adjoints."""
        loop = self.loop
        return loop.spans_in if self.wanted is None else self.wanted.spans(loop.sizes.state, max(loop.length, 0))

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {**self.loop.named_parts, "adjoint of the body": self.step}

    @lazy
    def key(self) -> str:
        parts = "" if self.wanted is None else f"parts {self.wanted.element} {self.wanted.shared} of the "
        return f"{parts}adjoint of {self.loop.key}"

    @property
    def kind_text(self) -> str:
        return f"adjoint of a {self.loop.kind_text}"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def parameters(self) -> Parameters:
        return self.loop.parameters(self)

    @property
    def repetitions(self) -> int | None:
        return self.loop.repetitions

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        loop = self.loop
        steps, total = max(loop.length, 1), loop.total_steps(adjoint=True)
        again = steps * (not loop.saves) if total is None else total - steps * (1 + (loop.inverse is not None))
        found = steps * of(self.step) + again * of(loop.step)
        found += steps * Operations(additions=self.parts_found.shared_size)
        return found + steps * of(loop.inverse) if loop.inverse is not None else found

    def work_bytes(self, of: Callable[[Sub], int]) -> int:
        loop, s = self.loop, self.loop.sizes
        own = 2 * (s.inside + s.state + s.result) + s.shared
        own += 0 if loop.saves else sum(span.size for span in loop.storage.spans(s.state))
        return super().work_bytes(of) + 8 * own

    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        for k, argument, _ in self.steps_back(x, run):
            yield f"step {k} of {self.loop.name}", self.step, argument

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        from fastad.tables.sparsity.loops import adjoint_dependencies

        return adjoint_dependencies(sets, self, x)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        complaint = self.loop.check() or self.loop.too_many_states()
        if complaint is None and self.wanted is not None:
            complaint = self.wanted.complaint(self.loop)
        made_of = complaint or LoopAdjoint.of(self.loop, self.wanted)
        if isinstance(made_of, str):
            return made_of
        same = (self.n_in, self.n_out) == (made_of.n_in, made_of.n_out)
        return None if same else "operands or results of other sizes than its parts say"

    @property
    def stored_parts(self) -> Sequence[Sub]:
        return self.loop.parts

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"loop": write(self.loop), "wanted": self.wanted and self.wanted.to_data()}

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "LoopAdjoint":
        loop = read(data.get("loop"))
        if getattr(loop, "kind", None) != "loop":
            raise TableError("an adjoint of something else than a loop")
        return LoopAdjoint.of(loop, Wanted.from_data(data.get("wanted")))

    # ── saved states ─────────────────────────────────────────────────────────────────────────────────────────
    @property
    def standalone(self) -> Sub:
        return replace(self, loop=self.loop.without_saving)

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
        wanted = self.wanted and self.wanted.times(2, loop.sizes)
        out = to_lanes(b, wide.emit_adjoint(b, operands, u, saved, wanted), 2, self.spans_found)
        return slices(b, out, (self.n_out, self.n_out))

    def _whole(self) -> "LoopAdjoint":
        """That of the whole argument."""
        return self if self.wanted is None else self.of(self.loop)

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        (x, u), (dx, du) = self._cut(b, x), self._cut(b, dx)
        tangent, value = self._pulled(b, x, dx, (du, u), None)
        return value, tangent

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None) -> Ref:
        loop = self.loop
        if self.wanted is not None:
            u = self.wanted.spread(b, u, loop.sizes, max(loop.length, 0))
        x, seed = self._cut(b, x)
        wide, own = loop.augmented, None
        operands = to_spans(b, packed(b, [x, u]), 2, loop.spans_in)
        if wide.can_save:
            out, own = wide.emit_saving(b, operands)
        else:
            out = b.call(wide, operands)
        moved = slices(b, to_lanes(b, out, 2, loop.spans_results), (loop.n_results, loop.n_results))[1]
        bar = self._whole()._pulled(b, x, u, (b.zeros((loop.n_results,)), seed), own)[0]
        return packed(b, [bar, moved])

    def emit_batched(self, b: Any, x: Ref, size: int, saved: Ref | None = None) -> Ref:
        loop = self.loop
        if loop.condition is not None:
            return b.call(Lanes.of(self, size), x, saved)
        if saved is not None:
            saved = to_spans(b, saved, size, loop.spans_out)
        operands = to_spans(b, x, size, [*loop.spans_in, *loop.spans_results])
        wanted = self.wanted and self.wanted.times(size, loop.sizes)
        out = b.call(LoopAdjoint.of(loop._wide(size), wanted), operands, saved)
        return to_lanes(b, out, size, self.spans_found)

    def batched(self, size: int) -> Sub:
        return made(f"{self.name} over {size} lanes", size * self.n_in, lambda b, x: self.emit_batched(b, x, size))

    def reference(self, x: np.ndarray) -> np.ndarray:
        loop, n, found = self.loop, self.loop.sizes.state, self.parts_found
        bar, shared = x[loop.n_in :][:n], np.zeros(found.shared_size)
        elements = np.zeros((max(loop.length, 0), found.element_size))
        for k, _, out in self.steps_back(x):
            bar = out[:n]
            if found.element_size:
                elements[loop._place(k)] = out[n : n + found.element_size]
            shared = shared + out[self.shared_place :]
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
            out = self.step.evaluate(argument, run=run)
            yield k, argument, out
            bar = out[:n]
