"""Loops as composite rows, and their adjoints: what they compute, how they derive and batch. Drivers run them.

The tangent of a loop is a loop of the augmented body. The adjoint of a loop is one driver, whose own derivatives
are adjoints of augmented loops: the adjoint of (x, dx) -> (f(x), f'(x) dx) for the seeds (v, u) is
(d/dx of [u·f'(x) dx + v·f(x)], f'(x)ᵀ u), and its first part is the tangent of (x, u) -> f'(x)ᵀ u in the direction
(dx, v). So nothing else is needed for any order, and the schedule of the states is respected at every order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastad.errors import ScheduleError
from fastad.tables.blocks import Block, to_blocks, to_lanes
from fastad.tables.builder import Builder, Ref
from fastad.tables.composite import Driver, Lanes, made
from fastad.tables.sub import Sub, emit_inline, emit_joint_inline, packed, slices


@dataclass(frozen=True)
class Sizes:
    """Sizes of a loop's state, of one step's element and result, and of what all steps share; whether steps are told
    their number."""

    state: int
    element: int = 0
    result: int = 0
    shared: int = 0
    counted: bool = False

    def times(self, n: int) -> "Sizes":
        """Sizes for n lanes."""
        return Sizes(n * self.state, n * self.element, n * self.result, n * self.shared, self.counted)

    @property
    def step_in(self) -> list[Block]:
        """[state | element | number | shared], the argument of body and condition."""
        number = Block(1, int(self.counted), shared=True)
        return [Block(1, self.state), Block(1, self.element), number, Block(1, self.shared)]

    @property
    def step_out(self) -> list[Block]:
        """[state | result] of the body."""
        return [Block(1, self.state), Block(1, self.result)]


_CHANGED = ("scheduled", "online")  # ways to keep states in which slots are used again


@dataclass(frozen=True)
class Keeping:
    """How an adjoint finds the states: the way (of `fastad.kernels.loop_fields`), the slots in memory and on disk, and
    the planner's first state."""

    way: str
    memory: int = 0
    disk: int = 0
    plan: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Loop(Driver):
    """[state | shared | elements] to [state | results], by `length` steps, or as many as the condition allows.

    The body maps [state | element | number | shared] to [state | result]; the condition maps the same to one number;
    the inverse gives the state before a step from the one after it (in the place of the state). `length` is -1
    where nothing but the condition ends the loop. `schedule` says which states the adjoint keeps (see
    `fastad.schedules`; None: all of them). With `kept`, what the forward pass kept follows the results.
    """

    sizes: Sizes = Sizes(0)
    length: int = 0
    body: Sub | None = None
    condition: Sub | None = None
    inverse: Sub | None = None
    schedule: Any = None
    backward: bool = False
    kept: bool = False
    progress: bool = False  # whether a bar shows the steps

    @staticmethod
    def of(name: str, sizes: Sizes, length: int, body: Sub | None, **options: Any) -> "Loop":
        """The loop with this body; see the class for the options."""
        own = Loop(0, 0, name, sizes=sizes, length=length, body=body, **options)
        ends = [sum(block.size for block in blocks) for blocks in (own.blocks_in, own.blocks_out)]
        return replace(own, n_in=ends[0], n_out=ends[1])

    @property
    def parts(self) -> tuple[Sub, ...]:
        return tuple(part for part in (self.body, self.condition, self.inverse) if part is not None)

    @cached_property
    def key(self) -> str:
        options = (self.sizes, self.length, self.backward, self.kept, self.progress, repr(self.schedule))
        parts = [part and part.key for part in (self.body, self.condition, self.inverse)]
        return f"loop {options} {parts}"

    @property
    def blocks_in(self) -> list[Block]:
        """[state | shared | elements]."""
        return [Block(1, self.sizes.state), Block(1, self.sizes.shared), Block(max(self.length, 0), self.sizes.element)]

    @property
    def blocks_results(self) -> list[Block]:
        """[state | results]."""
        return [Block(1, self.sizes.state), Block(max(self.length, 0), self.sizes.result)]

    @property
    def blocks_kept(self) -> list[Block]:
        """[steps made | state before the last step | slots | what was chosen online]."""
        keeping, n = self.keeping, self.sizes.state
        if keeping.way == "inverted":
            return []
        chosen = len(keeping.plan) if keeping.way == "online" and keeping.plan is not None else 0
        return [Block(1, 1, True), Block(1, n), Block(keeping.memory, n), Block(1, chosen, True)]

    @property
    def blocks_out(self) -> list[Block]:
        """Of the whole result."""
        return [*self.blocks_results, *(self.blocks_kept if self.kept else ())]

    @cached_property
    def keeping(self) -> Keeping:
        """How the adjoint finds the states."""
        if self.inverse is not None:
            return Keeping("inverted")
        schedule, known = self.resolved, self.condition is None
        if self.length >= 0 and (schedule is None or schedule.stores_all):
            return Keeping("every", self.length)
        if known:
            memory, disk = schedule.slots(self.length)
            return Keeping("scheduled", memory, disk, schedule.state(self.length))
        if not hasattr(schedule, "online_state"):
            raise ScheduleError(
                f"{self.name}: {schedule} needs to know the number of steps; use fad.checkpoint.Online(snapshots), or "
                "StoreAll() together with max_steps"
            )
        return Keeping("online", schedule.snapshots, 0, schedule.online_state())

    @property
    def resolved(self) -> Any:
        """The schedule for this size of state."""
        known = None if self.condition is not None else self.length
        return self.schedule and self.schedule.resolve(known, 8 * self.sizes.state)

    def total_steps(self, adjoint: bool) -> int | None:
        """Steps and adjoint steps that a run makes; None if it is not known."""
        if self.length < 0 or self.condition is not None:
            return None
        if not adjoint:
            return self.length
        again = 0 if self.kept else self.length
        if self.keeping.way == "scheduled":
            again = self.resolved.predicted_steps(self.length) - (self.length - 1 if self.kept else -1)
        return self.length * (1 + (self.inverse is not None)) + again

    # ── derivation and batching ──────────────────────────────────────────────────────────────────────────────
    @property
    def keeps(self) -> bool:
        return not self.kept and not self.keeping.disk

    @property
    def fills_kept(self) -> bool:
        return self.kept and self.keeping.way in _CHANGED

    @cached_property
    def keeper(self) -> "Loop":
        """The loop that keeps states for its adjoint."""
        return Loop.of(
            self.name, self.sizes, self.length, self.body, condition=self.condition, inverse=self.inverse,
            schedule=self.schedule, backward=self.backward, progress=self.progress, kept=True,
        )  # fmt: skip

    def emit_keeping(self, b: Any, x: Ref) -> tuple[Ref, Ref]:
        everything = b.call(self.keeper, x)
        return slices(b, everything, (self.n_out,))[0], everything

    def over(self, lanes: int, name: str, emit: Callable[[Any, Sub, Ref], Ref]) -> "Loop":
        """The loop of several lanes: `emit` writes the rows of a part for an argument lane after lane."""

        def widened(part: Sub | None, out: Sequence[Block]) -> Sub | None:
            def rows(b: Builder, x: Ref) -> Ref:
                assert part is not None
                return to_blocks(b, emit(b, part, to_lanes(b, x, lanes, self.sizes.step_in)), lanes, out)

            wide = [block.size if block.shared else lanes * block.size for block in self.sizes.step_in]
            return None if part is None else made(f"{part.name}{name}", sum(wide), rows)

        def test(b: Builder, x: Ref) -> Ref:  # of the first lane
            assert self.condition is not None
            first = slices(b, to_lanes(b, x, lanes, self.sizes.step_in), (self.condition.n_in,))[0]
            return emit_inline(b, self.condition, first)

        body = widened(self.body, self.sizes.step_out)
        inverse = widened(self.inverse, [Block(1, self.sizes.state)])
        wide = self.sizes.times(lanes)
        condition = self.condition and made(self.condition.name, body.n_in if body else 0, test)
        return Loop.of(
            self.name + name, wide, self.length, body, condition=condition, inverse=inverse, progress=self.progress,
            schedule=self.resolved if self.kept else self.schedule, backward=self.backward, kept=self.kept,
        )  # fmt: skip

    @cached_property
    def augmented(self) -> "Loop":
        """The loop of states and their tangents: two lanes, the second with the tangents."""

        def emit(b: Any, part: Sub, lanes: Ref) -> Ref:
            x, dx = slices(b, lanes, (part.n_in, part.n_in))
            sizes = [block.size for block in self.sizes.step_in]
            state, element, number, shared = slices(b, dx, sizes)
            still = b.zeros((b.size(number),))
            return packed(b, emit_joint_inline(b, part, x, packed(b, [state, element, still, shared])))

        return self.plain.over(2, " with tangents", emit)

    @property
    def plain(self) -> "Loop":
        """The loop without what it keeps."""
        return self if not self.kept else replace(self, n_out=self.n_results, kept=False)

    @property
    def n_results(self) -> int:
        return sum(block.size for block in self.blocks_results)

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        out = b.call(self.augmented, to_blocks(b, packed(b, [x, dx]), 2, self.blocks_in))
        y, dy = slices(b, to_lanes(b, out, 2, self.blocks_results), (self.n_results, self.n_results))
        if not self.kept:
            return y, dy
        return b.call(self, x), packed(b, [dy, b.zeros((self.n_out - self.n_results,))])

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, kept: Ref | None) -> Ref:
        if self.kept:  # nothing moves with what is kept
            u = slices(b, u, (self.n_results,))[0]
        adjoint = LoopAdjoint.of(self.keeper if kept is not None else self.plain)
        return b.call(adjoint, packed(b, [x, u]), kept)

    def emit_batched(self, b: Any, x: Ref, size: int, kept: Ref | None = None) -> Ref:
        if self.condition is not None:  # lanes end at different steps
            return b.call(Lanes.of(self, size), x)
        out = b.call(self._wide(size), to_blocks(b, x, size, self.blocks_in))
        return to_lanes(b, out, size, self.blocks_out)

    def batched(self, size: int) -> Sub:
        return made(f"{self.name} over {size} lanes", size * self.n_in, lambda b, x: self.emit_batched(b, x, size))

    def _wide(self, size: int) -> "Loop":
        return self.over(size, f" over {size} lanes", lambda b, part, x: emit_inline(b, part.batched(size), x))

    # ── definition ───────────────────────────────────────────────────────────────────────────────────────────
    def reference(self, x: np.ndarray) -> np.ndarray:
        states, results, state = self.trajectory(x)
        found = np.concatenate([state, *results]) if results else state
        if not self.kept:
            return found
        last = states[-1] if states else np.zeros(self.sizes.state)
        kept = np.zeros(self.n_out - self.n_results)
        kept[: 1 + len(last)] = [len(states), *last]
        for k, own in enumerate(states if self.keeping.way == "every" else []):
            kept[1 + len(last) * (k + 1) :][: len(last)] = own
        return np.concatenate([found, kept])

    def step_argument(self, x: np.ndarray, state: np.ndarray, k: int) -> np.ndarray:
        """What the body gets at step k."""
        n, s = self.sizes.state, self.sizes
        place = self.length - 1 - k if self.backward else k
        element = x[n + s.shared + place * s.element :][: s.element]
        return np.concatenate([state, element, [float(place)] * s.counted, x[n : n + s.shared]])

    def trajectory(self, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """The state before every step, the results in order of their places, the last state."""
        assert self.body is not None
        states: list[np.ndarray] = []
        results: list[np.ndarray] = []
        state = x[: self.sizes.state]
        while self.length < 0 or len(states) < self.length:
            inside = self.step_argument(x, state, len(states))
            if self.condition is not None and not self.condition.evaluate(inside)[0]:
                break
            states.append(state)
            out = self.body.evaluate(inside)
            state = out[: self.sizes.state]
            results.append(out[self.sizes.state :])
        return states, results[::-1] if self.backward else results, state


@dataclass(frozen=True, eq=False)
class LoopAdjoint(Driver):
    """[argument of the loop | adjoints of its results] to adjoints of the argument. If the loop is a keeper, all that
    it has returned is what was kept. It follows from the argument, so nothing moves with it."""

    loop: Loop = Loop(0, 0, "")

    @staticmethod
    def of(loop: Loop) -> "LoopAdjoint":
        """The adjoint of a loop, or, for a keeper, of the loop with the help of what it kept."""
        n = loop.n_in + loop.n_results
        return LoopAdjoint(n, loop.n_in, f"adjoint of {loop.name}", loop=loop)

    @property
    def parts(self) -> tuple[Sub, ...]:
        assert self.loop.body is not None
        return (*self.loop.parts, self.loop.body.adjoint)

    @cached_property
    def key(self) -> str:
        return f"adjoint of {self.loop.key}"

    @property
    def by_itself(self) -> Sub:
        return LoopAdjoint.of(self.loop.plain)

    @property
    def n_kept(self) -> int:
        return self.loop.n_out if self.loop.kept else 0

    @property
    def changes_kept(self) -> bool:
        return self.loop.fills_kept

    def _cut(self, b: Any, x: Ref) -> tuple[Ref, Ref]:
        x, u = slices(b, x, (self.loop.n_in, self.loop.n_results))
        return x, u

    def _pulled(self, b: Any, x: Ref, dx: Ref, seeds: tuple[Ref, Ref], kept: Ref | None) -> list[Ref]:
        """Both parts of the adjoint of (x, dx) to (y, dy)."""
        loop, wide = self.loop, self.loop.augmented
        operands = to_blocks(b, packed(b, [x, dx]), 2, loop.blocks_in)
        u = to_blocks(b, packed(b, seeds), 2, loop.blocks_results)
        out = to_lanes(b, wide.emit_adjoint(b, operands, u, kept), 2, loop.blocks_in)
        return slices(b, out, (loop.n_in, loop.n_in))

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        (x, u), (dx, du) = self._cut(b, x), self._cut(b, dx)
        tangent, value = self._pulled(b, x, dx, (du, u), None)
        return value, tangent

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, kept: Ref | None) -> Ref:
        loop = self.loop
        x, seed = self._cut(b, x)
        wide, own = loop.augmented, None
        operands = to_blocks(b, packed(b, [x, u]), 2, loop.blocks_in)
        if wide.keeps:
            out, own = wide.emit_keeping(b, operands)
        else:
            out = b.call(wide, operands)
        moved = slices(b, to_lanes(b, out, 2, loop.blocks_results), (loop.n_results, loop.n_results))[1]
        bar = self._pulled(b, x, u, (b.zeros((loop.n_results,)), seed), own)[0]
        return packed(b, [bar, moved])

    def emit_batched(self, b: Any, x: Ref, size: int, kept: Ref | None = None) -> Ref:
        loop = self.loop
        if loop.condition is not None:
            return b.call(Lanes.of(self, size), x, kept)
        if kept is not None:
            kept = to_blocks(b, kept, size, loop.blocks_out)
        operands = to_blocks(b, x, size, [*loop.blocks_in, *loop.blocks_results])
        out = b.call(LoopAdjoint.of(loop._wide(size)), operands, kept)
        return to_lanes(b, out, size, loop.blocks_in)

    def batched(self, size: int) -> Sub:
        return made(f"{self.name} over {size} lanes", size * self.n_in, lambda b, x: self.emit_batched(b, x, size))

    def reference(self, x: np.ndarray) -> np.ndarray:
        loop, s, n = self.loop, self.loop.sizes, self.loop.sizes.state
        bar, shared = x[loop.n_in :][:n], np.zeros(s.shared)
        elements = np.zeros((max(loop.length, 0), s.element))
        for k, _, out in self.steps_back(x):
            bar, elements[loop.length - 1 - k if loop.backward else k] = out[:n], out[n : n + s.element]
            shared = shared + out[n + s.element + s.counted :]
        return np.concatenate([bar, shared, elements.reshape(-1)])

    def steps_back(self, x: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Every step from the last one: its number, argument and result of its adjoint."""
        loop, s, n = self.loop, self.loop.sizes, self.loop.sizes.state
        assert loop.body is not None
        u = x[loop.n_in :]
        states, _, _ = loop.trajectory(x[: loop.n_in])
        bar = u[:n]
        for k in range(len(states) - 1, -1, -1):
            place = loop.length - 1 - k if loop.backward else k
            seed = np.concatenate([bar, u[n + place * s.result :][: s.result]])
            argument = np.concatenate([loop.step_argument(x, states[k], k), seed])
            out = loop.body.adjoint.evaluate(argument)
            yield k, argument, out
            bar = out[:n]
