"""Stands for `fastad.kernels.memory` where kernels are translated: the same names, as writers of LLVM IR.

An intrinsic gets the function that is being written and the values of its arguments, and returns its result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastad.execution.translation.kinds import (
    BOOLEAN,
    DOUBLE,
    ELEMENTS,
    INTEGER,
    NOTHING,
    Pointer,
    Record,
    UntranslatableError,
    Value,
    View,
    parts,
)

__all__ = [
    "ExternalFunction", "address", "allocate", "call1", "call2", "call3", "call_entry", "call_kernel", "doubles",
    "halves", "indices", "integers", "matrix", "octets", "record_at", "release", "select", "shift", "types", "view",
    "words",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Intrinsic:
    """What stands for a function: write(body, *values) → value."""

    write: Callable[..., Value]


# ── signatures ────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Signature:
    """The kinds of a C function."""

    result: Any
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class CType:
    """As numba's types: called with those of the arguments, the type of a function."""

    kind: Any

    def __call__(self, *arguments: "CType") -> Signature:
        return Signature(self.kind, tuple(argument.kind for argument in arguments))


def _pointer(element: CType) -> CType:
    return CType(Pointer({DOUBLE: "double", INTEGER: "int64"}[element.kind]))


types = SimpleNamespace(int64=CType(INTEGER), float64=CType(DOUBLE), voidptr=CType(Pointer("uint8")), CPointer=_pointer)


def ExternalFunction(name: str, signature: Signature) -> Intrinsic:
    """A C function of numbers."""
    if {signature.result, *signature.arguments} != {DOUBLE}:
        raise UntranslatableError(f"the C function {name}")

    def write(body: Any, *given: Value) -> Value:
        return _c_function(body, name, given)

    return Intrinsic(write)


def _c_function(body: Any, name: str, given: tuple[Value, ...]) -> Value:
    body.module.declare(f"declare double @{name}({', '.join(['double'] * len(given))})")
    arguments = ", ".join(f"double {body.number(x)}" for x in given)
    return Value(DOUBLE, (body.define(f"call double @{name}({arguments})"),))


# ── pointers ──────────────────────────────────────────────────────────────────────────────────────────────────
def _pointer_to(element: str) -> Intrinsic:
    def write(body: Any, where: Value) -> Value:
        return Value(Pointer(element), (body.pointer(where),))

    return Intrinsic(write)


doubles, integers, words = _pointer_to("double"), _pointer_to("int64"), _pointer_to("uint32")
indices, halves, octets = _pointer_to("int32"), _pointer_to("uint16"), _pointer_to("uint8")


def record_at(dtype: np.dtype) -> Intrinsic:
    def write(body: Any, where: Value) -> Value:
        return Value(Record(dtype), (body.pointer(where),))

    return Intrinsic(write)


def _element(value: Value) -> str:
    if not isinstance(value.kind, Pointer):
        raise UntranslatableError(f"{value.kind} where a pointer is needed")
    return value.kind.element


def _shift(body: Any, pointer: Value, n: Value) -> Value:
    kind = ELEMENTS[_element(pointer)][0]
    return Value(pointer.kind, (body.define(f"getelementptr {kind}, ptr {pointer.only}, i64 {body.integer(n)}"),))


def _address(body: Any, pointer: Value) -> Value:
    return body.address(pointer.operands[0])


def _view(body: Any, pointer: Value, size: Value) -> Value:
    return Value(View(_element(pointer)), (pointer.only, body.integer(size)))


def _matrix(body: Any, pointer: Value, rows: Value, columns: Value) -> Value:
    return Value(View(_element(pointer), 2), (pointer.only, body.integer(rows), body.integer(columns)))


shift, address, view, matrix = Intrinsic(_shift), Intrinsic(_address), Intrinsic(_view), Intrinsic(_matrix)


# What calls a kernel by its number, where there are no addresses of functions.
KERNEL_CALL = "fastad_kernel_call"


# ── choices and calls ─────────────────────────────────────────────────────────────────────────────────────────
def _select(body: Any, condition: Value, yes: Value, no: Value) -> Value:
    flag, a, b = body.flag(condition), body.number(yes), body.number(no)
    return Value(DOUBLE, (body.define(f"select i1 {flag}, double {a}, double {b}"),))


def _indirect(body: Any, result: str, function: Value, types: list[str], operands: list[str]) -> Value:
    target = body.define(f"inttoptr i64 {body.integer(function)} to ptr")
    given = ", ".join(f"{kind} {operand}" for kind, operand in zip(types, operands, strict=True))
    return Value(result, (body.define(f"call {result} {target}({given})"),))


def _call_numbers(body: Any, function: Value, *numbers: Value) -> Value:
    return _indirect(body, DOUBLE, function, [DOUBLE] * len(numbers), [body.number(x) for x in numbers])


def _call_kernel(body: Any, function: Value, *given: Value) -> Value:
    if body.module.alone:
        body.module.declare(f"declare i64 @{KERNEL_CALL}(i64, ptr, ptr, ptr, ptr)")
        operands = ", ".join([f"i64 {body.integer(function)}", *(f"ptr {body.pointer(x)}" for x in given)])
        return Value(INTEGER, (body.define(f"call i64 @{KERNEL_CALL}({operands})"),))
    return _indirect(body, INTEGER, function, [INTEGER] * len(given), [body.integer(x) for x in given])


def _call_entry(body: Any, function: Value, given: Value) -> Value:
    values = parts(given)
    kinds = ["ptr" if isinstance(value.kind, Pointer) else INTEGER for value in values]
    operands = [value.only if isinstance(value.kind, Pointer) else body.integer(value) for value in values]
    return _indirect(body, INTEGER, function, kinds, operands)


def _allocate(body: Any, size: Value) -> Value:
    body.module.declare("declare i64 @malloc(i64)")
    return Value(INTEGER, (body.define(f"call i64 @malloc(i64 {body.integer(size)})"),))


def _release(body: Any, where: Value) -> Value:
    body.module.declare("declare void @free(i64)")
    body.line(f"call void @free(i64 {body.integer(where)})")
    return Value(NOTHING, ())


select = Intrinsic(_select)
call1 = call2 = call3 = Intrinsic(_call_numbers)
call_kernel, call_entry = Intrinsic(_call_kernel), Intrinsic(_call_entry)
allocate, release = Intrinsic(_allocate), Intrinsic(_release)


# ── functions of Python ───────────────────────────────────────────────────────────────────────────────────────
def _absolute(body: Any, x: Value) -> Value:
    if x.kind == DOUBLE:
        body.module.declare("declare double @llvm.fabs.f64(double)")
        return Value(DOUBLE, (body.define(f"call double @llvm.fabs.f64(double {x.only})"),))
    own = body.integer(x)
    less, minus = body.define(f"icmp slt i64 {own}, 0"), body.define(f"sub i64 0, {own}")
    return Value(INTEGER, (body.define(f"select i1 {less}, i64 {minus}, i64 {own}"),))


def _chooser(floats: str, integers: str) -> Intrinsic:
    """As Python's min and max: of equal values the first, and a NaN only where it stands first."""

    def write(body: Any, first: Value, *others: Value) -> Value:
        best = first
        for other in others:
            a, b = body.alike(best, other)
            test = f"fcmp {floats} double" if a.kind == DOUBLE else f"icmp {integers} i64"
            flag = body.define(f"{test} {b.only}, {a.only}")
            best = Value(a.kind, (body.define(f"select i1 {flag}, {a.kind} {b.only}, {a.kind} {a.only}"),))
        return best

    return Intrinsic(write)


def _length(body: Any, array: Value) -> Value:
    if not isinstance(array.kind, View):
        raise UntranslatableError(f"the length of {array.kind}")
    return Value(INTEGER, (array.operands[1],))


def _root(body: Any, x: Value) -> Value:
    body.module.declare("declare double @llvm.sqrt.f64(double)")
    return Value(DOUBLE, (body.define(f"call double @llvm.sqrt.f64(double {body.number(x)})"),))


def _whole(body: Any, x: Value) -> Value:
    return Value(INTEGER, (body.integer(x, rounding=True),))


def _rounded(way: str) -> Intrinsic:
    """The integer below or above a number."""

    def write(body: Any, x: Value) -> Value:
        body.module.declare(f"declare double @llvm.{way}.f64(double)")
        own = body.define(f"call double @llvm.{way}.f64(double {body.number(x)})")
        return _whole(body, Value(DOUBLE, (own,)))

    return Intrinsic(write)


def _of_c(name: str) -> Intrinsic:
    return Intrinsic(lambda body, x: _c_function(body, name, (x,)))


# Python's functions of one number that are C's.
_OF_C = (
    math.exp, math.expm1, math.log, math.log1p, math.log2, math.log10, math.sin, math.cos, math.tan, math.asin,
    math.acos, math.atan, math.sinh, math.cosh, math.tanh, math.fabs,
)  # fmt: skip

# By what a kernel calls.
FUNCTIONS: dict[Any, Intrinsic] = {
    abs: Intrinsic(_absolute),
    min: _chooser("olt", "slt"),
    max: _chooser("ogt", "sgt"),
    len: Intrinsic(_length),
    int: Intrinsic(_whole),
    np.int64: Intrinsic(_whole),
    float: Intrinsic(lambda body, x: Value(DOUBLE, (body.number(x),))),
    bool: Intrinsic(lambda body, x: Value(BOOLEAN, (body.flag(x),))),
    math.sqrt: Intrinsic(_root),
    math.floor: _rounded(math.floor.__name__),
    math.ceil: _rounded(math.ceil.__name__),
} | {f: _of_c(f.__name__) for f in _OF_C}
