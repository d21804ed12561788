"""Arenas: where the sweeps keep the values of a table's rows, and their tangents or adjoints.

A slot is free again once nobody reads it: a value after the last row that reads it, unless a derivative needs it later;
the adjoint of a value has the same life backwards (the sweep meets first who reads the value, and last its own row). An
array that pieces are written over, and that nobody reads later, is written in place: `assemble` has its slot; so has
an elementwise row that of an operand, and its adjoint that of one to which it is handed on as it is (of a sum, say).
Values that no derivative needs lie behind the others, and derivatives over them: by then the results have been handed
over.

Griewank & Walther (2008), "Evaluating Derivatives", section 4.2, on which values the reverse sweep needs.
"""

from dataclasses import dataclass, field
from functools import cache
from heapq import heappop, heappush
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.primitives import PRIMITIVES, STRIDED, ArrayPrimitive, Elementwise, Form, array_rows
from fastad.primitives.expression import names
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.tables.columns import CONST, INPUT
from fastad.tables.slots import Slots
from fastad.tables.table import Table

_ALIGN = 8  # doubles: arrays start on cache lines
_LARGE = 16  # elements: smaller rows have a slot each, all of them in front
_WORTH = 4096  # elements of all large rows: in smaller arenas every row has its slot
_FRONT, _BEHIND, _OWN = range(3)  # parts of an arena: see `_Lives.place`
_AS_IT_IS = ("name", "u")  # what is added to the adjoint of an operand: that of the row
_RESULT = 8  # the bit of a row's own value, behind those of three operands


@dataclass(frozen=True)
class Arena:
    """Slots of all rows, in doubles: `values` and `derived` (tangents or adjoints), and the sizes of both arenas. The
    second one begins at `kept_size` of the first.

    The adjoints of the rows `cleared` must be set to zero when they have been handed on. Rows for which `again` is not
    -1 are reads of other rows whose values are not kept: the reverse sweep reads them again before it comes to that
    row, the sweep of tangents before it comes to their own. `is_small`: every row has a slot of its own, whatever the
    arena is for. Inputs and constants `referred` are read where they lie: slot k of values has the address of the k-th
    of them. `handed` are, as bits, the operands of elementwise rows whose adjoints begin as that of the row, in its
    slot: nothing is to be added to them. Adjoints `given_back`, of inputs `referred`, are made where the results are to
    be: the slot of the input has the address there, too.
    """

    values: np.ndarray
    derived: np.ndarray
    value_size: int
    kept_size: int
    derived_size: int
    cleared: np.ndarray
    again: np.ndarray
    is_small: bool = False
    referred: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    handed: np.ndarray | None = None
    given_back: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def is_plain(self) -> bool:
        """Whether both have the same slots."""
        return self.derived is self.values

    @property
    def slots(self) -> np.ndarray:
        """Where a row finds the values of its operands: -1 - k stands for the array at the k-th address."""
        found = self.values.astype(np.int64)
        found[self.referred] = -1 - np.arange(len(self.referred))
        return found

    @property
    def derived_slots(self) -> np.ndarray:
        """Where it finds their tangents or adjoints."""
        found = self.derived.astype(np.int64)
        found[self.given_back] = -1 - found[self.given_back]
        return found

    def size(self, copies: int) -> int:
        """Doubles of values and of so many arenas of derivatives."""
        return max(self.value_size, self.kept_size + copies * self.derived_size)


def make_arena(
    table: Table, masks: np.ndarray | None = None, *, is_referring: bool = False, is_reverse: bool = False
) -> Arena:
    """The arena of a table. `masks` say through which operands each row passes derivatives on, as bits (see
    `fastad.execution.sweeps.program.activity`); without, there are only values. `is_referring`: who runs it can read
    arrays that are given where they lie, and write elementwise rows over their operands. `is_reverse`: the derivatives
    are adjoints, and who runs it heeds `handed` and `given_back`, and leaves out what no derivative passes through."""
    sizes = table.sizes
    large = np.flatnonzero(sizes >= _LARGE)
    small = np.where(sizes >= _LARGE, 0, sizes)
    ends = np.cumsum(small)
    offsets, front = ends - small, _aligned(int(ends[-1]) if len(ends) else 0)
    if not len(large) or int(sizes[large].sum()) < _WORTH:
        slots = _aligned(sizes[large])
        offsets[large] = front + np.cumsum(slots) - slots
        size = max(front + int(slots.sum()), 1)
        return Arena(found := _checked(offsets, size), found, size, size, size, _none(table), _nowhere(table), True)
    referred = _referred(table, large) if is_referring else large[:0]
    offsets, front = offsets + _aligned(len(referred)), front + _aligned(len(referred))
    offsets[referred] = np.arange(len(referred))
    lives = _Lives(table, _without(large, referred, table))
    if is_referring:
        lives.over |= _over_operands(table, lives.rows)
    if masks is None:
        size, _, _ = lives.place(offsets, front, _none(table))
        found = _checked(offsets, size)
        return Arena(found, found, size, size, size, _none(table), _nowhere(table), referred=referred)
    values, derived = offsets.copy(), offsets
    given_back = referred[masks[referred] != 0] if is_reverse else referred[:0]
    kept, again = _kept(table, masks)
    value_size, kept_size, _ = lives.place(values, front, kept, again >= 0)
    # Rows without derivatives share a slot that is never read, or, of tangents, stays zero.
    idle = large[masks[large] == 0]
    met = idle[_met_by_kernels(table, masks, is_reverse)[idle]]
    spare = _aligned(int(sizes[met].max())) if len(met) else 0
    derived[idle] = front
    lives.rows = _without(large[masks[large] != 0], given_back, table)
    handed = _handed(table, lives.rows, masks) if is_reverse else {}
    lives.over = _over_pieces(table, lives.rows)
    for r, x in handed:
        lives.over.setdefault(r, []).append(x)
    size, _, cleared = lives.place(derived, front + spare, _none(table))
    bits = np.zeros(len(table), np.uint8)
    for (r, x), bit in handed.items():
        bits[r] |= bit if lives.base.get(r) == x else 0
    places, outside = (_checked(values, value_size), _checked(derived, size)), (referred, bits, given_back)
    return Arena(*places, value_size, kept_size, size, cleared, again, False, *outside)


def _referred(table: Table, large: np.ndarray) -> np.ndarray:
    """The arrays that are given, but for results, and those that single numbers are read from: runs of scalar rows find
    them in the arena."""
    op, apart = table.columns["op"], _none(table)
    apart[list(table.outputs)] = True
    apart[table.columns["a"][(op == STRIDED.code) & (table.sizes == 1)]] = True
    return large[_IS_OUTSIDE[op[large]] & ~apart[large]]


def _without(rows: np.ndarray, others: np.ndarray, table: Table) -> np.ndarray:
    """The rows that are not among others."""
    left = np.ones(len(table), np.bool_)
    left[others] = False
    return rows[left[rows]]


def _none(table: Table) -> np.ndarray:
    return np.zeros(len(table), np.bool_)


def _nowhere(table: Table) -> np.ndarray:
    return np.full(len(table), -1, np.int64)


def _met_by_kernels(table: Table, masks: np.ndarray, is_reverse: bool) -> np.ndarray:
    """The rows whose tangents or adjoints the kernels of array rows meet, whether they have any or not; and results,
    whose adjoints are given."""
    found, op = _none(table), table.columns["op"]
    found[list(table.outputs)] = True
    active = (masks != 0) & ~_ELEMENTWISE[op]
    for k, name in enumerate("abc"):
        if not is_reverse:
            found[table.columns[name][active & (OPERAND_COUNT[op] > k)]] = True
    for r in np.flatnonzero(active & POOLED[op]).tolist():
        first, count = table.columns["a"][r], table.columns["b"][r]
        found[table.pools["operands"][first : first + count]] = True
    return found


def _kept(table: Table, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which values are kept for the derivatives; and for reads that are made again instead (of what is kept, or there
    from the start, or takes less room): the last row whose derivative needs them, else -1."""
    wanted = last_needs(table, masks)
    kept, op, sizes = wanted >= 0, table.columns["op"], table.sizes
    reads = np.flatnonzero(kept & (op == STRIDED.code) & (sizes >= _LARGE))
    sources = table.columns["a"][reads]
    stays = (sizes[sources] < _LARGE) | _IS_OUTSIDE[op[sources]]
    stays |= (kept[sources] | (sizes[sources] < sizes[reads])) & (op[sources] != STRIDED.code)
    kept[sources[stays]] = True
    again, reads = _nowhere(table), reads[stays]
    again[reads], kept[reads] = wanted[reads], False
    return kept, again


class _Lives:
    """The rows of arrays, from when to when they are wanted, and who may be written over."""

    def __init__(self, table: Table, rows: np.ndarray) -> None:
        self.table, self.rows = table, rows
        self.sizes = _aligned(table.sizes).tolist()
        self.last, self.over = last_uses(table), _over_pieces(table, rows)
        self.base = dict[int, int]()  # what each row is written over, once they are placed

    def place(
        self, offsets: np.ndarray, start: int, always: np.ndarray, own: np.ndarray | None = None
    ) -> tuple[int, int, np.ndarray]:
        """Fill in the slots of the rows behind `start`; rows of the mask `always` keep theirs. Those of `own` share
        slots with each other only, and are not written over: the sweep of tangents reads them again when all values are
        there, so that no value that is kept may lie where one of them was. With `own`, rows of neither mask are placed
        from the end of the arena downwards, so that the others fill its first part in the end. Returns the size of the
        arena, that of its first part, and the rows that come first to a slot that has served before."""
        op, last = self.table._lists["op"], np.where(always, len(self.table), self.last).tolist()
        outside = [r for r in self.rows.tolist() if op[r] in _OUTSIDE]  # there from the start
        again = np.zeros(len(self.table), np.bool_)
        self.base = self._bases(last, own)
        pools, found, end = (Slots(), Slots(), Slots()), dict[int, int](), len(self.table)
        pool = [_FRONT] * end if own is None else self._pools(always, own)
        dying, passed_on, heights = list[tuple[int, int]](), set[int](), np.zeros(end + 1, np.int64)
        for r in [*outside, *(r for r in self.rows.tolist() if op[r] not in _OUTSIDE)]:
            while dying and dying[0][0] < r and op[r] not in _OUTSIDE:
                x = heappop(dying)[1]
                if x not in passed_on:
                    pools[pool[x]].give(found[x], self.sizes[x])
            x = self.base.get(r, -1)
            if x in found and pool[x] == pool[r]:
                found[r] = found[x]
                passed_on.add(x)
            else:
                slots = pools[pool[r]]
                before = slots.end
                found[r] = slots.take(self.sizes[r])
                again[r] = found[r] < before
            if last[r] < end:
                heappush(dying, (max(last[r], r), r))
            heights[0 if op[r] in _OUTSIDE else r] = pools[_FRONT].end
        start, heights = start + pools[_OWN].end, np.maximum.accumulate(heights)
        tops = {r: found[r] + self.sizes[r] for r in found if pool[r] == _BEHIND}
        size = max([pools[_FRONT].end, *(top + int(heights[max(last[r], r)]) for r, top in tops.items())])
        found |= {r: size - top for r, top in tops.items()}
        found |= {r: at - pools[_OWN].end for r, at in found.items() if pool[r] == _OWN}
        offsets[list(found)] = start + np.array(list(found.values()), np.int64)
        return max(start + size, 1), start + pools[_FRONT].end, again

    def _bases(self, last: list[int], own: np.ndarray | None) -> dict[int, int]:
        """What rows are written over: the first that may be, and that nobody reads later."""
        found = {}
        for r, operands in self.over.items():
            free = [x for x in operands if last[x] == r and (own is None or not own[x])]
            if free:
                found[r] = free[0]
        return found

    def _pools(self, kept: np.ndarray, own: np.ndarray) -> list[int]:
        """Where rows are placed; an array that is written over goes with who writes over it."""
        found = np.where(own, _OWN, np.where(kept, _FRONT, _BEHIND)).tolist()
        for r in sorted(self.base, reverse=True):
            if found[r] == _FRONT and found[self.base[r]] == _BEHIND:
                found[self.base[r]] = _FRONT
        return found


def _over_pieces(table: Table, rows: np.ndarray) -> dict[int, list[int]]:
    """For rows that write over parts of an array: the row of the array, if it is not among the pieces as well."""
    updates = rows[IS_UPDATE[table.columns["op"][rows]]].tolist()
    found = {r: table.row(r).written_over(table.sizes) for r in updates}  # type: ignore[arg-type]
    return {r: [x] for r, x in found.items() if x is not None}


def _over_operands(table: Table, rows: np.ndarray) -> dict[int, list[int]]:
    """For elementwise rows among `rows`: the operands of their size among these, each element of which is read only for
    the one in its place."""
    found: dict[int, list[int]] = {}
    inside = _none(table)
    inside[rows] = True
    for k, name in enumerate("abc"):
        own = rows[_ELEMENTWISE[ops := table.columns["op"][rows]] & (OPERAND_COUNT[ops] > k)]
        operands = table.columns[name][own]
        same = (table.sizes[operands] == table.sizes[own]) & inside[operands]
        for r, x in zip(own[same].tolist(), operands[same].tolist(), strict=True):
            found.setdefault(r, []).append(x)
    return found


def _handed(table: Table, rows: np.ndarray, masks: np.ndarray) -> dict[tuple[int, int], int]:
    """The elementwise rows with operands of their size to which they hand on their adjoint as it is, and the bits of
    these."""
    found = {}
    for r, operands in _over_operands(table, rows).items():
        exprs: Any = table.row(r).primitive.contribution_exprs  # type: ignore[attr-defined]
        for k, (x, expr) in enumerate(zip(every := table.row(r).operands, exprs, strict=True)):
            if expr == _AS_IT_IS and masks[r] >> k & 1 and x in operands and every.count(x) == 1:
                found[r, x] = 1 << k
    return found


def last_uses(table: Table) -> np.ndarray:
    """The last row that reads each row; the number of rows for results, -1 where there is none."""
    last = np.full(len(table), -1, np.int64)
    op, rows = table.columns["op"], np.arange(len(table))
    for k, name in enumerate("abc"):
        used = OPERAND_COUNT[op] > k
        np.maximum(last, _last(table.columns[name][used], rows[used], len(table)), out=last)
    for r in np.flatnonzero(POOLED[op]).tolist():
        first, count = table.columns["a"][r], table.columns["b"][r]
        listed = table.pools["operands"][first : first + count]
        last[listed] = np.maximum(last[listed], r)
    last[list(table.outputs)] = len(table)
    return last


def last_needs(table: Table, masks: np.ndarray) -> np.ndarray:
    """The last row whose derivative reads the value of each row, -1 where none does. Rows pass derivatives on through
    the operands in `masks`."""
    rows, needs = np.arange(len(table)), _needs(table.columns["op"])[table.columns["op"], masks]
    found = np.where(needs & _RESULT != 0, rows, -1)
    for k, name in enumerate("abc"):
        users = needs >> k & 1 == 1
        np.maximum(found, _last(table.columns[name][users], rows[users], len(table)), out=found)
    return found


def _last(operands: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The last of the rows, which rise, for each operand; -1 where there is none."""
    found = np.full(count, -1, np.int64)
    found[operands] = rows  # of several that are written to one place, the last one stays
    return found


def _needs(ops: np.ndarray) -> np.ndarray:
    """By opcode and mask: the operands (as bits) whose values derivatives read, and _RESULT, for these opcodes."""
    found = np.zeros((len(PRIMITIVES), 8), np.uint8)
    for op in np.flatnonzero(np.bincount(ops)).tolist():
        found[op] = _needed(op)
    return found


@cache
def _needed(op: int) -> tuple[int, ...]:
    row = PRIMITIVES[op]
    if isinstance(row, Elementwise):
        return tuple(_elements_needed(row, mask) for mask in range(8))
    return tuple(_array_needed(row, mask) for mask in range(8)) if isinstance(row, ArrayPrimitive) else (0,) * 8


def _elements_needed(row: Elementwise, mask: int) -> int:
    used = set[str]()
    for k, partial in enumerate(row.partial_exprs):
        if mask >> k & 1:
            used |= names(partial)
    return sum(1 << k for k, name in enumerate("abc") if name in used) | (_RESULT if "r" in used else 0)


def _array_needed(row: ArrayPrimitive, mask: int) -> int:
    """A row that is linear in an operand needs the others; of other rows everything is kept."""
    if POOLED[row.code] or row.form is Form.INPUT:
        return 0
    every = (1 << row.arity) - 1
    if mask & ~sum(1 << k for k in row.linear):
        return every | _RESULT
    chosen = [k for k in range(row.arity) if mask >> k & 1]
    return sum(1 << k for k in range(row.arity) if any(j != k for j in chosen))


def _aligned(sizes: Any) -> Any:
    return -(-sizes // _ALIGN) * _ALIGN


def _checked(offsets: np.ndarray, size: int) -> np.ndarray:
    if size >= 2**32:
        raise TableError("the values of this table take more than 32 GiB; use scan, checkpoint or smaller arrays")
    return offsets.astype(np.uint32)


_OUTSIDE = (INPUT, CONST)
_IS_OUTSIDE, IS_UPDATE = np.zeros((2, len(PRIMITIVES)), np.bool_)
_IS_OUTSIDE[list(_OUTSIDE)] = True
IS_UPDATE[[row.code for row in array_rows() if row.form.updates]] = True
_ELEMENTWISE = np.array([isinstance(row, Elementwise) for row in PRIMITIVES])
