"""`roll`: a table whose repeated rows have become loop rows."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastad.primitives import ASSEMBLE, CONST, GATHER, STRIDED
from fastad.primitives.distinct import distinct
from fastad.primitives.regions import Region, batched, elements_of, is_contiguous, parts, region, whole
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.loop_sizes import Sizes
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.sub import packed
from fastad.tables.inline import ELEMENTWISE, Lookup, compact, copy_row, inline
from fastad.tables.rolling.body import Body
from fastad.tables.rolling.joined import NAME, ended_by, interleaved, is_rolled, joined
from fastad.tables.rolling.pattern import Pattern, pattern_of
from fastad.tables.rolling.sequence import Sequence
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
        if len(table) * _WORTH_OF_ARRAYS < LEAST_WORTH and not any(map(is_rolled, table.subs)):
            break
        sequence = Sequence(table)
        patterns = _patterns(sequence)
        if not patterns:
            break
        table = _Rolling(sequence, patterns, schedule).table()
    return table


def _patterns(s: Sequence) -> list[Pattern]:
    """Loops of the shortest period that has any, in the order of their rows."""
    for period in s.periods(LEAST_TURNS):
        found = []
        for start, end in s.runs(period, LEAST_TURNS):
            follows = s.follows_loop(start)  # and may be joined to it
            if follows or _pays(s, start, end, period):
                pattern = pattern_of(s, start, end, period, LEAST_TURNS)
                if pattern is not None and (follows or _pays(s, pattern.start, pattern.end, period)):
                    found.append(pattern)
        if found:
            return found
    return []


def _pays(s: Sequence, start: int, end: int, period: int) -> bool:
    """Whether a loop is so long that it should be one."""
    sizes = s.table.sizes[s.rows[start : start + period]]
    turn = int(np.where(sizes > 1, _WORTH_OF_ARRAYS, 1).sum())
    least = LEAST_WORTH if turn >= _SHORT else LEAST_WORTH_OF_SHORT_TURNS
    return turn * ((end - start) // period) >= least


class _Turn(NamedTuple):
    """The value of a row in turn `t` of a loop: where the loop's result has it, `width` apart for each turn."""

    out: Ref
    at: int
    width: int
    t: int
    kind: ValueType

    def read(self, b: Builder, count: int = 1) -> Ref:
        """This value, or those of so many turns from this one on, along a new axis."""
        place = region(self.at + self.t * self.width, (count, self.kind.size), (self.width, 1))
        shape = self.kind.shape if count == 1 else (count, *self.kind.shape)
        return b.region(self.out, place, shape, self.kind.dtype)

    def leads_to(self, other: object) -> bool:
        """Whether the other is the same of the next turn."""
        return (
            isinstance(other, _Turn)
            and (self.out, self.at, self.width, self.t + 1) == (other.out, other.at, other.width, other.t)
            and self.kind == other.kind
        )


class _Rolling:
    """A copy of a table with a loop row for each pattern."""

    def __init__(self, s: Sequence, patterns: list[Pattern], schedule: Any) -> None:
        self.s, self.old, self.b = s, s.table, Builder()
        self.patterns, self.schedule = patterns, schedule
        self.joins = False  # whether a loop has become a part of another
        self.refs: list[Ref | _Turn] = [-1] * len(self.old)
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
        return member, [s.at[used[member[used] == number]] for number in range(len(self.patterns))]

    def table(self) -> Table:
        """The new table."""
        b, old = self.b, self.old
        inputs = [b.input(*kind) for kind in old.inputs]
        # Constants are copied where they are used: those of single turns become elements.
        others = (self.member < 0) & (old.columns["op"] != CONST.code)
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
                self.refs[index] = self._copied(old.row(index), inputs)
        found = compact(b.table([self.ref(row) for row in old.outputs], old.captured))
        return _without_unused_parts(found) if self.joins else found

    def ref(self, row: int) -> Ref:
        """A row of the old table in the new one."""
        found = self.refs[row]
        if isinstance(found, _Turn):
            return found.read(self.b)
        if found < 0:  # a constant
            found = self.refs[row] = self.b.const(self.old.constant(row), self.old.type_of(row).dtype)
        return found

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────────────
    def _roll(self, p: Pattern, uses: np.ndarray) -> None:
        b, s = self.b, self.s
        body = Body(s, p, uses)
        first = [self.ref(body.first_row(j, back)) for j, back in body.carried]
        elements = body.element_rows()
        shared = [self.ref(row) for row in body.shared]
        sizes = Sizes(
            sum(map(b.size, first)) + len(body.sums), sum(body.kind(own[0]).size for own in elements),
            sum(body.kind(body.rows[0, j]).size for j in body.results), sum(map(b.size, shared)), body.is_indexed,
        )  # fmt: skip

        def loop(turns: int) -> Loop:
            return Loop.of(NAME, sizes, p.turns, body.sub(turns), schedule=self.schedule)

        stacks, sums = [self._stacked(own.tolist()) for own in elements], body.sums
        before = ended_by(b, first, [body.kind(body.first_row(j, back)) for j, back in body.carried], sums)
        whole_loop = None
        if before is not None and self._is_used_by(p, body):
            whole_loop = joined(b, before, loop, shared, stacks)
            self.joins |= whole_loop is not None
        if whole_loop is None:
            xs = [interleaved(b, stacks, p.turns, sizes.element)] if stacks else []
            whole_loop = loop(0), packed(b, [*first, *(b.const(own.first) for own in sums), *shared, *xs])
        self._place(body, b.call(*whole_loop), sizes)

    def _is_used_by(self, p: Pattern, body: Body) -> bool:
        """Whether what the first turn starts from is used by no other rows."""
        s, old = self.s, self.old
        reads = {body.first_row(j, back) for j, back in body.carried}
        row = min(reads)
        loop = int(s.operands[s.starts[row]]) if old.columns["op"][row] == STRIDED.code else row
        owner = np.repeat(np.arange(len(old)), s.counts)
        inside = set(s.rows[p.start : p.end].tolist())
        users = set(owner[s.operands == loop].tolist())
        wanted = reads | {loop}
        return (
            wanted.isdisjoint(old.outputs)
            and users <= reads | inside
            and all(set(owner[s.operands == read].tolist()) <= inside for read in reads - {loop})
        )

    def _place(self, body: Body, out: Ref, sizes: Sizes) -> None:
        """Note where the values of the loop's rows are."""
        turns, at = len(body.rows), sizes.state
        for j in body.results:
            kind = body.kind(body.rows[0, j])
            for t, row in enumerate(body.rows[:, j].tolist()):
                self.refs[row] = _Turn(out, at, sizes.result, t, kind)
            at += kind.size
        at = 0
        for j, back in body.carried:
            kind = body.kind(body.rows[0, j])
            if j not in body.results and back <= turns:
                self.refs[body.rows[turns - back, j]] = self.b.region(out, (at, kind.size, 1), kind.shape, kind.dtype)
            at += kind.size

    def _stacked(self, rows: list[int]) -> Ref:
        """The values of these rows of the old table, one for each turn, along a new axis."""
        b, old, kind = self.b, self.old, self.old.type_of(rows[0])
        op, shape = old.columns["op"], (len(rows), *kind.shape)
        if all(op[row] == CONST.code for row in rows):
            starts = old.columns["a"][rows]
            return b.const(old.pools["constants"][starts[:, None] + np.arange(kind.size)].reshape(shape), kind.dtype)
        read = self._reads(rows, shape) if all(op[row] == STRIDED.code for row in rows) else None
        if read is not None:
            return read
        found = [self.refs[row] for row in rows]
        if isinstance(found[0], _Turn) and all(isinstance(x, _Turn) and x.leads_to(y) for x, y in pairwise(found)):
            return found[0].read(b, len(rows))
        size = kind.size
        regions: list[Region] = [(t * size, size, 1) for t in range(len(rows))]
        return b.cast(b.assemble([self._before(row) for row in rows], regions, (len(rows) * size,)), shape, kind.dtype)

    def _before(self, row: int) -> Ref:
        """A row's value before its loop, which may be a read that turns make at places that follow no rule."""
        if self.refs[row] == -1 and self.member[row] >= 0:
            self.refs[row] = self._copied(self.old.row(row), [])
        return self.ref(row)

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
    def _copied(self, row: Row, inputs: list[Ref]) -> Ref | _Turn:
        operands = [self.refs[x] for x in row.operands]
        if row.primitive is STRIDED and isinstance(operands[0], _Turn):
            turn, kind = operands[0], ValueType(row.shape, row.dtype)
            if row.statics == whole(turn.kind.size) and row.dtype == turn.kind.dtype:
                return _Turn(turn.out, turn.at, turn.width, turn.t, kind)
        if row.primitive is ASSEMBLE and any(isinstance(x, _Turn) for x in operands):
            return self._assembled(row, operands)
        refs = {x: self.ref(x) for x in row.operands}
        return copy_row(self.b, self.old, row, refs, inputs)  # type: ignore[arg-type]

    def _assembled(self, row: Row, operands: list[Ref | _Turn]) -> Ref:
        """An assembly, its pieces from turn to turn as one piece."""
        own, pieces, places, start = row.regions, [], [], 0
        while start < len(own):
            end = start + 1
            while end < len(own) and _follow(operands, own, start, end):
                end += 1
            first = operands[start]
            if isinstance(first, _Turn) and end - start > 1:
                pieces.append(first.read(self.b, end - start))
                places.append(batched(own[start], end - start, own[start + 1][0] - own[start][0]))
            else:
                pieces.append(self.ref(row.operands[start]))
                places.append(own[start])
            start = end
        statics = [i for r in places for i in (len(parts(r)[1]), *r)]
        return self.b.emit(ASSEMBLE.name, pieces, statics, row.shape, row.dtype)


def _without_late(p: Pattern, uses: np.ndarray) -> Pattern:
    """The loop without its last turns if nothing but these has results that are wanted: variables of the turn in which
    a recording is rolled, say. The loop would hold them for all turns."""
    turns = min(p.results(uses).values(), default=p.turns)
    return p.of_fewer(turns) if p.turns - _LATEST <= turns < p.turns and turns >= LEAST_TURNS else p


def _without_unused_parts(table: Table) -> Table:
    """The same table, without the sub-programs that no row calls any more."""
    b = Builder()
    refs = inline(b, table, [b.input(*kind) for kind in table.inputs])
    return b.table([refs[i] for i in table.outputs], table.captured)


def _follow(values: list[Ref | _Turn], places: list[Region], start: int, end: int) -> bool:
    """Whether piece `end` is the value of the turn after that of the piece before it, and its place is as far on as the
    first two pieces from `start` on are apart."""
    before = values[end - 1]
    if not isinstance(before, _Turn) or not before.leads_to(values[end]):
        return False
    (offset, *form), (further, *_) = places[start], places[start + 1]
    return places[end][1:] == tuple(form) and places[end][0] - places[end - 1][0] == further - offset
