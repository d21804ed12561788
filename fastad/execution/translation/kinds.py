"""Kinds of values in translated kernels, and what they are in LLVM."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.execution.translation import UntranslatableError

# A kind is one of these, or of the classes below. Integers are signed, of 64 bits.
INTEGER, DOUBLE, BOOLEAN, NOTHING = "i64", "double", "i1", "void"
# An integer that is known to be an address: LLVM then sees what it points into. Only where all addresses are known so.
ADDRESS = "ptr"

# How an element of memory is loaded: its type in LLVM, its size, and what makes it an integer of 64 bits.
ELEMENTS = {
    "double": ("double", 8, ""),
    "int64": ("i64", 8, ""),
    "int32": ("i32", 4, "sext"),
    "uint32": ("i32", 4, "zext"),
    "uint16": ("i16", 2, "zext"),
    "uint8": ("i8", 1, "zext"),
}


@dataclass(frozen=True)
class Pointer:
    """To elements, as `view` takes them."""

    element: str


@dataclass(frozen=True)
class View:
    """An array: its data and its lengths."""

    element: str
    dimensions: int = 1


@dataclass(frozen=True)
class Record:
    """A record in memory, by its address."""

    dtype: np.dtype


@dataclass(frozen=True)
class Tuple:
    """Several values; with names, if it is of a class."""

    kinds: tuple[Any, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Value:
    """A kind, and the operands in LLVM of which the value consists; those of a tuple stand one after another."""

    kind: Any
    operands: tuple[str, ...]

    @property
    def only(self) -> str:
        (operand,) = self.operands
        return operand


def types_of(kind: Any) -> tuple[str, ...]:
    """Types in LLVM of the operands of a value."""
    if isinstance(kind, Tuple):
        return tuple(part for own in kind.kinds for part in types_of(own))
    if isinstance(kind, View):
        return ("ptr", *("i64",) * kind.dimensions)
    if isinstance(kind, Pointer | Record):
        return ("ptr",)
    return () if kind == NOTHING else (kind,)


def parts(value: Value) -> list[Value]:
    """The values in a tuple."""
    if not isinstance(value.kind, Tuple):
        raise UntranslatableError("what is no tuple is taken apart")
    found, at = [], 0
    for kind in value.kind.kinds:
        size = len(types_of(kind))
        found.append(Value(kind, value.operands[at : at + size]))
        at += size
    return found


def together(values: list[Value], names: tuple[str, ...] = ()) -> Value:
    """A tuple of values."""
    kinds = tuple(value.kind for value in values)
    return Value(Tuple(kinds, names), tuple(operand for value in values for operand in value.operands))


def constant(number: Any) -> Value:
    """The value of a Python number."""
    if isinstance(number, bool | np.bool_):
        return Value(BOOLEAN, ("true" if number else "false",))
    if isinstance(number, int | np.integer):
        if not -(2**63) <= int(number) < 2**63:
            raise UntranslatableError(f"the integer {number} is too long")
        return Value(INTEGER, (str(int(number)),))
    if isinstance(number, float | np.floating):
        (bits,) = struct.unpack("<Q", struct.pack("<d", float(number)))
        return Value(DOUBLE, (f"0x{bits:016X}",))
    raise UntranslatableError(f"the constant {number!r}")


_RANK = {BOOLEAN: 0, INTEGER: 1, ADDRESS: 2, DOUBLE: 3}


def joined(a: Any, b: Any) -> Any:
    """The kind of a variable that has values of both kinds."""
    if a == b:
        return a
    if isinstance(a, str) and isinstance(b, str) and a in _RANK and b in _RANK:
        return a if _RANK[a] > _RANK[b] else b
    if isinstance(a, Tuple) and isinstance(b, Tuple) and len(a.kinds) == len(b.kinds) and a.names == b.names:
        return Tuple(tuple(joined(x, y) for x, y in zip(a.kinds, b.kinds, strict=True)), a.names)
    raise UntranslatableError(f"a value is of the kinds {a} and {b}")
