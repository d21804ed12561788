"""LLVM IR text to object code, and object code to addresses in this process.

Objects are position-independent code of the small code model: for code of 200 operations that is the fastest to
generate (the large model takes half as long again without optimisation, as it leaves the fast instruction selector)
and to link.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable

from fastad.errors import CompileError
from fastad.execution.machine import compiling, jitlink, linking, processor


def host() -> tuple[str, str]:
    """The CPU's name and features, as LLVM writes them. Object code runs only where both agree."""
    return processor.host()


@functools.cache
def has_feature(name: str) -> bool:
    """Whether the CPU has a feature, e.g. "avx2", "avx512f"."""
    return f"+{name}" in host()[1].split(",")


def compile_ir(text: str, *, level: int = 2) -> bytes:
    """Compile a module of LLVM IR to object code for this CPU.

    Parameters
    ----------
    text : LLVM IR without a target triple or data layout (both are set here).
    level : 0 for no passes and the fastest code generation, as long straight-line code needs; 1 to 3 for more;
    `llvm_ir.STRAIGHT` for no passes and better code generation.
    At level 0 only the syntax is checked, unless `FASTAD_VERIFY_IR` is set: LLVM's verifier takes a tenth as long
    as all the rest.

    Raises
    ------
    CompileError : the text is not valid IR; the message holds LLVM's.
    """
    return compiling.compiled(text, level)[0]


class LoadedCode:
    """Functions linked into this process: `code[name]` is an address, valid while this object lives."""

    def __init__(self, memory: object, addresses: dict[str, int]):
        self._memory = memory
        self.addresses = addresses

    def __getitem__(self, name: str) -> int:
        return self.addresses[name]


def load_object(code: bytes, names: Iterable[str], resolve: Callable[[str], int | None]) -> LoadedCode:
    """Link object code into this process.

    Parameters
    ----------
    code : what `compile_ir` returned, on this machine or one that agrees in `host()`.
    names : the functions whose addresses are wanted.
    resolve : from the name of an external function to its address, or None if there is none; for all functions
    that are known here, `fastad.execution.machine.symbols.address`.

    Raises
    ------
    CompileError : an external function is missing, a wanted one is not in the object, or the object is
    damaged.
    """
    names = list(dict.fromkeys(names))
    if linking.IS_KNOWN:
        with contextlib.suppress(linking.UnlinkableError):  # LLVM's linker knows more
            found = linking.read(code)
            return LoadedCode(*linking.link(found, names, _externals(linking.undefined(found), resolve)))
    try:
        return LoadedCode(*jitlink.link(code, names, _externals(undefined_symbols(code), resolve)))
    except RuntimeError as error:
        raise CompileError(f"object code does not link: {error}") from None


def _externals(names: Iterable[str], resolve: Callable[[str], int | None]) -> dict[str, int]:
    """LLVM's own message about a missing symbol names the function that needs it, not the symbol."""
    found = {name: resolve(name) for name in names}
    if missing := [name for name, address in found.items() if address is None]:
        raise CompileError(f"native code calls {', '.join(missing)}, which no library here provides")
    return {name: address for name, address in found.items() if address is not None}


def undefined_symbols(code: bytes) -> list[str]:
    """Names that an ELF-64 object needs from elsewhere; none for Mach-O and COFF, where the linker looks."""
    if code[:6] != b"\x7fELF\x02\x01" and not sys.platform.startswith("linux"):
        return []
    return linking.undefined(linking.read(code))
