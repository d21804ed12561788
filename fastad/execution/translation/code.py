"""The lines of one function: blocks, variables, conversions between kinds of numbers."""

from typing import Any

from fastad.execution.translation.kinds import (
    ADDRESS,
    BOOLEAN,
    DOUBLE,
    ELEMENTS,
    INTEGER,
    UntranslatableError,
    Value,
    constant,
    joined,
    parts,
    together,
    types_of,
)


class Widened(Exception):
    """A variable turned out to be of a wider kind: the function is written again."""


class Code:
    """A function in LLVM IR as it grows."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.kinds: dict[str, Any] = {}  # of variables, kept when the function is written again
        self.clear()

    def clear(self) -> None:
        self._lines: list[str] = []
        self._places: list[str] = []
        self._count = 0
        self._reached: set[str] = set()
        self.closed = False  # whether what follows is never reached
        self._variables: dict[str, Value] = {}

    # ── lines and blocks ─────────────────────────────────────────────────────────────────────────────────────
    def line(self, text: str) -> None:
        self._lines.append("  " + text)

    def define(self, text: str) -> str:
        """A new operand."""
        self._count += 1
        self._lines.append(f"  %v{self._count} = {text}")
        return f"%v{self._count}"

    def label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def jump(self, label: str) -> None:
        if not self.closed:
            self.line(f"br label %{label}")
            self._reached.add(label)
        self.closed = True

    def fork(self, flag: str, yes: str, no: str) -> None:
        self.line(f"br i1 {flag}, label %{yes}, label %{no}")
        self._reached |= {yes, no}
        self.closed = True

    def select_label(self, number: str, last: str, cases: list[str], labels: list[str]) -> None:
        self.line(f"switch i64 {number}, label %{last} [ {' '.join(cases)} ]")
        self._reached |= {last, *labels}
        self.closed = True

    def start(self, label: str) -> None:
        """Start a block; what came before goes on there. A block that nothing leads to is left out."""
        self.jump(label)
        if label in self._reached:
            self._lines.append(f"{label}:")
            self.closed = False

    def text(self) -> str:
        return "\n".join([*self._places, *self._lines])

    # ── variables ────────────────────────────────────────────────────────────────────────────────────────────
    def place(self, kind: Any) -> Value:
        """Memory for a value on the stack."""
        names = []
        for own in types_of(kind):
            self._count += 1
            names.append(f"%p{self._count}")
            self._places.append(f"  %p{self._count} = alloca {own}")
        return Value(kind, tuple(names))

    def put(self, place: Value, value: Value) -> None:
        value = self.convert(value, place.kind)
        for own, operand, where in zip(types_of(place.kind), value.operands, place.operands, strict=True):
            self.line(f"store {own} {operand}, ptr {where}")

    def get(self, place: Value) -> Value:
        pairs = zip(types_of(place.kind), place.operands, strict=True)
        return Value(place.kind, tuple(self.define(f"load {own}, ptr {where}") for own, where in pairs))

    def widen(self, name: str, kind: Any) -> Any:
        """The kind of a variable that is given a value of this kind too."""
        known = self.kinds.get(name)
        if known is None:
            self.kinds[name] = kind
        elif (wider := joined(known, kind)) != known:
            self.kinds[name] = wider
            raise Widened
        return self.kinds[name]

    def assign(self, name: str, value: Value) -> None:
        kind = self.widen(name, value.kind)
        if name not in self._variables:
            self._variables[name] = self.place(kind)
        self.put(self._variables[name], value)

    def read(self, name: str) -> Value:
        if name not in self._variables:
            raise UntranslatableError(f"{name} is used before it has a value")
        return self.get(self._variables[name])

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────
    def convert(self, value: Value, kind: Any) -> Value:
        if value.kind == kind:
            return value
        if kind == DOUBLE:
            return Value(kind, (self.number(value),))
        if kind == INTEGER:
            return Value(kind, (self.integer(value),))
        if kind == ADDRESS:
            return Value(kind, (self.pointer(value),))
        values = [self.convert(part, own) for part, own in zip(parts(value), kind.kinds, strict=True)]
        return together(values, kind.names)

    def integer(self, value: Value, rounding: bool = False) -> str:
        """An integer of 64 bits; of a number only where it is asked for, toward zero."""
        if value.kind == INTEGER:
            return value.only
        if value.kind == BOOLEAN:
            return self.define(f"zext i1 {value.only} to i64")
        if value.kind == ADDRESS:
            return self.define(f"ptrtoint ptr {value.only} to i64")
        if value.kind == DOUBLE and rounding:
            return self.define(f"fptosi double {value.only} to i64")
        raise UntranslatableError(f"{value.kind} where an integer is needed")

    def pointer(self, value: Value) -> str:
        """An address as LLVM's pointer."""
        return value.only if value.kind == ADDRESS else self.define(f"inttoptr i64 {self.integer(value)} to ptr")

    def address(self, pointer: str) -> Value:
        """A pointer as an address, in the form that this module has them in."""
        if self.module.alone:
            return Value(ADDRESS, (pointer,))
        return Value(INTEGER, (self.define(f"ptrtoint ptr {pointer} to i64"),))

    def number(self, value: Value) -> str:
        if value.kind == DOUBLE:
            return value.only
        own = self.integer(value)
        if own.lstrip("-").isdigit():
            return constant(float(int(own))).only
        return self.define(f"sitofp i64 {own} to double")

    def flag(self, value: Value) -> str:
        """Whether a value is true."""
        if value.kind == BOOLEAN:
            return value.only
        if value.kind == DOUBLE:
            return self.define(f"fcmp une double {value.only}, 0.0")
        return self.define(f"icmp ne i64 {self.integer(value)}, 0")

    def alike(self, a: Value, b: Value) -> tuple[Value, Value]:
        """Both as integers or both as numbers."""
        kind = DOUBLE if DOUBLE in (a.kind, b.kind) else INTEGER
        return self.convert(a, kind), self.convert(b, kind)

    # ── arithmetic ───────────────────────────────────────────────────────────────────────────────────────────
    def floating(self, operation: str, a: str, b: str) -> str:
        """Every operation is rounded by itself, so that the result does not depend on how well code is optimised."""
        return self.define(f"{operation} double {a}, {b}")

    def floor_division(self, a: str, b: str) -> tuple[str, str]:
        """Quotient and remainder of integers, rounded down as in Python; 0 of a division by 0, as numba has it."""
        safe, divides = b, ""
        if not b.lstrip("-").isdigit() or int(b) == 0:
            divides = self.define(f"icmp ne i64 {b}, 0")
            safe = self.define(f"select i1 {divides}, i64 {b}, i64 1")
        quotient, rest = self.define(f"sdiv i64 {a}, {safe}"), self.define(f"srem i64 {a}, {safe}")
        other = self.define(f"icmp slt i64 {self.define(f'xor i64 {rest}, {safe}')}, 0")
        some = self.define(f"icmp ne i64 {rest}, 0")
        wrong = self.define(f"and i1 {some}, {other}")
        quotient = self.define(f"sub i64 {quotient}, {self.define(f'zext i1 {wrong} to i64')}")
        rest = self.define(f"add i64 {rest}, {self.define(f'select i1 {wrong}, i64 {safe}, i64 0')}")
        if not divides:
            return quotient, rest
        return tuple(self.define(f"select i1 {divides}, i64 {x}, i64 0") for x in (quotient, rest))  # type: ignore[return-value]

    def remainder(self, a: str, b: str) -> str:
        """Of numbers, with the sign of b, as in Python."""
        rest = self.floating("frem", a, b)
        some = self.define(f"fcmp une double {rest}, 0.0")
        signs = self.define(f"fcmp olt double {rest}, 0.0"), self.define(f"fcmp olt double {b}, 0.0")
        wrong = self.define(f"and i1 {some}, {self.define(f'xor i1 {signs[0]}, {signs[1]}')}")
        return self.define(f"select i1 {wrong}, double {self.floating('fadd', rest, b)}, double {rest}")

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────
    def load(self, element: str, where: str, remark: str = "") -> Value:
        own, _, extension = ELEMENTS[element]
        loaded = self.define(f"load {own}, ptr {where}{remark}")
        if extension:
            return Value(INTEGER, (self.define(f"{extension} {own} {loaded} to i64"),))
        return Value(DOUBLE if own == DOUBLE else INTEGER, (loaded,))

    def store(self, element: str, where: str, value: Value) -> None:
        own, _, extension = ELEMENTS[element]
        operand = self.number(value) if own == DOUBLE else self.integer(value)
        if extension:
            operand = self.define(f"trunc i64 {operand} to {own}")
        self.line(f"store {own} {operand}, ptr {where}")
