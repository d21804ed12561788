"""Loops as composite rows: what they compute, how they derive and batch.

The tangent of a loop is a loop of the augmented body. Its adjoint is a driver of its own, `LoopAdjoint`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.kernels.records import LOOP
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.choices import Lanes
from fastad.tables.composites.driver import Data, Parameters, filled
from fastad.tables.composites.loop_adjoint import LoopAdjoint
from fastad.tables.composites.loop_sizes import NO_SIZES, Sizes
from fastad.tables.composites.pieces import Pieces
from fastad.tables.composites.repeated import Repeated, schedule_of
from fastad.tables.composites.spans import Span, to_lanes, to_spans
from fastad.tables.composites.sub import Sub, emit_inline, emit_joint_inline, made, packed, slices
from fastad.tables.composites.unread import reads_state
from fastad.tables.composites.wanted import Wanted
from fastad.tables.composites.wide_loops import emit_wide_loop
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner
from fastad.tables.validate import LARGEST

_PARTS = ("body", "condition", "inverse")
_FLAGS = ("backward", "saves", "progress")
_SIZES = ("state", "element", "result", "shared", "indexed")


@dataclass(frozen=True, eq=False)
class Loop(Repeated, kind="loop"):
    """[state | shared | elements] to [state | results], by `length` steps, or as many as the condition allows.

    The body maps [state | element | index | shared] to [state | result]; the condition maps the same to one number;
    the inverse gives the state before a step from the one after it (in the place of the state). `length` is -1
    where nothing but the condition ends the loop. Where a condition ends it before, the results of the other steps are
    zeros, and their elements have no derivative; a state that counts the steps says how many there are.

    `schedule` says which states are stored for the adjoint (see `fastad.schedules`; None: all of them). A loop that
    `saves` returns them behind the results.
    """

    sizes: Sizes = NO_SIZES
    body: Sub | None = None
    condition: Sub | None = None
    backward: bool = False
    usual_steps: int | None = None  # a condition may hold for long
    kernel = "fastad.kernels.looping.run_loop"

    @staticmethod
    def of(name: str, sizes: Sizes, length: int, body: Sub | None, **options: Any) -> "Loop":
        """The loop with this body; see the class for the options."""
        return Loop(0, 0, name, sizes=sizes, length=length, body=body, **options).sized()

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {name: part for name in _PARTS if (part := getattr(self, name)) is not None}

    @property
    def step(self) -> Sub:
        """The body, of a loop that was checked."""
        assert self.body is not None
        return self.body

    @lazy
    def key(self) -> str:
        options = (self.sizes, self.length, self.backward, self.saves, self.progress, repr(self.schedule))
        parts = [part and part.key for part in (self.body, self.condition, self.inverse)]
        return f"loop {options} {parts}"

    @property
    def kind_text(self) -> str:
        text = f"loop of {self.length:,} steps"
        if self.condition is not None:
            limit = f", for {self.length:,} steps at most" if self.length >= 0 else ""
            text = f"loop while a condition holds{limit}"
        text += ", backwards" if self.backward else ""
        if self.inverse is not None:
            return f"{text}, inverted"
        return text if self.schedule is None else f"{text}, {self.schedule!r}"

    # ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def spans_in(self) -> list[Span]:
        """[state | shared | elements]."""
        return [Span(1, self.sizes.state), Span(1, self.sizes.shared), Span(max(self.length, 0), self.sizes.element)]

    @property
    def spans_results(self) -> list[Span]:
        """[state | results]."""
        return [Span(1, self.sizes.state), Span(max(self.length, 0), self.sizes.result)]

    @property
    def stored_size(self) -> int:
        return self.sizes.state

    @property
    def ends_early(self) -> bool:
        return self.condition is not None

    @lazy
    def is_unread(self) -> bool:
        """Whether the adjoint needs no states: not where a schedule is asked for, or states were saved."""
        chosen = self.saves or self.schedule is not None or self.inverse is not None
        return not (chosen or self.ends_early or self.length < 0 or reads_state(self.step, self.sizes.state))

    def adjoint_of(self, wanted: Wanted | None = None) -> LoopAdjoint:
        return LoopAdjoint.of(self, wanted)

    def emit_adjoint_where(self, b: Any, x: Ref, u: Ref, saved: Ref | None, wanted: Callable[[], np.ndarray]) -> Ref:
        steps, comes_apart = max(self.length, 0), self.step.table is not None and self.step.rules is None
        found = Wanted.of(self.sizes, steps, wanted()) if comes_apart else None
        bar = self.emit_adjoint(b, x, u, saved, found)
        return bar if found is None else found.spread(b, bar, self.sizes, steps)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def parameters(self, adjoint: LoopAdjoint | None = None) -> Parameters:
        """What the kernel of the loop, or of its adjoint, reads."""
        s, back = self.sizes, adjoint is not None
        stored, arrays = self.stored_states(back)
        p = filled(
            LOOP, state=s.state, element=s.element, result=s.result, shared=s.shared, indexed=s.indexed,
            length=self.length, backward=self.backward, **stored,
        )  # fmt: skip
        kernels = {"body": self.body, "condition": self.condition}
        if adjoint is not None:
            kernels |= {"adjoint": adjoint.step, "inverse": self.inverse}
            p["element_found"], p["shared_found"] = adjoint.parts_found.element_size, adjoint.parts_found.shared_size
            p["shared_place"] = adjoint.shared_place
        return Parameters(p, kernels, arrays, self.resources(back), self._work(back), self._pieces(adjoint), self._room)

    def _pieces(self, adjoint: LoopAdjoint | None) -> dict[str, Pieces]:
        """Those of the parts' vectors."""
        s = self.sizes
        given, result = (s.state, s.element, int(s.indexed), s.shared), (s.state, s.result)
        found = {"body": Pieces(given, result)}
        if self.condition is not None:
            found["condition"] = Pieces(given, (1,))
        if adjoint is not None and self.inverse is not None:
            found["inverse"] = Pieces(given, (s.state,))
        if adjoint is not None:
            own = adjoint.parts_found
            index = adjoint.shared_place - s.state - own.element_size
            found["adjoint"] = Pieces((*given, *result), (s.state, own.element_size, index, own.shared_size))
        return found

    @property
    def _room(self) -> int:
        """Numbers of pieces that may lie apart: two states, two adjoints of states, a result, an adjoint of what is
        shared."""
        return 4 * self.sizes.state + self.sizes.result + self.sizes.shared

    def _work(self, adjoint: bool) -> dict[str, int]:
        """Lengths of the driver's vectors."""
        s = self.sizes
        step_in, step_out = s.inside, s.state + s.result
        return {
            "step_in": (not adjoint) * step_in, "step_out": step_out + 1,
            "bar_in": adjoint * (step_in + step_out),
            "bar_out": adjoint * step_in, "shared_bar": adjoint * s.shared, "room": 0, **self.stored_work(adjoint),
        }  # fmt: skip

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        parts = (part for part in (self.body, self.condition) if part is not None)
        return max(self.length, 1) * sum(map(of, parts), Operations())

    def work_bytes(self, of: Callable[[Sub], int]) -> int:
        return super().work_bytes(of) + 8 * (self.sizes.inside + self.sizes.state + self.sizes.result)

    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        for k, state in enumerate(self.trajectory(x, run)[0]):
            yield f"step {k} of {self.name}", self.step, self.step_argument(x, state, k)

    def numbers(self, value: np.ndarray) -> np.ndarray:
        return value[: self.n_results]

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        from fastad.tables.sparsity.loops import loop_dependencies

        return loop_dependencies(sets, self, x)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        complaint = self._wrong_parts() or (self.too_many_states() if self.saves else None)
        if complaint:
            return complaint
        return None if (self.n_in, self.n_out) == self.ends else "operands or results of other sizes than its parts say"

    def _wrong_parts(self) -> str | None:
        """What is wrong with the parts, whatever the loop's own sizes are."""
        s = self.sizes
        if any(not 0 <= getattr(s, name) <= LARGEST for name in _SIZES) or not -1 <= self.length <= LARGEST:
            return "sizes or a number of steps out of range"
        if max(self.length, 0) * max(s.element, s.result) > LARGEST:
            return "elements or results of more than 8 TiB"
        if self.length < 0 and (self.condition is None or s.element or s.result or self.backward):
            return "a loop of unknown length needs a condition, and has neither elements nor results"
        if self.inverse is not None and self.condition is not None:
            return "a loop with a condition cannot be inverted: its number of steps is not known"
        if self.body is None:
            return "a loop without a body"
        parts = ((self.body, s.state + s.result), (self.condition, 1), (self.inverse, s.state))
        if any(part is not None and (part.n_in, part.n_out) != (s.inside, n_out) for part, n_out in parts):
            return "a part that is not for vectors of the loop's sizes"
        return "a part that needs saved states" if any(part.n_saved for part in self.parts) else None

    def to_data(self, write: Any) -> dict[str, Any]:
        return {
            "length": self.length, "sizes": [getattr(self.sizes, name) for name in _SIZES],
            "flags": [getattr(self, name) for name in _FLAGS],
            "parts": [None if (part := getattr(self, name)) is None else write(part) for name in _PARTS],
            "schedule": self.schedule_data(write), "usual_steps": self.usual_steps or 0,
        }  # fmt: skip

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "Loop":
        sizes = Sizes(*data.list_of("sizes", [int, int, int, int, bool]))
        flags = data.list_of("flags", [bool] * len(_FLAGS))
        length, parts = data.of("length", int), data.of("parts", list)
        if len(parts) != len(_PARTS):
            raise TableError("its header has an invalid loop")
        made_parts = [None if part is None else read(part) for part in parts]
        options: dict[str, Any] = dict(zip(_PARTS + _FLAGS, (*made_parts, *flags), strict=True))
        options["schedule"] = schedule_of(data.get("schedule"), length, read)
        if "usual_steps" in data:  # not in files of older versions
            options["usual_steps"] = max(data.of("usual_steps", int), 0) or None
        complaint = Loop(0, 0, name, sizes=sizes, length=length, **options)._wrong_parts()
        if complaint:  # before sizes are computed from what is wrong
            raise TableError(f"{name}: {complaint}")
        return Loop.of(name, sizes, length, **options)

    # ── derivation and batching ──────────────────────────────────────────────────────────────────────────────
    def over(self, lanes: int, name: str, emit: Callable[[Any, Sub, Ref], Ref]) -> "Loop":
        """The loop of several lanes: `emit` writes the rows of a part for an argument lane after lane."""

        def widened(part: Sub | None, out: Sequence[Span]) -> Sub | None:
            def rows(b: Builder, x: Ref) -> Ref:
                assert part is not None
                return to_spans(b, emit(b, part, to_lanes(b, x, lanes, self.sizes.step_in)), lanes, out)

            wide = [span.size if span.shared else lanes * span.size for span in self.sizes.step_in]
            return None if part is None else made(f"{part.name}{name}", sum(wide), rows)

        def test(b: Builder, x: Ref) -> Ref:  # of the first lane
            assert self.condition is not None
            first = slices(b, to_lanes(b, x, lanes, self.sizes.step_in), (self.condition.n_in,))[0]
            return emit_inline(b, self.condition, first)

        body = widened(self.body, self.sizes.step_out)
        inverse = widened(self.inverse, [Span(1, self.sizes.state)])
        wide = self.sizes.times(lanes)
        condition = self.condition and made(self.condition.name, body.n_in if body else 0, test)
        return Loop.of(
            self.name + name, wide, self.length, body, condition=condition, inverse=inverse, progress=self.progress,
            schedule=self.resolved if self.saves else self.schedule, backward=self.backward, saves=self.saves,
            usual_steps=self.usual_steps,
        )  # fmt: skip

    @lazy
    def augmented(self) -> "Loop":
        """The loop of states and their tangents: two lanes, the second with the tangents."""

        def emit(b: Any, part: Sub, lanes: Ref) -> Ref:
            x, dx = slices(b, lanes, (part.n_in, part.n_in))
            sizes = [span.size for span in self.sizes.step_in]
            state, element, index, shared = slices(b, dx, sizes)
            still = b.zeros((b.size(index),))
            return packed(b, emit_joint_inline(b, part, x, packed(b, [state, element, still, shared])))

        return self.without_saving.over(2, " with tangents", emit)

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        out = b.call(self.augmented, to_spans(b, packed(b, [x, dx]), 2, self.spans_in))
        y, dy = slices(b, to_lanes(b, out, 2, self.spans_results), (self.n_results, self.n_results))
        if not self.saves:
            return y, dy
        return b.call(self, x), packed(b, [dy, b.zeros((self.n_out - self.n_results,))])

    def emit_batched(self, b: Any, x: Ref, size: int, saved: Ref | None = None) -> Ref:
        if self.condition is not None:  # lanes end at different steps
            return b.call(Lanes.of(self, size), x)
        out = b.call(self._wide(size), to_spans(b, x, size, self.spans_in))
        return to_lanes(b, out, size, self.spans_out)

    def emit_elements(self, b: Any, x: Sequence[Ref], lanes: int) -> list[Ref] | None:
        return emit_wide_loop(b, self, x, lanes)

    def with_parts(self, name: str, state: int, shared: int, body: Sub, condition: Sub) -> "Loop":
        """A loop of unknown length with these sizes and parts."""
        options = {"schedule": self.schedule, "usual_steps": self.usual_steps}
        return Loop.of(name, Sizes(state, shared=shared), -1, body, condition=condition, **options)

    def batched(self, size: int) -> Sub:
        return made(f"{self.name} over {size} lanes", size * self.n_in, lambda b, x: self.emit_batched(b, x, size))

    def _wide(self, size: int) -> "Loop":
        return self.over(size, f" over {size} lanes", lambda b, part, x: emit_inline(b, part.batched(size), x))

    # ── definition ───────────────────────────────────────────────────────────────────────────────────────────
    def reference(self, x: np.ndarray) -> np.ndarray:
        states, results, state = self.trajectory(x)
        n, made_steps = self.sizes.state, len(states)
        out = np.zeros(self.n_out)
        out[:n] = state
        each = out[n : self.n_results].reshape(-1, self.sizes.result) if self.sizes.result else np.zeros((0, 0))
        for k, own in enumerate(results[: len(each)]):
            each[self._place(k)] = own
        saved = out[self.n_results :]
        if len(saved):
            saved[: 1 + n] = [made_steps, *(states[-1] if states else np.zeros(n))]
            for k, own in enumerate(states if self.storage.policy == "every" else []):
                saved[1 + n * (k + 1) :][:n] = own
        return out

    def _place(self, k: int) -> int:
        """Where step k finds its element: a backward loop starts at the end."""
        return self.length - 1 - k if self.backward else k

    def step_argument(self, x: np.ndarray, state: np.ndarray, k: int) -> np.ndarray:
        """What the body gets at step k."""
        n, s = self.sizes.state, self.sizes
        place = self._place(k)
        element = x[n + s.shared + place * s.element :][: s.element]
        return np.concatenate([state, element, [float(place)] * s.indexed, x[n : n + s.shared]])

    def trajectory(
        self, x: np.ndarray, run: Runner | None = None
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """The state before every step, the result of every step, the last state."""
        states: list[np.ndarray] = []
        results: list[np.ndarray] = []
        state = x[: self.sizes.state]
        while self.length < 0 or len(states) < self.length:
            inside = self.step_argument(x, state, len(states))
            if self.condition is not None and not self.condition.evaluate(inside, run=run)[0]:
                break
            states.append(state)
            out = self.step.evaluate(inside, run=run)
            state = out[: self.sizes.state]
            results.append(out[self.sizes.state :])
        return states, results, state
