"""One function of a native program: the code of a step, and how it reaches values in memory."""

from fastad.execution.native.code.operations import Block, Module, literal
from fastad.execution.native.names import CONSTANTS
from fastad.execution.native.planning.memory import Memory
from fastad.execution.native.planning.steps import Place
from fastad.tables.columns import CONST

PARAMETERS = "ptr noalias %in, ptr noalias %out, ptr noalias %work"
ARGUMENTS = "ptr %in, ptr %out, ptr %work"


class Function:
    """The code of a step: `entry` runs first, then `body`; `stops` are blocks that return a code."""

    def __init__(self, module: Module, memory: Memory) -> None:
        self.module, self.memory, self.p = module, memory, memory.p
        self.entry = Block(module)
        self.body: list[str] = []
        self.stops: list[str] = []
        self._bases: dict[tuple[str, int], str] = {}

    def pointer(self, x: int, offset: int = 0) -> str:
        """Address of an element of a row in memory."""
        return self.address(self.memory.place(x).plus(offset))

    def scratch(self, row: int) -> tuple[str, int]:
        """Scratch memory of a row: its address and doubles."""
        place, size = self.memory.scratch[row]
        return self.address(place), size

    def address(self, place: Place) -> str:
        block = self.entry
        if place.kind == "constants":
            self.module.declarations.setdefault(CONSTANTS, f"@{CONSTANTS} = external constant [0 x double]")
            return block.emit(f"getelementptr double, ptr @{CONSTANTS}, i64 {place.start + place.offset}")
        if not place.kind.endswith("_ref"):
            return block.emit(f"getelementptr double, ptr %{place.kind}, i64 {place.start + place.offset}")
        base = self._bases.get((place.kind, place.start))
        if base is None:
            slot = block.emit(f"getelementptr double, ptr %{place.kind.removesuffix('_ref')}, i64 {place.start}")
            base = self._bases[place.kind, place.start] = block.emit(f"load ptr, ptr {slot}")
        return block.emit(f"getelementptr double, ptr {base}, i64 {place.offset}") if place.offset else base

    def constant(self, x: int, offset: int) -> str | None:
        """An element of a constant row as a literal."""
        if self.p.op[x] != CONST:
            return None
        return literal(float(self.p.table.pools["constants"][self.p.a[x] + offset]))

    def stop_if(self, condition: str, code: int) -> None:
        """Return `code` from the program if the condition holds."""
        name = next(self.module.names)
        self.entry.do(f"br i1 {condition}, label %stop{name}, label %go{name}, !prof !0")
        self.entry.lines.append(f"go{name}:")
        self.stops.append(f"stop{name}:\n  ret i64 {code}")

    def text(self, name: str, linkage: str = "internal ") -> str:
        return "\n".join(
            [f"define {linkage}i64 @{name}({PARAMETERS}) nounwind {{", "entry:",
             *self.entry.lines, *self.body, "  ret i64 0",
             *self.stops, "}"]
        )  # fmt: skip
