"""The code of packs: functions that apply a primitive to several numbers at once."""

from fastad.execution.native.code.operations import Block, Module
from fastad.execution.native.planning.packing import width
from fastad.primitives import Elementwise

_ALIGN = 64  # bytes


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
