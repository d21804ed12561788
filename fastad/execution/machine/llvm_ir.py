"""LLVM IR text to object code for this CPU; as a program, for the process that gives it texts.

    python llvm_ir.py FOLDER SECONDS

`FOLDER` has the package llvmlite; the process ends when nothing has come for so many seconds. This file imports nothing
of fastad, so that such a process is ready in a twentieth of a second, and it imports llvmlite only when LLVM is needed,
since its library takes some 40 MB. Errors are LLVM's own RuntimeErrors; `fastad.execution.machine.compiling` has those
that users see.
"""

import contextlib
import functools
import json
import os
import select
import struct
import sys
import threading
import time
from typing import Any, BinaryIO

# JITLink does not yet link every COFF object, so Windows keeps to the older linker and the large code model.
JITLINK = sys.platform != "win32"
_RELOCATION, _CODE_MODEL = ("pic", "small") if JITLINK else ("default", "jitdefault")

# The level of straight-line code: no passes, but code generated as at level 2.
STRAIGHT = 4

# llvmlite serialises single calls into LLVM; held, this makes one compilation, or one link, a unit.
LOCK = threading.RLock()


def llvm() -> Any:
    """The bindings."""
    import llvmlite.binding

    return llvmlite.binding


@functools.cache
def _initialize() -> None:
    llvm().initialize_native_target()
    llvm().initialize_native_asmprinter()


@functools.cache
def host() -> tuple[str, str]:
    """The CPU's name and features, as LLVM writes them. Object code runs only where both agree."""
    return llvm().get_host_cpu_name(), llvm().get_host_cpu_features().flatten()


@functools.cache
def machine(level: int, cpu: str = "") -> Any:
    """LLVM's description of this CPU, or of any that has a CPU's features, for code of an optimisation level."""
    _initialize()
    cpu, features = (cpu, "") if cpu else host()
    target = llvm().Target.from_triple(llvm().get_process_triple())
    return target.create_target_machine(cpu=cpu, features=features, opt=level, reloc=_RELOCATION, codemodel=_CODE_MODEL)


def object_of(text: str, level: int, verify: bool, cpu: str = "") -> bytes:
    """The object code of a module, for this CPU or another one. RuntimeError if LLVM rejects the text."""
    passes, generation = (0, 2) if level == STRAIGHT else (level, level)
    target = machine(generation, cpu)
    # A context of its own frees types and constants with the module; the global one keeps them for good.
    module = llvm().parse_assembly(text, llvm().create_context())
    if verify:
        module.verify()
    module.triple = llvm().get_process_triple()
    module.data_layout = str(target.target_data)
    if passes:
        _optimize(module, target, passes)
    return target.emit_object(module)


def _optimize(module: Any, target: Any, level: int) -> None:
    from llvmlite.binding.newpassmanagers import NewPassManager

    builder = llvm().create_pass_builder(target, llvm().create_pipeline_tuning_options(speed_level=level))
    passes = builder.getModulePassManager()
    try:
        passes.run(module, builder)
    finally:
        # llvmlite 0.50 frees no pass manager: `close` finds the empty `_dispose` of a base class. That kept 30 kB, and
        # 140 kB more of analyses, at every compilation. Detached, it is not freed a second time where that is mended.
        NewPassManager._dispose(passes)
        passes.detach()


# ── as a program ──────────────────────────────────────────────────────────────────────────────────────────────
TASK = struct.Struct("<QBB")  # length of the text that follows, level, whether to verify
REPLY = struct.Struct("<QBd")  # length of the object or message that follows, whether it is an object, seconds of CPU
IDLE_SECONDS = 5.0


def serve(tasks: BinaryIO, replies: BinaryIO, idle: float) -> None:
    """Say what `host` returns, as a line of JSON, and compile what comes, until nothing has come for a while."""
    replies.write(json.dumps(host()).encode() + b"\n")
    replies.flush()
    while _comes(tasks, idle) and len(head := tasks.read(TASK.size)) == TASK.size:
        length, level, verify = TASK.unpack(head)
        start = time.process_time()
        try:
            is_object, found = True, object_of(tasks.read(length).decode(), level, bool(verify))
        except RuntimeError as error:
            is_object, found = False, str(error).encode()
        replies.write(REPLY.pack(len(found), is_object, time.process_time() - start) + found)
        replies.flush()


def _comes(tasks: BinaryIO, idle: float) -> bool:
    """Whether there is a task before the time is over, or the end of all; Windows only sees the end."""
    return sys.platform == "win32" or bool(select.select([tasks], [], [], idle)[0])


def _end_with(tasks: BinaryIO) -> None:
    """End this process, compilations too, once nobody has the other end of the pipe: whoever asked was killed."""
    poll = select.poll()
    poll.register(tasks, 0)
    poll.poll()
    os._exit(1)


def main(folder: str, idle: str) -> None:
    sys.path.append(folder)  # after Python's own modules
    if hasattr(select, "poll"):
        with contextlib.suppress(RuntimeError):  # the system refuses a thread
            threading.Thread(target=_end_with, args=[sys.stdin.buffer], daemon=True).start()
    serve(sys.stdin.buffer, sys.stdout.buffer, float(idle))


if __name__ == "__main__":
    main(*sys.argv[1:])
