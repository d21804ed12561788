"""From a plan to the text of its native code."""

import itertools
from typing import NamedTuple

from fastad.execution.machine.llvm_ir import STRAIGHT
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
from fastad.execution.native.target import target
from fastad.once import lazy

_INLINED = 30  # steps that may become one function
_MANY_CHUNKS = 30  # chunks that the nearer caches hold
_LONG = 4_000_000  # characters of loops that take some 6 seconds to optimise

_WEIGHTS = '!0 = !{!"branch_weights", i32 1, i32 2000}'


class ModuleText(NamedTuple):
    """A module of IR: its text, the level to compile it at, and the functions that others want of it."""

    text: str
    level: int
    names: list[str]


class NativeCode:
    """The code of a plan: modules of IR, of which the last has the function `kernel`; it calls functions of the one
    before it.

    Loops are optimised, and straight-line code of a few hundred operations with them. Longer straight-line code is in
    modules of its own, without passes: they take half of the time to compile it, and find nothing in it. From some
    thousand operations on it is compiled at level 0, whose code is slower by a tenth to a half, and there in a fifth
    of the time; so are loops of very long programs. In a plan of many steps the function `kernel` is calls for the
    most part, over which LLVM takes ten times as long if it may optimise them, to no use.
    """

    def __init__(self, plan: Plan, threads: int = 1) -> None:
        self.plan, self.memory, self.threads = plan, plan.memory, threads
        skipped = [isinstance(step, LoopStep) and step.index not in plan.loops for step in plan.steps]
        self.steps = [(f"step{at}", step) for at, step in enumerate(plan.steps) if not skipped[at]]
        many = len(self.steps) > _INLINED
        self.module = Module(Module() if many else None)  # of loops
        self.main = self.module.main  # of the kernel, and of calls
        if plan.is_little:  # of straight-line code
            self.chunks = self.module
        else:
            self.chunks = self.main if many and not plan.is_small else Module()

    @lazy
    def parts(self) -> list[ModuleText]:
        """The modules of IR."""
        lines, stops = [], []
        called: dict[Module, list[str]] = {}  # functions of other modules
        for name, step in self.steps:
            self.module.names = itertools.count()  # of each function anew, so that equal ones have equal texts
            code = self._function(step)
            code = code.caller() if code.shared else code
            if code.module is not self.main:
                called.setdefault(code.module, []).append(name)
                code.module.functions.append(code.text(name, ""))
                self.main.declare(name, f"i64 @{name}(ptr, ptr, ptr)")
            elif self.main is self.module or isinstance(code, ScalarCode):
                self.main.functions.append(code.text(name))
            else:  # without a function of its own
                lines += [*code.lines, *_checked(name, code.result)]
                stops += code.stops
                continue
            lines += [f"  %{name} = call i64 @{name}({ARGUMENTS})", *_checked(name, f"%{name}")]
        if self.memory.copies:
            lines += self._copies().lines
        self.main.functions.append("\n".join([_KERNEL, *lines, "  ret i64 0", *stops, "}"]))
        if self.module is not self.main and (shared := self.module.shared):
            called.setdefault(self.module, []).extend(shared)
        texts = [(module, module.text() + _WEIGHTS, names) for module, names in called.items()]
        texts.append((self.main, self.main.text() + _WEIGHTS, ["kernel"]))
        return [ModuleText(text, self._level(module, len(text)), names) for module, text, names in texts]

    def _level(self, module: Module, length: int) -> int:
        if module is self.module:
            return 2 if length < _LONG else 0
        return STRAIGHT if module is self.chunks and self.plan.is_small else 0

    def _function(self, step: Step) -> Function:
        if isinstance(step, ScalarStep):
            code = ScalarCode(self.chunks, self.memory)
            code.alone = not self.plan.is_small
            return code.build(step, self._following(step))
        if isinstance(step, LoopStep):
            return self._loop(self.plan.loops[step.index])
        row = self.memory.p.table.row(step.row)
        own = OWN_CODE.get(row.name, stack_code)
        return own(self.module, self.memory, row) or CallCode(self.main, self.memory).build(step)

    def _loop(self, loop: LoopPlan) -> Function:
        try:
            return LoopCode(self.module, self.memory, loop, self.threads)
        except Incompatible:
            raise AssertionError("a loop was planned that cannot walk through its values") from None

    def _following(self, step: ScalarStep) -> str:
        """The function after a chunk of a program that the instruction caches do not hold."""
        steps = self.memory.steps
        if not target().fetches:
            return ""
        at = self.memory.made_in[step.rows[0]] + 1
        return (
            f"step{at}" if len(steps) > _MANY_CHUNKS and at < len(steps) and isinstance(steps[at], ScalarStep) else ""
        )

    def _copies(self) -> Function:
        """Results that are inputs, constants, parts of other values, or given twice."""
        code = Function(self.main, self.memory)
        name = "llvm.memcpy.p0.p0.i64"
        self.main.declare(name, f"void @{name}(ptr, ptr, i64, i1)")
        for r, j in self.memory.copies:
            slot = self.memory.layout.outputs[j]
            target = code.address(Place("out_ref" if slot.by_reference else "out", slot.offset))
            code.entry.do(f"call void @{name}(ptr {target}, ptr {code.pointer(r)}, i64 {8 * slot.size}, i1 false)")
        return code


_KERNEL = """define i64 @kernel(ptr %context, ptr noalias %in, ptr noalias %out, ptr noalias %work) nounwind {
start:"""


def _checked(name: str, code: str) -> list[str]:
    """Lines that return the code of a step if it is not 0."""
    if code == "0":
        return []
    return [
        f"  %{name}.ok = icmp eq i64 {code}, 0", f"  br i1 %{name}.ok, label %after.{name}, label %stop.{name}",
        f"stop.{name}:", f"  ret i64 {code}", f"after.{name}:",
    ]  # fmt: skip
