"""LLVM IR text to object code for this CPU; as a program, a process that does this for others.

    python compiler.py FOLDER SECONDS

`FOLDER` has the package llvmlite. The process writes what `host` returns, as a line of JSON, and then answers one
request after the other: a `REQUEST` and a text, to which it writes an `ANSWER` and the object code, or LLVM's message.
It ends when nobody writes to it any more, or nothing was asked for so many seconds. This file imports nothing of
fastad, so that such a process starts in a twentieth of a second.
"""

import json
import select
import struct
import sys
from typing import Any, BinaryIO

REQUEST = struct.Struct("<QBB")  # bytes of the text, level, whether it is verified
ANSWER = struct.Struct("<QB")  # bytes that follow, whether they are object code

# JITLink does not yet link every COFF object, so Windows keeps to the older linker and the large code model.
HAS_JITLINK = sys.platform != "win32"
_RELOCATION, _CODE_MODEL = ("pic", "small") if HAS_JITLINK else ("default", "jitdefault")

_machines: dict[int, Any] = {}


def llvm() -> Any:
    """The bindings; their library takes some 40 MB, so they are not imported before they are needed."""
    import llvmlite.binding

    return llvmlite.binding


def host() -> tuple[str, str]:
    """The CPU's name and features, as LLVM writes them."""
    return llvm().get_host_cpu_name(), llvm().get_host_cpu_features().flatten()


def machine(level: int) -> Any:
    """LLVM's description of this machine, for code of a level of optimisation."""
    if not _machines:
        llvm().initialize_native_target()
        llvm().initialize_native_asmprinter()
    if level not in _machines:
        cpu, features = host()
        target = llvm().Target.from_triple(llvm().get_process_triple())
        _machines[level] = target.create_target_machine(cpu=cpu, features=features, opt=level, reloc=_RELOCATION,
                                                        codemodel=_CODE_MODEL)  # fmt: skip
    return _machines[level]


def compile_text(text: str, level: int, verify: bool) -> bytes:
    """Object code of a module of IR. RuntimeError, with LLVM's message, if the text is not valid.

    llvmlite serialises single calls into LLVM; a compilation as a whole is for one thread at a time.
    """
    own = machine(level)
    # A context of its own frees types and constants with the module; the global one keeps them for good.
    module = llvm().parse_assembly(text, llvm().create_context())
    if verify:
        module.verify()
    module.triple = llvm().get_process_triple()
    module.data_layout = str(own.target_data)
    if level:
        tuning = llvm().create_pipeline_tuning_options(speed_level=level)
        passes = llvm().create_pass_builder(own, tuning)
        passes.getModulePassManager().run(module, passes)
    return own.emit_object(module)


# ── the process ───────────────────────────────────────────────────────────────────────────────────────────────
def serve(requests: BinaryIO, answers: BinaryIO, seconds: float) -> None:
    answers.write(json.dumps(host()).encode() + b"\n")
    answers.flush()
    while select.select([requests], [], [], seconds)[0]:
        head = requests.read(REQUEST.size)
        if len(head) < REQUEST.size:
            return
        size, level, verify = REQUEST.unpack(head)
        try:
            is_code, found = True, compile_text(requests.read(size).decode(), level, bool(verify))
        except RuntimeError as error:
            is_code, found = False, str(error).encode()
        answers.write(ANSWER.pack(len(found), is_code) + found)
        answers.flush()


def main(folder: str, seconds: str) -> None:
    sys.path.insert(0, folder)
    serve(sys.stdin.buffer, sys.stdout.buffer, float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
