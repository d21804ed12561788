"""Elementwise primitives as LLVM IR text, on single numbers or on SIMD vectors.

Values are register names or constants. A comparison gives a `Truth`, a register of one bit a lane, which becomes the
number 0 or 1 only where a number is needed.
"""

import functools
import itertools
import struct
from collections.abc import Callable
from typing import Any

from fastad.execution.machine.parallel import PARALLEL_FOR
from fastad.execution.machine.symbols import vector_symbol
from fastad.execution.native.target import target
from fastad.primitives import PRIMITIVES, Elementwise, primitive
from fastad.primitives import expression as ex

_PURE = "memory(none) nounwind willreturn"


class Truth(str):
    """A register of truth values."""

    __slots__ = ()


_FEW = 3  # callers into which LLVM may put a function that several steps share


class Module:
    """A module of LLVM IR under construction: its declarations and functions, and names that are fresh in the function
    that is being written. `main` is the module that calls what steps share, if that is another one."""

    def __init__(self, main: "Module | None" = None) -> None:
        self.declarations: dict[str, str] = {}
        self.functions: list[str] = []
        self.names = itertools.count()
        self.needs_parallel_for = False
        self.main = main or self
        self._shared: dict[str, tuple[str, int]] = {}

    def declare(self, name: str, text: str) -> str:
        self.declarations.setdefault(name, f"declare {text}")
        return name

    def share(self, text: str) -> str:
        """The name of a function with this text, [parameters, newline, lines]: the same for equal texts."""
        name, callers = self._shared.get(text, (f"shared{len(self._shared)}", 0))
        self._shared[text] = name, callers + 1
        return name

    @property
    def shared(self) -> list[str]:
        """The names of all functions that steps share."""
        return [name for name, _ in self._shared.values()]

    def text(self) -> str:
        own, linkage = [PARALLEL_FOR] if self.needs_parallel_for else [], "internal " if self.main is self else ""
        for text, (name, callers) in self._shared.items():
            parameters, body = text.split("\n", 1)
            kind = "noinline nounwind" if callers > _FEW else "nounwind"
            own.append(f"define {linkage}i64 @{name}({parameters}) {kind} {{\n{body}\n}}")
        return "\n".join([*self.declarations.values(), *own, *self.functions]) + "\n"


def literal(x: float) -> str:
    """A number as LLVM reads it without loss."""
    return f"0x{struct.pack('>d', x).hex().upper()}"


ZERO, ONE = literal(0.0), literal(1.0)


class Block:
    """A run of straight-line code whose values have `lanes` lanes."""

    def __init__(self, module: Module, lanes: int = 1, alone: bool = False) -> None:
        """`alone`: all registers of a function are made here, in order. They are numbered then instead of named,
        which LLVM reads in two thirds of the time."""
        self.module, self.lanes = module, lanes
        self.lines: list[str] = []
        self.type = "double" if lanes == 1 else f"<{lanes} x double>"
        self.bits = "i1" if lanes == 1 else f"<{lanes} x i1>"
        self.zero, self.one = self.constant(0.0), self.constant(1.0)
        self._calls: dict[tuple[str, ...], str] = {}
        self._prefix = "%" if alone else "%v"
        self._next = (itertools.count() if alone else module.names).__next__

    def constant(self, x: float) -> str:
        return literal(x) if self.lanes == 1 else f"splat (double {literal(x)})"

    def emit(self, text: str) -> str:
        """An instruction; returns the register of its result."""
        name = f"{self._prefix}{self._next()}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def number(self, x: str) -> str:
        """x as a number."""
        if type(x) is not Truth:
            return x
        return self.emit(f"select {self.bits} {x}, {self.type} {self.one}, {self.type} {self.zero}")

    def truth(self, x: str) -> Truth:
        """x as a truth value: every number but 0 is true, NaN included."""
        return x if type(x) is Truth else Truth(self.emit(f"fcmp une {self.type} {x}, {self.zero}"))

    def apply(self, name: str, *operands: str) -> str:
        """The value of an elementwise primitive."""
        return _EMITTERS[name](self, *operands)

    def call(self, symbol: str, operands: tuple[str, ...]) -> str:
        """The C function `symbol` applied to every lane; equal calls in this block are made once."""
        key = (symbol, *operands)
        found = self._calls.get(key)
        if found is None:
            found = self._calls[key] = self._new_call(symbol, operands)
        return found

    def _new_call(self, symbol: str, operands: tuple[str, ...]) -> str:
        vector = symbol if self.lanes == 1 else vector_symbol(symbol, self.lanes)
        if vector is None:
            return self._lane_calls(symbol, operands)
        if vector not in self.module.declarations:
            types = ", ".join([self.type] * len(operands))
            self.module.declare(vector, f"{self.type} @{vector}({types}) {_PURE}")
        return self.emit(f"call {self.type} @{vector}({', '.join([f'{self.type} {x}' for x in operands])})")

    def _lane_calls(self, symbol: str, operands: tuple[str, ...]) -> str:
        scalar = Block(self.module)
        scalar.lines = self.lines
        result = "poison"
        for lane in range(self.lanes):
            own = tuple(self.emit(f"extractelement {self.type} {x}, i32 {lane}") for x in operands)
            y = scalar._new_call(symbol, own)
            result = self.emit(f"insertelement {self.type} {result}, double {y}, i32 {lane}")
        return result

    def intrinsic(self, name: str, operands: tuple[str, ...]) -> str:
        """An operation that LLVM has as an intrinsic for every width."""
        full = f"llvm.{name}.{'f64' if self.lanes == 1 else f'v{self.lanes}f64'}"
        self.module.declare(full, f"{self.type} @{full}({', '.join([self.type] * len(operands))})")
        return self.emit(f"call {self.type} @{full}({', '.join(f'{self.type} {x}' for x in operands)})")

    def widen(self, x: str, block: "Block") -> str:
        """The scalar x of this block, spread over the lanes of another block that it dominates."""
        if block.lanes == 1:
            return x
        if x.startswith("0x"):
            return f"splat (double {x})"
        kind, vector = ("i1", block.bits) if type(x) is Truth else ("double", block.type)
        first = self.emit(f"insertelement {vector} poison, {kind} {x}, i32 0")
        spread = self.emit(f"shufflevector {vector} {first}, {vector} poison, <{block.lanes} x i32> zeroinitializer")
        return Truth(spread) if type(x) is Truth else spread


# ── one emitter a primitive ───────────────────────────────────────────────────────────────────────────────────
Emitter = Callable[..., str]


def _arithmetic(instruction: str) -> Emitter:
    start = f"{instruction} contract "

    def emit(block: Block, a: str, b: str) -> str:
        if type(a) is Truth:  # tested here, as most rows of long programs are arithmetic
            a = block.number(a)
        if type(b) is Truth:
            b = block.number(b)
        return block.emit(f"{start}{block.type} {a}, {b}")

    return emit


def _comparison(condition: str) -> Emitter:
    def emit(block: Block, a: str, b: str) -> str:
        return Truth(block.emit(f"fcmp {condition} {block.type} {block.number(a)}, {block.number(b)}"))

    return emit


def _logical(instruction: str) -> Emitter:
    def emit(block: Block, a: str, b: str) -> str:
        return Truth(block.emit(f"{instruction} {block.bits} {block.truth(a)}, {block.truth(b)}"))

    return emit


def _negative(block: Block, a: str) -> str:
    return block.emit(f"fneg contract {block.type} {block.number(a)}")


def _where(block: Block, a: str, b: str, c: str) -> str:
    condition = block.truth(a)
    if type(b) is Truth and type(c) is Truth:
        return Truth(block.emit(f"select {block.bits} {condition}, {block.bits} {b}, {block.bits} {c}"))
    return block.emit(
        f"select {block.bits} {condition}, {block.type} {block.number(b)}, {block.type} {block.number(c)}"
    )


def _intrinsic(name: str) -> Emitter:
    return lambda block, *operands: block.intrinsic(name, tuple(map(block.number, operands)))


def _call(symbol: str) -> Emitter:
    return lambda block, *operands: block.call(symbol, tuple(map(block.number, operands)))


def _expression(expr: ex.Expr) -> Emitter:
    def emit(block: Block, *operands: str) -> str:
        return ex.build(expr, dict(zip("abc", operands, strict=False)), block.constant, block.apply)

    return emit


def _selection(instruction: str) -> Emitter:
    return _where


def _negation(instruction: str) -> Emitter:
    return _negative


_OPERATORS: dict[str, Callable[[str], Emitter]] = {
    "arithmetic": _arithmetic, "comparison": _comparison, "logical": _logical, "negation": _negation,
    "selection": _selection,
}  # fmt: skip


def _emitter(row: Elementwise) -> Emitter:
    if row.operator is not None:
        return _OPERATORS[row.operator.kind](row.operator.instruction)
    if row.on_single:
        return _by_precision(row)
    if not row.is_leaf:
        return _expression(row.value_expr)
    return _intrinsic(str(row.symbol)) if row.intrinsic else _call(str(row.symbol))


def _by_precision(row: Elementwise) -> Emitter:
    """Of a row that rounds by the precision of float64."""
    double, single = _expression(row.value_expr), _expression(ex.parse(row.on_single))
    return lambda block, *operands: (single if target().is_single else double)(block, *operands)


class _Emitters(dict[str, Emitter]):
    """Emitters by name, made when first asked for: primitives may be added at any time."""

    def __missing__(self, name: str) -> Emitter:
        self[name] = found = _emitter(primitive(name))
        return found


_EMITTERS = _Emitters()


# ── what a primitive calls ────────────────────────────────────────────────────────────────────────────────────
@functools.cache
def c_functions(name: str) -> frozenset[str]:
    """The C functions that the value of an elementwise primitive calls."""
    row = primitive(name)
    if not row.is_leaf:
        return _called(row.value_expr)
    return frozenset() if row.operator is not None or row.intrinsic else frozenset([row.symbol])


def _called(expr: ex.Expr) -> frozenset[str]:
    return frozenset().union(*map(c_functions, ex.calls(expr)))


# ── what an operation costs ───────────────────────────────────────────────────────────────────────────────────
# Rough times of one lane of a wide vector, in ns; only their ratios to memory traffic and to starting a thread matter.
_CHEAP, _SLOW, _VECTOR_CALL, _SCALAR_CALL = 0.05, 0.4, 0.9, 8.0


def _expression_cost(expr: ex.Expr) -> float:
    if expr[0] != "call":
        return 0.0
    row: Any = primitive(expr[1])
    own = _leaf_cost(row) if row.is_leaf else _expression_cost(row.value_expr)
    return own + sum(map(_expression_cost, expr[2:]))


def _leaf_cost(row: Elementwise) -> float:
    if row.slow:
        return _SLOW
    if not c_functions(row.name):
        return _CHEAP
    return _VECTOR_CALL if vector_symbol(str(row.symbol), 2) else _SCALAR_CALL


def cost_of(opcode: int) -> float:
    """Estimated ns of one element of an elementwise primitive in a loop."""
    row = PRIMITIVES[opcode]
    return _expression_cost(row.value_expr) if isinstance(row, Elementwise) else 0.0
