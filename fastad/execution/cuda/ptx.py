"""From IR text to PTX, by LLVM, and from PTX to a cubin, by NVIDIA's nvJitLink. Neither needs a GPU or its driver."""

import functools
import re
from dataclasses import dataclass
from typing import Any

from fastad.errors import CompileError
from fastad.execution.machine import compiling

LEVEL = 2
_INSTALL = "python -m pip install 'fastad[cuda]'"


def ptx_of(text: str, architecture: str, libdevice: bool) -> bytes:
    """The PTX of a module, for a GPU such as "sm_90"; whether it calls functions of libdevice."""
    where = libdevice_path() if libdevice else ""
    return compiling.compiled(text, LEVEL, device=f"{architecture} {where}")[0]


@functools.cache
def libdevice_path() -> str:
    """Where NVIDIA's functions of mathematics are, as LLVM's bitcode. CompileError if they are not installed."""
    try:
        from cuda import pathfinder

        return str(pathfinder.find_bitcode_lib("device"))
    except Exception as error:  # ImportError, or one of the package's own
        raise CompileError(f"NVIDIA's libdevice is not installed ({error}): {_INSTALL}") from None


@dataclass(frozen=True)
class Cubin:
    """Machine code of a GPU: registers of a thread, bytes of its stack, and bytes of registers that did not fit."""

    data: bytes
    registers: int
    stack: int
    spilled: int


def assembled(ptx: bytes, architecture: str) -> Cubin:
    """The machine code of a module of PTX."""
    linker = _nvjitlink()
    handle = linker.create(2, [f"-arch={architecture}", "-verbose"])
    try:
        linker.add_data(handle, linker.InputType.PTX, ptx, len(ptx), "program")
        linker.complete(handle)
        data = _bytes(linker, handle, "linked_cubin")
        report = _bytes(linker, handle, "info_log").decode(errors="replace")
    except Exception as error:  # nvJitLinkError
        raise CompileError(f"nvJitLink rejects generated code: {error}. {_log(linker, handle)}") from None
    finally:
        linker.destroy(handle)
    return Cubin(data, _number(_REGISTERS, report), _number(_STACK, report), _number(_SPILLED, report))


@functools.cache
def _nvjitlink() -> Any:
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
    except Exception as error:  # ImportError, or one of the package's own
        raise CompileError(f"nvJitLink is not installed ({error}): {_INSTALL}") from None
    return nvjitlink


def _bytes(linker: Any, handle: Any, what: str) -> bytes:
    found = bytearray(getattr(linker, f"get_{what}_size")(handle))
    getattr(linker, f"get_{what}")(handle, found)
    return bytes(found)


def _log(linker: Any, handle: Any) -> str:
    try:
        return _bytes(linker, handle, "error_log").decode(errors="replace").strip("\0 \n")
    except Exception:
        return ""


_REGISTERS = re.compile(r"Used (\d+) registers")
_STACK = re.compile(r"(\d+) bytes stack frame")
_SPILLED = re.compile(r"(\d+) bytes spill stores")


def _number(pattern: re.Pattern[str], report: str) -> int:
    """The largest number of a report, which names all functions."""
    return max(map(int, pattern.findall(report)), default=0)
