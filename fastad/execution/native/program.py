"""From a plan to the text of its native code."""

from typing import NamedTuple

from fastad.execution.native.code.calls import CallCode
from fastad.execution.native.code.function import ARGUMENTS, Function
from fastad.execution.native.code.loops import LoopCode
from fastad.execution.native.code.operations import Module
from fastad.execution.native.code.own import OWN_CODE
from fastad.execution.native.code.scalars import ScalarCode
from fastad.execution.native.code.stacks import stack_code
from fastad.execution.native.planning.maps import Incompatible
from fastad.execution.native.planning.nests import LoopPlan
from fastad.execution.native.planning.plan import Plan
from fastad.execution.native.planning.steps import LoopStep, Place, ScalarStep, Step
from fastad.once import lazy

_INLINED = 30  # steps that may become one function
_MANY_CHUNKS = 30  # chunks that the nearer caches hold

_WEIGHTS = '!0 = !{!"branch_weights", i32 1, i32 2000}'


class ModuleText(NamedTuple):
    """A module of IR: its text, the level to compile it at, and the functions that others want of it."""

    text: str
    level: int
    names: list[str]


class NativeCode:
    """The code of a plan: modules of IR, of which the last has the function `kernel`; later ones call functions of
    earlier ones."""

    def __init__(self, plan: Plan, threads: int = 1) -> None:
        self.plan, self.memory, self.threads = plan, plan.memory, threads
        self.module = Module()
        self.chunks = self.module if plan.is_small else Module()

    @lazy
    def parts(self) -> list[ModuleText]:
        """The modules of IR."""
        names, chunks = [], []
        for at, step in enumerate(self.plan.steps):
            if isinstance(step, LoopStep) and step.index not in self.plan.loops:
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
        parts = [ModuleText(self.chunks.text() + _WEIGHTS, 0, chunks)] if chunks else []
        return [*parts, ModuleText(self.module.text() + _WEIGHTS, 2, ["kernel"])]

    def _function(self, step: Step) -> Function:
        if isinstance(step, ScalarStep):
            return ScalarCode(self.chunks, self.memory).build(step, self._following(step))
        if isinstance(step, LoopStep):
            return self._loop(self.plan.loops[step.index])
        row = self.memory.p.table.row(step.row)
        own = OWN_CODE.get(row.name, stack_code)
        return own(self.module, self.memory, row) or CallCode(self.module, self.memory).build(step)

    def _loop(self, loop: LoopPlan) -> Function:
        try:
            return LoopCode(self.module, self.memory, loop, self.threads)
        except Incompatible:
            raise AssertionError("a loop was planned that cannot walk through its values") from None

    def _following(self, step: ScalarStep) -> str:
        """The function after a chunk of a program that the instruction caches do not hold."""
        steps = self.memory.steps
        at = self.memory.made_in[step.rows[0]] + 1
        return (
            f"step{at}" if len(steps) > _MANY_CHUNKS and at < len(steps) and isinstance(steps[at], ScalarStep) else ""
        )

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
