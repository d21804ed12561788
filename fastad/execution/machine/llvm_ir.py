"""LLVM IR text to object code for this CPU, or PTX for a GPU; as a program, for the process that gives it texts.

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
from collections.abc import Iterator
from typing import Any, BinaryIO

# JITLink does not yet link every COFF object, so Windows keeps to the older linker and the large code model.
JITLINK = sys.platform != "win32"
_RELOCATION, _CODE_MODEL = ("pic", "small") if JITLINK else ("default", "jitdefault")

# The level of straight-line code: no passes, but code generated as at level 2, without its scheduler.
STRAIGHT = 4

# Level of passes and of code generation where they differ. The text of loops is in vectors and in good order already:
# the passes of level 2 find what those of level 1 do, and look at each pair of a loop's stores for it.
_LEVELS = {2: (1, 2), STRAIGHT: (0, 2)}

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
    passes, generation = _LEVELS.get(level, (level, level))
    target = machine(generation, cpu)
    # A context of its own frees types and constants with the module; the global one keeps them for good.
    module = llvm().parse_assembly(text, llvm().create_context())
    if verify:
        module.verify()
    module.triple = llvm().get_process_triple()
    module.data_layout = str(target.target_data)
    if passes:
        _optimize(module, target, passes)
    with contextlib.nullcontext() if level != STRAIGHT else _unscheduled():
        return target.emit_object(module)


@contextlib.contextmanager
def _unscheduled() -> Iterator[None]:
    """Within the context, instructions stay in their order once they are chosen. In straight-line code they stand in a
    good one: to look for a better takes up to half of the time, and the code is as fast and as large without."""
    llvm().set_option("fastad", "-enable-misched=false")
    try:
        yield
    finally:
        llvm().set_option("fastad", "-enable-misched=true")


# ── GPUs ──────────────────────────────────────────────────────────────────────────────────────────────────────
_GPU = "nvptx64-nvidia-cuda"


def ptx_of(text: str, level: int, device: str) -> bytes:
    """PTX of a module whose functions, but for kernels, are seen by itself only. `device`: the architecture, such as
    sm_90, a space, and the path of NVIDIA's libdevice, which has the functions of mathematics. RuntimeError if LLVM
    rejects the text, or has no code for GPUs."""
    architecture, _, library = device.partition(" ")
    llvm().initialize_all_targets()
    llvm().initialize_all_asmprinters()
    target = llvm().Target.from_triple(_GPU).create_target_machine(cpu=architecture, opt=level)
    context = llvm().create_context()
    module = llvm().parse_assembly(text, context)
    kernels = {function.name for function in module.functions if not function.is_declaration}
    for part in (module, *([llvm().parse_bitcode(_read(library), context)] if library else [])):
        part.triple, part.data_layout = _GPU, str(target.target_data)
        if part is not module:
            module.link_in(part)
    for function in module.functions:
        if not function.is_declaration and function.name not in kernels:
            function.linkage = "internal"
    module.verify()
    _optimize(module, target, level)
    if any(_may_be_inlined(function, kernels) for function in module.functions):
        _optimize(module, target, level)  # functions of one caller, of which others have turned out never to run
    return target.emit_assembly(module).encode()


def _may_be_inlined(function: Any, own: set[str]) -> bool:
    """Whether a function of the text has outlived optimisation, though nothing says that it should."""
    is_inside = not function.is_declaration and function.linkage.name == "internal" and function.name in own
    return is_inside and not any(b"noinline" in attribute for attribute in function.attributes)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


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
# Length of the text that follows, level, whether to verify, length of the description of a GPU behind the text.
TASK = struct.Struct("<QBBH")
REPLY = struct.Struct("<QBd")  # length of the object or message that follows, whether it is an object, seconds of CPU
IDLE_SECONDS = 5.0


def code_of(text: str, level: int, verify: bool, device: str) -> bytes:
    """The object code of a module for this CPU, or its PTX for a GPU."""
    return ptx_of(text, level, device) if device else object_of(text, level, verify)


def serve(tasks: BinaryIO, replies: BinaryIO, idle: float) -> None:
    """Say what `host` returns, as a line of JSON, and compile what comes, until nothing has come for a while."""
    replies.write(json.dumps(host()).encode() + b"\n")
    replies.flush()
    while _comes(tasks, idle) and len(head := tasks.read(TASK.size)) == TASK.size:
        length, level, verify, more = TASK.unpack(head)
        start = time.process_time()
        text, device = tasks.read(length).decode(), tasks.read(more).decode()
        try:
            is_object, found = True, code_of(text, level, bool(verify), device)
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
