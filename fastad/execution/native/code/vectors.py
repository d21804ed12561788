"""SIMD vectors of a loop's innermost code: how wide they are, how they are loaded and stored."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fastad.execution.machine.objects import has_feature
from fastad.execution.native.code.operations import Block
from fastad.execution.native.target import target

Value = tuple[str, int]  # a register, and the depth of the block it is in


_CLOSE = 4  # steps between elements that are loaded as whole vectors


def lanes() -> int:
    """Numbers of a vector: doubles of the CPU's widest ones, or one."""
    return _widest() if target().simd else 1


@cache
def _widest() -> int:
    if has_feature("avx512f"):
        return 8
    return 4 if has_feature("avx2") else 2


@dataclass
class Variant:
    """The innermost code for one vector: its block, index, and, for the end of a row, its mask."""

    block: Block
    index: str
    unrolled: int = 0
    active: int = 0  # lanes that are inside; 0: all
    memo: dict[Any, Value] = field(default_factory=dict)

    @property
    def mask(self) -> str:
        bits = ", ".join(f"i1 {str(lane < self.active).lower()}" for lane in range(self.block.lanes))
        return f"<{bits}>"


def load_vector(v: Variant, at: str, step: int) -> str:
    """The lanes at an address and every `step` elements from it; lanes outside are 1."""
    block = v.block
    count = v.active or block.lanes
    if block.lanes == 1:
        return block.emit(f"load double, ptr {at}")
    if step == 1 and not v.active:
        return block.emit(f"load {block.type}, ptr {at}, align 8")
    if step == 1:
        suffix = f"v{block.lanes}f64.p0"
        block.module.declare(
            f"llvm.masked.load.{suffix}",
            f"{block.type} @llvm.masked.load.{suffix}(ptr, i32 immarg, {block.bits}, {block.type})",
        )
        arguments = f"ptr {at}, i32 8, {block.bits} {v.mask}, {block.type} {block.one}"
        return block.emit(f"call {block.type} @llvm.masked.load.{suffix}({arguments})")
    if 1 < step <= _CLOSE and not v.active:
        return _picked(block, at, step)
    result = block.one if v.active else "poison"
    for lane in range(count):
        place = block.emit(f"getelementptr double, ptr {at}, i64 {lane * step}")
        x = block.emit(f"load double, ptr {place}")
        result = block.emit(f"insertelement {block.type} {result}, double {x}, i32 {lane}")
    return result


def _picked(block: Block, at: str, step: int) -> str:
    """Every `step`-th element from whole vectors: no element before the first or behind the last one is read."""
    n, result, lane = block.lanes, "poison", 0
    while lane < n:
        first = min(lane * step, (n - 1) * step - n + 1)
        place = block.emit(f"getelementptr double, ptr {at}, i64 {first}")
        loaded = block.emit(f"load {block.type}, ptr {place}, align 8")
        inside = range(lane, min(n, (first + n - 1) // step + 1))
        chosen = ", ".join(f"i32 {n + k * step - first if k in inside else k}" for k in range(n))
        result = block.emit(f"shufflevector {block.type} {result}, {block.type} {loaded}, <{n} x i32> <{chosen}>")
        lane = inside.stop
    return result


def transposed(block: Block, rows: list[str]) -> list[str]:
    """The columns of as many vectors as they have lanes: blocks beside the diagonal change places, from the smallest to
    the largest (Eklundh 1972, A fast computer method for matrix transposing)."""
    found, n, half = list(rows), block.lanes, 1
    while half < n:
        upper = ", ".join(f"i32 {k - half + n if k & half else k}" for k in range(n))
        lower = ", ".join(f"i32 {k + n if k & half else k + half}" for k in range(n))
        for i in (i for i in range(n) if not i & half):
            a, b = (f"{block.type} {x}" for x in (found[i], found[i + half]))
            found[i], found[i + half] = (
                block.emit(f"shufflevector {a}, {b}, <{n} x i32> <{places}>") for places in (upper, lower)
            )
        half *= 2
    return found


def store_vector(v: Variant, value: str, at: str, step: int = 1) -> None:
    """Store the lanes that are inside, every `step` elements."""
    block = v.block
    if block.lanes == 1:
        block.do(f"store double {value}, ptr {at}")
        return
    if step != 1:
        for lane in range(v.active or block.lanes):
            x = block.emit(f"extractelement {block.type} {value}, i32 {lane}")
            place = block.emit(f"getelementptr double, ptr {at}, i64 {lane * step}")
            block.do(f"store double {x}, ptr {place}")
        return
    if not v.active:
        block.do(f"store {block.type} {value}, ptr {at}, align 8")
        return
    suffix = f"v{block.lanes}f64.p0"
    block.module.declare(
        f"llvm.masked.store.{suffix}", f"void @llvm.masked.store.{suffix}({block.type}, ptr, i32 immarg, {block.bits})"
    )
    block.do(f"call void @llvm.masked.store.{suffix}({block.type} {value}, ptr {at}, i32 8, {block.bits} {v.mask})")
