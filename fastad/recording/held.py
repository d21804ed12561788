"""What recorded values stand for when the loops of a recording are rolled. Values that a list collects turn by turn
are left in the results of their loop, and each has one row that reads it."""

from typing import Any

import numpy as np

from fastad.primitives import STRIDED
from fastad.primitives.distinct import distinct
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import CALL
from fastad.tables.inline import compact, inline, kept, used_rows
from fastad.tables.rolling.joined import loop_at
from fastad.tables.rolling.rolled import roll_held
from fastad.tables.table import Table


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

    def rolled(self, schedule: Any) -> tuple[Builder, list[Ref], np.ndarray] | None:
        """Another builder in which loops are rolled, its inputs, and where in it the rows are (-1: nowhere), by their
        numbers. None where it would not be much smaller."""
        old, count = self._old, len(self._others)
        table = self._table()
        table, places = roll_held(table, schedule, frozenset(table.outputs[count:]))
        if 2 * len(table) > len(old) - len(self._reads):
            return None
        new = Builder()
        inputs = [new.input(*kind) for kind in old.inputs]
        found = inline(new, table, inputs)
        rows, at = np.array([found[row] for row in table.outputs], np.int64)[places.outputs], places.at
        late = at[:count] >= 0
        moved = np.full(len(old), -1, np.int64)
        moved[self._others] = rows[:count]
        which = count + np.searchsorted(self._loops, self._loop_of)
        read = np.concatenate([self._others[late], self._reads])
        sources = np.concatenate([rows[:count][late], rows[which]])
        moved[read] = self._read(new, read, sources, np.concatenate([at[:count][late], at[which] + self._at]))
        alike = all(old.type(ref) == new.type(moved[ref]) for ref in self._others[~late].tolist())
        return (new, inputs, moved) if alike else None

    def _table(self) -> Table:
        """The rows that others and loops depend on. Reads that no row uses are left out before rows are looked at."""
        table = self._old.table([*self._others.tolist(), *self._loops.tolist()])
        keep = np.ones(len(table), bool)
        keep[self._reads] = False
        keep[used_rows(table)] = True
        return compact(kept(table, keep))

    def _read(self, new: Builder, rows: np.ndarray, sources: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Rows that read these places of the sources, of the types of these rows."""
        numbers = np.array(self._old.columns["type"], np.int64)[rows]
        types = np.zeros(len(self._old.type_list), np.int64)
        for number in distinct(numbers).tolist():
            types[number] = new.type_number(self._old.type_list[number])
        kinds, known = types[numbers], _known_reads(new)
        there = np.isin(at, [place for _, place, _ in known])
        found = np.full(len(rows), -1, np.int64)
        keys = zip(*(x[there].tolist() for x in (sources, at, kinds)), strict=True)
        found[there] = [known.get(key, -1) for key in keys]
        missing = found < 0
        found[missing] = new.reads(sources[missing], at[missing], kinds[missing])
        return found


def _known_reads(b: Builder) -> dict[tuple[int, int, int], Ref]:
    """The reads of one piece that a builder has, by what they read, where, and their type."""
    found = {}
    for ref, op in enumerate(b.columns["op"]):
        if op == STRIDED.code:
            own = b.statics_at(b.columns["c"][ref])
            if len(own) == 3 and own[2] == 1:
                found[b.columns["a"][ref], own[0], b.columns["type"][ref]] = ref
    return found
