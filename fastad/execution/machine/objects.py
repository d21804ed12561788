"""LLVM IR text to object code, and object code to addresses in this process.

Objects are position-independent code of the small code model, linked by LLVM's JITLink into one piece of
memory with stubs for calls beyond 2 GB. For code of 200 operations that is the fastest to generate (the large
model takes half as long again without optimisation, as it leaves the fast instruction selector) and to link
(0.3 ms, MCJIT 1 to 2 ms).
"""

import functools
import itertools
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterable

import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import NewPassManager

from fastad.errors import CompileError

# llvmlite serialises single calls into LLVM; this makes one compilation, or one link, a unit.
_lock = threading.RLock()

# JITLink does not yet link every COFF object, so Windows keeps to the older linker and the large code model.
_JITLINK = sys.platform != "win32"
_RELOCATION, _CODE_MODEL = ("pic", "small") if _JITLINK else ("default", "jitdefault")

# A linker keeps some 10 kB for every library it ever held; a new one after so many lets that go.
_LIBRARIES_A_LINKER = 64


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def host() -> tuple[str, str]:
    """The CPU's name and features, as LLVM writes them. Object code runs only where both agree."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def has_feature(name: str) -> bool:
    """Whether the CPU has a feature, e.g. "avx2", "avx512f"."""
    return f"+{name}" in host()[1].split(",")


@functools.cache
def _machine(level: int) -> llvm.TargetMachine:
    _initialize()
    cpu, features = host()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=cpu, features=features, opt=level, reloc=_RELOCATION, codemodel=_CODE_MODEL)


def compile_ir(text: str, *, level: int = 2) -> bytes:
    """Compile a module of LLVM IR to object code for this CPU.

    Parameters
    ----------
    text : LLVM IR without a target triple or data layout (both are set here).
    level : 0 for no passes and the fastest code generation, as long straight-line code needs; 1 to 3 for more.
    At level 0 only the syntax is checked, unless `FASTAD_VERIFY_IR` is set: LLVM's verifier takes a tenth as long
    as all the rest.

    Raises
    ------
    CompileError : the text is not valid IR; the message holds LLVM's.
    """
    with _lock:
        machine = _machine(level)
        # A context of its own frees types and constants with the module; the global one keeps them for good.
        context = llvm.create_context()
        module = _parse(text, context, verify=level > 0 or "FASTAD_VERIFY_IR" in os.environ)
        module.triple = llvm.get_process_triple()
        module.data_layout = str(machine.target_data)
        if level:
            _optimize(module, machine, level)
        return machine.emit_object(module)


def _parse(text: str, context: llvm.ContextRef, verify: bool) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(text, context)
        if verify:
            module.verify()
    except RuntimeError as error:
        raise CompileError(f"LLVM rejects generated code: {str(error).strip()}") from None
    return module


def _optimize(module: llvm.ModuleRef, machine: llvm.TargetMachine, level: int) -> None:
    tuning = llvm.create_pipeline_tuning_options(speed_level=level)
    builder = llvm.create_pass_builder(machine, tuning)
    passes = builder.getModulePassManager()
    try:
        passes.run(module, builder)
    finally:
        # llvmlite 0.50 frees no pass manager: `close` finds the empty `_dispose` of a base class. That kept 30 kB, and
        # 140 kB more of analyses, at every compilation. Detached, it is not freed a second time where that is mended.
        NewPassManager._dispose(passes)
        passes.detach()


class LoadedCode:
    """Functions linked into this process: `code[name]` is an address, valid while this object lives."""

    def __init__(self, tracker: llvm.orcjit.ResourceTracker, linker: llvm.LLJIT, names: Iterable[str]):
        self._tracker = tracker
        self._linker = linker
        self.addresses: dict[str, int] = {name: tracker[name] for name in names}

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
    builder = llvm.JITLibraryBuilder().add_object_img(code)
    for name, address in _externals(code, resolve).items():
        builder.import_symbol(name, address)
    for name in names:
        builder.export_symbol(name)
    with _lock:
        linker, library = _next_library()
        try:
            return LoadedCode(builder.link(linker, library), linker, names)
        except RuntimeError as error:
            raise CompileError(f"object code does not link: {error}") from None


def _externals(code: bytes, resolve: Callable[[str], int | None]) -> dict[str, int]:
    found = {name: resolve(name) for name in undefined_symbols(code)}
    if missing := [name for name, address in found.items() if address is None]:
        raise CompileError(f"native code calls {', '.join(missing)}, which no library here provides")
    return {name: address for name, address in found.items() if address is not None}


_current: tuple[llvm.LLJIT, "itertools.count[int]"] | None = None


def _next_library() -> tuple[llvm.LLJIT, str]:
    """A linker and the name of a new library in it; the caller holds the lock."""
    global _current
    if _current is None or (number := next(_current[1])) >= _LIBRARIES_A_LINKER:
        linker = llvm.create_lljit_compiler(_machine(2), use_jit_link=_JITLINK, suppress_errors=True)
        _current, number = (linker, itertools.count(1)), 0
    return _current[0], f"fastad{number}"


# ── the symbol table of an object ─────────────────────────────────────────────────────────────────
# LLVM's own message about a missing symbol names the function that needs it, not the symbol, so objects are
# read here. Layouts: System V ABI, "Object Files": ELF-64 header, section header, symbol.
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMBOL_TABLE = 2


def undefined_symbols(code: bytes) -> list[str]:
    """Names that an ELF-64 object needs from elsewhere; none for Mach-O and COFF, where the linker looks."""
    if code[:6] != b"\x7fELF\x02\x01":
        if sys.platform.startswith("linux"):
            raise CompileError("object code is damaged: it is not an ELF file")
        return []
    try:
        return [_name(code, at) for at in _undefined_names(code)]
    except (struct.error, IndexError, ValueError) as error:
        raise CompileError(f"object code is damaged: {error}") from None


def _undefined_names(code: bytes) -> Iterable[int]:
    """Offsets in the file of the names of undefined symbols."""
    (start,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    sections = [_SECTION.unpack_from(code, start + size * i) for i in range(count)]
    for _, kind, _, _, offset, length, link, _, _, _ in sections:
        if kind != _SYMBOL_TABLE:
            continue
        strings = sections[link][4]
        # The first symbol is a placeholder, undefined by convention.
        for at in range(offset + _SYMBOL.size, offset + length, _SYMBOL.size):
            name, _, _, section, _, _ = _SYMBOL.unpack_from(code, at)
            if section == 0:
                yield strings + name


def _name(code: bytes, at: int) -> str:
    return code[at : code.index(b"\0", at)].decode("ascii")
