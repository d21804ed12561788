"""Packs: the same function of independent numbers, computed by one call for a vector.

A call of `sin` costs as much for eight numbers as for one, so straight-line code is put into an order in which rows
of one primitive meet. Rows are taken in their order. One whose value needs a vector function waits for others of its
kind, and so does whatever needs it. A full pack is made at once. When too many rows wait, a pack of every kind is
made: no two of them depend on each other, so the processor overlaps them, which matters more than fuller packs do
(measured: the largest pack alone, and then the next, takes a fifth longer).
"""

from collections.abc import Iterator, Sequence

from fastad.execution.machine.symbols import vector_symbol
from fastad.execution.native.code.operations import c_functions
from fastad.execution.native.code.vectors import lanes
from fastad.execution.native.planning.planner import Planner
from fastad.execution.native.planning.steps import ScalarStep
from fastad.primitives import PRIMITIVES, Elementwise, Primitive

_AHEAD = 1000  # rows that wait: more fill the packs better, but their values live longer
_REGISTERS = 8  # arguments that a call passes in registers


def find_packs(p: Planner) -> None:
    """Order the rows of all steps of straight-line code, and note their packs."""
    widths = {op: width(PRIMITIVES[op]) for op in set(p.op)}
    widths = {op: w for op, w in widths.items() if w > 1}
    for step in p.steps:
        if isinstance(step, ScalarStep) and sum(p.size[r] for r in step.rows if p.op[r] in widths) > 1:
            order = _Order(p, widths)
            order.run(step.rows)
            step.rows, step.packs = order.rows, order.packs


def width(row: Primitive) -> int:
    """How many numbers a primitive takes at once; 1 if it calls no function, or one that is not there for vectors."""
    if not isinstance(row, Elementwise) or not (called := c_functions(row.name)):
        return 1
    most = min(lanes(), _REGISTERS // row.arity)
    return next((w for w in (8, 4, 2) if w <= most and all(vector_symbol(c, w) for c in called)), 1)


class _Order:
    """The new order of one step's rows. A row is late from when it is met until it stands in the order."""

    def __init__(self, p: Planner, widths: dict[int, int]) -> None:
        self.p, self.widths = p, widths
        self.rows: list[int] = []
        self.packs: dict[int, list[int]] = {}
        self.late: dict[int, int] = {}  # row -> how many of its operands are late
        self.after: dict[int, list[int]] = {}  # late row -> rows that need it, once for each use
        self.waiting: dict[int, list[int]] = {}  # by primitive: rows that are ready for a pack

    def run(self, rows: Sequence[int]) -> None:
        late, after, op, widths = self.late, self.after, self.p.op, self.widths
        for r, operands in self._with_operands(rows):
            missing = [x for x in operands if x in late]
            if missing:
                late[r] = len(missing)
                for x in missing:
                    if x in after:
                        after[x].append(r)
                    else:
                        after[x] = [r]
                if len(late) > _AHEAD:
                    self._pack_all()
            elif op[r] in widths:
                self._ready([r])
            else:
                self.rows.append(r)
        while self.waiting:
            self._pack_all()

    def _with_operands(self, rows: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
        """Rows and what has to come before them."""
        p, alias, check = self.p, self.p.alias, -1
        op, a, b, c = p.op, p.a, p.b, p.c
        if alias:
            a, b, c = ([alias[x][0] if x in alias else x for x in column] for column in (a, b, c))
        arity = [row.arity if isinstance(row, Elementwise) else -1 for row in PRIMITIVES]
        for r in rows:
            n = arity[op[r]]
            if n == 2:
                yield r, (a[r], b[r])
            elif n >= 0:
                yield r, (a[r], b[r], c[r])[:n]
            else:
                operands = [p.base(x)[0] for x in p.table.row(r).operands]
                if PRIMITIVES[op[r]].stops:  # type: ignore[attr-defined]  # what may stop the program does so in its order
                    operands.append(check)
                    check = r
                yield r, operands

    def _ready(self, rows: list[int]) -> None:
        """Put rows into the order, or with those that wait for a pack."""
        op, widths, late, after, append = self.p.op, self.widths, self.late, self.after, self.rows.append
        while rows:
            r = rows.pop()
            if op[r] in widths:
                rows += self._wait(r)
                continue
            append(r)
            late.pop(r, None)
            for x in reversed(after.pop(r, ())):
                if late[x] == 1:
                    rows.append(x)
                else:
                    late[x] -= 1

    def _wait(self, r: int) -> list[int]:
        """Put a row with those that wait for a pack; returns the rows that are free if that is full now."""
        k = self.p.op[r]
        self.late[r] = 0
        waiting = self.waiting.setdefault(k, [])
        waiting.append(r)
        full = len(waiting) * self.p.size[r] >= self.widths[k]  # sizes are mostly equal
        return self._take(k) if full else []

    def _take(self, k: int) -> list[int]:
        """Make a pack of what waits for one; returns the rows that are free then."""
        pack, free, late = self.waiting.pop(k), list[int](), self.late
        self.rows += pack
        self.packs[pack[0]] = pack
        for r in pack:
            del late[r]
        for r in pack:
            for x in self.after.pop(r, ()):
                if late[x] == 1:
                    free.append(x)
                else:
                    late[x] -= 1
        return free

    def _pack_all(self) -> None:
        """Make a pack of every kind that waits."""
        free = [self._take(k) for k in list(self.waiting)]
        self._ready([r for rows in free for r in rows])
