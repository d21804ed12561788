"""The source text of the interpreter, made from the primitive table: for each mode, with and without array primitives.

The modules without array primitives need a fourth of the registers, so a processor of a GPU runs more lanes at once.
"""

import functools
import re
from collections.abc import Iterator

from fastad.execution.cuda.interpreter import text
from fastad.execution.cuda.interpreter.leaves import device_name
from fastad.execution.machine.exported import kernel_homes
from fastad.execution.sweeps.cases import Case, Places, adjoint_cases, case_numbers, chain, tangent_cases, value_cases
from fastad.execution.sweeps.source import array_chain, is_swept_row
from fastad.primitives import PRIMITIVES, ArrayPrimitive, Form

MODES = ("values", "tangents", "adjoints")

_LANES = Places(
    ("V[a, lane]", "V[b, lane]", "V[c, lane]"),
    "V[o, lane]",
    ("W[da, lane]", "W[db, lane]", "W[dc, lane]"),
    "W[do, lane]",
    "K[a]",
    "W[da, lane]",
    "real({})",
    by_address=False,
)
_CASES = {"values": value_cases, "tangents": tangent_cases, "adjoints": adjoint_cases}

# Array primitives whose kernels are made of loops alone. The others call BLAS and LAPACK of the processor.
_BY_LOOPS = ("moving", "reducing", "sorting", "scanning", "products", "indexing")


# ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────
@functools.cache
def _known_cases(mode: str) -> tuple[Case, ...]:
    """The cases whose functions there are on the device."""
    return tuple(case for case in _CASES[mode](_LANES) if not _unknown_calls(case))


@functools.cache
def _missing_cases(mode: str) -> dict[int, str]:
    """Numbers of the cases that cannot be run on the device, with the first function that there is not."""
    found = dict[int, str]()
    for case in _CASES[mode](_LANES):
        for name in _unknown_calls(case)[:1]:
            found |= dict.fromkeys(case[0] if isinstance(case[0], tuple) else (case[0],), name)
    return found


def _unknown_calls(case: Case) -> list[str]:
    return [name for name in re.findall(r"\bc_(\w+)\(", "\n".join(case[2])) if device_name(name) is None]


def refusals(mode: str, ops: list[int], codes: list[int]) -> Iterator[str]:
    """What a program with these opcodes, and these cases of derivatives, needs and the interpreter has not."""
    for op in ops:
        row = PRIMITIVES[op]
        if isinstance(row, ArrayPrimitive) and not is_interpreted(row):
            yield row.name
        elif op in (missing := _missing_cases("values")):
            yield f"{row.name} ({missing[op].removeprefix('fastad_')})"
    if mode != "values":
        missing = _missing_cases(mode)
        for code in codes:
            if code in missing:
                yield f"the derivative of {_case_names()[code]} ({missing[code].removeprefix('fastad_')})"


@functools.cache
def _case_names() -> dict[int, str]:
    return {int(number): PRIMITIVES[op].name for (op, _), number in _enumerated()}


def _enumerated() -> Iterator[tuple[tuple[int, int], int]]:
    table = case_numbers()
    yield from (((op, mask), table[op, mask]) for op in range(len(table)) for mask in range(8) if table[op, mask])


def is_interpreted(row: ArrayPrimitive) -> bool:
    """Whether the interpreter knows an array primitive."""
    if row.form in (Form.INPUT, Form.CONSTANT):
        return True
    is_run = is_swept_row(row.code) or row.form is Form.WRITE
    return kernel_homes().get(f"{row.name}_forward") in _BY_LOOPS and is_run


_LISTED = "V[{p}, VALUE_SLOT] : {p}, VALUE_SLOT] + {p}, OPERAND_SIZE], lane]"  # numba.cuda returns no views


# ── array rows ────────────────────────────────────────────────────────────────────────────────────────────────
def _forward(row: ArrayPrimitive) -> str:
    if row.form is Form.PIECES:
        return "return assemble(V, s, lane, statics, pool, s[OUT], VALUE_SLOT)"
    if row.is_pooled:
        operands = ", ".join(_LISTED.format(p=f"pool[s[A_SLOT] + {k}") for k in range(row.arity))
        return f"return {row.name}_forward(out, {operands}, t)"
    return f"return {row.name}_forward(out, x, y, t{', w' if row.needs_work else ''})"


def _reverse(row: ArrayPrimitive) -> str | None:
    if row.adjoint is None or not is_swept_row(row.code):
        return None
    if row.form is Form.PIECES:
        return "assemble_back(W, s, lane, statics, pool)"
    return f"{row.name}_reverse(dx, dy, dout, x, y, out, t)"


def _tangent(row: ArrayPrimitive) -> str | None:
    if row.tangent is None or not is_swept_row(row.code):
        return None
    if row.form is Form.PIECES:
        return "assemble(W, s, lane, statics, pool, s[OUT_D], DERIVED_SLOT)"
    if f"{row.name}_tangent" in kernel_homes():
        return f"{row.name}_tangent(dout, dx, dy, x, y, out, t, s[CHOICE], w)"
    return f"{row.name}_forward(dout, dx, y, t{', w' if row.needs_work else ''})"  # linear in its first operand


# ── modules ───────────────────────────────────────────────────────────────────────────────────────────────────
@functools.cache
def interpreter_text(mode: str, arrays: bool) -> str:
    """Text of the module of one mode, with or without array primitives; its function `thread` runs a lane."""
    template, own, call, head, again = {
        "values": (text.VALUES, text.VALUES_ARRAYS, _forward, text.ARRAYS_HEAD, _NOTHING),
        "tangents": (text.TANGENTS, text.TANGENTS_ARRAYS, _tangent, text.ARRAYS_HEAD, _AGAIN),
        "adjoints": (text.ADJOINTS, text.ADJOINTS_ARRAYS, _reverse, "", _EACH_AGAIN),
    }[mode]
    cases = chain(iter(_known_cases(mode)), 8)
    body = template.replace("<CASES>", cases).replace("<ARRAY>", _CALLS[mode] if arrays else _NO_CALLS[mode])
    body = body.replace("<AGAIN>", again if arrays else _NOTHING)
    if not arrays:
        return text.HEAD + body
    reading = text.READ_AGAIN if mode != "values" else ""
    branches = array_chain(lambda row: call(row) if is_interpreted(row) else None)
    return text.HEAD + head + reading + own.replace("<ARRAYS>", branches) + body


_NOTHING = "pass"
_AGAIN = """if s[IS_AGAIN] != 0:
            read_again(V, s, lane, statics)"""
_EACH_AGAIN = """for j in range(s[AGAIN], s[AGAIN] + s[AGAIN_COUNT]):
                read_again(V, steps[again[j]], lane, statics)"""
_CALLS = {
    "values": "failed = array(V, s, lane, statics, pool, work, work_size)",
    "tangents": """else:
                array(V, W, s, lane, statics, pool, work, work_size)""",
    "adjoints": """else:
                array(V, W, s, lane, statics, pool)""",
}
_NO_CALLS = {"values": "failed = 1", "tangents": _NOTHING, "adjoints": _NOTHING}

# The arguments of `thread` after i: dtype and number of dimensions; "r" are the numbers computed with; 0: one integer.
Argument = tuple[str, int]
_COLUMNS: tuple[Argument, ...] = (("u4", 1),) * 3
ARGUMENTS: dict[str, tuple[Argument, ...]] = {
    "values": (
        ("r", 2), ("r", 1), ("i8", 2), ("u2", 1), *_COLUMNS, ("i8", 1), ("i8", 2), ("i8", 2), ("i4", 1),
        *(("i8", 0),) * 3,
    ),
    "adjoints": (
        ("r", 2), ("r", 2), ("r", 1), ("i8", 2), ("u2", 1), *_COLUMNS, ("u4", 1), ("i8", 1), ("i8", 2), ("i8", 1),
        ("i8", 2), ("i4", 1), ("i8", 0),
    ),
    "tangents": (
        ("r", 2), ("r", 2), ("i8", 2), ("u2", 1), *_COLUMNS, ("u4", 1), ("i8", 1), ("i8", 2), ("i4", 1),
        *(("i8", 0),) * 3,
    ),
}  # fmt: skip
