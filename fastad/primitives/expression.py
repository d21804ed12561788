"""The little language of the primitive table's text: arithmetic on scalars, in terms of the table's own names.

An expression is a nested tuple: ("name", "a"), ("num", 1.0) or ("call", primitive, argument, ...). Operators are
calls of the primitives they stand for, so whoever reads an expression needs to know the table and nothing else.
"""

import ast
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Expr = tuple[Any, ...]

_BINARY = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide",
    ast.BitAnd: "logical_and", ast.BitOr: "logical_or",
}  # fmt: skip
_COMPARE = {
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal",
    ast.Eq: "equal", ast.NotEq: "not_equal",
}  # fmt: skip
_NUMBERS = {"inf": math.inf, "nan": math.nan, "pi": math.pi}


@cache
def parse(text: str) -> Expr:
    """Expression of a text such as "b * power(a, b - 1)"."""
    return _from_ast(ast.parse(text, mode="eval").body)


def _from_ast(node: ast.AST) -> Expr:
    match node:
        case ast.Constant(value=value):
            return ("num", _number(value))
        case ast.Name(id=name):
            return ("num", _NUMBERS[name]) if name in _NUMBERS else ("name", name)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
            return ("num", -_number(value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return ("call", "negative", _from_ast(operand))
        case ast.BinOp(left=left, op=op, right=right):
            return ("call", _BINARY[type(op)], _from_ast(left), _from_ast(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return ("call", _COMPARE[type(op)], _from_ast(left), _from_ast(right))
        case ast.Call(func=ast.Name(id=name), args=args):
            return ("call", name, *map(_from_ast, args))
    raise SyntaxError(f"not in the language of the primitive table: {ast.unparse(node)}")


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise SyntaxError(f"not a number: {value!r}")
    return float(value)


def times(partial: Expr, factor: str) -> Expr | None:
    """The product partial * factor; None when the partial is zero.

    A factor is pushed into the branches of `where`, so that a branch not taken contributes exactly zero, even
    when the factor is infinite or NaN.
    """
    product = _times(partial, ("name", factor))
    return None if product == ("num", 0.0) else product


def _times(partial: Expr, u: Expr) -> Expr:
    if partial == ("num", 1.0):
        return u
    if partial == ("num", 0.0):
        return partial
    if partial == ("num", -1.0):
        return ("call", "negative", u)
    if partial[:2] == ("call", "where"):
        _, _, condition, yes, no = partial
        return ("call", "where", condition, _times(yes, u), _times(no, u))
    if partial[:2] == ("call", "negative"):
        return ("call", "negative", _times(partial[2], u))
    if partial[:2] == ("call", "divide") and partial[2] == ("num", 1.0):
        return ("call", "divide", u, partial[3])
    return ("call", "multiply", u, partial)


def calls(expr: Expr) -> set[str]:
    """The primitives that an expression mentions."""
    return {expr[1]}.union(*map(calls, expr[2:])) if expr[0] == "call" else set()


def names(expr: Expr) -> set[str]:
    """The names that an expression mentions."""
    if expr[0] == "name":
        return {expr[1]}
    return set[str]().union(*map(names, expr[2:])) if expr[0] == "call" else set()


def substitute(expr: Expr, values: Mapping[str, Expr]) -> Expr:
    """The expression with names replaced by expressions."""
    if expr[0] == "name":
        return values[expr[1]]
    return (*expr[:2], *(substitute(e, values) for e in expr[2:])) if expr[0] == "call" else expr


@cache
def emitter(expr: Expr) -> Callable[[Any, Mapping[str, Any]], Any]:
    """A function of a builder and the names' references that emits the expression's rows."""
    kind, head, *arguments = expr
    if kind == "name":
        return lambda b, values: values[head]
    if kind == "num":
        return lambda b, values: b.const(head)
    parts = tuple(map(emitter, arguments))
    return lambda b, values: b.emit(head, [part(b, values) for part in parts])


def build(expr: Expr, values: Mapping[str, Any], number: Callable[[float], Any], call: Callable[..., Any]) -> Any:
    """Fold an expression bottom-up: `number(x)` for constants, `call(name, *arguments)` for calls."""
    if expr[0] == "name":
        return values[expr[1]]
    if expr[0] == "num":
        return number(expr[1])
    return call(expr[1], *(build(e, values, number, call) for e in expr[2:]))
