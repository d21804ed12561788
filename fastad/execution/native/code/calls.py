"""Steps that call a compiled kernel of an array primitive."""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

from fastad.execution.composites.calling import CALL
from fastad.execution.native.code.function import Function
from fastad.execution.native.names import CALLEE, ENTRY
from fastad.execution.native.planning.steps import CallStep, Place
from fastad.execution.native.target import target
from fastad.primitives import Form

_GUARD_FAILED = 2  # what a kernel returns then; 1 is an error


class CallCode(Function):
    """The function of one call step."""

    def build(self, step: CallStep) -> "CallCode":
        row = self.p.table.row(step.row)
        if row.form is Form.COMPOSITE:
            self._composite(row)
        elif row.form is Form.PIECES:
            self._assemble(row)
        else:
            self.call(row, row.operands, row.statics)
        return self

    def call(self, row: Any, operands: Sequence[int], statics: Sequence[int]) -> "CallCode":
        """The row by the C entry of its kernel, with these operands and static integers."""
        places = [(self.pointer(x), self.p.size[x]) if self.p.size[x] else ("%work", 0) for x in operands]
        is_guard = row.form is Form.GUARD  # it has a value, which is that of its operand
        out = ("%work", 0) if is_guard else (self.pointer(row.index), row.size)
        self._entry(row, out, places, statics)
        return self

    def _entry(self, row: Any, out: tuple[str, int], operands: list[tuple[str, int]], statics: Any) -> None:
        name, absent = ENTRY + row.name, [("%work", 0)] * (2 - len(operands))
        arrays = [out, *operands, *absent, (self._integers(statics), len(statics))]
        if row.primitive.needs_work:
            arrays.append(self.scratch(row.index))
        self.module.declare(name, f"i64 @{name}({', '.join(['ptr, i64'] * len(arrays))})")
        arguments = ", ".join(f"ptr {pointer}, i64 {size}" for pointer, size in arrays)
        code = self.entry.emit(f"call i64 @{name}({arguments})")
        if row.primitive.error is not None:
            self.stop_if(self.entry.emit(f"icmp eq i64 {code}, 1"), -(row.index + 1))
        if row.form is Form.GUARD:
            self.stop_if(self.entry.emit(f"icmp eq i64 {code}, {_GUARD_FAILED}"), row.index + 1)

    def _composite(self, row: Any) -> None:
        """A composite row: its sub-program's kernel, found in a callee."""
        callee = f"{CALLEE}{row.statics[0]}"
        found = (row.index, *row.operands)
        out, x, saved = (self.pointer(r) if self.p.size[r] else "%work" for r in found)
        if target().calls_by_name:
            code = self._named_call(callee, out, x, saved)
        else:
            code = self._call(callee, out, x, saved)
        self.stop_if(self.entry.emit(f"icmp sgt i64 {code}, 0"), row.index + 1)
        self.stop_if(self.entry.emit(f"icmp slt i64 {code}, 0"), -(row.index + 1))

    def _named_call(self, callee: str, out: str, x: str, saved: str) -> str:
        """A call by name, with work memory behind the program's own, whose first place is for saved states."""
        work = self.address(Place("work", self.memory.work_size))
        self.module.declare(callee, f"i64 @{callee}(ptr, ptr, ptr)")
        self.entry.do(f"store ptr {saved}, ptr {work}")
        return self.entry.emit(f"call i64 @{callee}(ptr {x}, ptr {out}, ptr {work})")

    def _call(self, callee: str, out: str, x: str, saved: str) -> str:
        """A call by the address of a callee."""
        self.module.declarations.setdefault(callee, f"@{callee} = external global i64")
        self.module.declare(CALL, f"i64 @{CALL}(ptr, ptr, ptr, ptr)")
        return self.entry.emit(f"call i64 @{CALL}(ptr {out}, ptr {x}, ptr @{callee}, ptr {saved})")

    def _integers(self, values: Any) -> str:
        """Address of static integers, in the module."""
        raw = struct.pack(f"<{len(values)}q", *values)
        name = f"s{raw.hex() if len(raw) <= 64 else hashlib.sha256(raw).hexdigest()}"
        numbers = ", ".join(f"i64 {int(i)}" for i in values)
        self.module.declarations.setdefault(
            name, f"@{name} = private unnamed_addr constant [{len(values)} x i64] [{numbers}]"
        )
        return f"@{name}"

    def _assemble(self, row: Any) -> None:
        out = self.pointer(row.index)
        if sum(self.p.size[x] for x in row.operands) < row.size:
            self.module.declare("llvm.memset.p0.i64", "void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            self.entry.do(f"call void @llvm.memset.p0.i64(ptr {out}, i8 0, i64 {8 * row.size}, i1 false)")
        in_place = row.index in self.memory.in_place
        for k, (x, own) in enumerate(zip(row.operands, row.regions, strict=True)):
            if self.p.size[x] and not (in_place and k == 0):
                statics = ((len(own) - 1) // 2, *own)
                self._entry(row, (out, row.size), [(self.pointer(x), self.p.size[x])], statics)
