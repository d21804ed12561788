"""`roll`: a table whose repeated rows have become loop rows."""

from collections.abc import Collection
from collections.abc import Sequence as SequenceOf
from typing import Any, NamedTuple

import numpy as np

from fastad.primitives import ASSEMBLE, CONST, GATHER, STRIDED
from fastad.primitives.distinct import distinct, numbered
from fastad.primitives.regions import Region, batched, elements_of, is_contiguous, parts
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.loop_sizes import Sizes
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.sub import packed
from fastad.tables.inline import ELEMENTWISE, Lookup, compact, copy_row, inline
from fastad.tables.rolling.body import Body
from fastad.tables.rolling.joined import NAME, interleaved, is_rolled, joined
from fastad.tables.rolling.loops import Loops
from fastad.tables.rolling.pattern import Pattern, pattern_of
from fastad.tables.rolling.sequence import Sequence
from fastad.tables.rolling.turns import TurnValue, step_of, streams
from fastad.tables.table import Row, Table

LEAST_TURNS = 16
# What a loop must be worth, in rows of numbers, all turns together. A row of arrays counts more, because native code
# takes longer to make for it. A short turn of numbers runs faster without the loop around it.
LEAST_WORTH, LEAST_WORTH_OF_SHORT_TURNS = 2000, 20_000
_WORTH_OF_ARRAYS = 10
_SHORT = 16
_DEEPEST = 4  # loops in loops
_LATEST = 2  # turns that are left out of a loop for what is wanted of them


def roll(table: Table, schedule: Any = None) -> Table:
    """The table with loop rows in the place of rows that repeat themselves; the same table where none do.

    Turns agree in primitives, types and source lines. An operand is carried from an earlier turn, the same in all of
    them, or a value of its own in each turn that does not depend on the loop, which becomes an element. Values are the
    same to the last bit. Inner loops are found first, and become rows of the outer ones. `schedule` says which states
    are stored for adjoints (see `fastad.schedules`; None: all of them).
    """
    for _ in range(_DEEPEST):
        found = _found(table)
        if found is None:
            break
        table = _Rolling(*found, schedule).table()
    return table


def _found(table: Table) -> tuple[Sequence, list[Pattern]] | None:
    """The loops that are to be rolled next; None where there are none."""
    if len(table) * _WORTH_OF_ARRAYS < LEAST_WORTH and not any(map(is_rolled, table.subs)):
        return None
    sequence = Sequence(table)
    patterns = _patterns(sequence)
    return (sequence, patterns) if patterns else None


def _patterns(s: Sequence) -> list[Pattern]:
    """Loops that have no rows in common, in the order of their rows; of those that have, the one of the shortest
    period."""
    found: list[Pattern] = []
    taken = np.zeros(len(s.rows), bool)
    for period in s.periods(LEAST_TURNS):
        for start, end in s.runs(period, LEAST_TURNS):
            follows = s.follows_loop(start)  # and may be joined to it
            if taken[start:end].any() or not (follows or _pays(s, start, end, period)):
                continue
            pattern = pattern_of(s, start, end, period, LEAST_TURNS, follows)
            if pattern is not None and (follows or _pays(s, pattern.start, pattern.end, period)):
                found.append(pattern)
                taken[start:end] = True
    return sorted(found, key=lambda pattern: pattern.start)


def _pays(s: Sequence, start: int, end: int, period: int) -> bool:
    """Whether a loop is so long that it should be one."""
    sizes = s.table.sizes[s.rows[start : start + period]]
    turn = int(np.where(sizes > 1, _WORTH_OF_ARRAYS, 1).sum())
    least = LEAST_WORTH if turn >= _SHORT else LEAST_WORTH_OF_SHORT_TURNS
    return turn * ((end - start) // period) >= least


class Places(NamedTuple):
    """Where values are that something outside of a table holds: in which of its outputs, and how many numbers from the
    start of that; -1 where it is the output."""

    outputs: np.ndarray
    at: np.ndarray


def roll_held(table: Table, schedule: Any, held: Collection[int]) -> tuple[Table, Places]:
    """`roll`, with other outputs: values of single turns are left in the results of their loops. Returns where each
    output is. Of the rolled loops in the rows `held`, only results of turns are wanted, not the last state."""
    at = np.where([row in held for row in table.outputs], 0, -1)
    found = Places(np.arange(len(table.outputs)), at)
    for _ in range(_DEEPEST):
        loops = _found(table)
        if loops is None:
            break
        table, places, held = _Rolling(*loops, schedule, held).held_table()
        at = places.at[found.outputs]
        found = Places(places.outputs[found.outputs], np.where(at < 0, found.at, at + np.maximum(found.at, 0)))
    return table, found


class _Rolling:
    """A copy of a table with a loop row for each pattern."""

    def __init__(self, s: Sequence, patterns: list[Pattern], schedule: Any, held: Collection[int] = ()) -> None:
        self.s, self.old, self.b = s, s.table, Builder()
        self.patterns, self.schedule, self.held = patterns, schedule, held
        self.refs: list[Ref | TurnValue] = [-1] * len(self.old)
        self.loops = Loops(s, held)
        # Of rows of loops: the loop, and the place in its result.
        self.loop_of, self.at = np.full((2, len(self.old)), -1, np.int64)
        self.member, self.uses = self._uses()
        self.patterns = [_without_late(*own) for own in zip(patterns, self.uses, strict=True)]
        self.member, self.uses = self._uses()

    def _uses(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """The loop of each row (-1: none); and for each loop, the places of its rows that others refer to."""
        s, member = self.s, np.full(len(self.old), -1, np.int64)
        for number, p in enumerate(self.patterns):
            member[s.rows[p.start : p.end]] = number
        owner = np.repeat(np.arange(len(self.old)), s.counts)
        used = s.operands[(member[s.operands] >= 0) & (member[s.operands] != member[owner])]
        outputs = np.array(self.old.outputs, np.int64)
        used = distinct(np.concatenate([used, outputs[member[outputs] >= 0]]))
        owner = member[used]
        ends = np.searchsorted(np.sort(owner), np.arange(1, len(self.patterns)))
        return member, np.split(s.at[used[np.argsort(owner, kind="stable")]], ends)

    def table(self) -> Table:
        """The new table."""
        self._copy()
        found = compact(self.b.table([self.ref(row) for row in self.old.outputs], self.old.captured))
        return _without_unused_parts(found) if self.loops.joins else found

    def held_table(self) -> tuple[Table, Places, set[Ref]]:
        """The new table, where the outputs are, and the loops in it of which only results of turns are wanted."""
        self._copy()
        loops, rows = self.loops, np.array(self.old.outputs, np.int64)
        number, at = self.loop_of[rows], self.at[rows]
        at[(number < 0) | (at < np.append(loops.states, 0)[number])] = -1
        refs = np.append(loops.rows, -1)[number]
        for k in np.flatnonzero(at < 0).tolist():
            value = self.value(int(rows[k]))
            if isinstance(value, TurnValue) and (rows[k] in self.held or loops.is_of_a_turn(value)):
                refs[k], at[k] = loops.rows[value.loop], value.at
            else:
                refs[k] = self.ref(int(rows[k]))
        outputs, which = numbered(refs)
        table = compact(self.b.table(outputs.tolist(), self.old.captured))
        held = {table.outputs[k] for k in distinct(which[at >= 0]).tolist()}
        return table, Places(which, at), held

    def _copy(self) -> None:
        b, old, loops = self.b, self.old, self.loops
        inputs = [b.input(*kind) for kind in old.inputs]
        # Constants are copied where they are used: those of single turns become elements. So are reads of loops.
        others = (self.member < 0) & (old.columns["op"] != CONST.code) & ~loops.is_read
        last = {int(self.s.rows[p.end - 1]): p for p in self.patterns}
        others[list(last)] = True
        col, types = old._lists, Lookup(lambda number: b.type_number(old.types[number]))
        lines = Lookup(lambda number: b.line_number(old.lines[number]))
        for index in np.flatnonzero(others).tolist():
            b.at_line(lines[col["line"][index]])
            name, arity = ELEMENTWISE[col["op"][index]]
            if index in last:
                self._roll(last[index], self.uses[self.member[index]])
            elif arity:
                operands = [self.ref(col[x][index]) for x in "abc"[:arity]]
                self.refs[index] = b.emit_elementwise(name, operands, types[col["type"][index]])
            else:
                self._note(index, self._copied(old.row(index), inputs))

    def _note(self, row: int, value: Ref | TurnValue) -> None:
        """A row of the old table is this, and reads of it are where it is."""
        self.refs[row] = value
        if isinstance(value, TurnValue):
            self.loop_of[row], self.at[row] = value.loop, value.at
            if is_rolled(self.old.row(row).sub):
                reads = np.flatnonzero(self.loops.is_read & (self.old.columns["a"] == row))
                self.loop_of[reads], self.at[reads] = value.loop, value.at + self.loops.places_of(reads)

    def _known(self, row: int) -> Ref | TurnValue:
        """A row of the old table in the new one, or in a loop; -1 where it is not there yet."""
        found = self.refs[row]
        if found == -1 and self.loop_of[row] >= 0:
            found = self.refs[row] = TurnValue(int(self.loop_of[row]), int(self.at[row]), self.old.type_of(row))
        return found

    def value(self, row: int) -> Ref | TurnValue:
        """A row of the old table: in the new one, or in a loop."""
        found = self._known(row)
        if found != -1:
            return found
        if self.loops.is_read[row]:
            parent, place = self.loops.read_of(row)
            source = self.value(parent)
            known = source.part(place, self.old.type_of(row)) if isinstance(source, TurnValue) else None
            found = self.b.region(self.ref(parent), place, *self.old.type_of(row)) if known is None else known
        else:
            found = self.b.const(self.old.constant(row), self.old.type_of(row).dtype)
        self._note(row, found)
        return found

    def ref(self, row: int) -> Ref:
        """A row of the old table in the new one."""
        found = self.value(row)
        return self.loops.read(self.b, found) if isinstance(found, TurnValue) else found

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────────────
    def _roll(self, p: Pattern, uses: np.ndarray) -> None:
        b, s = self.b, self.s
        body = Body(s, p, uses)
        elements = body.element_rows()
        shared = [self.ref(row) for row in body.shared]
        sizes = Sizes(
            body.state_size, sum(body.kind(own[0]).size for own in elements),
            sum(body.kind(body.rows[0, j]).size for j in body.results), sum(map(b.size, shared)), body.is_indexed,
        )  # fmt: skip

        def loop(turns: int) -> Loop:
            return Loop.of(NAME, sizes, p.turns, body.sub(turns), schedule=self.schedule)

        stacks, sums = [self._stacked(own.tolist()) for own in elements], body.sums
        starts = [self.value(body.first_row(j, back)) for j, back in body.carried]
        before = self.loops.ended_by(b, p, body, starts)
        both = None if before is None else joined(b, self.loops.rows[before], loop, shared, stacks)
        if before is not None and both is not None:
            own = before
            self.loops.go_on(own, b.call(*both), body, p)
        else:
            first = [self.ref(body.first_row(j, back)) for j, back in body.carried]
            xs = [interleaved(b, stacks, p.turns, sizes.element)] if stacks else []
            x = packed(b, [*first, *(b.const(own.first) for own in sums), *shared, *xs])
            own = self.loops.begin(b.call(loop(0), x), body, p)
        self._place(body, own, sizes)

    def _place(self, body: Body, own: int, sizes: Sizes) -> None:
        """Note where the values of the loop's rows are."""
        turns, at = len(body.rows), sizes.state
        before = self.loops.turns(self.b, own) - turns  # of a loop that this one goes on
        steps = np.arange(before, before + turns) * sizes.result
        for j in body.results:
            self.loop_of[body.rows[:, j]], self.at[body.rows[:, j]] = own, at + steps
            at += body.kind(body.rows[0, j]).size
        at = 0
        for j, back in body.carried:
            if j not in body.results and back <= turns:
                row = body.rows[turns - back, j]
                self.loop_of[row], self.at[row] = own, at
            at += body.kind(body.rows[0, j]).size

    def _stacked(self, rows: list[int]) -> Ref:
        """The values of these rows of the old table, one for each turn, along a new axis."""
        b, old, kind = self.b, self.old, self.old.type_of(rows[0])
        op, shape = old.columns["op"], (len(rows), *kind.shape)
        if all(op[row] == CONST.code for row in rows):
            starts = old.columns["a"][rows]
            return b.const(old.pools["constants"][starts[:, None] + np.arange(kind.size)].reshape(shape), kind.dtype)
        found = [self._known(row) if self.member[row] >= 0 else self.value(row) for row in rows]
        step, start = step_of(found), found[0]
        if step is not None and isinstance(start, TurnValue):
            return self.loops.read(b, start, len(rows), step)
        read = self._reads(rows, shape) if all(op[row] == STRIDED.code for row in rows) else None
        if read is not None:
            return read
        size = kind.size
        pieces, places = self._pieces(rows, [(t * size, size, 1) for t in range(len(rows))])
        return b.cast(b.assemble(pieces, places, (len(rows) * size,)), shape, kind.dtype)

    def _before(self, row: int) -> Ref | TurnValue:
        """A row's value before its loop, which may be a read that turns make at places that follow no rule."""
        if self._known(row) == -1 and self.member[row] >= 0:
            self._note(row, self._copied(self.old.row(row), []))
        return self.value(row)

    def _reads(self, rows: list[int], shape: tuple[int, ...]) -> Ref | None:
        """Reads of one value, at offsets that move: as one read."""
        own = [self.old.row(row) for row in rows]
        source, first = own[0].operands[0], own[0].statics
        if any(r.operands[0] != source or r.statics[1:] != first[1:] for r in own):
            return None
        offsets = np.array([r.statics[0] for r in own])
        steps, dtype = np.diff(offsets), own[0].dtype
        if dtype != self.old.type_of(source).dtype:
            return None
        if (steps == steps[0]).all():
            return self.b.region(self.ref(source), batched(first, len(rows), int(steps[0])), shape, dtype)
        n = own[0].size
        if is_contiguous(first) and not (offsets % n).any():
            return self.b.emit(GATHER.name, (self.ref(source), self.b.const(offsets // n)), (n,), shape, dtype)
        places = elements_of(np.arange(self.old.sizes[source]), first).reshape(-1) - first[0]
        return self.b.emit(GATHER.name, (self.ref(source), self.b.const(offsets[:, None] + places)), (1,), shape, dtype)

    # ── other rows ───────────────────────────────────────────────────────────────────────────────────────────
    def _copied(self, row: Row, inputs: list[Ref]) -> Ref | TurnValue:
        operand = self.value(row.operands[0]) if row.primitive is STRIDED else -1
        if isinstance(operand, TurnValue):
            known = operand.part(row.statics, ValueType(row.shape, row.dtype))
            if known is not None:
                return known
        if row.primitive is ASSEMBLE and (self.loop_of[list(row.operands)] >= 0).any():
            return self._assembled(row)
        refs = {x: self.ref(x) for x in row.operands}
        found = copy_row(self.b, self.old, row, refs, inputs)  # type: ignore[arg-type]
        return self.loops.copied(found, row) if is_rolled(row.sub) else found

    def _assembled(self, row: Row) -> Ref:
        """An assembly, its pieces from turn to turn as one piece."""
        pieces, places = self._pieces(row.operands, row.regions)
        statics = [i for r in places for i in (len(parts(r)[1]), *r)]
        return self.b.emit(ASSEMBLE.name, pieces, statics, row.shape, row.dtype)

    def _pieces(self, rows: SequenceOf[int], regions: SequenceOf[Region]) -> tuple[list[Ref], list[Region]]:
        """What is assembled of these rows in these places: values that follow each other in a loop as one."""
        own = np.array(rows)
        types, at = self.old.columns["type"].astype(np.int64)[own], self.at[own]
        sort = np.where(self.loop_of[own] < 0, -1, self.loop_of[own] * len(self.old.types) + types)
        pieces, places = [], []
        for which, place in streams(sort, at, regions):
            start, count, value = which.start, len(own[which]), self._before(rows[which.start])
            if isinstance(value, TurnValue):
                step = int(at[start + which.step] - at[start]) if count > 1 else 0
                value = self.loops.read(self.b, value, count, step)
            pieces.append(value)
            places.append(place)
        return pieces, places


def _without_late(p: Pattern, uses: np.ndarray) -> Pattern:
    """The loop without its last turns if these have results that are wanted of no others: variables of the turn in
    which a recording is rolled, say. The loop would hold them for all turns."""
    late = [turn for turn in p.results(uses).values() if turn >= p.turns - _LATEST]
    turns = min(late, default=p.turns)
    return p.of_fewer(turns) if turns >= LEAST_TURNS else p


def _without_unused_parts(table: Table) -> Table:
    """The same table, without the sub-programs that no row calls any more."""
    b = Builder()
    refs = inline(b, table, [b.input(*kind) for kind in table.inputs])
    return b.table([refs[i] for i in table.outputs], table.captured)
