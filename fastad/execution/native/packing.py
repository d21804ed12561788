"""Packs: the same function of independent numbers, computed by one call for a vector.

A call of `sin` costs as much for eight numbers as for one, so straight-line code is put into an order in which rows
of one primitive meet. Rows are taken in their order. One whose value needs a vector function waits for others of its
kind, and so does whatever needs it. A full pack is made at once. When too many rows wait, a pack of every kind is
made: no two of them depend on each other, so the processor overlaps them, which matters more than fuller packs do
(measured: the largest pack alone, and then the next, takes a fifth longer).
"""

from collections.abc import Iterator, Sequence

from fastad.execution.native.operations import Block, Module, c_functions
from fastad.execution.native.plan import CHECKS, Planner
from fastad.execution.native.steps import Scalars
from fastad.execution.native.vectors import lanes
from fastad.execution.symbols import vector_symbol
from fastad.primitives import PRIMITIVES, Elementwise, Primitive

_AHEAD = 1000  # rows that wait: more fill the packs better, but their values live longer
_REGISTERS = 8  # arguments that a call passes in registers
_ALIGN = 64  # bytes


def find_packs(p: Planner) -> None:
    """Order the rows of all steps of straight-line code, and note their packs."""
    widths = {op: width(PRIMITIVES[op]) for op in set(p.op)}
    widths = {op: w for op, w in widths.items() if w > 1}
    for step in p.steps:
        if isinstance(step, Scalars) and sum(p.size[r] for r in step.rows if p.op[r] in widths) > 1:
            order = _Order(p, widths)
            order.run(step.rows)
            step.rows, step.packs = order.rows, order.packs


def width(row: Primitive) -> int:
    """How many numbers a primitive takes at once; 1 if it calls no function, or one that is not there for vectors."""
    if not isinstance(row, Elementwise) or not (called := c_functions(row.name)):
        return 1
    most = min(lanes(), _REGISTERS // row.arity)
    return next((w for w in (8, 4, 2) if w <= most and all(vector_symbol(c, w) for c in called)), 1)


def packed_function(module: Module, row: Elementwise, count: int) -> str:
    """A function of a module that applies a primitive to `count` numbers: `void f(double a0, …, double b0, …, ptr
    results)`. Numbers go in by registers, as vectors that are stored in parts and loaded as a whole wait for memory."""
    name = f"{row.name}.{count}"
    if name not in module.declarations:
        block = Block(module, 8 if count > 4 else min(width(row), 4))
        operands = [[f"%{x}{i}" for i in range(count)] for x in "abc"[: row.arity]]
        value = block.number(block.apply(row.name, *(_vector(block, xs) for xs in operands)))
        block.do(f"store {block.type} {value}, ptr %results, align {_ALIGN}")
        parameters = ", ".join(f"double {x}" for xs in operands for x in xs)
        module.declarations[name] = "\n".join(
            [f"define internal void @{name}({parameters}, ptr noalias %results) nounwind {{", "entry:",
             *block.lines, "  ret void", "}"]
        )  # fmt: skip
    return name


def _vector(block: Block, numbers: list[str]) -> str:
    """Numbers as a vector; lanes without a number repeat the first."""
    vector = "poison"
    for lane in range(block.lanes):
        x = numbers[lane] if lane < len(numbers) else numbers[0]
        vector = block.emit(f"insertelement {block.type} {vector}, double {x}, i32 {lane}")
    return vector


class _Order:
    """The new order of one step's rows."""

    def __init__(self, p: Planner, widths: dict[int, int]) -> None:
        self.p, self.widths = p, widths
        self.rows: list[int] = []
        self.packs: dict[int, list[int]] = {}
        self.late: set[int] = set()  # rows met but not yet in the order
        self.after: dict[int, list[int]] = {}  # late row -> rows that need it, once for each use
        self.needs: dict[int, int] = {}  # how many of these are left, for each of those rows
        self.waiting: dict[int, list[int]] = {}  # by primitive: rows that are ready for a pack

    def run(self, rows: Sequence[int]) -> None:
        late, after, op, widths = self.late, self.after, self.p.op, self.widths
        for r, operands in self._with_operands(rows):
            missing = [x for x in operands if x in late]
            if missing:
                late.add(r)
                self.needs[r] = len(missing)
                for x in missing:
                    after.setdefault(x, []).append(r)
            elif op[r] in widths:
                self._ready([r])
            else:
                self.rows.append(r)
            if len(late) > _AHEAD:
                self._pack_all()
        while self.waiting:
            self._pack_all()

    def _with_operands(self, rows: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
        """Rows and what has to come before them."""
        p, alias, check = self.p, self.p.alias, -1
        op, a, b, c = p.op, p.a, p.b, p.c
        arity = [row.arity if isinstance(row, Elementwise) else -1 for row in PRIMITIVES]
        for r in rows:
            n = arity[op[r]]
            operands: Sequence[int] = (a[r], b[r]) if n == 2 else (a[r],) if n == 1 else (a[r], b[r], c[r])
            if n < 0:
                operands = p.table.row(r).operands
                if PRIMITIVES[op[r]].name in CHECKS:  # what may stop the program does so in its order
                    operands, check = (*operands, check), r
            if alias:
                operands = [alias[x][0] if x in alias else x for x in operands]
            yield r, operands

    def _ready(self, rows: list[int]) -> None:
        """Put rows into the order, or with those that wait for a pack."""
        op, widths, late, after, needs = self.p.op, self.widths, self.late, self.after, self.needs
        while rows:
            r = rows.pop()
            k = op[r]
            if k in widths:
                late.add(r)
                self.waiting.setdefault(k, []).append(r)
                if self._elements(k) >= widths[k]:
                    rows += self._take(k)
                continue
            self.rows.append(r)
            late.discard(r)
            if r in after:
                for x in reversed(after.pop(r)):
                    needs[x] -= 1
                    if not needs[x]:
                        rows.append(x)

    def _elements(self, k: int) -> int:
        return sum(self.p.size[r] for r in self.waiting[k])

    def _take(self, k: int) -> list[int]:
        """Make a pack of what waits for one; returns the rows that it sets free."""
        pack = self.waiting.pop(k)
        self.rows += pack
        self.packs[pack[0]] = pack
        self.late.difference_update(pack)
        free = []
        for r in pack:
            for x in self.after.pop(r, ()):
                self.needs[x] -= 1
                if not self.needs[x]:
                    free.append(x)
        return free

    def _pack_all(self) -> None:
        """Make a pack of every kind that waits."""
        free = [self._take(k) for k in list(self.waiting)]
        self._ready([r for rows in free for r in rows])
