"""The source text of the sweeps, made from the primitive table: one interpreter a mode, for all programs.

The cases of scalar rows are those of `cases`. Elementwise rows of arrays go through the same loop, tile by tile; rows
of array primitives call the kernels of `fastad.kernels`.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path

from fastad import primitives
from fastad.execution.machine.exported import kernel_digest, kernel_homes, sources_digest
from fastad.execution.sweeps import text
from fastad.execution.sweeps.cases import adjoint_cases, chain, tangent_cases, value_cases
from fastad.primitives import PRIMITIVES, ArrayPrimitive, Form, array_rows, elementwise_rows
from fastad.version import __version__

MODES = ("values", "tangents", "adjoints")


# ── array rows ────────────────────────────────────────────────────────────────────────────────────────────────
def array_chain(call: Callable[[ArrayPrimitive], str | None]) -> str:
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
    places = ["operand(V, s[A_SLOT])", "operand(V, s[B_SLOT])"], ["s[A_SIZE]", "s[B_SIZE]"]
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
    return isinstance(row, ArrayPrimitive) and row.form in (Form.FUNCTION, Form.WRITE) and not is_swept_row(code)


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
        "values": (text.VALUES, value_cases, _forward_call),
        "tangents": (text.TANGENTS, tangent_cases, _tangent_call),
        "adjoints": (text.ADJOINTS, adjoint_cases, _reverse_call),
    }[mode]
    cases, arrays = chain(found(), 8), array_chain(call)
    used = {name: home for name, home in kernel_homes().items() if re.search(rf"\b{name}\(", template + arrays)}
    imports = "\n".join(f"from fastad.kernels.{home} import {name}" for name, home in sorted(used.items()))
    symbols = sorted(set(re.findall(r"\bc_(\w+)\(", cases)))
    calls = "\n".join(f"c_{s} = ExternalFunction({s!r}, types.float64({_arguments(s)}))" for s in symbols)
    head = text.HEAD.format(mode=mode, version=__version__, imports=imports, calls=calls)
    return head + template.replace("<CASES>", cases).replace("<ARRAYS>", arrays)


def origin(mode: str) -> tuple[str, ...]:
    """What `sweep_text` follows from: the rows, the modules that make texts of them, and the kernels."""
    return mode, _modules_digest(), kernel_digest(), " ".join(row.name for row in PRIMITIVES), __version__


@functools.cache
def _modules_digest() -> str:
    return sources_digest(Path(primitives.__path__[0]), Path(__file__).parent)


def _arguments(symbol: str) -> str:
    row = next(row for row in elementwise_rows() if row.is_leaf and row.symbol == symbol)
    return ", ".join(["types.float64"] * row.arity)
