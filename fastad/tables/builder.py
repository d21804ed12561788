"""Builder of op tables. It stores equal types, constants, static integers and rows once, and simplifies new rows."""

import math
import struct
from array import array
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy import asarray, ascontiguousarray  # NumPy's own, whatever stands for them during a recording

from fastad.errors import TableError
from fastad.primitives import ASSEMBLE, STRIDED, ArrayPrimitive, array_rows, elementwise_rows, primitive
from fastad.primitives import CALL as CALL_ROW
from fastad.primitives import expression as ex
from fastad.primitives.regions import Region, pieces
from fastad.primitives.rewrites import ABSOLUTE, NEGATIVE, REWRITES, SPECIAL_NUMBERS, simplify
from fastad.primitives.row import Elementwise
from fastad.primitives.vocabulary import Vocabulary
from fastad.tables.columns import CALL, CONST, DTYPES, INPUT, Line, ValueType
from fastad.tables.dtypes import dtype_char, result_dtype, strong_dtypes
from fastad.tables.table import Table

Ref = int
Shape = tuple[int, ...]
_CODES = {"op": "H", "type": "H", "line": "H", "a": "i", "b": "i", "c": "i"}
_NO_LINE = Line("", 0, "")
_COPIED_KEY = 64  # numbers of a constant that is known by all of them, not by a digest
_NUMBERS = {dtype: ValueType((), dtype) for dtype in DTYPES}
_pack = struct.Struct("d").pack
# Kinds of operands that rewrites look for: a constant number, a negation, a broadcast number, one of the constants in
# SPECIAL_NUMBERS, a value without elements, an absolute value.
CONSTANT, NEGATED, SPREAD, _ALWAYS, SPECIAL, EMPTY, MAGNITUDE = 1, 2, 4, 8, 16, 32, 64
_STRIDED = STRIDED.code
_READ_THROUGH = frozenset([CONST, _STRIDED, ASSEMBLE.code])  # reads of these are simplified
_FLAGGED = frozenset([INPUT, CALL, CONST, _STRIDED, NEGATIVE, ABSOLUTE])
_KINDS = {NEGATIVE: NEGATED, ABSOLUTE: MAGNITUDE}


def _wanted(row: Elementwise) -> tuple[int, str, bool, int, int]:
    """Opcode, dtype rule, whether operands may be swapped; flags: whether a rewrite may always apply, and what operands
    it looks for."""
    rewrite = REWRITES.get(row.name)
    wanted = SPREAD | _ALWAYS | SPECIAL | EMPTY | MAGNITUDE * row.even
    if rewrite is not None:
        wanted |= NEGATED * rewrite.negated | MAGNITUDE * rewrite.magnitude
    return row.code, row.result, row.commutes, _ALWAYS * bool(rewrite and rewrite.always), wanted


_ELEMENTWISE = {row.name: _wanted(row) for row in elementwise_rows()}
# Opcode, whether operands are in the pool, and the rewrite for this row alone.
_ARRAYS = {row.name: (row.code, row.is_pooled, REWRITES.get(row.name)) for row in array_rows()}


class Builder(Vocabulary):
    """A table under construction. References are row numbers; equal pure rows are one row."""

    def __init__(self) -> None:
        self.columns = {name: array(code) for name, code in _CODES.items()}
        self.operands, self.statics, self.constants = array("i"), array("q"), array("d")
        self.types: dict[ValueType, int] = {}
        self.type_list: list[ValueType] = []
        self._sizes: list[int] = []  # of the types
        self._read_types: dict[Any, int] = {}
        self.lines: dict[Line, int] = {_NO_LINE: 0}
        self.line = 0
        self._line: Line | None = _NO_LINE
        self.inputs: list[ValueType] = []
        self._rows: dict[Any, Ref] = {}
        self._static_sets: dict[tuple[int, ...], int] = {}
        self._places: dict[int, dict[Region, int]] = {}
        self._scalars: dict[Ref, float] = {}
        self._numbers: dict[float, Ref] = {}
        self._flags = bytearray()
        self._appends = [column.append for column in self.columns.values()]
        self._result_types: dict[Any, int] = {}
        self.subs: list[Any] = []
        self.saved: dict[Ref, Ref] = {}  # of results of composite rows: the states saved for their adjoints
        self._sub_numbers: dict[str, int] = {}

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────
    def __len__(self) -> int:
        return len(self.columns["op"])

    def type(self, ref: Ref) -> ValueType:
        return self.type_list[self.columns["type"][ref]]

    def shape(self, ref: Ref) -> Shape:
        return self.type(ref).shape

    def dtype(self, ref: Ref) -> str:
        return self.type(ref).dtype

    def size(self, ref: Ref) -> int:
        return self._sizes[self.columns["type"][ref]]

    def scalar(self, ref: Ref) -> float | None:
        """The value of a row, if it is a constant of one value; else None."""
        return self._scalars.get(ref)

    def definition(self, ref: Ref) -> tuple[int, int, int, int]:
        """Opcode and columns a, b, c of a row."""
        col = self.columns
        return col["op"][ref], col["a"][ref], col["b"][ref], col["c"][ref]

    def statics_at(self, c: int) -> tuple[int, ...]:
        return tuple(self.statics[c + 1 : c + 1 + self.statics[c]])

    def are_plain(self, operands: Sequence[Ref]) -> bool:
        """Whether no operand is of a kind that rewrites look for."""
        flags = self._flags
        return not any(map(flags.__getitem__, operands))

    def places(self, c: int) -> dict[Region, int]:
        """The number of each piece, by region, of an assembly with these static integers."""
        found = self._places.get(c)
        if found is None:
            found = self._places[c] = {own: p for p, own in enumerate(pieces(self.statics_at(c)))}
        return found

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def input(self, shape: Shape, dtype: str = "d") -> Ref:
        """A new input of the table."""
        kind = ValueType(tuple(shape), dtype)
        self.inputs.append(kind)
        return self._append(INPUT, kind, len(self.inputs) - 1, -1, -1)

    def const(self, value: Any, dtype: str | None = None) -> Ref:
        """A constant, by value."""
        if type(value) is float:
            return self._number(value, dtype or "d")
        if type(value) is np.float64:
            return self._number(float(value), dtype or "d")
        x = asarray(value)
        kind = ValueType(x.shape, dtype or dtype_char(x.dtype))
        if not kind.shape:
            return self._number(float(x), kind.dtype)
        data = ascontiguousarray(x, np.float64).reshape(-1)
        words = data.view(np.int64)  # their bits tell -0 from 0
        if data.size > 1 and words[0] == words[-1] and bool((words == words[0]).all()):  # one number, broadcast
            return self.broadcast(self.const(data[0], kind.dtype), kind.shape)
        # A recording has many small constants; of large ones the key would be another copy.
        key = (CONST, kind, data.tobytes() if data.size <= _COPIED_KEY else sha256(data.data).digest())
        ref = self._rows.get(key)
        if ref is None:
            start = len(self.constants)
            self.constants.frombytes(data.data.cast("B") if data.size else b"")
            ref = self._rows[key] = self._append(CONST, kind, start, -1, -1)
            if data.size == 1:
                number = self._scalars[ref] = float(data[0])
                self._flags[ref] |= SPECIAL if number in SPECIAL_NUMBERS else 0
        return ref

    def _number(self, x: float, dtype: str) -> Ref:
        """`const` of one number without axes."""
        key = (dtype, _pack(x))
        ref = self._rows.get(key)
        if ref is None:
            start = len(self.constants)
            self.constants.append(x)
            ref = self._rows[key] = self._append(CONST, _NUMBERS[dtype], start, -1, -1)
            self._scalars[ref] = x
            self._flags[ref] |= SPECIAL if x in SPECIAL_NUMBERS else 0
        return ref

    def number(self, x: float) -> Ref:
        """A float64 constant of no dimensions."""
        ref = self._numbers.get(x)
        if ref is None or not x:  # -0.0 == 0.0
            ref = self._numbers[x] = self.const(x, "d")
        return ref

    def emit(
        self, name: str, operands: Sequence[Ref], statics: Sequence[int] = (), shape: Shape | None = None,
        dtype: str | None = None,
    ) -> Ref:  # fmt: skip
        """The reference of a row. The row is simplified, and an equal row is not added twice."""
        record = _ELEMENTWISE.get(name)
        if record is None:
            row = primitive(name)
            own = self.shape(operands[0]) if shape is None else tuple(shape)
            kind = ValueType(own, dtype or self._result(row, operands))
            return self.emit_array(row, tuple(operands), tuple(statics), kind)
        return self.emit_elementwise(name, operands, self._elementwise_type(record[1], operands, shape, dtype))

    def is_elementwise(self, name: str) -> bool:
        """Whether rows of this name are elementwise."""
        return name in _ELEMENTWISE

    def emit_elementwise(self, name: str, operands: Sequence[Ref], number: int) -> Ref:
        """An elementwise row with the result type `number`. Operands have the result's size, or size 1."""
        code, _, commutes, always, wanted = _ELEMENTWISE[name]
        flags = self._flags
        if len(operands) == 2:
            a, b = operands
            c, all_of, any_of = -1, flags[a] & flags[b], flags[a] | flags[b]
            if commutes and a > b:
                a, b = b, a
        else:
            a, b, c = (*operands, -1, -1)[:3]
            all_of, any_of = flags[a], flags[a]
            for x in operands[1:]:
                all_of, any_of = all_of & flags[x], any_of | flags[x]
        if all_of & CONSTANT or (always | any_of) & wanted:  # else no rewrite can apply
            simpler = simplify(self, name, tuple(operands), self.type_list[number])
            if simpler is not None:
                return simpler
        return self._shared(code, number, a, b, c)

    def emit_array(
        self, row: ArrayPrimitive, operands: tuple[Ref, ...], statics: tuple[int, ...], kind: ValueType
    ) -> Ref:
        """`emit` for an array row of a known type."""
        code, pooled, rewrite = _ARRAYS[row.name]
        flags = self._flags
        simpler = None
        if 0 in kind.shape or any(map(flags.__getitem__, operands)):
            simpler = simplify(self, row.name, operands, kind, statics)
        elif rewrite is not None:
            simpler = rewrite.function(self, operands, kind, statics)
        if simpler is not None:
            return simpler
        c = self._static_set(statics) if statics else -1
        if pooled:
            key: Any = (row.name, operands, c, kind)
            ref = self._rows.get(key)
            if ref is None:
                start = len(self.operands)
                self.operands.extend(operands)
                ref = self._rows[key] = self._append(code, kind, start, len(operands), c)
            return ref
        a, b = (*operands, -1, -1)[:2]
        if not row.pure:
            return self._append(code, kind, a, b, c)
        return self._shared(code, self.type_number(kind), a, b, c)

    def expression(self, expr: ex.Expr, values: dict[str, Ref], shape: Shape) -> Ref:
        """Rows for an expression of the primitive table."""
        return ex.emitter(expr)(self, values)

    def read(self, ref: Ref, own: Region, shape: Shape) -> Ref:
        """A region of a value, as an array of this shape."""
        op, number = self.columns["op"][ref], self.columns["type"][ref]
        if op == ASSEMBLE.code and not shape and not self._flags[ref]:
            found = self._piece(ref, own)
            if found is not None:
                return found
        if op in _READ_THROUGH or self._sizes[number] == 1 or not own[1]:
            return self.emit_array(STRIDED, (ref,), own, ValueType(shape, self.type_list[number].dtype))
        if shape == self.type_list[number].shape and own == (0, self._sizes[number], 1):
            return ref
        found = self._read_types.get((number, shape))
        if found is None:
            kind = ValueType(shape, self.type_list[number].dtype)
            found = self._read_types[number, shape] = self.type_number(kind)
        return self._shared(_STRIDED, found, ref, -1, self._static_set(own))

    def reads(self, sources: np.ndarray, at: np.ndarray, types: np.ndarray) -> list[Ref]:
        """Rows that read parts of long vectors: values of the types of these numbers, each in one piece from its place
        on. They are made all at once; rows that are emitted later may be equal to them."""
        sizes = np.array(self._sizes, np.int64)[types]
        statics = np.stack([np.full(len(at), 3), at, sizes, np.ones(len(at), np.int64)], axis=1)
        start = len(self.statics)
        self.statics.frombytes(statics.astype(np.int64).tobytes())
        found = list(range(len(self), len(self) + len(at)))
        self._flags.extend(np.where(sizes > 0, 0, EMPTY).astype(np.uint8).tobytes())
        own = start + 4 * np.arange(len(at))
        rows: dict[str, Any] = {"op": _STRIDED, "type": types, "line": self.line, "a": sources, "b": -1, "c": own}
        for name, column in self.columns.items():
            column.frombytes(np.broadcast_to(rows[name], len(at)).astype(column.typecode).tobytes())
        return found

    def _piece(self, ref: Ref, own: Region) -> Ref | None:
        """The number that an assembly of numbers, or of pieces, has in a place."""
        col = self.columns
        p = self.places(col["c"][ref]).get(own)
        first = col["a"][ref]
        found = None if p is None else self.operands[first + p]
        if found is None or self.type_list[col["type"][found]] != ((), self.type_list[col["type"][ref]].dtype):
            return None
        return None if p == 0 and self.size(found) == self.size(ref) else found

    def call(self, sub: Any, x: Ref, saved: Ref | None = None) -> Ref:
        """A composite row: the sub-program applied to the vector x, with the states that were saved for it."""
        number = self._sub_numbers.get(sub.key)
        if number is None:
            number = self._sub_numbers[sub.key] = len(self.subs)
            self.subs.append(sub)
        operands = (x, x if saved is None else saved)
        if sub.overwrites_saved or sub.result_is_overwritten:  # saved states belong to one adjoint: no sharing
            return self._append(CALL, ValueType((sub.n_out,), "d"), *operands, self._static_set((number,)))
        return self.emit_array(CALL_ROW, operands, (number,), ValueType((sub.n_out,), "d"))

    # ── the finished table ───────────────────────────────────────────────────────────────────────────────────
    def table(self, outputs: Sequence[Ref], captured: Sequence[Any] = ()) -> Table:
        """The table built so far, with these results."""
        columns = {name: _frozen(column) for name, column in self.columns.items()}
        pools = {
            "operands": _frozen(self.operands), "statics": _frozen(self.statics), "constants": _frozen(self.constants)
        }  # fmt: skip
        lines = tuple(self.lines)
        return Table(
            columns,
            pools,
            tuple(self.type_list),
            lines,
            tuple(self.inputs),
            tuple(outputs),
            tuple(captured),
            tuple(self.subs),
        )

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────
    def _append(self, op: int, kind: ValueType, a: int, b: int, c: int) -> Ref:
        return self._add(op, self.type_number(kind), a, b, c)

    def _add(self, op: int, number: int, a: int, b: int, c: int) -> Ref:
        ref = len(self._flags)
        add_op, add_type, add_line, add_a, add_b, add_c = self._appends
        add_op(op)
        add_type(number)
        add_line(self.line)
        add_a(a)
        add_b(b)
        add_c(c)
        self._flags.append(self._flag(op, number, a) if op in _FLAGGED else 0)
        return ref

    def _flag(self, op: int, number: int, a: int) -> int:
        """The kinds (as bits) that an operand is of; see CONSTANT and the others."""
        if not self._sizes[number]:
            return EMPTY
        if op == CONST:
            return CONSTANT if self._sizes[number] == 1 else 0
        if op in (INPUT, CALL):
            return 0
        if op == _STRIDED:
            return SPREAD if self.size(a) == 1 and self._sizes[number] != 1 else 0
        return _KINDS[op]

    def type_number(self, kind: ValueType) -> int:
        number = self.types.get(kind)
        if number is None:
            if len(self.type_list) > 65_535:
                raise TableError("one program has more than 65,536 different shapes; use fixed shapes, or fad.scan")
            number = self.types[kind] = len(self.type_list)
            self.type_list.append(kind)
            self._sizes.append(kind.size)
        return number

    def _shared(self, op: int, number: int, a: int, b: int, c: int) -> Ref:
        new = len(self._flags)
        ref: Ref = self._rows.setdefault((op, number, a, b, c), new)
        if ref == new:
            self._add(op, number, a, b, c)
        return ref

    def _static_set(self, statics: tuple[int, ...]) -> int:
        at = self._static_sets.get(statics)
        if at is None:
            at = self._static_sets[statics] = len(self.statics)
            self.statics.append(len(statics))
            self.statics.extend(statics)
        return at

    def _elementwise_type(self, rule: str, operands: Sequence[Ref], shape: Shape | None, dtype: str | None) -> int:
        """Number of the result's type, by the rule, the types of the operands, and which of them are constants."""
        flags, types = self._flags, self.columns["type"]
        key = (rule, shape, dtype, *[types[x] * 2 + (flags[x] & CONSTANT) for x in operands])
        number = self._result_types.get(key)
        if number is None:
            kinds = [self.type(x) for x in operands]
            strong = strong_dtypes([t.dtype for t in kinds], [flags[x] & CONSTANT for x in operands])
            if shape is None:
                shape = max((t.shape for t in kinds), key=lambda s: (math.prod(s) != 1, len(s)))
            kind = ValueType(tuple(shape), dtype or result_dtype(rule, strong))
            number = self._result_types[key] = self.type_number(kind)
        return number

    def _result(self, row: ArrayPrimitive, operands: Sequence[Ref]) -> str:
        return result_dtype(row.result, [self.type(x).dtype for x in operands])

    def source_line(self, line: Line) -> None:
        """Rows emitted from now on come from this line of the user's source."""
        if line is self._line:
            return
        self.line = self.line_number(line)
        self._line = line

    def line_number(self, line: Line) -> int:
        """The number of a line, as it is in the column `line`."""
        number = self.lines.setdefault(line, len(self.lines))
        if number > 65_535:  # the column cannot hold it; further lines share the last number
            del self.lines[line]
            return 0
        return number

    def current_line(self) -> Line:
        """The line that rows come from now."""
        return self._line or list(self.lines)[self.line]

    def at_line(self, number: int) -> None:
        """`source_line` by number."""
        self.line, self._line = number, None


def _frozen(column: array) -> np.ndarray:
    return np.frombuffer(column.tobytes(), dtype=column.typecode)
