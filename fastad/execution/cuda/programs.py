"""The IR text of a program and of all that it calls, for one instance of it.

The kernels are those of the CPU (`fastad.execution.native`, `fastad.execution.translation`), made for vectors of one
number. What there are addresses in a process, here are names: the records of drivers are constants of the module, so
that LLVM sees whom they call and how long their loops are. All memory is the caller's: `work` holds what a kernel needs
and, behind that, what the kernels need that it calls.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastad.errors import CompileError
from fastad.execution.composites.blocks import PLACES as WORK_PLACES
from fastad.execution.composites.drivers import driver_text, lay_out
from fastad.execution.cuda.assembling import Assembly, defined_in, outside_of
from fastad.execution.layout import Layout, layout_of
from fastad.execution.machine.exported import entry_text
from fastad.execution.native.code.gathers import places_of
from fastad.execution.native.code.operations import literal
from fastad.execution.native.names import CALLEE, CONSTANTS, ENTRY, PLACES
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.program import NativeCode
from fastad.execution.native.target import GPU, making_for
from fastad.execution.translation.kinds import UntranslatableError
from fastad.execution.translation.memory import KERNEL_CALL
from fastad.execution.translation.module import ir_of
from fastad.kernels import interrupt_state, notice_count
from fastad.tables.composites.driver import Driver, Parameters, StatesOnDisk
from fastad.tables.composites.sub import Sub
from fastad.tables.table import Table

_WORD = 8  # bytes
_OWN, _SCRATCH = "fastad.kernels.", "scratch"
_FIRST_VECTOR = 8  # place in a driver's work of the address of its first vector


class Kernel(NamedTuple):
    """A function of the module, `i64 name(ptr context, ptr in, ptr out, ptr work)`, its context as an integer, and
    doubles of work."""

    name: str
    context: str
    work: int


_NONE = Kernel("", "0", 0)

_CALLEE = """
define internal i64 @{callee}(ptr %x, ptr %y, ptr %w) alwaysinline nounwind {{
  %code = call i64 @{name}(ptr inttoptr (i64 {context} to ptr), ptr %x, ptr %y, ptr %w)
  ret i64 %code
}}
"""
# A driver of blocks: called for one after another, with the address of saved states and the block's number in its work.
_BLOCKS = """
define internal i64 @{name}(ptr %c, ptr %x, ptr %y, ptr %w) nounwind {{
entry:
  %saved = load i64, ptr %w
  %place = getelementptr i64, ptr %w, i64 1
  br label %next
next:
  %block = phi i64 [ 0, %entry ], [ %block.next, %run ]
  %more = icmp slt i64 %block, {blocks}
  br i1 %more, label %run, label %end
run:
  store i64 %saved, ptr %w
  store i64 %block, ptr %place
  %code = call i64 @{own}(ptr %c, ptr %x, ptr %y, ptr %w)
  %block.next = add i64 %block, 1
  %sound = icmp eq i64 %code, 0
  br i1 %sound, label %next, label %failed
failed:
  ret i64 %code
end:
  ret i64 0
}}
"""


class ProgramText:
    """The text of a table's kernel and of all that it calls: `kernel`, `layout` and `assembly`. `is_single`: it is to
    become one of float32 (see `precision`)."""

    def __init__(self, table: Table, threshold: int | None, is_single: bool) -> None:
        self._target = replace(GPU, is_single=is_single)
        self.assembly = Assembly()
        self._known: dict[str, Kernel] = {}
        self._count = 0
        self.vectors = 0  # doubles of vectors that drivers have on the stack
        self.layout = layout_of(table, threshold)
        self.kernel = self._table(table, self.layout)
        self.assembly.complete(_definition)

    def _fresh(self, what: str) -> str:
        self._count += 1
        return f"{what}{self._count}"

    # ── tables ───────────────────────────────────────────────────────────────────────────────────────────────
    def _table(self, table: Table, layout: Layout) -> Kernel:
        prefix = self._fresh("table") + "."
        with making_for(self._target):
            plan = make_plan(table, layout)
            texts = [_internal(part.text) for part in NativeCode(plan).parts]
        inside = self._callees(table, prefix)
        used = {name for text in texts for name in outside_of(text)}
        self._data(table, prefix, used)
        names = {name: prefix + name for text in texts for name in defined_in(text)}
        names |= {name: prefix + name for name in used if name.startswith((CALLEE, CONSTANTS, PLACES))}
        for text in texts:
            self.assembly.add(text, names=names)
        return Kernel(f"{prefix}kernel", "0", plan.work_size + inside)

    def _callees(self, table: Table, prefix: str) -> int:
        """Add what the composite rows of a table call; returns the doubles of work of the largest."""
        inside = 0
        for number, sub in enumerate(table.subs):
            own = self._sub(sub)
            self.assembly.add(_CALLEE.format(callee=f"{prefix}{CALLEE}{number}", name=own.name, context=own.context))
            inside = max(inside, own.work, WORK_PLACES)
        return inside

    def _data(self, table: Table, prefix: str, used: Iterable[str]) -> None:
        """Add the constants that the code of a table reads."""
        for name in used:
            if name == CONSTANTS:
                self.assembly.add(_numbers(prefix + name, table.pools["constants"]))
            elif name.startswith(PLACES):
                places = places_of(table, int(name.removeprefix(PLACES)))
                self.assembly.add(_integers(prefix + name, places, "i32"))

    # ── sub-programs ─────────────────────────────────────────────────────────────────────────────────────────
    def _sub(self, sub: Sub | None) -> Kernel:
        """The kernel of a sub-program, its operands and results inline."""
        if sub is None:
            return _NONE
        if isinstance(sub, Driver):
            return self._driver(sub)
        if sub.table is None:
            why = f" ({sub.reason})" if sub.reason else ""
            raise CompileError(f"{sub.name} is a Python function{why}: a GPU cannot call it")
        key = sub.table.hash
        if key not in self._known:
            self._known[key] = self._table(sub.table, layout_of(sub.table, None))
        return self._known[key]

    def _driver(self, sub: Driver) -> Kernel:
        given = sub.parameters()
        if any(isinstance(resource, StatesOnDisk) for resource in given.resources.values()):
            raise CompileError(f"{sub.name} keeps states on disk, which a GPU cannot: choose another schedule")
        name, record = self._fresh("driver"), given.record.reshape(1)
        kernels, scratch = self._kernels_of(given, record)
        own = name if sub.blocks is None else f"{name}.one"
        if sub.kernel.startswith(_OWN) and given.work:
            work = self._apart(own, record[0], {**given.work, _SCRATCH: scratch})
            code = f"{own}.code"
        else:
            work, code = lay_out(record[0], given.work, scratch), own
        text = translated(driver_text(sub.kernel), "entry", sub.name, code != own)
        self.assembly.add(text, f"{own}.", {"entry": code, KERNEL_CALL: f"{own}.call"})
        self.assembly.add(_call_text(f"{own}.call", list(kernels.values())))
        if sub.blocks is not None:
            self.assembly.add(_BLOCKS.format(name=name, own=own, blocks=sub.blocks))
        self._record(name, record, given, kernels)
        return Kernel(name, _address(f"{name}.record"), work)

    def _apart(self, name: str, record: Any, sizes: Mapping[str, int]) -> int:
        """Add a driver's kernel around its code, NAME.code, that has the driver's vectors on the stack, each by itself,
        so that LLVM keeps those in registers whose places are all known. Returns the doubles of its work."""
        names = record["work"].dtype.names
        record["work"] = tuple(range(_FIRST_VECTOR, _FIRST_VECTOR + len(names)))
        self.vectors += sum(sizes.values())
        self.assembly.add(_apart_text(name, [sizes[field] for field in names]))
        return WORK_PLACES

    def _record(self, name: str, record: np.ndarray, given: Parameters, kernels: Mapping[int, Kernel]) -> None:
        """Add NAME.record, a driver's record with the names of what it refers to."""
        words = [str(word) for word in record.view(np.int64).tolist()]
        for number, (place, kernel) in enumerate(kernels.items(), 1):
            words[place : place + 2] = str(number), kernel.context
        for field, array in given.arrays.items():
            self.assembly.add(_integers(f"{name}.{field}", np.ascontiguousarray(array, np.int64), "i64", "global"))
            words[_place(record, field)] = _address(f"{name}.{field}")
        listing = ", ".join(f"i64 {word}" for word in words)
        self.assembly.add(f"@{name}.record = internal constant [{len(words)} x i64] [{listing}]\n")

    def _kernels_of(self, given: Parameters, record: np.ndarray) -> tuple[dict[int, Kernel], int]:
        """The kernels that a driver calls, by their places in its record, and the doubles of work of the largest."""
        found, scratch = {}, 0
        for field, parts in given.kernels.items():
            listed: Sequence[Sub | None] = (parts,) if parts is None or isinstance(parts, Sub) else parts
            for k, part in enumerate(listed):
                kernel = self._sub(part)
                scratch = max(scratch, kernel.work)
                if kernel.name:
                    found[_place(record, field) + 2 * k] = kernel
        return found, scratch


def _place(record: np.ndarray, field: str) -> int:
    """The word of a record at which a field starts."""
    return int(record.dtype.fields[field][1]) // _WORD  # type: ignore[index]


def _call_text(name: str, kernels: Sequence[Kernel]) -> str:
    """A function that calls the kernel of a number, counted from 1. Calls by addresses would hide from ptxas how much
    memory the stack needs, and from LLVM what is called."""
    cases = " ".join(f"i64 {k}, label %k{k}" for k in range(1, len(kernels) + 1))
    head = f"define internal i64 @{name}(i64 %number, ptr %c, ptr %x, ptr %y, ptr %w) alwaysinline nounwind {{"
    lines = [head, f"  switch i64 %number, label %none [ {cases} ]", "none:", "  ret i64 -1"]
    for k, kernel in enumerate(kernels, 1):
        call = f"call i64 @{kernel.name}(ptr %c, ptr %x, ptr %y, ptr %w)"
        lines += [f"k{k}:", f"  %code{k} = {call}", f"  ret i64 %code{k}"]
    return "\n".join([*lines, "}", ""])


def _apart_text(name: str, sizes: Sequence[int]) -> str:
    """See `_apart`: the driver's code finds the addresses of its vectors where it else finds the vectors."""
    words = _FIRST_VECTOR + len(sizes)
    lines = [f"  %table = alloca [{words} x i64], align 16"]
    lines += [f"  %v{k} = alloca [{max(size, 1)} x i64], align 16" for k, size in enumerate(sizes)]
    for k in range(WORK_PLACES):
        lines += [f"  %from{k} = getelementptr i64, ptr %w, i64 {k}", f"  %word{k} = load i64, ptr %from{k}"]
        lines += [f"  %to{k} = getelementptr i64, ptr %table, i64 {k}", f"  store i64 %word{k}, ptr %to{k}"]
    for k in range(len(sizes)):
        lines.append(f"  %at{k} = getelementptr i64, ptr %table, i64 {_FIRST_VECTOR + k}")
        lines.append(f"  store ptr %v{k}, ptr %at{k}")
    lines += [f"  %code = call i64 @{name}.code(ptr %c, ptr %in, ptr %out, ptr %table)", "  ret i64 %code"]
    return "\n".join([f"define internal i64 @{name}(ptr %c, ptr %in, ptr %out, ptr %w) nounwind {{", *lines, "}", ""])


# ── what kernels refer to ─────────────────────────────────────────────────────────────────────────────────────
def _definition(name: str) -> str | None:
    """A module that defines a name which kernels ask for, and no other that is seen outside."""
    if name.startswith(ENTRY):
        row = name.removeprefix(ENTRY)
        return translated(entry_text(row), name, row)
    if name == interrupt_state.SYMBOL:  # nobody presses Ctrl-C on a GPU
        return f"@{name} = internal constant [{interrupt_state.SIZE} x i64] zeroinitializer\n"
    if name == KERNEL_CALL:  # of a kernel that calls another library's
        return _call_text(name, [])
    if name == notice_count.SYMBOL:
        return f"@{name} = internal global i64 0\n"
    return None


@functools.cache
def translated(text: str, name: str, what: str, apart: bool = False) -> str:
    """The IR of the C function `entry` of a text, by this name; `what` it is to the user. `apart`: see `ir_of`."""
    try:
        return _internal(ir_of(text, name, fused=True, alone=True, apart=apart))
    except UntranslatableError as error:
        raise CompileError(f"{what} cannot run on a GPU: {error} is not translated for it") from None


def _internal(text: str) -> str:
    """With functions that only the module itself sees."""
    return "\n".join(
        f"define internal {line.removeprefix('define ')}"
        if line.startswith("define ") and not line.startswith("define internal ")
        else line
        for line in text.split("\n")
    )


def _address(name: str) -> str:
    return f"ptrtoint (ptr @{name} to i64)"


def _numbers(name: str, values: np.ndarray) -> str:
    listing = ", ".join(f"double {literal(float(x))}" for x in values)
    return f"@{name} = internal constant [{len(values)} x double] [{listing}]\n"


def _integers(name: str, values: Any, kind: str, linkage: str = "constant") -> str:
    listing = ", ".join(f"{kind} {int(x)}" for x in values)
    return f"@{name} = internal {linkage} [{len(values)} x {kind}] [{listing}]\n"


