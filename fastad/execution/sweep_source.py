"""The source text of the sweeps, made from the primitive table: one interpreter a mode, for all programs.

Each sweep is a loop over a run of scalar rows with one case a primitive, which LLVM turns into a jump table. In
the derivative sweeps a primitive has one case for each choice of operands that carry derivatives. Elementwise rows
of arrays go through the same loop, tile by tile; rows of array primitives call the kernels of `fastad.kernels`.
"""

import functools
import hashlib
import math
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fastad.primitives import PRIMITIVES, ArrayPrimitive, Elementwise, opcode, primitive, rules
from fastad.primitives import expression as ex
from fastad.primitives.row import elementwise_rows
from fastad.version import __version__

MODES = ("values", "tangents", "adjoints")
# Rows of array primitives that the loop over scalar rows handles where their value is one number.
IN_RUNS = ("const", "input", "guard", "strided")

_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_COMPARE = {
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
_LOGIC = {"logical_and": "&", "logical_or": "|"}
# How the tangent of an array row follows from its rule in the primitive table.
_TANGENT = {
    rules.tangent_linear: "{name}_forward(dout, dx, y, t)",
    rules.tangent_first: "{name}_forward(dout, dx, y, t)",
    rules.tangent_bilinear: "bilinear(dout, dx, dy, x, y, t, s[CHOICE], place(V, p[ARENA] * (1 + p[DIRECTIONS])))",
    rules.tangent_extremum: "extremum_tangent(dout, dx, x, out, t)",
    rules.tangent_linrec: "linrec_tangent(dout, dx, dy, x, out, t)",
    rules.tangent_assemble: "assemble(p, dV, s)",
}


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
        table[opcode(row.name), mask] = number + 1
    table[opcode("strided"), 1] = copy_case()
    return table


@functools.cache
def specials() -> tuple[str, ...]:
    """C symbols of the leaves that are called by address, from a list that is filled only as far as needed."""
    return tuple(row.symbol for row in elementwise_rows() if _is_special(row) and row.symbol)


def _is_special(row: Elementwise) -> bool:
    return row.is_leaf and bool(row.symbol) and str(row.symbol).startswith("fastad_")


@functools.cache
def special_rows(derivatives: bool) -> dict[int, tuple[str, ...]]:
    """By opcode, the special functions that a primitive's value needs, or also its derivatives."""
    found = {opcode(row.name): _used_specials(row, derivatives) for row in elementwise_rows()}
    return {op: symbols for op, symbols in found.items() if symbols}


def _used_specials(row: Elementwise, derivatives: bool) -> tuple[str, ...]:
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

    def _named(self, key: ex.Expr, text: str) -> str:
        if key not in self.known:
            self.known[key] = f"t{self.suffix}_{len(self.known)}"
            self.lines.append(f"{self.known[key]} = {text}")
        return self.known[key]

    def number(self, expr: ex.Expr) -> str:
        """Text of an expression's value."""
        if expr[0] == "name":
            return self._named(expr, self.places[expr[1]])
        if expr[0] == "num":
            return repr(expr[1]) if math.isfinite(expr[1]) else f"({expr[1]!r})"
        name, arguments = expr[1], expr[2:]
        if name in _COMPARE or name in _LOGIC:
            return f"select({self.truth(expr)}, 1.0, 0.0)"
        if name == "where":
            yes, no = map(self.number, arguments[1:])
            return f"select({self.truth(arguments[0])}, {yes}, {no})"
        texts = [self.number(e) for e in arguments]
        if name == "negative":
            return f"(-{texts[0]})"
        if name in _INFIX:
            return f"({texts[0]} {_INFIX[name]} {texts[1]})"
        return self._named(expr, _call(primitive(name).symbol, texts))

    def truth(self, expr: ex.Expr) -> str:
        """Text of whether an expression is not zero."""
        if expr[0] == "call" and expr[1] in _COMPARE:
            return f"({self.number(expr[2])} {_COMPARE[expr[1]]} {self.number(expr[3])})"
        if expr[0] == "call" and expr[1] in _LOGIC:
            return f"({self.truth(expr[2])} {_LOGIC[expr[1]]} {self.truth(expr[3])})"
        return f"({self.number(expr)} != 0.0)"

    def taken(self, expr: ex.Expr) -> str:
        """Text of whether a partial derivative is not a zero by structure (the branch of a `where`)."""
        if expr[:2] == ("call", "where"):
            condition, yes, no = self.truth(expr[2]), self.taken(expr[3]), self.taken(expr[4])
            return f"({condition} & {yes} | (not {condition}) & {no})"
        if expr[:2] == ("call", "negative"):
            return self.taken(expr[2])
        return repr(expr != ("num", 0.0))


def _call(symbol: str, arguments: list[str]) -> str:
    if symbol in specials():
        return f"call{len(arguments)}(S[{specials().index(symbol)}], {', '.join(arguments)})"
    return f"c_{symbol}({', '.join(arguments)})"


def _places(base: str) -> dict[str, str]:
    operands = {x: f"{base}{x.upper()}[int64({x.upper()}[i])]" for x in "abc"}
    return operands | {"r": f"{base}O[i]", "u": "WO[i]"}


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────
Case = tuple[int, str, list[str]]


def _value_cases() -> Iterator[Case]:
    for row in elementwise_rows():
        w = _Writer(opcode(row.name), _places("V"))
        result = w.number(_expand(row.value_expr))
        yield opcode(row.name), row.name, [*w.lines, f"VO[i] = {result}"]
    yield opcode("const"), "const", ["VO[i] = K[int64(A[i])]"]
    yield opcode("strided"), "strided: read one number", ["VO[i] = VA[int64(A[i])]"]
    stop = ["x = VA[int64(A[i])]", "y = VB[int64(B[i])]", "if x != y and (x == x or y == y):", "    return i + 1"]
    yield opcode("guard"), "guard", stop


def _adjoint_cases() -> Iterator[Case]:
    for number, (row, mask) in enumerate(cases()):
        w = _Writer(number, _places("V"))
        adds = []
        for k in _bits(mask):
            contribution = row.contribution_exprs[k]
            assert contribution is not None
            x = "ABC"[k]
            adds.append(f"W{x}[int64({x}[i])] += {w.number(_expand(contribution))}")
        yield number + 1, f"{row.name} {mask:03b}", [*w.lines, *adds]
    yield copy_case(), "read one number", ["WA[int64(A[i])] += WO[i]"]


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
    lines = []
    for number, name, body in found:
        lines.append(f"{'elif' if lines else 'if'} code == {number}:  # {name}")
        lines += ["    " + line for line in body]
    return "\n".join(" " * indent + line for line in lines)


# ── array rows ────────────────────────────────────────────────────────────────────────────────────────────────
def _array_rows() -> list[ArrayPrimitive]:
    kernels = kernel_homes()
    return [row for row in PRIMITIVES if isinstance(row, ArrayPrimitive) and f"{row.name}_forward" in kernels]


def _array_chain(call: Callable[[Any], str | None]) -> str:
    """One branch for each array primitive that `call` gives a text for."""
    lines = []
    for row in _array_rows():
        text = call(row)
        if text:
            lines += [f"    {'elif' if lines else 'if'} op == {opcode(row.name)}:", f"        {text}"]
    return "\n".join(lines)


def _forward_call(row: ArrayPrimitive) -> str:
    return "return " + ("assemble(p, V, s)" if row.arity < 0 else f"{row.name}_forward(out, x, y, t)")


def _reverse_call(row: ArrayPrimitive) -> str | None:
    if row.adjoint is None or (row.arity >= 0 and f"{row.name}_reverse" not in kernel_homes()):
        return None  # composite rows are differentiated by derivation only
    return "assemble_back(p, W, s)" if row.arity < 0 else f"{row.name}_reverse(dx, dy, dout, x, y, out, t)"


def _tangent_call(row: ArrayPrimitive) -> str | None:
    text = _TANGENT.get(row.tangent)
    return text.format(name=row.name) if text is not None else None


@functools.cache
def kernel_homes() -> dict[str, str]:
    """Module of every function NAME_forward and NAME_reverse in `fastad.kernels`, found in the source text."""
    return {name: module for module, text in _kernel_sources().items() for name in _KERNEL.findall(text)}


_KERNEL = re.compile(r"^def (\w+_(?:forward|reverse))\(", re.MULTILINE)


@functools.cache
def _kernel_sources() -> dict[str, str]:
    import fastad.kernels

    folder = Path(fastad.kernels.__path__[0])
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}


# ── modules ───────────────────────────────────────────────────────────────────────────────────────────────────
def source(mode: str) -> str:
    """Text of the module of one mode; its function `sweep` is the C entry point."""
    template, found, call = {
        "values": (_VALUES, _value_cases, _forward_call),
        "tangents": (_TANGENTS, _tangent_cases, _tangent_call),
        "adjoints": (_ADJOINTS, _adjoint_cases, _reverse_call),
    }[mode]
    chain, arrays = _chain(found(), 8), _array_chain(call)
    used = {name: home for name, home in kernel_homes().items() if re.search(rf"\b{name}\(", template + arrays)}
    imports = "\n".join(f"from fastad.kernels.{home} import {name}" for name, home in sorted(used.items()))
    symbols = sorted(set(re.findall(r"\bc_(\w+)\(", chain)))
    calls = "\n".join(f"c_{s} = ExternalFunction({s!r}, float64({_arguments(s)}))" for s in symbols)
    head = _HEAD.format(mode=mode, version=__version__, digest=_digest(), imports=imports, calls=calls)
    body = template.replace("<CASES>", chain).replace("<ARRAYS>", arrays)
    return head + body.replace("<GUARD>", str(opcode("guard")))


def _arguments(symbol: str) -> str:
    row = next(row for row in elementwise_rows() if row.is_leaf and row.symbol == symbol)
    return ", ".join(["float64"] * row.arity)


def _digest() -> str:
    """What numba's cache does not see: the text of the functions that a sweep calls."""
    texts = (text for name, text in _kernel_sources().items() if name != "entries")
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


_HEAD = '''\
"""Generated by fastad {version}: the sweep of {mode}. Calls kernels with digest {digest}."""
import numpy as np
from numba import cfunc, float64, types
from numba.types import ExternalFunction
from numpy import inf, int64, nan

from fastad.kernels.flags import ENTRY, at, helper, kernel
from fastad.kernels.fields import *
from fastad.kernels.sweeping import *
{imports}
{calls}

_entry = types.int64(types.voidptr, types.CPointer(float64), types.CPointer(float64), types.CPointer(float64))

'''

_VALUES = '''
@helper
def scalars(VO, VA, VB, VC, codes, A, B, C, K, S, n, step):
    """Rows i < n of one number each: VO[i] from VA[A[i]], VB[B[i]], VC[C[i]]. Returns 0, or i + 1 of a guard."""
    for i in range(n):
        code = int64(codes[i * step])
<CASES>
    return 0


@helper
def elements(p, V, s):
    """An elementwise row of arrays: the loop over scalar rows, tile by tile."""
    for i in range(0, s[SIZE], TILE):
        n = min(TILE, s[SIZE] - i)
        a, b, c = int64(s[A_SIZE] != 1), int64(s[B_SIZE] != 1), int64(s[C_SIZE] != 1)
        scalars(
            place(V, s[OUT] + i), place(V, s[A_SLOT] + a * i), place(V, s[B_SLOT] + b * i),
            place(V, s[C_SLOT] + c * i), halves(p[CODES] + 2 * s[ROW]), words(p[RAMP + 1 - a]), words(p[RAMP + 1 - b]),
            words(p[RAMP + 1 - c]), doubles(p[CONSTANTS]), integers(p[SPECIALS]), n, 0)


@helper
def array(p, V, s):
    """A row of an array primitive; returns 0 or 1."""
    out, t, op = view(place(V, s[OUT]), s[SIZE]), view(statics(p, s), s[STATIC_COUNT]), s[OP]
    x, y = view(place(V, s[A_SLOT]), s[A_SIZE]), view(place(V, s[B_SLOT]), s[B_SIZE])
<ARRAYS>
    return 0


@helper
def forward(p, V):
    """All steps of a program in an arena; returns 0, row + 1 of a failed guard, -(row + 1) of a bad index."""
    for k in range(p[STEP_COUNT]):
        s = integers(p[STEPS] + 8 * STEP * k)
        row = s[ROW]
        if s[KIND] == SCALARS:
            failed = scalars(
                place(V, s[OUT]), V, V, V, halves(p[CODES] + 2 * row), words(p[A] + 4 * row), words(p[B] + 4 * row),
                words(p[C] + 4 * row), doubles(p[CONSTANTS]), integers(p[SPECIALS]), s[SIZE], 1)
            if failed != 0:
                return row + failed
        elif s[KIND] == ELEMENTS:
            elements(p, V, s)
        else:
            failed = array(p, V, s)
            if failed != 0:
                return row + 1 if s[OP] == <GUARD> or failed == 2 else -(row + 1)
    return 0


@cfunc(_entry, **ENTRY)
def sweep(context, inputs, outputs, work):
    p = integers(address(context))
    load(work, inputs, p[LOADS], p[LOAD_COUNT])
    status = forward(p, work)
    if status == 0:
        store(work, outputs, p[STORES], p[STORE_COUNT])
    return status
'''

_ADJOINTS = '''
@helper
def scalars(VO, VA, VB, VC, WO, WA, WB, WC, codes, A, B, C, S, n, step):
    """Add the contributions of rows of one number each to the adjoints of their operands, the last row first."""
    for j in range(n):
        i = n - 1 - j
        code = int64(codes[i * step])
<CASES>


@helper
def elements(p, V, W, s):
    for i in range(0, s[SIZE], TILE):
        n = min(TILE, s[SIZE] - i)
        a, b, c = int64(s[A_SIZE] != 1), int64(s[B_SIZE] != 1), int64(s[C_SIZE] != 1)
        o, ai, bi, ci = s[OUT] + i, s[A_SLOT] + a * i, s[B_SLOT] + b * i, s[C_SLOT] + c * i
        scalars(
            place(V, o), place(V, ai), place(V, bi), place(V, ci), place(W, o), place(W, ai), place(W, bi),
            place(W, ci), halves(p[ACTIVE_CODES] + 2 * s[ROW]), words(p[RAMP + 1 - a]), words(p[RAMP + 1 - b]),
            words(p[RAMP + 1 - c]), integers(p[SPECIALS]), n, 0)


@helper
def array(p, V, W, s):
    out, dout = view(place(V, s[OUT]), s[SIZE]), view(place(W, s[OUT]), s[SIZE])
    t, op = view(statics(p, s), s[STATIC_COUNT]), s[OP]
    x, y = view(place(V, s[A_SLOT]), s[A_SIZE]), view(place(V, s[B_SLOT]), s[B_SIZE])
    dx, dy = view(place(W, s[A_SLOT]), s[A_SIZE]), view(place(W, s[B_SLOT]), s[B_SIZE])
<ARRAYS>


@helper
def reverse(p, V, W):
    """All steps of a program from the last to the first, over the values in V and adjoints in W."""
    for k in range(p[STEP_COUNT] - 1, -1, -1):
        s = integers(p[STEPS] + 8 * STEP * k)
        row = s[ROW]
        if s[KIND] == SCALARS:
            scalars(
                place(V, s[OUT]), V, V, V, place(W, s[OUT]), W, W, W, halves(p[ACTIVE_CODES] + 2 * row),
                words(p[A] + 4 * row), words(p[B] + 4 * row), words(p[C] + 4 * row), integers(p[SPECIALS]), s[SIZE], 1)
        elif s[CHOICE] != 0:
            if s[KIND] == ELEMENTS:
                elements(p, V, W, s)
            else:
                array(p, V, W, s)


@cfunc(_entry, **ENTRY)
def sweep(context, inputs, outputs, work):
    p = integers(address(context))
    status = call_kernel(p[VALUES], address(context), address(inputs), address(outputs), address(work))
    if status == 0:
        W = place(work, p[ARENA])
        clear(W, p[ARENA])
        load_add(W, inputs, p[SEEDS], p[SEED_COUNT])
        reverse(p, work, W)
        store(W, outputs, p[RESULTS], p[RESULT_COUNT])
    return status
'''

_TANGENTS = '''
@helper
def scalars(VO, VA, VB, VC, TO, TA, TB, TC, codes, A, B, C, S, n, step, directions, size):
    """Tangents of rows of one number each: partial derivatives once, then all directions, `size` apart."""
    for i in range(n):
        code = int64(codes[i * step])
        if code == 0:
            continue
        pa, pb, pc, ona, onb, onc = 0.0, 0.0, 0.0, False, False, False
<CASES>
        for d in range(directions):
            total, shift = 0.0, d * size
            if ona:
                total = pa * TA[shift + int64(A[i])]
            if onb:
                total += pb * TB[shift + int64(B[i])]
            if onc:
                total += pc * TC[shift + int64(C[i])]
            TO[shift + i] = total


@helper
def elements(p, V, T, s):
    for i in range(0, s[SIZE], TILE):
        n = min(TILE, s[SIZE] - i)
        a, b, c = int64(s[A_SIZE] != 1), int64(s[B_SIZE] != 1), int64(s[C_SIZE] != 1)
        o, ai, bi, ci = s[OUT] + i, s[A_SLOT] + a * i, s[B_SLOT] + b * i, s[C_SLOT] + c * i
        scalars(
            place(V, o), place(V, ai), place(V, bi), place(V, ci), place(T, o), place(T, ai), place(T, bi),
            place(T, ci), halves(p[ACTIVE_CODES] + 2 * s[ROW]), words(p[RAMP + 1 - a]), words(p[RAMP + 1 - b]),
            words(p[RAMP + 1 - c]), integers(p[SPECIALS]), n, 0, p[DIRECTIONS], p[ARENA])


@helper
def bilinear(dout, dx, dy, x, y, t, choice, scratch):
    """The product rule; one factor may be constant."""
    if choice == 2:
        matmul_forward(dout, x, dy, t)
        return
    matmul_forward(dout, dx, y, t)
    if choice == 3:
        other = view(scratch, len(dout))
        matmul_forward(other, x, dy, t)
        for i in range(len(dout)):
            dout[at(i)] += other[at(i)]


@helper
def array(p, V, dV, s):
    out, dout = view(place(V, s[OUT]), s[SIZE]), view(place(dV, s[OUT]), s[SIZE])
    t, op = view(statics(p, s), s[STATIC_COUNT]), s[OP]
    x, y = view(place(V, s[A_SLOT]), s[A_SIZE]), view(place(V, s[B_SLOT]), s[B_SIZE])
    dx, dy = view(place(dV, s[A_SLOT]), s[A_SIZE]), view(place(dV, s[B_SLOT]), s[B_SIZE])
<ARRAYS>


@helper
def tangents(p, V, T):
    """All steps of a program over the values in V; the tangents of the directions lie one after another in T."""
    for k in range(p[STEP_COUNT]):
        s = integers(p[STEPS] + 8 * STEP * k)
        row = s[ROW]
        if s[KIND] == SCALARS:
            scalars(
                place(V, s[OUT]), V, V, V, place(T, s[OUT]), T, T, T, halves(p[ACTIVE_CODES] + 2 * row),
                words(p[A] + 4 * row), words(p[B] + 4 * row), words(p[C] + 4 * row), integers(p[SPECIALS]), s[SIZE], 1,
                p[DIRECTIONS], p[ARENA])
        elif s[CHOICE] != 0:
            if s[KIND] == ELEMENTS:
                elements(p, V, T, s)
            else:
                for d in range(p[DIRECTIONS]):
                    array(p, V, place(T, d * p[ARENA]), s)


@cfunc(_entry, **ENTRY)
def sweep(context, inputs, outputs, work):
    p = integers(address(context))
    status = call_kernel(p[VALUES], address(context), address(inputs), address(outputs), address(work))
    if status == 0:
        T = place(work, p[ARENA])
        clear(T, p[ARENA] * p[DIRECTIONS])
        load_directions(T, inputs, p[SEEDS], p[SEED_COUNT], p[DIRECTIONS], p[ARENA])
        tangents(p, work, T)
        store_directions(T, outputs, p[RESULTS], p[RESULT_COUNT], p[DIRECTIONS], p[ARENA])
    return status
'''
