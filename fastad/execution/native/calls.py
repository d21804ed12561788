"""Steps that call a compiled kernel of an array primitive."""

import struct
from typing import Any

from fastad.execution.calling import CALL
from fastad.execution.native.function import Function
from fastad.execution.native.products import simplest
from fastad.execution.native.steps import CallStep

ENTRY, PACKET = "fastad_entry_", "fastad_packet_"
_SIGNATURE = "(ptr, i64, ptr, i64, ptr, i64, ptr, i64)"


class CallCode(Function):
    """The function of one call step."""

    def build(self, step: CallStep) -> "CallCode":
        row = self.p.table.row(step.row)
        getattr(self, f"_{row.name}", self._kernel)(row)
        return self

    def _kernel(self, row: Any) -> None:
        """The row by the C entry of its kernel."""
        operands = [(self.pointer(x), self.p.size[x]) if self.p.size[x] else ("%work", 0) for x in row.operands]
        out = "%work" if row.name == "guard" else self.pointer(row.index)
        self._entry(row, out, operands, row.statics)

    def _entry(self, row: Any, out: str, operands: list[tuple[str, int]], statics: Any) -> None:
        name = ENTRY + row.name
        self.module.declare(name, f"i64 @{name}{_SIGNATURE}")
        (x, nx), (y, ny) = (*operands, ("%work", 0))[:2]
        size = 0 if row.name == "guard" else row.size
        code = self.entry.emit(
            f"call i64 @{name}(ptr {out}, i64 {size}, ptr {x}, i64 {nx}, ptr {y}, i64 {ny}, "
            f"ptr {self._integers(statics)}, i64 {len(statics)})"
        )
        if row.name in _STOPS:
            failed = self.entry.emit(f"icmp ne i64 {code}, 0")
            self.stop_if(failed, row.index + 1 if row.name == "guard" else -(row.index + 1))

    def _matmul(self, row: Any) -> None:
        form = simplest(row.statics)
        if not row.size or not row.statics[2]:
            return self._kernel(row)
        operands = [(self.pointer(x), self.p.size[x]) for x in row.operands]
        return self._entry(row, self.pointer(row.index), operands[::-1] if form.swapped else operands, form.statics)

    def _call(self, row: Any) -> None:
        """A composite row: its sub-program's kernel, found in a packet."""
        packet = f"{PACKET}{row.statics[0]}"
        self.module.declarations.setdefault(packet, f"@{packet} = external global i64")
        self.module.declare(CALL, f"i64 @{CALL}(ptr, ptr, ptr, ptr)")
        found = (row.index, *row.operands)
        out, x, kept = (self.pointer(r) if self.p.size[r] else "%work" for r in found)
        code = self.entry.emit(f"call i64 @{CALL}(ptr {out}, ptr {x}, ptr @{packet}, ptr {kept})")
        self.stop_if(self.entry.emit(f"icmp sgt i64 {code}, 0"), row.index + 1)
        self.stop_if(self.entry.emit(f"icmp slt i64 {code}, 0"), -(row.index + 1))

    def _integers(self, values: Any) -> str:
        """Address of static integers, in the module."""
        raw = struct.pack(f"<{len(values)}q", *values)
        name = f"s{raw.hex()}" if len(raw) <= 64 else f"s{next(self.module.names)}"
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
        for x, own in zip(row.operands, row.regions, strict=True):
            if self.p.size[x]:
                self._entry(row, out, [(self.pointer(x), self.p.size[x])], ((len(own) - 1) // 2, *own))


_STOPS = ("guard", "wrap_index", "gather", "scatter_add")
