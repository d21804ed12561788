"""Predicted cost of a table and of its derivatives: operations counted exactly, memory by the values alive at once.

The derivatives are derived and counted, not estimated. A pass of forward mode needs a value only until its last use;
reverse mode needs the values until the adjoints have come back to them. So memory follows the width of a network in
forward mode and its depth in reverse mode, and work follows the number of inputs in forward mode and of results in
reverse mode (Griewank & Walther, Evaluating Derivatives, 2008, chapter 4).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import numpy as np

from fastad.once import lazy
from fastad.primitives import PRIMITIVES, Elementwise, Form, array_rows, primitive
from fastad.primitives import expression as ex
from fastad.tables.columns import CALL, CONST, INPUT
from fastad.tables.composites.sub import Sub
from fastad.tables.inline import live_rows
from fastad.tables.passes.arena import make_arena
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.passes.operations import Operations
from fastad.tables.shown.listing import count_text, size_text
from fastad.tables.table import Row, Table


@dataclass(frozen=True)
class Pass:
    """Cost of one program. `once` is done once (the values and what follows from them alone), `each` for every
    direction or result; `bytes` is the most that is alive at once, besides inputs and constants, with one direction or
    result at a time; `sweep_bytes` what a call of the interpreter holds: arenas, inputs, results;
    `native_bytes` what a call of native code holds, by its own plan: work memory, inputs, results."""

    once: Operations
    each: Operations
    bytes: int
    sweep_bytes: int
    program: Table = field(repr=False, compare=False)
    native_work: "Callable[[Table], int]" = field(repr=False, compare=False)

    @lazy
    def native_bytes(self) -> int:
        """Bytes of work memory, inputs and results of native code (captured arrays are not copied)."""
        kinds = (*self.program.inputs[: self.program.explicit_inputs], *self.program.output_types)
        return self.native_work(self.program) + 8 * sum(kind.size for kind in kinds)

    def repeated(self, times: int) -> Operations:
        """Operations for this many directions or results."""
        return self.once + times * self.each


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a table with `d` numbers to differentiate by and `m` result numbers.

    `value`, `tangent` (a JVP) and `adjoint` (a VJP) are the programs; a full Jacobian takes `d` tangents or `m`
    adjoints. `print(cost)` shows all of it.
    """

    rows: int
    column_bytes: int
    value_bytes: int
    d: int
    m: int
    value: Pass
    tangent: Pass
    adjoint: Pass

    @property
    def jacobian_forward(self) -> Operations:
        """Operations of the whole Jacobian by d JVPs."""
        return self.tangent.repeated(self.d)

    @property
    def jacobian_reverse(self) -> Operations:
        """Operations of the whole Jacobian by m VJPs."""
        return self.adjoint.repeated(self.m)

    @property
    def mode(self) -> str:
        """Mode for the whole Jacobian: "fwd" or "rev" (see `choose_mode`)."""
        return choose_mode(self, self.d, self.m)

    def table(self) -> list[tuple[str, ...]]:
        """The report as cells of text; the first row is the heading."""
        programs = [
            ("value", self.value.once, self.value),
            ("tangent (JVP)", self.tangent.repeated(1), self.tangent),
            ("adjoint (VJP)", self.adjoint.repeated(1), self.adjoint),
            (f"Jacobian, {count_text(self.d, 'JVP')}", self.jacobian_forward, self.tangent),
            (f"Jacobian, {count_text(self.m, 'VJP')}", self.jacobian_reverse, self.adjoint),
        ]
        kinds = [name for name, _ in _counts(self.value.once)]
        heading = ("", "operations", *kinds, "memory", "sweep memory", "native memory")
        return [
            heading,
            *(
                (name, *_numbers(ops), *map(size_text, (p.bytes, p.sweep_bytes, p.native_bytes)))
                for name, ops, p in programs
            ),
        ]

    def summary(self) -> str:
        """One line on the table itself."""
        mode = "reverse" if self.mode == "rev" else "forward"
        return (
            f"{count_text(self.rows, 'row')} ({size_text(self.column_bytes)}), values {size_text(self.value_bytes)}; "
            f"{count_text(self.d, 'input')}, {count_text(self.m, 'result')}: Jacobian by {mode} mode"
        )

    def __str__(self) -> str:
        cells = self.table()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]
        return "\n".join([self.summary(), *lines])

    def _repr_html_(self) -> str:
        heading, *rows = self.table()
        head = "".join(f"<th>{c}</th>" for c in heading)
        body = "".join(
            "<tr><th>" + row[0] + "</th>" + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>" for row in rows
        )
        return f"<p>{self.summary()}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cost(
    table: Table, wrt: Sequence[int] | None = None, native_work: Callable[[Table], int] | None = None,
    sweep_work: Callable[[Table, str, Sequence[int]], int] | None = None,
) -> Cost:  # fmt: skip
    """Predicted cost of a table and of its derivatives by the inputs `wrt` (default: all floating-point arguments).

    `native_work` gives the bytes of work memory that native code takes for a table; without it they are those that the
    values need. `sweep_work` gives those of the sweeps' arenas, for a table, a mode and inputs; without it they are
    those of the arenas of the derived tables.

    >>> from fastad.tables.builder import Builder
    >>> b = Builder()
    >>> x = b.input((1000,))
    >>> c = cost(b.table([b.emit("sum", [b.emit("sin", [x])], (1, 1000, 1), ())]))
    >>> c.value.once.functions, c.value.once.additions, c.mode
    (1000, 999, 'rev')
    """
    if wrt is None:
        wrt = [i for i, kind in enumerate(table.inputs[: table.explicit_inputs]) if kind.dtype in "df"]
    count = table.explicit_inputs
    results = [kind for kind in table.output_types if kind.dtype in "df"]
    native = native_work or peak_bytes
    tangent, adjoint = tangent_table(table, wrt), adjoint_table(table, wrt)
    arenas = {
        mode: 8 * make_arena(own).value_size if sweep_work is None else sweep_work(table, mode, wrt)
        for mode, own in (("value", table), ("tangent", tangent), ("adjoint", adjoint))
    }
    scratch, of_tangents = 8 * scratch_size(table), 8 * scratch_size(table, tangents=True)
    # Captured arrays are not copied. Tangents of the inputs are given, or their adjoints are results.
    moved = 8 * sum(kind.size for kind in (*table.inputs[:count], *table.output_types))
    derived = moved + 8 * sum(table.inputs[i].size for i in wrt)
    sweeps = {
        "value": arenas["value"] + moved + scratch,
        "tangent": arenas["tangent"] + derived + of_tangents,
        "adjoint": arenas["adjoint"] + derived + scratch,
    }
    moved_by, seeded_by = range(count, count + len(wrt)), range(count, count + len(table.outputs))
    return Cost(
        rows=len(table),
        column_bytes=table.nbytes,
        value_bytes=8 * int(table.sizes.sum()),
        d=sum(table.inputs[i].size for i in wrt),
        m=sum(kind.size for kind in results),
        value=Pass(count_operations(table), Operations(), peak_bytes(table), sweeps["value"], table, native),
        tangent=_derived(tangent, moved_by, tangent_bytes(table, wrt), sweeps["tangent"], native),
        adjoint=_derived(adjoint, seeded_by, peak_bytes(adjoint), sweeps["adjoint"], native),
    )


def choose_mode(cost: Cost | None, d: int, m: int) -> str:
    """Mode for the Jacobian of m results by d inputs: "rev" if m < d, else "fwd".

    A JVP and a VJP of one program cost nearly the same (their matrix products exactly so), which leaves the number of
    passes to decide. Only where the counts of `cost` differ by more than a factor of two the other way, they win.

    >>> choose_mode(None, 10, 1), choose_mode(None, 10, 10)
    ('rev', 'fwd')
    """
    mode = "rev" if m < d else "fwd"
    if cost is None:
        return mode
    forward, reverse = cost.tangent.repeated(d).total, cost.adjoint.repeated(m).total
    if mode == "rev":
        return "fwd" if 2 * forward < reverse else "rev"
    return "rev" if 2 * reverse < forward else "fwd"


# ── counting ──────────────────────────────────────────────────────────────────────────────────────────────────
def count_operations(table: Table, rows: np.ndarray | None = None) -> Operations:
    """Operations of a table, or of the rows in a mask."""
    mask = np.ones(len(table), np.bool_) if rows is None else rows
    elements = np.bincount(table.columns["op"][mask], table.sizes[mask].astype(np.float64), len(PRIMITIVES))
    total = Operations()
    for code, row in enumerate(PRIMITIVES):
        if elements[code] and isinstance(row, Elementwise):
            total += int(elements[code]) * _element_operations(row.name)
    arrays = np.flatnonzero(mask & np.isin(table.columns["op"], _ARRAYS))
    return sum((_array_operations(table, table.row(i)) for i in arrays.tolist()), total)


@cache
def _element_operations(name: str) -> Operations:
    """Operations of one element of an elementwise row, by its expression."""
    row = primitive(name)
    return _leaf(row) if row.is_leaf else _expression_operations(row.value_expr)


def _expression_operations(expr: ex.Expr) -> Operations:
    if expr[0] != "call":
        return Operations()
    return sum((_expression_operations(e) for e in expr[2:]), _element_operations(expr[1]))


def _leaf(row: Elementwise) -> Operations:
    return Operations(**{"functions" if row.operator is None else row.operator.counted: 1})


def _array_operations(table: Table, row: Row) -> Operations:
    if row.sub is not None:
        return sub_operations(row.sub)
    sizes = [table.type_of(i).size for i in row.operands]
    return Operations(**row.primitive.operations(row.statics, row.size, sizes))  # type: ignore[attr-defined]


def sub_operations(sub: Sub) -> Operations:
    """Operations of a sub-program; loops count the steps that are run, by their schedule, and no further ones where a
    condition may end them. Of a Python function, nothing is known. A choice counts as its costliest branch."""
    return sub.operations(sub_operations) if sub.table is None else count_operations(sub.table)


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────
def tangent_bytes(table: Table, wrt: Sequence[int]) -> int:
    """Peak of a pass that carries one tangent with every value that has one."""
    has_tangent = np.zeros(len(table), np.int64)
    for row in table.rows():
        if row.form is Form.INPUT:
            has_tangent[row.index] = int(table.columns["a"][row.index]) in wrt
        elif row.dtype in "df":
            differentiable: Any = row.primitive.is_differentiable  # type: ignore[attr-defined]
            has_tangent[row.index] = any(has_tangent[i] and differentiable(k) for k, i in enumerate(row.operands))
    return peak_bytes(table, 1 + has_tangent)


def peak_bytes(table: Table, copies: Any = 1) -> int:
    """Most bytes of values alive at once, row after row, besides inputs and constants; results stay alive."""
    sizes = np.where(np.isin(table.columns["op"], (INPUT, CONST)), 0, table.sizes * copies).tolist()
    dying: dict[int, list[int]] = {}
    last = {operand: row.index for row in table.rows() for operand in row.operands}
    last |= dict.fromkeys(table.outputs, len(table))
    for index, user in last.items():
        dying.setdefault(user, []).append(index)
    called = np.flatnonzero(table.columns["op"] == CALL).tolist()
    inside = {i: sub_bytes(table.row(i).sub) // 8 for i in called}
    alive = peak = 0
    for index, size in enumerate(sizes):
        alive += size if index in last else 0
        peak = max(peak, alive + inside.get(index, 0))
        alive -= sum(sizes[i] for i in dying.get(index, ()))
    return 8 * peak


def sub_bytes(sub: Sub) -> int:
    """Most bytes that a run of a sub-program needs besides its operands and results: of a loop, the states and vectors
    of one step, and what its body needs; of an adjoint without saved states, all states that it stores."""
    return sub.work_bytes(sub_bytes) if sub.table is None else peak_bytes(sub.table)


def scratch_size(table: Table, *, tangents: bool = False) -> int:
    """Doubles of scratch memory that the kernels of a table's rows need, or also the tangents of the rows."""
    needed = 0
    for index in np.flatnonzero(np.isin(table.columns["op"], _WORKING)).tolist():
        row: Any = table.row(index)
        sizes = [int(table.sizes[i]) for i in row.operands]
        needed = max(needed, row.primitive.work(row.statics, row.size, sizes))
        if tangents:
            needed = max(needed, row.primitive.tangent_work(row.statics, row.size, sizes))
    return needed


def _derived(
    table: Table, seeds: Iterable[int], peak: int, sweep_bytes: int, native_work: Callable[[Table], int]
) -> Pass:
    """Cost of a derived table; what depends on the inputs `seeds` is done for each direction or result."""
    wanted = set(seeds)
    moving = np.zeros(len(table), np.bool_)
    for row in table.rows():
        if row.form is Form.INPUT:
            moving[row.index] = int(table.columns["a"][row.index]) in wanted
        else:
            moving[row.index] = any(moving[i] for i in row.operands)
    live = live_rows(table)
    once, each = count_operations(table, live & ~moving), count_operations(table, live & moving)
    return Pass(once, each, peak, sweep_bytes, table, native_work)


def _numbers(ops: Operations) -> list[str]:
    return [f"{n:,}" for n in (ops.total, *(count for _, count in _counts(ops)))]


def _counts(ops: Operations) -> list[tuple[str, int]]:
    """The counts by kind; products are counted as multiplications already."""
    return [(f.name, getattr(ops, f.name)) for f in fields(ops) if f.name != "products"]


_WORKING = [row.code for row in array_rows() if row.needs_work or row.tangent_needs_work]
_ARRAYS = [code for code, row in enumerate(PRIMITIVES) if not isinstance(row, Elementwise)]
