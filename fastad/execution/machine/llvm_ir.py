"""LLVM IR text to object code for this CPU; as a program, for the process that gives it texts.

It imports nothing of fastad, so that such a process is ready in a twentieth of a second. Errors are LLVM's own
RuntimeErrors; `fastad.execution.machine.objects` has those that users see.
"""

import functools
import select
import struct
import sys
import time
from typing import BinaryIO

import llvmlite.binding as llvm

# JITLink does not yet link every COFF object, so Windows keeps to the older linker and the large code model.
JITLINK = sys.platform != "win32"
_RELOCATION, _CODE_MODEL = ("pic", "small") if JITLINK else ("default", "jitdefault")


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def host() -> tuple[str, str]:
    """The CPU's name and features, as LLVM writes them. Object code runs only where both agree."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.cache
def machine(level: int) -> llvm.TargetMachine:
    """LLVM's description of this CPU, for code of an optimisation level."""
    _initialize()
    cpu, features = host()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=cpu, features=features, opt=level, reloc=_RELOCATION, codemodel=_CODE_MODEL)


def object_of(text: str, level: int, verify: bool) -> bytes:
    """The object code of a module. RuntimeError if LLVM rejects the text."""
    target = machine(level)
    # A context of its own frees types and constants with the module; the global one keeps them for good.
    module = llvm.parse_assembly(text, llvm.create_context())
    if verify:
        module.verify()
    module.triple = llvm.get_process_triple()
    module.data_layout = str(target.target_data)
    if level:
        passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=level))
        passes.getModulePassManager().run(module, passes)
    return target.emit_object(module)


# ── as a program ──────────────────────────────────────────────────────────────────────────────────────────────
TASK = struct.Struct("<QBB")  # length of the text that follows, level, whether to verify
REPLY = struct.Struct("<QBd")  # length of the object or message that follows, whether it is an object, seconds of CPU
READY = b"+"
_IDLE_SECONDS = 10.0


def serve(tasks: BinaryIO, replies: BinaryIO) -> None:
    """Compile what comes, until nothing has come for a while."""
    machine(2)
    replies.write(READY)
    replies.flush()
    while _comes(tasks) and len(head := tasks.read(TASK.size)) == TASK.size:
        length, level, verify = TASK.unpack(head)
        start = time.process_time()
        try:
            is_object, found = True, object_of(tasks.read(length).decode(), level, bool(verify))
        except RuntimeError as error:
            is_object, found = False, str(error).encode()
        replies.write(REPLY.pack(len(found), is_object, time.process_time() - start) + found)
        replies.flush()


def _comes(tasks: BinaryIO) -> bool:
    """Whether there is a task before the time is over, or the end of all; Windows only sees the end."""
    return sys.platform == "win32" or bool(select.select([tasks], [], [], _IDLE_SECONDS)[0])


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
