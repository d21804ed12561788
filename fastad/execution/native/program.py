"""From a table to the text of its native program."""

from functools import cached_property
from typing import NamedTuple

from fastad.execution.layout import Layout, layout_of
from fastad.execution.native.calls import CallCode
from fastad.execution.native.demand import Demand
from fastad.execution.native.function import ARGUMENTS, Function
from fastad.execution.native.loops import LoopCode
from fastad.execution.native.maps import Incompatible
from fastad.execution.native.memory import Memory
from fastad.execution.native.operations import Module
from fastad.execution.native.packing import find_packs
from fastad.execution.native.plan import Planner
from fastad.execution.native.products import OWN_CODE
from fastad.execution.native.scalars import ScalarCode
from fastad.execution.native.steps import Loop, Place, Scalars, Step
from fastad.tables.table import Table

UNROLL = 16  # elements: rows of at most so many are unrolled into registers
SMALL = 2000  # operations on single numbers that are optimised as a whole
_INLINED = 30  # steps that may become one function
_MANY_CHUNKS = 30  # chunks that the nearer caches hold
CHUNK = 300  # operations of one function of larger programs

_WEIGHTS = '!0 = !{!"branch_weights", i32 1, i32 2000}'


class Part(NamedTuple):
    """A module of IR: its text, the level to compile it at, and the functions that others want of it."""

    text: str
    level: int
    names: list[str]


class Program:
    """A table's kernel: planned at once, `work_size` doubles of work memory included; its IR is written when `parts`
    are asked for. The last part has the function `kernel`; later parts call functions of earlier ones."""

    def __init__(self, table: Table, layout: Layout, threads: int = 1) -> None:
        self.layout, self.threads = layout, threads
        try:
            self._plan(table, safe=False)
        except Incompatible:  # a value is wanted in an order that its operands cannot be walked through: store more
            self._plan(table, safe=True)

    def _plan(self, table: Table, safe: bool) -> None:
        """Steps and memory; loops are written already, which shows whether all their values can be walked through."""
        planner = Planner(table, _unrolling(table), safe).run()
        demand = Demand(planner).run()
        find_packs(planner)
        operations = sum(planner.size[r] for step in planner.steps if isinstance(step, Scalars) for r in step.rows)
        self.small = operations <= SMALL
        self.memory = Memory(planner, demand, self.layout, SMALL if self.small else CHUNK)
        self.work_size = self.memory.work_size
        self.module = self.chunks = Module()
        if not self.small:
            self.chunks = Module()
        self.loops = {
            step.index: LoopCode(self.module, self.memory, demand, step, self.threads).build()
            for step in self.memory.steps
            if isinstance(step, Loop) and (step.stores or step.reductions)
        }

    @cached_property
    def parts(self) -> list[Part]:
        """The modules of IR."""
        names, chunks = [], []
        for at, step in enumerate(self.memory.steps):
            if isinstance(step, Loop) and step.index not in self.loops:
                continue
            names.append(f"step{at}")
            code = self._function(step)
            if code.module is self.module:
                self.module.functions.append(code.text(names[-1]))
            else:
                chunks.append(names[-1])
                self.chunks.functions.append(code.text(names[-1], ""))
                self.module.declare(names[-1], f"i64 @{names[-1]}(ptr, ptr, ptr)")
        if self.memory.copies:
            names.append("copies")
            self.module.functions.append(self._copies().text("copies"))
        self.module.functions.append(_kernel(names))
        parts = [Part(self.chunks.text() + _WEIGHTS, 0, chunks)] if chunks else []
        return [*parts, Part(self.module.text() + _WEIGHTS, 2, ["kernel"])]

    def _function(self, step: Step) -> Function:
        if isinstance(step, Scalars):
            return ScalarCode(self.chunks, self.memory).build(step, self._following(step))
        if isinstance(step, Loop):
            return self.loops[step.index]
        row = self.memory.p.table.row(step.row)
        own = OWN_CODE.get(row.name)
        code = own(self.module, self.memory, row) if own else None
        return code or CallCode(self.module, self.memory).build(step)

    def _following(self, step: Scalars) -> str:
        """The function after a chunk of a program that the instruction caches do not hold."""
        steps = self.memory.steps
        at = self.memory.made_in[step.rows[0]] + 1
        return f"step{at}" if len(steps) > _MANY_CHUNKS and at < len(steps) and isinstance(steps[at], Scalars) else ""

    def _copies(self) -> Function:
        """Results that are inputs, constants, parts of other values, or given twice."""
        code = Function(self.module, self.memory)
        name = "llvm.memcpy.p0.p0.i64"
        self.module.declare(name, f"void @{name}(ptr, ptr, i64, i1)")
        for r, j in self.memory.copies:
            slot = self.memory.layout.outputs[j]
            target = code.address(Place("out_ref" if slot.by_reference else "out", slot.offset))
            code.entry.do(f"call void @{name}(ptr {target}, ptr {code.pointer(r)}, i64 {8 * slot.size}, i1 false)")
        return code


def work_bytes(table: Table) -> int:
    """Bytes of work memory of a table's kernel and of the largest kernel that it calls."""
    inside = [work_bytes(sub.table) for sub in table.subs if sub.table is not None]
    return 8 * Program(table, layout_of(table)).work_size + max(inside, default=0)


def _unrolling(table: Table) -> int:
    """Fewer elements are unrolled where that would make a program too long to optimise."""
    sizes = table.sizes
    for unroll in (UNROLL, 4):
        if sizes[sizes <= unroll].sum() <= max(SMALL, 2 * int((sizes == 1).sum())):
            return unroll
    return 2  # a loop over two elements is no faster than twice the code, and takes six times as long to compile


def _kernel(names: list[str]) -> str:
    """The kernel: all steps in order; a step that returns a code ends it."""
    attribute = "" if len(names) <= _INLINED else " noinline"  # one function of all would take long to optimise
    lines = [
        "define i64 @kernel(ptr %context, ptr noalias %in, ptr noalias %out, ptr noalias %work) nounwind {",
        "start:",
    ]
    for name in names:
        lines += [
            f"  %{name} = call i64 @{name}({ARGUMENTS}){attribute}", f"  %{name}.ok = icmp eq i64 %{name}, 0",
            f"  br i1 %{name}.ok, label %after.{name}, label %stop.{name}",
            f"stop.{name}:", f"  ret i64 %{name}", f"after.{name}:",
        ]  # fmt: skip
    return "\n".join([*lines, "  ret i64 0", "}"])
