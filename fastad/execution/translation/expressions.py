"""Expressions of a kernel."""

import ast
import builtins
import operator
import types
from typing import Any

import numpy as np

from fastad.execution.translation import flags
from fastad.execution.translation.code import Code
from fastad.execution.translation.kinds import (
    ADDRESS,
    BOOLEAN,
    DOUBLE,
    ELEMENTS,
    INTEGER,
    NOTHING,
    Pointer,
    Record,
    Tuple,
    UntranslatableError,
    Value,
    View,
    constant,
    parts,
    together,
    types_of,
)
from fastad.execution.translation.memory import FUNCTIONS, Intrinsic

_NUMBERS = (int, float, np.integer, np.floating)
_STATIC = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_BEYOND = 2**63 - 1
_LAST_VECTOR = "scratch"  # of a driver's work: see `fastad.tables.composites.driver.Parameters`
_FLOATS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_INTEGERS = {ast.Add: "add nsw", ast.Sub: "sub nsw", ast.Mult: "mul nsw", ast.BitAnd: "and", ast.BitOr: "or",
             ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "ashr"}  # fmt: skip
_TESTS = {
    ast.Eq: ("oeq", "eq"), ast.NotEq: ("une", "ne"), ast.Lt: ("olt", "slt"), ast.LtE: ("ole", "sle"),
    ast.Gt: ("ogt", "sgt"), ast.GtE: ("oge", "sge"),
}  # fmt: skip


class Expressions(Code):
    """Writes expressions: `value(node)` is the value of one, `decide` goes on by the truth of one."""

    contracts: bool  # whether products in sums are not rounded
    names: dict[str, Any]  # the globals of the function
    locals: frozenset[str]  # names of arguments and variables
    bound: dict[str, Value]  # those that are given a value once, where all that follows sees it

    def value(self, node: ast.expr) -> Value:
        known = self.static(node)
        if known is not None:
            return constant(known)
        write = getattr(self, "_" + type(node).__name__, None)
        if write is None:
            raise UntranslatableError(f"{ast.unparse(node)} ({type(node).__name__})")
        found: Value = write(node)
        return found

    # ── names and constants ──────────────────────────────────────────────────────────────────────────────────
    def static(self, node: ast.expr) -> Any:
        """The number that an expression is before anything runs, or None."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, _NUMBERS) else None
        if isinstance(node, ast.Name | ast.Attribute):
            found = self.named(node)
            return found if isinstance(found, _NUMBERS) else None
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            own = self.static(node.operand)
            return None if own is None else -own
        if isinstance(node, ast.BinOp) and type(node.op) in _STATIC:
            a = self.static(node.left)
            b = None if a is None else self.static(node.right)
            return None if b is None else _STATIC[type(node.op)](a, b)
        return None

    def named(self, node: ast.expr) -> Any:
        """What a name, or an attribute of a module, stands for; None where that is known at run time only."""
        if isinstance(node, ast.Name) and node.id not in self.locals:
            return self.names.get(node.id, getattr(builtins, node.id, None))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self.named(node.value)
            return getattr(module, node.attr, None) if isinstance(module, types.ModuleType) else None
        return None

    def _Name(self, node: ast.Name) -> Value:
        if node.id in self.bound:
            return self.bound[node.id]
        if node.id not in self.locals:
            raise UntranslatableError(f"{node.id} as a value")
        return self.read(node.id)

    def _Tuple(self, node: ast.Tuple) -> Value:
        return together([self.value(own) for own in node.elts])

    # ── fields and elements ──────────────────────────────────────────────────────────────────────────────────
    def _Attribute(self, node: ast.Attribute) -> Value:
        if node.attr == "data" and isinstance(node.value, ast.Attribute) and node.value.attr == "ctypes":
            return self.address(self.value(node.value.value).operands[0])
        own = self.value(node.value)
        if isinstance(own.kind, Record):
            kind, where = self.field(own, node.attr)
            if isinstance(kind, Record):
                return Value(kind, (where,))
            return self.load("int64", where, self.module.remark(own.kind.dtype))
        if isinstance(own.kind, Tuple) and node.attr in own.kind.names:
            return parts(own)[own.kind.names.index(node.attr)]
        if isinstance(own.kind, View) and node.attr == "shape":
            return together([Value(INTEGER, (n,)) for n in own.operands[1:]])
        if isinstance(own.kind, View) and node.attr == "size" and own.kind.dimensions == 1:
            return Value(INTEGER, (own.operands[1],))
        raise UntranslatableError(f"the attribute {node.attr} of {own.kind}")

    def field(self, record: Value, name: str) -> tuple[Any, str]:
        """Kind and place of a field of a record."""
        fields = record.kind.dtype.fields or {}
        if name not in fields:
            raise UntranslatableError(f"the field {name} of {record.kind}")
        dtype, offset = fields[name][:2]
        where = self.define(f"getelementptr i8, ptr {record.only}, i64 {offset}") if offset else record.only
        if dtype.fields:
            return Record(dtype), where
        if dtype != np.dtype(np.int64):
            raise UntranslatableError(f"a field of the type {dtype}")
        return INTEGER, where

    def _Subscript(self, node: ast.Subscript) -> Value:
        own = self.value(node.value)
        if isinstance(own.kind, Tuple):
            index = self.static(node.slice)
            if not isinstance(index, int):
                raise UntranslatableError(f"the index {ast.unparse(node.slice)} of a tuple")
            return parts(own)[index]
        if isinstance(own.kind, View) and own.kind.dimensions == 2 and not isinstance(node.slice, ast.Tuple):
            at = self.define(f"mul i64 {self.index(node.slice)}, {own.operands[2]}")
            own_type = ELEMENTS[own.kind.element][0]
            where = self.define(f"getelementptr {own_type}, ptr {own.operands[0]}, i64 {at}")
            return Value(View(own.kind.element), (where, own.operands[2]))
        if isinstance(node.slice, ast.Slice):
            return self._slice(own, node.slice)
        return self.load(*self.element(own, node.slice))

    def _slice(self, array: Value, part: ast.Slice) -> Value:
        """A part of a vector, whose ends are not negative."""
        if not isinstance(array.kind, View) or array.kind.dimensions != 1 or part.step is not None:
            raise UntranslatableError(f"a slice of {array.kind}")
        first, size = "0" if part.lower is None else self.index(part.lower), array.operands[1]
        last = size if part.upper is None else self._least(self.index(part.upper), size)
        first = self._least(first, last)
        own = ELEMENTS[array.kind.element][0]
        where = self.define(f"getelementptr {own}, ptr {array.operands[0]}, i64 {first}")
        return Value(array.kind, (where, self.define(f"sub nsw i64 {last}, {first}")))

    def _least(self, a: str, b: str) -> str:
        return self.define(f"select i1 {self.define(f'icmp slt i64 {a}, {b}')}, i64 {a}, i64 {b}")

    def element(self, array: Value, index: ast.expr) -> tuple[str, str]:
        """Kind and place of an element."""
        if not isinstance(array.kind, Pointer | View):
            raise UntranslatableError(f"an element of {array.kind}")
        dimensions = getattr(array.kind, "dimensions", 1)
        indices = index.elts if isinstance(index, ast.Tuple) else [index]
        if len(indices) != dimensions:
            raise UntranslatableError(f"{len(indices)} indices for {dimensions} dimensions")
        at = self.index(indices[0])
        if dimensions == 2:
            row = self.define(f"mul nsw i64 {at}, {array.operands[2]}")
            at = self.define(f"add nsw i64 {row}, {self.index(indices[1])}")
        own = ELEMENTS[array.kind.element][0]
        return array.kind.element, self.define(f"getelementptr inbounds {own}, ptr {array.operands[0]}, i64 {at}")

    def index(self, node: ast.expr) -> str:
        known = self.static(node)
        if isinstance(node, ast.Slice) or (known is not None and known < 0):
            raise UntranslatableError(f"the index {ast.unparse(node)}")
        if isinstance(node, ast.Call) and self.named(node.func) is flags.at:
            node = node.args[0]
        return self.integer(self.value(node))

    def _unsigned(self, k: str) -> str:
        """An unsigned integer that is compared as a signed one here: what is negative is beyond all sizes."""
        if k.lstrip("-").isdigit():
            return k if int(k) >= 0 else str(_BEYOND)
        return self.define(f"select i1 {self.define(f'icmp slt i64 {k}, 0')}, i64 {_BEYOND}, i64 {k}")

    # ── arithmetic ───────────────────────────────────────────────────────────────────────────────────────────
    def _BinOp(self, node: ast.BinOp) -> Value:
        found = self._vector(node) if self.module.apart else None
        return found or self.combine(node.op, node.left, node.right)

    def _vector(self, node: ast.BinOp) -> Value | None:
        """`work + 8 * at.field`, where `at` is the record that says where a driver's vectors start, if the expression
        is of this form: the work has the vector's address there."""
        part = node.right
        if not (isinstance(part, ast.BinOp) and self.static(part.left) == 8 and isinstance(part.right, ast.Attribute)):
            return None
        own = self.value(part.right.value)
        if not isinstance(own.kind, Record) or _LAST_VECTOR not in (own.kind.dtype.names or ()):
            return None
        step = self.operate(part.op, self.value(part.left), self.value(part.right))
        place = self.operate(node.op, self.value(node.left), step)
        return Value(ADDRESS, (self.define(f"load ptr, ptr {place.only}"),))

    def combine(self, operation: ast.operator, left: ast.expr | Value, right: ast.expr) -> Value:
        """left + right and the like. A product in a sum of numbers is not rounded, where the processor can do that: it
        is written so here, and not left to LLVM, so that it does not depend on how well code is optimised."""
        if self.contracts and isinstance(operation, ast.Add | ast.Sub):
            minus = isinstance(operation, ast.Sub)
            if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult):
                other = left if isinstance(left, Value) else self.value(left)
                return self._with_product(right, other, minus, False)
            if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult):
                return self._with_product(left, right, False, minus)
        known = left if isinstance(left, Value) else self.value(left)
        return self.operate(operation, known, self.value(right))

    def _with_product(self, product: ast.BinOp, other: ast.expr | Value, minus: bool, less: bool) -> Value:
        """other ± product, or product - other if `less`."""
        a, b = self.value(product.left), self.value(product.right)
        c = other if isinstance(other, Value) else self.value(other)
        if a.kind != DOUBLE or b.kind != DOUBLE or c.kind != DOUBLE:
            product_value = self.operate(product.op, a, b)
            if less:
                return self.operate(ast.Sub(), product_value, c)
            return self.operate(ast.Sub() if minus else ast.Add(), c, product_value)
        first = self.define(f"fneg double {a.only}") if minus else a.only
        last = self.define(f"fneg double {c.only}") if less else c.only
        self.module.declare("declare double @llvm.fma.f64(double, double, double)")
        call = f"call double @llvm.fma.f64(double {first}, double {b.only}, double {last})"
        return Value(DOUBLE, (self.define(call),))

    def operate(self, operation: ast.operator, left: Value, right: Value) -> Value:
        kind = type(operation)
        if left.kind == right.kind == BOOLEAN and kind in (ast.BitAnd, ast.BitOr, ast.BitXor):
            return Value(BOOLEAN, (self.define(f"{_INTEGERS[kind]} i1 {left.only}, {right.only}"),))
        if kind is ast.Pow:
            self.module.declare("declare double @llvm.pow.f64(double, double)")
            if DOUBLE not in (left.kind, right.kind):
                raise UntranslatableError("a power of integers")
            base, power = self.number(left), self.number(right)
            return Value(DOUBLE, (self.define(f"call double @llvm.pow.f64(double {base}, double {power})"),))
        if ADDRESS in (left.kind, right.kind) and kind in (ast.Add, ast.Sub) and left.kind != right.kind:
            return self._further(kind, left, right)
        a, b = self.alike(left, right)
        if kind is ast.Div:
            a, b = self.convert(a, DOUBLE), self.convert(b, DOUBLE)
        if a.kind == DOUBLE:
            if kind is ast.Mod:
                return Value(DOUBLE, (self.remainder(a.only, b.only),))
            if kind in _FLOATS:
                return Value(DOUBLE, (self.floating(_FLOATS[kind], a.only, b.only),))
        elif kind in (ast.FloorDiv, ast.Mod):
            return Value(INTEGER, (self.floor_division(a.only, b.only)[kind is ast.Mod],))
        elif kind in _INTEGERS:
            return Value(INTEGER, (self.define(f"{_INTEGERS[kind]} i64 {a.only}, {b.only}"),))
        raise UntranslatableError(f"{kind.__name__} of {a.kind}")

    def _further(self, kind: Any, left: Value, right: Value) -> Value:
        """An address and so many bytes more, or less."""
        place, step = (left, right) if left.kind == ADDRESS else (right, left)
        bytes_ = self.integer(step)
        bytes_ = bytes_ if kind is ast.Add else self.define(f"sub i64 0, {bytes_}")
        return Value(ADDRESS, (self.define(f"getelementptr i8, ptr {place.only}, i64 {bytes_}"),))

    def _UnaryOp(self, node: ast.UnaryOp) -> Value:
        own = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return Value(BOOLEAN, (self.define(f"xor i1 {self.flag(own)}, true"),))
        if isinstance(node.op, ast.USub):
            if own.kind == DOUBLE:
                return Value(DOUBLE, (self.define(f"fneg double {own.only}"),))
            return Value(INTEGER, (self.define(f"sub nsw i64 0, {self.integer(own)}"),))
        if isinstance(node.op, ast.Invert) and own.kind == INTEGER:
            return Value(INTEGER, (self.define(f"xor i64 {own.only}, -1"),))
        raise UntranslatableError(ast.unparse(node))

    # ── truth ────────────────────────────────────────────────────────────────────────────────────────────────
    def _Compare(self, node: ast.Compare) -> Value:
        left, flag = self.value(node.left), ""
        for test, operand in zip(node.ops, node.comparators, strict=True):
            if type(test) not in _TESTS:
                raise UntranslatableError(ast.unparse(node))
            right = self.value(operand)
            a, b = self.alike(left, right)
            ordered, signed = _TESTS[type(test)]
            word = f"fcmp {ordered} double" if a.kind == DOUBLE else f"icmp {signed} i64"
            own = self.define(f"{word} {a.only}, {b.only}")
            flag = self.define(f"and i1 {flag}, {own}") if flag else own
            left = right
        return Value(BOOLEAN, (flag,))

    def decide(self, node: ast.expr, yes: str, no: str) -> None:
        """Go on at one of two labels."""
        if isinstance(node, ast.BoolOp):
            for own in node.values[:-1]:
                following = self.label()
                self.decide(own, *((following, no) if isinstance(node.op, ast.And) else (yes, following)))
                self.start(following)
            self.decide(node.values[-1], yes, no)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.decide(node.operand, no, yes)
        else:
            self.fork(self.flag(self.value(node)), yes, no)

    def _BoolOp(self, node: ast.BoolOp) -> Value:
        """`a and b` is a where that is false, and b otherwise; `a or b` the other way round."""
        name, end, own = self._passing(node), self.label(), self.value(node.values[0])
        for following in node.values[1:]:
            self.assign(name, own)
            more, flag = self.label(), self.flag(own)
            self.fork(flag, *((more, end) if isinstance(node.op, ast.And) else (end, more)))
            self.start(more)
            own = self.value(following)
        self.assign(name, own)
        self.start(end)
        return self.read(name)

    def _IfExp(self, node: ast.IfExp) -> Value:
        name, yes, no, end = self._passing(node), self.label(), self.label(), self.label()
        self.decide(node.test, yes, no)
        self.start(yes)
        self.assign(name, self.value(node.body))
        self.jump(end)
        self.start(no)
        self.assign(name, self.value(node.orelse))
        self.start(end)
        return self.read(name)

    def _passing(self, node: ast.expr) -> str:
        """A variable for the value of an expression that has several ways to it."""
        return f"{node.lineno}:{node.col_offset}:{node.end_col_offset}:{type(node).__name__}"

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────
    def _Call(self, node: ast.Call) -> Value:
        called = self.named(node.func)
        if called is float and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            return constant(float(node.args[0].value))
        given = [self.value(argument) for argument in node.args]
        keywords = {word.arg or "": self.value(word.value) for word in node.keywords}
        if called is flags.at:
            return Value(INTEGER, (self._unsigned(self.integer(given[0])),))
        intrinsic = called if isinstance(called, Intrinsic) else FUNCTIONS.get(called)
        if intrinsic and not keywords:
            return intrinsic.write(self, *given)
        if isinstance(called, type) and issubclass(called, tuple) and hasattr(called, "_fields"):
            own = called._fields
            if len(given) + len(keywords) != len(own):
                raise UntranslatableError(ast.unparse(node))
            return together([*given, *(keywords[field] for field in own[len(given) :])], own)
        dtype = getattr(given[0].kind, "dtype", None) if given else None
        source = called if isinstance(called, flags.Source) else flags.chosen(called, dtype and dtype.fields)
        if source is None or keywords:
            raise UntranslatableError(f"a call of {ast.unparse(node.func)}")
        return self._call_function(source, given)

    def _call_function(self, source: flags.Source, given: list[Value]) -> Value:
        name, kind = self.module.function(source, tuple(value.kind for value in given))
        self.callees.add(name)
        operands = together(given)
        pairs = zip(types_of(operands.kind), operands.operands, strict=True)
        listed = ", ".join(f"{own} {operand}" for own, operand in pairs)
        results = types_of(kind)
        if kind == NOTHING:
            self.line(f"call void @{name}({listed})")
            return Value(kind, ())
        if len(results) == 1:
            return Value(kind, (self.define(f"call {results[0]} @{name}({listed})"),))
        whole = f"{{ {', '.join(results)} }}"
        called = self.define(f"call {whole} @{name}({listed})")
        operand = tuple(self.define(f"extractvalue {whole} {called}, {k}") for k in range(len(results)))
        return Value(kind, operand)

    callees: set[str]
