"""What recorded values stand for when the loops of a recording are rolled. Values that a list collects turn by turn
are left in the results of their loop, and each has one row that reads it."""

import sys
from typing import Any

import numpy as np

from fastad.primitives import STRIDED
from fastad.primitives.distinct import distinct
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import CALL
from fastad.tables.inline import Lookup, compact, inline
from fastad.tables.rolling.joined import loop_at
from fastad.tables.rolling.rolled import roll_held


class Held:
    """Rows of a builder, `refs`, that recorded values stand for."""

    def __init__(self, builder: Builder, refs: np.ndarray) -> None:
        self._old = builder
        refs = distinct(refs)
        loops = self._loops_read(refs)
        self._reads, self._loop_of = refs[loops >= 0], loops[loops >= 0]
        self._others, self._loops = refs[loops < 0], distinct(self._loop_of)
        statics = np.array(builder.columns["c"], np.int64)[self._reads] + 1
        self._at = np.array(builder.statics, np.int64)[statics]

    def _loops_read(self, refs: np.ndarray) -> np.ndarray:
        """For each row, the loop of which it reads the result of a turn; -1 where it is something else."""
        b = self._old
        op, a, c = (np.array(b.columns[name], np.int64) for name in ("op", "a", "c"))
        found = np.full(len(refs), -1, np.int64)
        reads = np.flatnonzero(op[refs] == STRIDED.code)
        reads = reads[op[a[refs[reads]]] == CALL]
        if not len(reads):
            return found
        statics, at = np.array(b.statics, np.int64), np.zeros(len(refs), np.int64)
        at[reads] = c[refs[reads]]
        reads = reads[(statics[at[reads]] == 3) & (statics[np.minimum(at[reads] + 3, len(statics) - 1)] == 1)]
        found[reads] = a[refs[reads]]
        for loop in distinct(found[found >= 0]).tolist():
            own = loop_at(b, loop)
            if own is None or loop in refs:
                found[found == loop] = -1
            else:
                found[(found == loop) & (statics[at + 1] < own.sizes.state)] = -1
        return found

    def rolled(self, schedule: Any) -> tuple[Builder, list[Ref], dict[Ref, Ref]] | None:
        """Another builder in which loops are rolled, its inputs, and where in it the rows are. None where it would not
        be much smaller."""
        old, count = self._old, len(self._others)
        table = compact(old.table([*self._others.tolist(), *self._loops.tolist()]))
        table, places = roll_held(table, schedule, frozenset(table.outputs[count:]))
        if 2 * len(table) > len(old) - len(self._reads):
            return None
        new = Builder()
        inputs = [new.input(*kind) for kind in old.inputs]
        found = inline(new, table, inputs)
        rows = np.array([found[table.outputs[place.output]] for place in places], np.int64)
        at = np.array([-1 if place.at is None else place.at for place in places], np.int64)

        late = np.flatnonzero(at[:count] >= 0)
        moved = dict(zip(self._others.tolist(), rows.tolist(), strict=False))
        which = count + np.searchsorted(self._loops, self._loop_of)
        read = np.concatenate([self._others[late], self._reads])
        sources, places_in = np.append(rows[late], rows[which]), np.append(at[late], at[which] + self._at)
        moved |= zip(read.tolist(), self._read(new, read, sources, places_in), strict=True)
        alike = all(old.type(ref) == new.type(moved[ref]) for ref in self._others.tolist())
        return (new, inputs, moved) if alike else None

    def _read(self, new: Builder, rows: np.ndarray, sources: np.ndarray, at: np.ndarray) -> list[Ref]:
        """Rows that read these places of the sources, of the types of these rows."""
        types = Lookup(lambda number: new.type_number(self._old.type_list[number]))
        numbers = np.array(self._old.columns["type"], np.int64)[rows]
        kinds = np.array([types[number] for number in numbers.tolist()], np.int64)
        known = _known_reads(new)
        there = np.flatnonzero(np.isin(at, [place for _, place, _ in known])).tolist()
        found = {k: known.get((int(sources[k]), int(at[k]), int(kinds[k])), -1) for k in there}
        missing = np.ones(len(rows), bool)
        missing[[k for k, ref in found.items() if ref >= 0]] = False
        refs = np.zeros(len(rows), np.int64)
        refs[missing] = new.reads(sources[missing], at[missing], kinds[missing])
        refs[~missing] = [ref for ref in found.values() if ref >= 0]
        return refs.tolist()


def _known_reads(b: Builder) -> dict[tuple[int, int, int], Ref]:
    """The reads of one piece that a builder has, by what they read, where, and their type."""
    found = {}
    for ref, op in enumerate(b.columns["op"]):
        if op == STRIDED.code:
            own = b.statics_at(b.columns["c"][ref])
            if len(own) == 3 and own[2] == 1:
                found[b.columns["a"][ref], own[0], b.columns["type"][ref]] = ref
    return found
