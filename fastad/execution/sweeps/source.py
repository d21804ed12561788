"""The source text of the sweeps, made from the primitive table: one interpreter a mode, for all programs.

Each sweep is a loop over a run of scalar rows with one case a primitive (sums, differences and products share one),
which LLVM turns into a jump table. In the derivative sweeps a primitive has one case for each choice of operands that
carry derivatives. Elementwise rows of arrays go through the same loop, tile by tile; rows of array primitives call the
kernels of `fastad.kernels`.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from fastad.execution.machine.exported import kernel_homes
from fastad.execution.sweeps import text
from fastad.primitives import (
    CONST,
    GUARD,
    PRIMITIVES,
    STRIDED,
    ArrayPrimitive,
    Elementwise,
    Form,
    array_rows,
    elementwise_rows,
    primitive,
)
from fastad.primitives import expression as ex
from fastad.version import __version__

MODES = ("values", "tangents", "adjoints")


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

    def __init__(self, suffix: int, places: dict[str, str]) -> None:
        self.suffix, self.places = suffix, places
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
            return repr(expr[1]) if math.isfinite(expr[1]) else f"({expr[1]!r})"
        row, arguments = primitive(expr[1]), expr[2:]
        kind = _kind(expr)
        if kind in ("comparison", "logical"):
            return f"select({self.truth(expr)}, 1.0, 0.0)"
        if kind == "selection":
            yes, no = map(self.number, arguments[1:])
            return f"select({self.truth(arguments[0])}, {yes}, {no})"
        texts = [self.number(e) for e in arguments]
        if kind == "negation":
            return f"(-{texts[0]})"
        if kind == "arithmetic":
            return f"({texts[0]} {row.operator.sign} {texts[1]})"
        return self._named(expr, _call(row.symbol, texts))

    def truth(self, expr: ex.Expr) -> str:
        """Text of whether an expression is not zero."""
        kind = _kind(expr)
        if kind in ("comparison", "logical"):
            text = self.number if kind == "comparison" else self.truth
            return f"({text(expr[2])} {primitive(expr[1]).operator.sign} {text(expr[3])})"
        return f"({self.number(expr)} != 0.0)"

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


def _call(symbol: str, arguments: list[str]) -> str:
    if symbol in specials():
        return f"call{len(arguments)}(S[{specials().index(symbol)}], {', '.join(arguments)})"
    return f"c_{symbol}({', '.join(arguments)})"


def _places(base: str) -> dict[str, str]:
    operands = {x: f"{base}{x.upper()}[int64({x.upper()}[i])]" for x in "abc"}
    return operands | {"r": f"{base}O[i]", "u": "WO[i]"}


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


def _shared_value() -> Case:
    codes = tuple(row.code for row in _SHARING)
    w = _Writer(len(PRIMITIVES), _places("V"))
    results = [w.number(_expand(row.value_expr)) for row in _SHARING]
    return codes, ", ".join(row.name for row in _SHARING), [*w.lines, f"VO[i] = {_select(codes, results)}"]


def _shared_adjoint() -> Case:
    """Both operands carry derivatives."""
    numbers = tuple(int(case_numbers()[row.code, 3]) for row in _SHARING)
    w = _Writer(len(cases()) + 1, _places("V"))
    adds = []
    for k, x in enumerate("AB"):
        texts = [w.number(_expand(expr)) for row in _SHARING if (expr := row.contribution_exprs[k]) is not None]
        adds.append(f"W{x}[int64({x}[i])] += {_select(numbers, texts)}")
    return numbers, ", ".join(row.name for row in _SHARING), [*w.lines, *adds]


def _value_cases() -> Iterator[Case]:
    yield _shared_value()
    for row in elementwise_rows():
        if row in _SHARING:
            continue
        w = _Writer(row.code, _places("V"))
        result = w.number(_expand(row.value_expr))
        yield row.code, row.name, [*w.lines, f"VO[i] = {result}"]
    yield CONST.code, CONST.name, ["VO[i] = K[int64(A[i])]"]
    yield STRIDED.code, "read one number", ["VO[i] = VA[int64(A[i])]"]
    stop = ["x = VA[int64(A[i])]", "y = VB[int64(B[i])]", "if x != y and (x == x or y == y):", "    return i + 1"]
    yield GUARD.code, GUARD.name, stop


def _adjoint_cases() -> Iterator[Case]:
    yield _shared_adjoint()
    for number, (row, mask) in enumerate(cases()):
        if row in _SHARING and mask == 3:
            continue
        w = _Writer(number, _places("V"))
        adds = []
        for k in _bits(mask):
            contribution = row.contribution_exprs[k]
            assert contribution is not None
            x = "ABC"[k]
            adds.append(f"W{x}[int64({x}[i])] += {w.number(_expand(contribution))}")
        yield number + 1, f"{row.name} {mask:03b}", [*w.lines, *adds]
    yield copy_case(), "read one number", ["WA[int64(D[i])] += WO[i]"]


def _tangent_cases() -> Iterator[Case]:
    for number, (row, mask) in enumerate(cases()):
        w = _Writer(number, _places("V"))
        sets = []
        for k in _bits(mask):
            expr = _expand(row.partial_exprs[k])
            x = "abc"[k]
            sets += [f"p{x} = {w.number(expr)}", f"on{x} = {w.taken(expr)}"]
        yield number + 1, f"{row.name} {mask:03b}", [*w.lines, *sets]
    yield copy_case(), "read one number", ["pa = 1.0", "ona = True"]


def _bits(mask: int) -> list[int]:
    return [k for k in range(3) if mask >> k & 1]


def _chain(found: Iterator[Case], indent: int) -> str:
    """The cases as one chain of comparisons with constants."""
    lines: list[str] = []
    for numbers, name, body in found:
        shared = numbers if isinstance(numbers, tuple) else (numbers,)
        condition = " or ".join(f"code == {number}" for number in shared)
        lines.append(f"{'elif' if lines else 'if'} {condition}:  # {name}")
        lines += ["    " + line for line in body]
    return "\n".join(" " * indent + line for line in lines)


# ── array rows ────────────────────────────────────────────────────────────────────────────────────────────────
def _array_chain(call: Callable[[ArrayPrimitive], str | None]) -> str:
    """One branch for each array primitive that `call` gives a text for; those of the same text share one."""
    codes: dict[str, list[int]] = {}
    for row in array_rows():
        statement = call(row) if f"{row.name}_forward" in kernel_homes() else None
        if statement:
            codes.setdefault(statement, []).append(row.code)
    lines: list[str] = []
    for statement, shared in codes.items():
        condition = " or ".join(f"op == {code}" for code in shared)
        lines += [f"    {'elif' if lines else 'if'} {condition}:", f"        {statement}"]
    return "\n".join(lines)


def _forward(row: ArrayPrimitive, out: str = "out", x: str = "x") -> str:
    arguments = [out, x, "y", "t", *(["w"] if row.needs_work else [])]
    return f"{row.name}_forward({', '.join(arguments)})"


def _forward_call(row: ArrayPrimitive) -> str:
    if row.form is Form.PIECES:
        return "return assemble(p, V, s, s[OUT], VALUE_SLOT)"
    return f"return {_entry_call(row) if is_linked(row.code) else _forward(row)}"


def _entry_call(row: ArrayPrimitive) -> str:
    """The kernel by its address: `(address, size)` of the result, the operands, the static integers, scratch memory."""
    places = ["place(V, s[A_SLOT])", "place(V, s[B_SLOT])"], ["s[A_SIZE]", "s[B_SIZE]"]
    if row.arity > 2:
        every = range(row.arity)
        places = [f"listed(p, V, s, {k})" for k in every], [f"listed_size(p, s, {k})" for k in every]
    pointers = ["place(V, s[OUT])", *places[0], "statics(p, s)", *(["place(V, p[WORK])"] if row.needs_work else [])]
    sizes = ["s[SIZE]", *places[1], "s[STATIC_COUNT]", *(["p[WORK_SIZE]"] if row.needs_work else [])]
    arguments = ", ".join(f"address({x}), {n}" for x, n in zip(pointers, sizes, strict=True))
    return f"call_entry(integers(p[ENTRIES])[op], ({arguments}))"


def is_linked(code: int) -> bool:
    """Whether the sweeps call a kernel by its address instead of containing it: large kernels of few programs, which
    would make everybody wait for their compilation. They are those without derivative sweeps."""
    row = PRIMITIVES[code]
    return isinstance(row, ArrayPrimitive) and row.form is Form.FUNCTION and not is_swept_row(code)


def _reverse_call(row: ArrayPrimitive) -> str | None:
    if not is_swept_row(row.code) or row.adjoint is None:
        return None
    return "assemble_back(p, W, s)" if row.form is Form.PIECES else f"{row.name}_reverse(dx, dy, dout, x, y, out, t)"


def _tangent_call(row: ArrayPrimitive) -> str | None:
    if not is_swept_row(row.code) or row.tangent is None:
        return None
    if row.form is Form.PIECES:
        return "assemble(p, dV, s, s[OUT_D], DERIVED_SLOT)"
    if f"{row.name}_tangent" in kernel_homes():
        return f"{row.name}_tangent(dout, dx, dy, x, y, out, t, s[CHOICE], w)"
    return _forward(row, "dout", "dx")  # linear in its first operand


@functools.cache
def is_swept_row(code: int) -> bool:
    """Whether the derivative sweeps know a primitive; others are differentiated by derivation only."""
    row = PRIMITIVES[code]
    if not isinstance(row, ArrayPrimitive) or row.adjoint is None or row.form is Form.PIECES:
        return True
    return row.arity <= 2 and f"{row.name}_reverse" in kernel_homes()


# ── modules ───────────────────────────────────────────────────────────────────────────────────────────────────
@functools.cache
def sweep_text(mode: str) -> str:
    """Text of the module of one mode; its function `entry` is the C function."""
    template, found, call = {
        "values": (text.VALUES, _value_cases, _forward_call),
        "tangents": (text.TANGENTS, _tangent_cases, _tangent_call),
        "adjoints": (text.ADJOINTS, _adjoint_cases, _reverse_call),
    }[mode]
    chain, arrays = _chain(found(), 8), _array_chain(call)
    used = {name: home for name, home in kernel_homes().items() if re.search(rf"\b{name}\(", template + arrays)}
    imports = "\n".join(f"from fastad.kernels.{home} import {name}" for name, home in sorted(used.items()))
    symbols = sorted(set(re.findall(r"\bc_(\w+)\(", chain)))
    calls = "\n".join(f"c_{s} = ExternalFunction({s!r}, types.float64({_arguments(s)}))" for s in symbols)
    head = text.HEAD.format(mode=mode, version=__version__, imports=imports, calls=calls)
    return head + template.replace("<CASES>", chain).replace("<ARRAYS>", arrays)


def _arguments(symbol: str) -> str:
    row = next(row for row in elementwise_rows() if row.is_leaf and row.symbol == symbol)
    return ", ".join(["types.float64"] * row.arity)
