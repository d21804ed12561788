"""Rewrites of a row before it is added: one small function for each primitive, exact in IEEE arithmetic, but for the
sign of NaN.

A rewrite gets the builder, the operands, the type of the result and the static integers. It returns a reference to an
equal value, or None. Products with zero stay, because 0 * inf is NaN; structural zeros are never emitted.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastad.primitives.regions import evenly, inside, is_contiguous, parts, pieces, span, whole
from fastad.primitives.row import Elementwise, Form, opcode, primitive

Ref = int
_FOLD_LIMIT = 256  # elements: larger constants are computed at run time rather than stored


def simplify(b: Any, name: str, operands: tuple[Ref, ...], kind: Any, statics: tuple[int, ...] = ()) -> Ref | None:
    """An existing or simpler value equal to the row, or None."""
    row = primitive(name)
    if 0 in kind.shape and _is_function(row):
        return b.const(np.zeros(kind.shape), kind.dtype)
    if isinstance(row, Elementwise):
        if all(x in b._scalars for x in operands) and kind.size == 1:
            return _fold(b, row, operands, kind)
        if kind.size > 1:
            unwrapped = tuple(_unwrap(b, x) for x in operands)
            if all(b.size(x) == 1 for x in unwrapped):
                return b.broadcast(b.emit(name, unwrapped, dtype=kind.dtype), kind.shape)
            if unwrapped != operands:
                return b.emit(name, unwrapped, shape=kind.shape, dtype=kind.dtype)
        if row.even and (x := _operand_of(b, operands[0], "absolute")) is not None:
            return b.emit(name, (x,), shape=kind.shape, dtype=kind.dtype)
    elif operands and not b.size(operands[0]) and not any(map(b.size, operands)) and _is_function(row):
        return b.broadcast(b.const(row.of_nothing, kind.dtype), kind.shape)
    elif row.keeps_zero and is_zero(b, operands[0]):
        return b.broadcast(b.const(0.0, kind.dtype), kind.shape)
    rewrite = REWRITES.get(name)
    return rewrite.function(b, operands, kind, statics) if rewrite else None


def _is_function(row: Any) -> bool:
    """Whether the row is a function of its operands that cannot fail where none of them has an element."""
    return isinstance(row, Elementwise) or (row.pure and row.form is not Form.COMPOSITE)


# ── looking at values ─────────────────────────────────────────────────────────────────────────────────────────
def _unwrap(b: Any, x: Ref) -> Ref:
    """The scalar of which x is a broadcast, or x."""
    op, a, _, _ = b.definition(x)
    return a if op == _STRIDED and b.size(a) == 1 and b.size(x) != 1 else x


def _number(b: Any, x: Ref) -> float | None:
    """The number that every element of x has, if x is constant."""
    return b.scalar(_unwrap(b, x))


def is_zero(b: Any, x: Ref) -> bool:
    """Whether every element of x is the constant +0."""
    number = _number(b, x)
    return number == 0.0 and math.copysign(1.0, number) > 0


def _as(b: Any, x: Ref, kind: Any) -> Ref | None:
    """x as a value of this type: itself, reshaped or broadcast; None where dtypes differ."""
    if b.type(x) == kind:
        return x
    if b.type(x).dtype != kind.dtype:
        return None
    return b.reshape(x, kind.shape) if b.size(x) == kind.size else b.broadcast(x, kind.shape)


def _operand_of(b: Any, x: Ref, name: str) -> Ref | None:
    op, a, _, _ = b.definition(x)
    return a if op == opcode(name) else None


def _fold(b: Any, row: Elementwise, operands: Sequence[Ref], kind: Any) -> Ref:
    with np.errstate(all="ignore"):
        value = row.numpy(*(np.float64(b.scalar(x)) for x in operands))
    return b.const(np.asarray(value, np.float64).reshape(kind.shape), kind.dtype)


# ── elementwise rewrites ──────────────────────────────────────────────────────────────────────────────────────
def _add(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    for x, y in (operands, operands[::-1]):
        if _number(b, y) == 0.0 and (kind.dtype not in "fd" or not is_zero(b, y)):  # -0 + 0 is 0
            return _as(b, x, kind)
        negated = _operand_of(b, y, "negative")
        if negated is not None:
            return b.emit("subtract", (x, negated), shape=kind.shape, dtype=kind.dtype)
    return None


def _subtract(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    x, y = operands
    if is_zero(b, y):
        return _as(b, x, kind)
    negated = _operand_of(b, y, "negative")
    return None if negated is None else b.emit("add", (x, negated), shape=kind.shape, dtype=kind.dtype)


def _multiply(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    for x, y in (operands, operands[::-1]):
        number = _number(b, y)
        if number == 1.0:
            return _as(b, x, kind)
        if number == -1.0:
            return b.emit("negative", (x,), shape=kind.shape, dtype=kind.dtype)
    if operands[0] == operands[1] and (x := _operand_of(b, operands[0], "absolute")) is not None:
        return b.emit("multiply", (x, x), shape=kind.shape, dtype=kind.dtype)
    x, y = (_operand_of(b, x, "negative") for x in operands)
    if x is not None and y is not None:
        return b.emit("multiply", (x, y), shape=kind.shape, dtype=kind.dtype)
    return None


def _divide(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    return _as(b, operands[0], kind) if _number(b, operands[1]) == 1.0 else None


def _negative(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    x = _operand_of(b, operands[0], "negative")
    return None if x is None else _as(b, x, kind)


def _square(b: Any, operands: Any, kind: Any, _: Any) -> Ref:
    return b.emit("multiply", (operands[0], operands[0]), shape=kind.shape, dtype=kind.dtype)


def _reciprocal(b: Any, operands: Any, kind: Any, _: Any) -> Ref:
    return b.emit("divide", (b.const(1.0), operands[0]), shape=kind.shape, dtype=kind.dtype)


def _power(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    x, y = operands
    n = _number(b, y)
    if n is None or b.size(x) != kind.size:
        return None
    typed = {"shape": kind.shape, "dtype": kind.dtype}
    if n == 0.5:  # as NumPy: sqrt(x) for a constant exponent of one half
        return b.emit("sqrt", (x,), **typed)
    if n == 1.0:
        return _as(b, x, kind)
    if n < 0 and n >= -4 and n == math.floor(n):
        return b.emit("divide", (b.const(1.0), b.emit("power", (x, b.const(-n)), **typed)), **typed)
    if n not in (2.0, 3.0, 4.0):
        return None
    square = b.emit("multiply", (x, x), **typed)
    return square if n == 2.0 else b.emit("multiply", (square, x if n == 3.0 else square), **typed)


def _where(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    condition, x, y = operands
    number = _number(b, condition)
    if number is not None:
        return _as(b, x if number != 0.0 else y, kind)
    return _as(b, x, kind) if x == y else None


def _logical_and(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    for x, y in (operands, operands[::-1]):
        number = _number(b, y)
        if number == 0.0:
            return b.broadcast(b.const(0.0, kind.dtype), kind.shape)
        if number == 1.0:
            return _as(b, x, kind)
    return None


def _same(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    return _as(b, operands[0], kind) if operands[0] == operands[1] else None


# ── array rewrites ────────────────────────────────────────────────────────────────────────────────────────────
def _strided(b: Any, operands: Any, kind: Any, r: Any) -> Ref | None:
    (x,) = operands
    if r == (0, b.size(x), 1) and b.type(x) == kind:
        return x
    op, source, _, c = b.definition(x)
    if op == _CONST:
        return _read_constant(b, x, kind, r)
    if op == _STRIDED:
        return _strided_twice(b, source, b.statics_at(c), kind, r)
    return _read_piece(b, x, kind, r) if op == _ASSEMBLE else None


def _gather(b: Any, operands: Any, kind: Any, s: Any) -> Ref | None:
    """Blocks at places that are known and evenly spread are a region. Blocks of a reshaped array are blocks of what it
    was: so its adjoint is added to where that one's lies."""
    x, index = operands
    if (places := b.numbers(index)) and (own := evenly(places, s[0], b.size(x))):
        return b.region(x, own, kind.shape, kind.dtype)
    op, source, _, c = b.definition(x)
    if op != _STRIDED or b.statics_at(c) != whole(b.size(source)) or b.dtype(source) != b.dtype(x):
        return None
    return b.emit("gather", (source, index), s, kind.shape, kind.dtype)


def _read_constant(b: Any, x: Ref, kind: Any, r: Any) -> Ref | None:
    if b.size(x) == 1 and kind.size == 1:
        return b.const(np.full(kind.shape, b.scalar(x)), kind.dtype)
    if kind.size > _FOLD_LIMIT or not (kind.size == 1 or is_contiguous(r)):
        return None
    _, start, _, _ = b.definition(x)
    values = b.constants[start + r[0] : start + r[0] + kind.size]
    return b.const(np.array(values).reshape(kind.shape), kind.dtype)


def _strided_twice(b: Any, source: Ref, inner: Any, kind: Any, r: Any) -> Ref | None:
    if b.size(source) == 1:
        return b.emit("strided", (source,), (0, kind.size, 0), kind.shape, kind.dtype)
    if is_contiguous(inner):
        return b.emit("strided", (source,), (r[0] + inner[0], *r[1:]), kind.shape, kind.dtype)
    if is_contiguous(r) and r[0] == 0 and r[1] == math.prod(parts(inner)[1]):
        return b.emit("strided", (source,), inner, kind.shape, kind.dtype)
    return None


def _read_piece(b: Any, x: Ref, kind: Any, r: Any) -> Ref | None:
    """A region read back from an assembly, or assemblies of assemblies, where it is exactly one of the pieces or inside
    one of a few."""
    start, found = (x, r), None
    while b.definition(x)[0] == _ASSEMBLE:
        _, first, count, c = b.definition(x)
        p = b.places(c).get(r)
        if p is not None and (p or count == 1 or b.size(b.operands[first]) != b.size(x)):
            return _as(b, b.operands[first + p], kind)
        if p is not None or count > _FEW or _is_based(b, x, first, count):
            break
        operands, regions = b.operands[first : first + count], pieces(b.statics_at(c))
        found = _piece_around(b, x, operands, regions, kind, r)
        if found is None:
            part = _pieces_within(b, x, operands, regions, kind, r)
            if part is not None:
                return part
            break
        x, r = found
        if x < 0:
            return b.broadcast(b.const(0.0, kind.dtype), kind.shape)
    return b.emit("strided", (x,), r, kind.shape, kind.dtype) if (x, r) != start else None


def _is_based(b: Any, x: Ref, first: int, count: int) -> bool:
    """Whether an assembly is an array with pieces written over it. Such a one is not looked through: whoever reads the
    array after the write keeps it alive, and the write must then copy it."""
    return count > 1 and bool(b.size(b.operands[first]) == b.size(x))


_FEW = 4  # pieces that are looked through


def _piece_around(b: Any, x: Ref, operands: Any, regions: Any, kind: Any, r: Any) -> tuple[Ref, Any] | None:
    """The piece that holds a region, and the region in it; -1 if no piece meets it. So what is packed for a composite
    row is known to be apart, and what is read of one result of many instances needs no array of all results."""
    if not kind.size:
        return None
    for piece, own in zip(operands, regions, strict=True):
        read = inside(r, own)
        if read is not None:
            return (piece, read) if b.dtype(piece) == kind.dtype else None
    return None if any(_may_meet(r, own) for own in regions) else (-1, r)


_WIDE = 16


def _pieces_within(b: Any, x: Ref, operands: Any, regions: Any, kind: Any, r: Any) -> Ref | None:
    """A small part of a wide assembly as an assembly of its own, where no piece lies across its ends: the adjoint of a
    solve has room for all steps, of which nothing but the last state may be anything but 0."""
    if not kind.size or b.size(x) < _WIDE * kind.size:
        return None
    kept, statics = [], []
    for piece, own in zip(operands, regions, strict=True):
        place = inside(own, r)
        if place is not None:
            kept.append(piece)
            statics += [(len(place) - 1) // 2, *place]
        elif _may_meet(r, own):
            return None
    return b.emit("assemble", kept, statics, kind.shape, kind.dtype)


def _may_meet(r: Any, own: Any) -> bool:
    """Whether the spans of two regions overlap."""
    (low, high), (first, last) = span(r), span(own)
    return bool(first <= high and low <= last)


def _sum(b: Any, operands: Any, kind: Any, s: Any) -> Ref | None:
    (x,) = operands
    if s[1] == 1:
        return _as(b, x, kind)
    scalar = _unwrap(b, x)
    if scalar != x:
        total = b.emit("multiply", (scalar, b.const(float(s[1]))), dtype=kind.dtype)
        return b.broadcast(total, kind.shape) if b.size(total) == 1 else None
    return None


def _assemble(b: Any, operands: Any, kind: Any, s: Any) -> Ref | None:
    if len(operands) > 1 and b.definition(operands[0])[0] != _STRIDED and b.are_plain(operands):
        return None
    regions = pieces(s)
    if not all(map(b.size, operands)):
        return _with_pieces(b, operands, regions, kind, [i for i, x in enumerate(operands) if b.size(x)])
    if len(operands) == 1 and regions[0] == whole(kind.size):
        return _as(b, operands[0], kind)
    if not any(not is_zero(b, x) for x in operands):
        return b.broadcast(b.const(0.0, kind.dtype), kind.shape)
    based = len(operands) > 1 and b.size(operands[0]) == kind.size
    kept = [i for i, x in enumerate(operands) if not is_zero(b, x) or (based and i)]
    if len(kept) < len(operands) and not (based and 0 in kept):
        return _with_pieces(b, operands, regions, kind, [i for i in kept if not is_zero(b, operands[i])])
    return None if based else _reassembled(b, operands, regions, kind)


def _with_pieces(b: Any, operands: Any, regions: Any, kind: Any, kept: list[int]) -> Ref:
    """The assembly without the others of its pieces: those of zeros, from which it starts, and those of nothing."""
    statics = [n for i in kept for n in ((len(regions[i]) - 1) // 2, *regions[i])]
    return b.emit("assemble", [operands[i] for i in kept], statics, kind.shape, kind.dtype)


def _reassembled(b: Any, operands: Any, regions: Any, kind: Any) -> Ref | None:
    """An assembly of all elements of one array, at their own positions, is that array."""
    if sum(b.size(x) for x in operands) != kind.size:
        return None
    sources = set()
    for x, own in zip(operands, regions, strict=True):
        op, source, _, c = b.definition(x)
        if op != _STRIDED or b.size(source) != kind.size or b.statics_at(c) != own:
            return None
        sources.add(source)
    return _as(b, sources.pop(), kind) if len(sources) == 1 else None


def _wrap_index(b: Any, operands: Any, kind: Any, s: Any) -> Ref | None:
    """Constant indices are checked here, once. Where one is wrong the row stays, and raises the error."""
    op, start, _, _ = b.definition(operands[0])
    if op != _CONST:
        return None
    index = np.array(b.constants[start : start + kind.size])
    if np.any((index < -s[0]) | (index >= s[0]) | (index != np.floor(index))):
        return None
    return b.const(np.where(index < 0, index + s[0], index).reshape(kind.shape), kind.dtype)


def _guard(b: Any, operands: Any, kind: Any, _: Any) -> Ref | None:
    """The guard of a constant cannot fail (a captured array may have become one), nor that of nothing."""
    return operands[0] if operands[0] == operands[1] or not b.size(operands[0]) else None


_STRIDED, _ASSEMBLE, _CONST = opcode("strided"), opcode("assemble"), opcode("const")
SPECIAL_NUMBERS = frozenset([0.0, 1.0, -1.0])  # constants that rewrites look for, besides foldable ones


class Rewrite(NamedTuple):
    """A rewrite, and when it may apply: `always`, where an operand is a `negated` value or a `magnitude`, or (all of
    them) where one is a number spread over an array or one of `SPECIAL_NUMBERS`."""

    function: Callable[[Any, Any, Any, Any], Ref | None]
    always: bool = False
    negated: bool = False
    magnitude: bool = False


REWRITES = {
    "add": Rewrite(_add, negated=True),
    "subtract": Rewrite(_subtract, negated=True),
    "multiply": Rewrite(_multiply, negated=True, magnitude=True),
    "divide": Rewrite(_divide),
    "negative": Rewrite(_negative, negated=True),
    "square": Rewrite(_square, always=True),
    "reciprocal": Rewrite(_reciprocal, always=True),
    "power": Rewrite(_power, always=True),
    "where": Rewrite(_where, always=True),
    "logical_and": Rewrite(_logical_and),
    "maximum": Rewrite(_same, always=True),
    "minimum": Rewrite(_same, always=True),
    "strided": Rewrite(_strided), "gather": Rewrite(_gather),
    "sum": Rewrite(_sum),
    "assemble": Rewrite(_assemble),
    "wrap_index": Rewrite(_wrap_index),
    "guard": Rewrite(_guard),
}
NEGATIVE, ABSOLUTE = opcode("negative"), opcode("absolute")
