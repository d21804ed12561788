"""Gathers of elements at places that are constants: checked once, when the code is made, and read as short integers."""

from typing import Any

import numpy as np

from fastad.execution.native.code.function import Function
from fastad.execution.native.code.operations import Module
from fastad.execution.native.names import PLACES
from fastad.execution.native.planning.memory import Memory
from fastad.tables.columns import CONST
from fastad.tables.table import Table


def gather_code(module: Module, memory: Memory, row: Any) -> Function | None:
    """The function of a gather of single elements at known places; None for others, and for places that are wrong."""
    x, places = row.operands
    if row.statics[0] != 1 or memory.p.op[places] != CONST or not row.size:
        return None
    known, size = memory.p.table.constant(places).reshape(-1), memory.p.size[x]
    if size > np.iinfo(np.int32).max or not np.all((known >= 0) & (known < size) & (known == np.floor(known))):
        return None
    return GatherCode(module, memory).build(row)


def places_of(table: Table, row: int) -> np.ndarray:
    """The places of a gather, as the code reads them."""
    return table.constant(row).reshape(-1).astype(np.int32)


class GatherCode(Function):
    """The function of a gather."""

    def build(self, row: Any) -> "GatherCode":
        x, places = row.operands
        source, target, name = self.pointer(x), self.pointer(row.index), f"{PLACES}{places}"
        self.module.declarations.setdefault(name, f"@{name} = external constant [0 x i32]")
        block = self.entry
        block.do("br label %before")
        block.lines += ["before:", "  br label %loop", "loop:"]
        block.do("%k = phi i64 [ 0, %before ], [ %k.next, %loop ]")
        place = block.emit(f"load i32, ptr {block.emit(f'getelementptr i32, ptr @{name}, i64 %k')}")
        at = block.emit(f"getelementptr double, ptr {source}, i64 {block.emit(f'zext i32 {place} to i64')}")
        value = block.emit(f"load double, ptr {at}")
        block.do(f"store double {value}, ptr {block.emit(f'getelementptr double, ptr {target}, i64 %k')}")
        block.do("%k.next = add nuw nsw i64 %k, 1")
        block.do(f"%more = icmp ult i64 %k.next, {row.size}")
        block.do("br i1 %more, label %loop, label %end")
        block.lines.append("end:")
        return self
