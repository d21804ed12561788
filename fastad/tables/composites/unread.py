"""Loops whose adjoint reads no state: those with steps that are linear in it, its factors being constants.

The adjoint of a linear step is the same wherever it is taken, so no state is stored, and none recomputed.
"""

import numpy as np

from fastad.primitives import ASSEMBLE, CONST, INPUT, STRIDED, Elementwise
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.primitives.regions import span
from fastad.tables.composites.sub import Sub
from fastad.tables.passes.activity import active_rows
from fastad.tables.passes.arena import last_needs
from fastad.tables.table import Row, Table


def reads_state(step: Sub, n: int) -> bool:
    """Whether the adjoint of a step may read one of the first n numbers of the step's argument, its state.

    Steps that may fail, warn or call anything are taken to do so: running a loop for the states finds that out.
    """
    table = step.table
    if table is None or step.rules is not None or not all(map(_only_computes, table.primitives)):
        return True
    # Found without the adjoint first: that of a long step takes time to derive, and may be needed in parts only.
    if (_depends(table, n) & (last_needs(table, _masks(table)) >= 0)).any():
        return True
    adjoint = step.adjoint.table
    assert adjoint is not None
    argument = int(np.flatnonzero(adjoint.columns["op"] == INPUT.code)[0])
    return any(argument in row.operands and _reads(row, n) for row in adjoint.rows())


def _only_computes(primitive: object) -> bool:
    if isinstance(primitive, Elementwise) or primitive in (INPUT, CONST):
        return True
    pooled = POOLED[primitive.code] and primitive is not ASSEMBLE  # type: ignore[attr-defined]
    return not (pooled or primitive.stops or primitive.kept)  # type: ignore[attr-defined]


def _reads(row: Row, n: int) -> bool:
    """Whether a row that takes the argument reads one of its first n numbers."""
    return row.primitive is not STRIDED or span(row.statics)[0] < n


def _depends(table: Table, n: int) -> np.ndarray:
    """Whether each row depends on the first n numbers of the input."""
    found = np.zeros(len(table), bool)
    for row in table.rows():
        of_input = row.primitive is STRIDED and table.row(row.operands[0]).primitive is INPUT
        found[row.index] = _reads(row, n) if of_input else row.primitive is INPUT or found[list(row.operands)].any()
    return found


def _masks(table: Table) -> np.ndarray:
    """The operands, as bits, through which each row passes derivatives on."""
    active = np.array(active_rows(table, [0]), bool)
    masks = np.zeros(len(table), np.int64)
    for k, name in enumerate("abc"):
        used = (OPERAND_COUNT[table.columns["op"]] > k) & active
        masks[used] |= active[table.columns[name][used]].astype(np.int64) << k
    return masks
