"""One function of a native program: the code of a step, and how it reaches values in memory.

A step that is `shared` reaches them by parameters. So steps that do the same with other values have the same text, and
are compiled once: the time to compile grows with what a program says, not with how often it says it.
"""

from collections.abc import Sequence

from fastad.execution.native.code.operations import Block, Module, literal
from fastad.execution.native.names import CONSTANTS
from fastad.execution.native.planning.memory import Memory
from fastad.execution.native.planning.steps import Place
from fastad.tables.columns import CONST

PARAMETERS = "ptr noalias %in, ptr noalias %out, ptr noalias %work"
ARGUMENTS = "ptr %in, ptr %out, ptr %work"
_UNCHANGED = ("in", "constants")  # memory that no step writes


class Function:
    """The code of a step: `entry` runs first, then `body`; `stops` are blocks that return a code."""

    shared = False

    def __init__(self, module: Module, memory: Memory) -> None:
        self.module, self.memory, self.p = module, memory, memory.p
        self.entry = Block(module)
        self.body: list[str] = []
        self.stops: list[str] = []
        self.result = "0"
        self._bases: dict[tuple[str, int], str] = {}
        self._parameters: dict[Place, str] = {}

    def pointer(self, x: int, offset: int = 0) -> str:
        """Address of an element of a row in memory."""
        return self.address(self.memory.place(x).plus(offset))

    def scratch(self, row: int) -> tuple[str, int]:
        """Scratch memory of a row: its address and doubles."""
        place, size = self.memory.scratch[row]
        return self.address(place), size

    def address(self, place: Place) -> str:
        if self.shared:
            return self._parameters.setdefault(place, f"%p{len(self._parameters)}")
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
        head = f"define {linkage}i64 @{name}({PARAMETERS}) nounwind {{"
        return "\n".join([head, *self._lines(), "}"])

    @property
    def lines(self) -> list[str]:
        """What it does, before it returns its result."""
        return [*self.entry.lines, *self.body]

    def _lines(self) -> list[str]:
        return ["entry:", *self.lines, f"  ret i64 {self.result}", *self.stops]

    # ── what steps share ─────────────────────────────────────────────────────────────────────────────────────
    def caller(self) -> "Function":
        """The function that calls this one, which is shared, with its places."""
        kinds = {place: " noalias readonly" if place.kind in _UNCHANGED else "" for place in self._parameters}
        parameters = ", ".join(f"ptr{kinds[place]} {name}" for place, name in self._parameters.items())
        return self.calling("\n".join([parameters, *self._lines()]), list(self._parameters))

    def calling(self, text: str, places: Sequence[Place]) -> "Function":
        """The function that calls the shared one with this text."""
        found, function = Function(self.module.main, self.memory), self.module.share(text)
        if found.module is not self.module:
            found.module.declare(function, f"i64 @{function}({', '.join(['ptr'] * len(places))})")
        pointers = ", ".join([f"ptr {found.address(place)}" for place in places])
        found.result = found.entry.emit(f"call i64 @{function}({pointers})")
        return found
