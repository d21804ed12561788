"""The functions of mathematics on a GPU: NVIDIA's libdevice in place of C's library (libdevice User's Guide, part 3).

The name stands in the row of a primitive (`Elementwise.libdevice`). What neither libdevice nor `fastad.kernels.special`
has is an error that names the primitive.
"""

import functools
import re
from collections.abc import Iterable

from fastad.errors import CompileError
from fastad.execution.machine.exported import kernel_sources
from fastad.execution.native.names import ENTRY
from fastad.kernels import superlu
from fastad.primitives import elementwise_rows

_PREFIX, _FAR = "__nv_", "fastad_far_"
_INLINED_CALLS = 12  # of a function: each becomes a hundred instructions, which take a millisecond or more to compile
_SPECIAL = "fastad_"

# What LLVM has an instruction for, but no code for GPUs.
LLVM_NAMES = {"llvm.pow.f64": "pow"}

_TEXT = '''\
"""The function {name} as a C function."""
from fastad.kernels.memory import types
from fastad.kernels.special import {name}

SIGNATURE = types.float64({kinds})


def entry({arguments}):
    return {name}({arguments})
'''


def special_text(symbol: str) -> str | None:
    """The text of a C function `symbol` that `fastad.kernels.special` has for a primitive, if it has one."""
    name = symbol.removeprefix(_SPECIAL)
    rows = [row for row in elementwise_rows() if row.symbol == symbol]
    if not rows or not symbol.startswith(_SPECIAL) or name not in _special_names():
        return None
    arguments = ", ".join("abc"[: rows[0].arity])
    return _TEXT.format(name=name, arguments=arguments, kinds=", ".join(["types.float64"] * rows[0].arity))


@functools.cache
def _special_names() -> frozenset[str]:
    source = next(text for module, text in kernel_sources() if module == "special")
    return frozenset(re.findall(r"^def ([a-z]\w*)\(", source.decode(), re.MULTILINE))


def libdevice_names(missing: Iterable[str], single: bool) -> dict[str, str]:
    """Libdevice's functions by the symbols that a program asks for; `single`: those of float32.

    Raises CompileError for what it has not."""
    names = LLVM_NAMES | {
        row.symbol: row.libdevice or row.symbol for row in elementwise_rows() if row.symbol and row.on_device
    }
    found, unknown = {}, []
    for symbol in missing:
        if symbol in names:
            found[symbol] = f"{_PREFIX}{names[symbol]}{'f' if single else ''}"
        else:
            unknown.append(symbol)
    if unknown:
        raise CompileError(f"a GPU cannot run this program: {', '.join(map(_complaint, unknown))}")
    return found


def far_calls(text: str, names: dict[str, str]) -> tuple[dict[str, str], str]:
    """The names, with those of functions around the ones that a text calls often, and the text of these: libdevice's
    own are always inlined."""
    found, added = dict(names), ""
    for symbol, name in names.items():
        calls = _calls(text, symbol)
        if len(calls) > _INLINED_CALLS:
            found[symbol] = far = _FAR + name
            added += _far_text(far, name, calls[0].count(",") + 1)
    return found, added


def single_text(symbol: str, arity: int) -> str:
    """A function of float32 made of SciPy's, which takes float64."""
    given = ", ".join(f"float %a{k}" for k in range(arity))
    lines = [f"  %b{k} = fpext float %a{k} to double" for k in range(arity)]
    wide = ", ".join(f"double %b{k}" for k in range(arity))
    return "\n".join([
        f"declare double @{symbol}({', '.join(['double'] * arity)})",
        f"define internal float @{symbol}f({given}) nounwind {{", *lines, f"  %y = call double @{symbol}({wide})",
        "  %z = fptrunc double %y to float", "  ret float %z", "}", "",
    ])  # fmt: skip


def _calls(text: str, symbol: str) -> list[str]:
    """The arguments of all calls of a function."""
    return re.findall(rf"call double @{re.escape(symbol)}\(([^)]*)\)", text)


def _far_text(far: str, name: str, arity: int) -> str:
    kinds, given = ", ".join(["double"] * arity), ", ".join(f"double %a{k}" for k in range(arity))
    return (
        f"declare double @{name}({kinds})\n"
        f"define internal double @{far}({given}) noinline nounwind memory(none) {{\n"
        f"  %value = call double @{name}({given})\n  ret double %value\n}}\n"
    )


def _complaint(symbol: str) -> str:
    if symbol == superlu.TABLE:
        return "it calls SuperLU"
    rows = [row.name for row in elementwise_rows() if row.symbol == symbol]
    what = rows[0] if rows else symbol.removeprefix(ENTRY)
    return f"{what} has no function for GPUs"
