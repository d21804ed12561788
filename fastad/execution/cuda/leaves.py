"""The functions of mathematics on a GPU: NVIDIA's libdevice in place of C's library (libdevice User's Guide, part 3).

The name stands in the row of a primitive (`Elementwise.libdevice`). What neither libdevice nor `fastad.kernels.special`
has is an error that names the primitive.
"""

from collections.abc import Iterable

from fastad.errors import CompileError
from fastad.execution.machine.exported import kernel_sources
from fastad.execution.native.names import ENTRY
from fastad.kernels import scipy_blas, superlu
from fastad.primitives import array_rows, elementwise_rows

_PREFIX = "__nv_"
_SPECIAL = "fastad_"
_OUTSIDE = {scipy_blas.TABLE: "BLAS and LAPACK", superlu.TABLE: "SuperLU"}

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
    if not rows or not symbol.startswith(_SPECIAL) or f"\ndef {name}(" not in kernel_sources()["special"]:
        return None
    arguments = ", ".join("abc"[: rows[0].arity])
    return _TEXT.format(name=name, arguments=arguments, kinds=", ".join(["types.float64"] * rows[0].arity))


def libdevice_names(missing: Iterable[str], single: bool) -> dict[str, str]:
    """Libdevice's functions by the symbols that a program asks for; `single`: those of float32.

    Raises CompileError for what it has not."""
    names = {row.symbol: row.libdevice or row.symbol for row in elementwise_rows() if row.symbol and row.on_device}
    found, unknown = {}, []
    for symbol in missing:
        if symbol in names:
            found[symbol] = f"{_PREFIX}{names[symbol]}{'f' if single else ''}"
        else:
            unknown.append(symbol)
    if unknown:
        raise CompileError(f"a GPU cannot run this program: {', '.join(map(_complaint, unknown))}")
    return found


def _complaint(symbol: str) -> str:
    if symbol in _OUTSIDE:
        users = sorted(row.name for row in array_rows() if row.symbols)
        return f"it calls {_OUTSIDE[symbol]} (as {', '.join(users[:_FEW])} and others of its size do)"
    rows = [row.name for row in elementwise_rows() if row.symbol == symbol]
    what = rows[0] if rows else symbol.removeprefix(ENTRY)
    return f"{what} has no function for GPUs"


_FEW = 4
