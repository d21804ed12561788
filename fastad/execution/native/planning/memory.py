"""Memory: straight-line code cut into chunks, and a place for every value that outlives its step.

Results stand in the kernel's result vector from the start where possible; other values share the work arena, a slot
being free again after the last step that reads it.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fastad.execution.layout import Layout, Slot
from fastad.execution.native.planning.demand import Demand
from fastad.execution.native.planning.planner import Planner
from fastad.execution.native.planning.steps import SCALAR, VIRTUAL, CallStep, LoopStep, Place, ScalarStep, Step
from fastad.primitives import PRIMITIVES, Elementwise
from fastad.tables.columns import CONST, GUARD, INPUT
from fastad.tables.slots import Slots

_ALIGN = 8  # doubles: arrays start on cache lines


class Memory:
    """Final steps, places of rows, copies (row, output) made at the end, and doubles of work."""

    def __init__(self, p: Planner, demand: Demand, layout: Layout, chunk: int) -> None:
        self.p, self.layout = p, layout
        self.steps: list[Step] = []
        self.made_in: dict[int, int] = {}  # row -> final step
        self.number: dict[int, int] = {}  # planned step -> final step
        self.places: dict[int, Place] = {}
        self.copies: list[tuple[int, int]] = []
        self.last: dict[int, int] = {}  # rows in memory -> last step that reads them
        self.work_size = 0
        self.scratch: dict[int, tuple[Place, int]] = {}  # of call steps, by row
        self._cut(chunk)
        self._find_uses(demand)
        self._place_results()
        self.in_place: dict[int, int] = dict(self._updates())
        self._allocate()

    def place(self, x: int) -> Place:
        """Where the elements of a row that is in memory start."""
        source, shift = self.p.base(x)
        found = self.places.get(source)
        if found is None:
            found = self.places[source] = self._outside(source)
        return found.plus(shift)

    def _outside(self, source: int) -> Place:
        if self.p.op[source] == INPUT:
            slot = self.layout.inputs[self.p.a[source]]
            return _of_slot("in", slot)
        assert self.p.op[source] == CONST
        return Place("constants", 0, self.p.a[source])

    # ── chunks ───────────────────────────────────────────────────────────────────────────────────────────────
    def _cut(self, chunk: int) -> None:
        for step in self.p.steps:
            if isinstance(step, ScalarStep):
                self._cut_scalars(step, chunk)
            else:
                self.number[step.index] = len(self.steps)
                self.steps.append(step)
        for r, home in self.p.home.items():
            self.made_in[r] = self.number[home]
        for old in self.steps:
            if isinstance(old, LoopStep):
                self.made_in |= dict.fromkeys(old.reductions, self.number[old.index])
            elif not isinstance(old, ScalarStep):
                self.made_in[old.row] = self.number[old.index]

    def _cut_scalars(self, step: ScalarStep, chunk: int) -> None:
        size, room = self.p.size, 0
        inside = {r for pack in step.packs.values() for r in pack[1:]}
        for r in step.rows:
            if room <= 0 and r not in inside:
                room = chunk
                self.steps.append(ScalarStep(len(self.steps), packs=step.packs))
            self.steps[-1].rows.append(r)  # type: ignore[union-attr]
            self.made_in[r] = len(self.steps) - 1
            room -= size[r]

    # ── uses ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _find_uses(self, demand: Demand) -> None:
        for at, step in enumerate(self.steps):
            if isinstance(step, ScalarStep):
                for r in step.rows:
                    self._chunk_uses(r, at)
            elif isinstance(step, LoopStep):
                for x in demand.reads[step.index]:
                    self._use(x, at)
            else:
                for x in self.p.table.row(step.row).operands:
                    self._use(self.p.base(x)[0], at)
        for r in self.p.table.outputs:
            self._use(self.p.base(r)[0], len(self.steps))
        for r in [r for r in self.last if r in self.p.picks]:  # unrolled rows of others' elements, wanted in memory
            for element in self.p.picks[r]:
                if element is not None:
                    self._use_element(element[0], self.made_in[r])

    def _chunk_uses(self, r: int, at: int) -> None:
        p = self.p
        if r in p.picks:
            return
        if r in p.copied:
            for element in p.copied[r]:
                if element is not None:
                    self._use_element(element[0], at)
            return
        row = PRIMITIVES[p.op[r]]
        if isinstance(row, Elementwise):
            operands: tuple[int, ...] = (p.a[r], p.b[r], p.c[r])[: len(row.domain)]
        else:
            operands = p.table.row(r).operands
            for k in row.addressed:  # type: ignore[attr-defined]
                self._use(p.base(operands[k])[0], at)  # its elements are chosen at run time
        for x in operands:
            x = p.base(x)[0]
            if x in p.picks:
                for element in p.picks[x]:
                    if element is not None:
                        self._use_element(element[0], at)
            else:
                self._use_element(x, at)

    def _use_element(self, x: int, at: int) -> None:
        if self.p.realm[x] != SCALAR or self.made_in[x] != at:
            self._use(x, at)

    def _use(self, x: int, at: int) -> None:
        if self.p.op[x] not in _OUTSIDE and self.p.size[x]:
            self.last[x] = max(self.last.get(x, 0), at)

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────────
    def _place_results(self) -> None:
        for j, r in enumerate(self.p.table.outputs):
            source, shift = self.p.base(r)
            if self.p.size[r] and self.p.op[source] not in _OUTSIDE and source not in self.made_in:
                raise AssertionError(f"no step computes row {source}, from which result {j} is made")
            whole = shift == 0 and self.p.size[source] == self.p.size[r]
            if whole and self.p.op[source] not in _OUTSIDE and source not in self.places and self.p.size[r]:
                self.places[source] = _of_slot("out", self.layout.outputs[j])
            elif self.p.size[r]:
                self.copies.append((r, j))

    def _updates(self) -> Iterator[tuple[int, int]]:
        """Updates that write over an array which no later step reads, nor they themselves as a piece; and the array."""
        for at, step in enumerate(self.steps):
            row = self.p.table.row(step.row) if isinstance(step, CallStep) else None
            if row is not None and row.written_over(self.p.size) is not None:
                x, *others = (self.p.base(operand)[0] for operand in row.operands)
                if self.p.size[x] == row.size and self.last.get(x) == at and x not in others:
                    yield row.index, x

    def _allocate(self) -> None:
        born: dict[int, list[int]] = defaultdict(list)
        dies: dict[int, list[int]] = defaultdict(list)
        first_step = self.made_in | self._first_steps()
        written_over = set(self.in_place.values())
        for r, end in self.last.items():
            if r not in self.places and r not in written_over:
                born[first_step[r]].append(r)
                dies[end].append(r)
        # Whoever computes a row that nobody reads still needs a place for it.
        for r in self.made_in:
            if r not in self.last and r not in self.places and self._must_write(r):
                born[first_step[r]].append(r)
                dies[self.made_in[r]].append(r)
        small, large = Slots(), Slots()
        slots: dict[int, tuple[Slots, int]] = {}
        for at in range(len(self.steps) + 1):
            for r in born[at]:
                size = self.p.size[r]
                arena, rounded = (small, size) if size < _ALIGN else (large, -(-size // _ALIGN) * _ALIGN)
                slots[r] = arena, arena.take(rounded)
            for r in dies[at]:
                size = self.p.size[r]
                slots[r][0].give(slots[r][1], size if size < _ALIGN else -(-size // _ALIGN) * _ALIGN)
        first = -(-small.end // _ALIGN) * _ALIGN if large.end else small.end
        for r, (arena, start) in slots.items():
            self.places[r] = Place("work", start if arena is small else first + start)
        for r, x in reversed(self.in_place.items()):
            self.places[x] = self.places[r]
        self.work_size = first + large.end + self._give_scratch(first + large.end)

    def _first_steps(self) -> dict[int, int]:
        """The step in which the place of an update is first written, by row."""
        found: dict[int, int] = {}
        for r, x in self.in_place.items():
            found[r] = found.get(x, self.made_in[x])
        return found

    def _give_scratch(self, start: int) -> int:
        """Scratch memory for the steps that call a kernel which needs it: the same for all; its size."""
        start = -(-start // _ALIGN) * _ALIGN
        rows = [self.p.table.row(step.row) for step in self.steps if isinstance(step, CallStep)]
        for row in rows:
            primitive: Any = row.primitive
            needed = primitive.work(row.statics, row.size, [self.p.size[x] for x in row.operands])
            if primitive.needs_work:
                self.scratch[row.index] = Place("work", start), needed
        largest = max((size for _, size in self.scratch.values()), default=0)
        return largest + _ALIGN if self.scratch else 0

    def _must_write(self, r: int) -> bool:
        if self.p.realm[r] == VIRTUAL:
            return r in self.p.stored
        return self.p.realm[r] != SCALAR and self.p.op[r] != GUARD


def _of_slot(kind: str, slot: Slot) -> Place:
    return Place(f"{kind}_ref" if slot.by_reference else kind, slot.offset)


_OUTSIDE = (INPUT, CONST)
