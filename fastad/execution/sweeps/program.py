"""An op table made ready for the sweeps: rows grouped into steps, operands as places in the arena.

Runs of scalar rows stay columns (those of the table itself, if it has no arrays); every other row becomes a
record of integers. The fields are named in `fastad.kernels.fields`.
"""

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastad.execution.machine.exported import activity_address
from fastad.execution.sweeps.cases import case_numbers
from fastad.kernels import activity as plain
from fastad.kernels import fields as f
from fastad.primitives import PRIMITIVES, STRIDED, Elementwise
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.tables.columns import CONST, GUARD, INPUT
from fastad.tables.passes.arena import Arena, make_arena
from fastad.tables.table import Table

_STRIDED = STRIDED.code
_ELEMENTWISE = np.array([isinstance(row, Elementwise) for row in PRIMITIVES])
_IN_RUNS = np.isin(np.arange(len(PRIMITIVES)), [INPUT, CONST, GUARD, _STRIDED]) | _ELEMENTWISE


class SweepProgram:
    """The arrays of a runnable table with an arena, in small arenas the same for all modes.

    `columns` are a, b, c with places in the arena for operand rows, `derived` is a with places of tangents or adjoints;
    `step_rows` and `steps` are the (first) row and the record of every step; `pool` has the place and size of the
    operands of variadic rows, and the place of their tangents or adjoints.
    """

    def __init__(self, table: Table, arena: Arena) -> None:
        self.arena = arena
        op, sizes = table.columns["op"], table.sizes
        scalar = (sizes == 1) & _IN_RUNS[op]
        guards = np.flatnonzero(op == GUARD)
        scalar[guards] &= sizes[table.columns["a"][guards]] == 1
        self.columns = _places(table, scalar, arena.values)
        self.derived = self.columns[0] if arena.is_plain else _places(table, scalar, arena.derived)[0]
        skipped = (op == INPUT) | (op == CONST) | (_ELEMENTWISE[op] & (sizes == 0))
        runs, counts = _runs(scalar)
        own = np.flatnonzero(~scalar & ~skipped)
        places = np.zeros(len(op) + 1, np.int64)
        places[runs + 1] = places[own + 1] = 1
        self.step_rows, places = np.flatnonzero(places[1:]), np.cumsum(places)  # the places of rows among the steps
        self.steps = np.zeros((len(self.step_rows), f.STEP), np.int64)
        self.steps[places[runs]], self.steps[places[own]] = (
            _run_records(arena, runs, counts), _row_records(table, own, arena)
        )  # fmt: skip
        self.again = self._read_again()
        listed = table.pools["operands"]
        self.pool = np.stack([arena.slots[listed], sizes[listed], arena.derived_slots[listed]], axis=1).astype(np.int64)

    def _read_again(self) -> np.ndarray:
        """The steps that the reverse sweep reads again, in the order of those that need them; which note their part."""
        reads = np.flatnonzero(self.arena.again >= 0)
        if not len(reads):
            return reads
        steps, users = (np.searchsorted(self.step_rows, rows) for rows in (reads, self.arena.again[reads]))
        self.steps[steps, f.IS_AGAIN] = 1
        order = np.argsort(users, kind="stable")
        users = users[order]
        starts = np.flatnonzero(np.diff(users, prepend=-1))
        self.steps[users[starts], f.AGAIN] = starts
        self.steps[users[starts], f.AGAIN_COUNT] = np.diff(starts, append=len(users))
        return steps[order]


def sweep_program(
    table: Table, masks: np.ndarray | None = None, *, is_referring: bool = True, is_reverse: bool = False
) -> SweepProgram:
    """The program of a table's values, or of derivatives that pass through the operands in `masks`; `is_referring` and
    `is_reverse` as for `make_arena`. Those that do not depend on the mode are made once."""
    key = "program" if is_referring else "program that copies"
    found: SweepProgram | None = table._cache.get(key)
    if found is None or not (masks is None or found.arena.is_small):
        found = SweepProgram(table, make_arena(table, masks, is_referring=is_referring, is_reverse=is_reverse))
        if masks is None or found.arena.is_small:
            table._cache[key] = found
    return found


def _places(table: Table, scalar: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    """Columns a, b, c as uint32, operand rows replaced by their places in the arena."""
    op = table.columns["op"]
    columns = [table.columns[name].view(np.uint32) for name in "abc"]
    reads = np.flatnonzero(scalar & (op == _STRIDED))
    if not len(reads) and np.array_equal(offsets, np.arange(len(op))):
        return columns  # the place of a row is its number
    for k in range(3):
        used = np.flatnonzero(OPERAND_COUNT[op] > k)
        columns[k] = columns[k].copy()
        columns[k][used] = offsets[columns[k][used]]
    statics = table.pools["statics"]
    columns[0][reads] += statics[table.columns["c"][reads] + 1].astype(np.uint32)
    return columns


def _runs(scalar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and length of every run of scalar rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], scalar, [False]])))
    return edges[::2], edges[1::2] - edges[::2]


def _run_records(arena: Arena, runs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    records = np.zeros((len(runs), f.STEP), np.int64)
    records[:, f.KIND], records[:, f.ROW], records[:, f.SIZE] = f.SCALARS, runs, counts
    records[:, f.OUT], records[:, f.OUT_D] = arena.values[runs], arena.derived[runs]
    return records


_OPERANDS = ((f.A_SLOT, f.A_SIZE, f.A_D), (f.B_SLOT, f.B_SIZE, f.B_D), (f.C_SLOT, f.C_SIZE, f.C_D))


def _row_records(table: Table, rows: np.ndarray, arena: Arena) -> np.ndarray:
    """Records of rows that are steps of their own."""
    op, sizes = table.columns["op"][rows], table.sizes
    elementwise = _ELEMENTWISE[op]
    records = np.zeros((len(rows), f.STEP), np.int64)
    records[:, f.KIND] = np.where(elementwise, f.ELEMENTS, f.ARRAY)
    records[:, f.OP], records[:, f.ROW], records[:, f.SIZE] = op, rows, sizes[rows]
    records[:, f.OUT], records[:, f.OUT_D] = arena.values[rows], arena.derived[rows]
    records[:, f.CLEARED] = arena.cleared[rows]
    slots, derived_slots = arena.slots, arena.derived_slots
    for k, (slot, size, derived) in enumerate(_OPERANDS):
        used = OPERAND_COUNT[op] > k
        # The loop over elements reads operands that a primitive does not have from place 0, as single numbers.
        records[:, size] = np.where(elementwise, 1, 0)
        operands = table.columns["abc"[k]][rows[used]]
        records[used, slot], records[used, derived] = slots[operands], derived_slots[operands]
        records[used, size] = sizes[operands]
    many = POOLED[op]
    records[many, f.A_SLOT], records[many, f.A_SIZE] = (table.columns[name][rows[many]] for name in "ab")
    c = table.columns["c"][rows]
    static = ~elementwise & (c >= 0)
    records[static, f.C_SLOT] = c[static]
    records[static, f.STATIC_COUNT] = table.pools["statics"][c[static]]
    return records


# ── what derivatives pass through ─────────────────────────────────────────────────────────────────────────────
def _passes(op: int, row: Any) -> int:
    if op == INPUT:
        return f.CHOSEN
    if POOLED[op]:
        return f.POOLED if row.is_differentiable(0) else 0
    return sum(1 << k for k in range(OPERAND_COUNT[op]) if row.is_differentiable(k))


_PASSES = np.array([_passes(op, row) for op, row in enumerate(PRIMITIVES)], np.uint8)
_ACTIVITY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_COMPILED_FROM = 1000  # rows: loading compiled code takes as long as interpreting so many


def activity(table: Table, wrt: Iterable[int]) -> np.ndarray:
    """For every row, a bit mask of the operands through which a derivative reaches a result from inputs of `wrt`.

    Inputs of `wrt`, and variadic rows that depend on one, have 1; rows that no result depends on have 0.
    """
    floating = np.array([kind.dtype in "df" for kind in table.types], np.uint8)
    chosen = np.zeros(max(len(table.inputs), 1), np.uint8)
    chosen[list(wrt)] = 1
    masks, reached = np.zeros(len(table), np.uint8), np.zeros(len(table), np.uint8)
    reached[list(table.outputs)] = 1
    columns = [table.columns[name] for name in ("op", "type", "a", "b", "c")]
    arrays = (masks, reached, _PASSES, floating, chosen, *columns, table.pools["operands"])
    if len(table) >= _COMPILED_FROM:
        program = np.array([len(table), *(array.ctypes.data for array in arrays)], np.int64)
        _ACTIVITY(activity_address())(program.ctypes.data)
        return masks
    found, reached_list, passes, *lists = (array.tolist() for array in arrays)
    floating_list, chosen_list, *listed, pool = lists
    plain.depend(found, passes, floating_list, chosen_list, listed, pool)
    plain.reach(found, reached_list, passes, listed, pool)
    return np.array(found, np.uint8)


def active_codes(table: Table, masks: np.ndarray) -> np.ndarray:
    """Case of the derivative sweeps for every row."""
    return case_numbers()[table.columns["op"], masks]
