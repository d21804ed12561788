"""The cases of the sweeps as text, made from the rows of the primitive table: one a scalar primitive.

Each sweep is a loop over a run of scalar rows with one case a primitive (sums, differences and products share one),
which LLVM turns into a jump table. In the derivative sweeps a primitive has one case for each choice of operands that
carry derivatives. `Places` says where the values lie, so that the sweeps of the processor and the interpreter of
GPUs, which keeps lanes apart, are made from the same text.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fastad.primitives import CONST, GUARD, PRIMITIVES, STRIDED, Elementwise, elementwise_rows, primitive
from fastad.primitives import expression as ex


# ── what the sweeps number: derivative cases and special functions ────────────────────────────────────────────
@functools.cache
def cases() -> tuple[tuple[Elementwise, int], ...]:
    """(primitive, operands that carry derivatives as a bit mask): case k + 1 of the derivative sweeps."""
    found = []
    for row in elementwise_rows():
        able = [k for k in range(row.arity) if row.is_differentiable(k)]
        for count in range(1, len(able) + 1):
            found += [(row, sum(1 << k for k in chosen)) for chosen in combinations(able, count)]
    return tuple(found)


def copy_case() -> int:
    """The derivative case of a scalar read from an array."""
    return len(cases()) + 1


@functools.cache
def case_numbers() -> np.ndarray:
    """Case by opcode and bit mask of the operands that carry derivatives; 0: nothing to do."""
    table = np.zeros((len(PRIMITIVES), 8), np.uint16)
    for number, (row, mask) in enumerate(cases()):
        table[row.code, mask] = number + 1
    table[STRIDED.code, 1] = copy_case()
    return table


@functools.cache
def specials() -> tuple[str, ...]:
    """C symbols of the leaves that are called by address, from a list that is filled only as far as needed."""
    return tuple(row.symbol for row in elementwise_rows() if _is_special(row) and row.symbol)


def _is_special(row: Elementwise) -> bool:
    return row.is_leaf and bool(row.symbol) and str(row.symbol).startswith("fastad_")


@functools.cache
def used_specials(op: int, derivatives: bool) -> tuple[str, ...]:
    """The special functions that the value of a primitive needs, or also its derivatives."""
    row = PRIMITIVES[op]
    if not isinstance(row, Elementwise):
        return ()
    exprs = [row.value_expr, *(row.partial_exprs if derivatives else ())]
    leaves = {name for e in exprs for name in ex.calls(_expand(e))}
    return tuple(primitive(name).symbol for name in sorted(leaves) if _is_special(primitive(name)))


# ── where the values of a case lie ────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Places:
    """Texts of the places that a case reads and writes: those of its operands and its result, of the adjoints of
    these, of a constant, and of the adjoint of an array that one number is read from. `real` is a text that takes a
    number, and `by_address` tells that special functions are called by their addresses in S, not by name."""

    operands: tuple[str, str, str]
    result: str
    adjoints: tuple[str, str, str]
    result_adjoint: str
    constant: str
    read_adjoint: str
    real: str = "{}"
    by_address: bool = True

    @property
    def names(self) -> dict[str, str]:
        """By the names in expressions."""
        return dict(zip("abc", self.operands, strict=True)) | {"r": self.result, "u": self.result_adjoint}


SWEPT = Places(
    ("VA[int64(A[i])]", "VB[int64(B[i])]", "VC[int64(C[i])]"),
    "VO[i]",
    ("WA[int64(A[i])]", "WB[int64(B[i])]", "WC[int64(C[i])]"),
    "WO[i]",
    "K[int64(A[i])]",
    "WA[int64(D[i])]",
)


# ── expressions ───────────────────────────────────────────────────────────────────────────────────────────────
def _expand(expr: ex.Expr) -> ex.Expr:
    """The expression in terms of leaves."""
    if expr[0] != "call":
        return expr
    row, arguments = primitive(expr[1]), tuple(_expand(e) for e in expr[2:])
    if row.is_leaf:
        return (*expr[:2], *arguments)
    return ex.substitute(_expand(row.value_expr), dict(zip("abc", arguments, strict=False)))


class _Writer:
    """Statements of one case. Calls of C functions are named and shared; LLVM does so with the arithmetic.

    All branches of `where` are evaluated: a select is cheaper than a jump, to compile and mostly to run.
    """

    def __init__(self, suffix: int, places: Places) -> None:
        self.suffix, self.layout, self.places = suffix, places, places.names
        self.lines: list[str] = []
        self.known: dict[ex.Expr, str] = {}

    def _named(self, key: ex.Expr, right: str) -> str:
        if key not in self.known:
            self.known[key] = f"t{self.suffix}_{len(self.known)}"
            self.lines.append(f"{self.known[key]} = {right}")
        return self.known[key]

    def number(self, expr: ex.Expr) -> str:
        """Text of an expression's value."""
        if expr[0] == "name":
            return self._named(expr, self.places[expr[1]])
        if expr[0] == "num":
            return self._written(repr(expr[1]) if math.isfinite(expr[1]) else f"({expr[1]!r})")
        row, arguments = primitive(expr[1]), expr[2:]
        kind = _kind(expr)
        if kind in ("comparison", "logical"):
            return f"select({self.truth(expr)}, {self._written('1.0')}, {self._written('0.0')})"
        if kind == "selection":
            yes, no = map(self.number, arguments[1:])
            return f"select({self.truth(arguments[0])}, {yes}, {no})"
        texts = [self.number(e) for e in arguments]
        if kind == "negation":
            return f"(-{texts[0]})"
        if kind == "arithmetic":
            return f"({texts[0]} {row.operator.sign} {texts[1]})"
        return self._named(expr, _call(row.symbol, texts, self.layout.by_address))

    def _written(self, number: str) -> str:
        return self.layout.real.format(number)

    def truth(self, expr: ex.Expr) -> str:
        """Text of whether an expression is not zero."""
        kind = _kind(expr)
        if kind in ("comparison", "logical"):
            text = self.number if kind == "comparison" else self.truth
            return f"({text(expr[2])} {primitive(expr[1]).operator.sign} {text(expr[3])})"
        return f"({self.number(expr)} != {self._written('0.0')})"

    def taken(self, expr: ex.Expr) -> str:
        """Text of whether a partial derivative is not a zero by structure (the branch of a choice)."""
        kind = _kind(expr)
        if kind == "selection":
            condition, yes, no = self.truth(expr[2]), self.taken(expr[3]), self.taken(expr[4])
            return f"({condition} & {yes} | (not {condition}) & {no})"
        if kind == "negation":
            return self.taken(expr[2])
        return repr(expr != ("num", 0.0))


def _kind(expr: ex.Expr) -> str:
    """The kind of machine operation that an expression is; empty if it is none."""
    operator = primitive(expr[1]).operator if expr[0] == "call" else None
    return "" if operator is None else str(operator.kind)


def _call(symbol: str, arguments: list[str], by_address: bool) -> str:
    if by_address and symbol in specials():
        return f"call{len(arguments)}(S[{specials().index(symbol)}], {', '.join(arguments)})"
    return f"c_{symbol}({', '.join(arguments)})"


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────
Case = tuple[int | tuple[int, ...], str, list[str]]  # its number, or those that share it

# Primitives that share a case, which computes all of them and selects. Where rows alternate at random, the processor
# guesses the next case wrong most of the time, and that costs more than two results too many (a quotient would not pay:
# rows of arrays, which are never guessed wrong, would take half as long again).
_SHARING = [row for row in elementwise_rows() if row.operator and row.operator.kind == "arithmetic" and not row.slow]


def _select(numbers: Sequence[int], texts: Sequence[str]) -> str:
    """Text of the choice among values by the number of the case."""
    if len(set(texts)) == 1:
        return texts[0]
    return f"select(code == {numbers[0]}, {texts[0]}, {_select(numbers[1:], texts[1:])})"


def _shared_value(places: Places) -> Case:
    codes = tuple(row.code for row in _SHARING)
    w = _Writer(len(PRIMITIVES), places)
    results = [w.number(_expand(row.value_expr)) for row in _SHARING]
    return codes, ", ".join(row.name for row in _SHARING), [*w.lines, f"{places.result} = {_select(codes, results)}"]


def _shared_adjoint(places: Places) -> Case:
    """Both operands carry derivatives."""
    numbers = tuple(int(case_numbers()[row.code, 3]) for row in _SHARING)
    w = _Writer(len(cases()) + 1, places)
    adds = []
    for k in range(2):
        texts = [w.number(_expand(expr)) for row in _SHARING if (expr := row.contribution_exprs[k]) is not None]
        adds.append(f"{places.adjoints[k]} += {_select(numbers, texts)}")
    return numbers, ", ".join(row.name for row in _SHARING), [*w.lines, *adds]


def value_cases(places: Places = SWEPT) -> Iterator[Case]:
    yield _shared_value(places)
    for row in elementwise_rows():
        if row in _SHARING:
            continue
        w = _Writer(row.code, places)
        result = w.number(_expand(row.value_expr))
        yield row.code, row.name, [*w.lines, f"{places.result} = {result}"]
    yield CONST.code, CONST.name, [f"{places.result} = {places.constant}"]
    yield STRIDED.code, "read one number", [f"{places.result} = {places.operands[0]}"]
    x, y = places.operands[:2]
    stop = [f"x = {x}", f"y = {y}", "if x != y and (x == x or y == y):", "    return i + 1"]
    yield GUARD.code, GUARD.name, stop


def adjoint_cases(places: Places = SWEPT) -> Iterator[Case]:
    yield _shared_adjoint(places)
    for number, (row, mask) in enumerate(cases()):
        if row in _SHARING and mask == 3:
            continue
        w = _Writer(number, places)
        adds = []
        for k in _bits(mask):
            contribution = row.contribution_exprs[k]
            assert contribution is not None
            adds.append(f"{places.adjoints[k]} += {w.number(_expand(contribution))}")
        yield number + 1, f"{row.name} {mask:03b}", [*w.lines, *adds]
    yield copy_case(), "read one number", [f"{places.read_adjoint} += {places.result_adjoint}"]


def tangent_cases(places: Places = SWEPT) -> Iterator[Case]:
    for number, (row, mask) in enumerate(cases()):
        w = _Writer(number, places)
        sets = []
        for k in _bits(mask):
            expr = _expand(row.partial_exprs[k])
            x = "abc"[k]
            sets += [f"p{x} = {w.number(expr)}", f"on{x} = {w.taken(expr)}"]
        yield number + 1, f"{row.name} {mask:03b}", [*w.lines, *sets]
    yield copy_case(), "read one number", [f"pa = {places.real.format('1.0')}", "ona = True"]


def _bits(mask: int) -> list[int]:
    return [k for k in range(3) if mask >> k & 1]


def chain(found: Iterator[Case], indent: int) -> str:
    """The cases as one chain of comparisons with constants."""
    lines: list[str] = []
    for numbers, name, body in found:
        shared = numbers if isinstance(numbers, tuple) else (numbers,)
        condition = " or ".join(f"code == {number}" for number in shared)
        lines.append(f"{'elif' if lines else 'if'} {condition}:  # {name}")
        lines += ["    " + line for line in body]
    return "\n".join(" " * indent + line for line in lines)
