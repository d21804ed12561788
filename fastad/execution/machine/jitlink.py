"""Object code linked into this process by LLVM's JITLink: with stubs for calls beyond 2 GB.

For code of 200 operations that takes 0.3 ms, MCJIT 1 to 2 ms. `linking` does without LLVM's library, where it can.
"""

import itertools
from typing import Any

from fastad.execution.machine import llvm_ir

# A linker keeps some 10 kB for every library it ever held; a new one after so many lets that go.
_LIBRARIES_A_LINKER = 64

_current: tuple[Any, "itertools.count[int]"] | None = None


def link(code: bytes, names: list[str], externals: dict[str, int]) -> tuple[object, dict[str, int]]:
    """What keeps the code loaded, and the addresses of functions. RuntimeError, with LLVM's message, if one is missing
    or the object is damaged."""
    builder = llvm_ir.llvm().JITLibraryBuilder().add_object_img(code)
    for name, address in externals.items():
        builder.import_symbol(name, address)
    for name in names:
        builder.export_symbol(name)
    with llvm_ir.LOCK:
        linker, library = _next_library()
        tracker = builder.link(linker, library)
        return (tracker, linker), {name: tracker[name] for name in names}


def _next_library() -> tuple[Any, str]:
    """A linker and the name of a new library in it; the caller holds the lock."""
    global _current
    if _current is None or (number := next(_current[1])) >= _LIBRARIES_A_LINKER:
        _current, number = (_linker(), itertools.count(1)), 0
    return _current[0], f"fastad{number}"


def _linker() -> Any:
    return llvm_ir.llvm().create_lljit_compiler(llvm_ir.machine(2), use_jit_link=llvm_ir.JITLINK, suppress_errors=True)
