"""Code that runs at once and is replaced by faster code: drivers, sweeps and kernels, translated without numba.

Translating one and compiling it without optimisation takes a tenth of a second, optimising it seconds. So where
the cache has no optimised object, a process of its own makes it in the background, and what runs meanwhile calls
through a variable that is set once that is done. Both give the same numbers, bit for bit, since LLVM contracts nothing:
which products are not rounded says the text.
"""

import atexit
import contextlib
import ctypes
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable

from fastad.execution.machine import cache, compiling, objects
from fastad.execution.translation import TARGET

LEVEL = 3


def linked(name: str, text: str, key: tuple[str, ...], resolve: Callable[[str], int | None]) -> tuple[int, object]:
    """Address of the C function `name` of a text, and what it belongs to. The optimised object has the key with LEVEL.

    Raises UntranslatableError.
    """
    if cache.is_stored((*key, str(LEVEL))):
        code = objects.load_object(optimised(name, text, key), [name], resolve)
        return code[name], code
    quick = cache.cached((*key, "0"), lambda: made(name, text, level=0))
    code = objects.load_object(quick, [name, TARGET], resolve)
    _waiting.put((name, text, key, resolve, code))
    _start()
    return code[name], code


def optimised(name: str, text: str, key: tuple[str, ...]) -> bytes:
    """The optimised object of a text."""
    return cache.cached((*key, str(LEVEL)), lambda: made(name, text))


def made(name: str, text: str, level: int = LEVEL) -> bytes:
    """An object of a text. Raises UntranslatableError."""
    from fastad.execution.translation import module  # some 0.5 MB, which kept objects do without

    ir = module.ir_of(text, name, fused=has_fused_product(), replaceable=level < LEVEL)
    return objects.compile_ir(ir, level=level)


def has_fused_product() -> bool:
    """Whether the processor multiplies and adds with one rounding."""
    return objects.has_feature("fma") or objects.has_feature("neon")


# ── the background ────────────────────────────────────────────────────────────────────────────────────────────
_Waiting = tuple[str, str, tuple[str, ...], Callable[[str], int | None], objects.LoadedCode]
_waiting: "queue.SimpleQueue[_Waiting]" = queue.SimpleQueue()
_lock = threading.Lock()
_in_llvm = threading.Lock()  # held by the thread while LLVM works for it: the process must not end meanwhile
_thread: threading.Thread | None = None
_closed = False
_held: list[object] = []  # code that has taken over


def _start() -> None:
    """Have a thread that waits for the processes."""
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            thread = threading.Thread(target=_work, name="fastad-optimising", daemon=True)
            with contextlib.suppress(RuntimeError):  # the system refuses a thread, or Python ends
                thread.start()
                _thread = thread


def _work() -> None:
    while True:
        waiting = _waiting.get()
        with contextlib.suppress(Exception):  # no better code is no error: what runs goes on
            _replace(*waiting)


def _replace(
    name: str, text: str, key: tuple[str, ...], resolve: Callable[[str], int | None], code: objects.LoadedCode
) -> None:
    """Have optimised code made, one text at a time, and let it take over."""
    full = *key, str(LEVEL)
    alone = not cache.is_stored(full) and not _by_process([text])
    with _in_llvm:
        if not _closed and (alone or cache.is_stored(full)):
            better = objects.load_object(optimised(name, text, key), [name], resolve)
            ctypes.c_void_p.from_address(code[TARGET]).value = better[name]
            _held.append(better)


def _by_process(texts: list[str]) -> bool:
    """Have a process of its own make these objects. False where that cannot be."""
    process = started(_IN_BACKGROUND, json.dumps(texts)) if cache.is_kept() else None
    return process is not None and process.wait() == 0


_IN_BACKGROUND = """
import json, os, sys
from fastad.execution.machine import cache, exported

getattr(os, "nice", int)(19)
for text in json.load(sys.stdin):
    with cache.claimed(exported.key_of(text)) as own:
        if own:
            exported.stored(text)
"""


@atexit.register
def _close() -> None:
    """At the end of the process nothing is linked any more. What is not made yet is made for the next process."""
    global _closed
    _closed = True
    with _in_llvm:
        left = []
    while not _waiting.empty():
        left.append(_waiting.get()[1])
    if left and cache.is_kept():
        started(_IN_BACKGROUND, json.dumps(left))


def _start_anew() -> None:
    """A forked child has no thread, locks in whatever state they were, and leaves to its parent what waits."""
    global _lock, _in_llvm, _thread, _waiting
    _lock, _in_llvm, _thread, _waiting = threading.Lock(), threading.Lock(), None, queue.SimpleQueue()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def started(code: str, text: str) -> "subprocess.Popen[str] | None":
    """A Python process that is given a text to read. None where there can be no other process.

    It finds modules where this one does: by itself it would look in the folder that it runs in first.
    """
    if not compiling.is_possible():
        return None
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; sys.path[:] = sys.argv[1:]\n{code}", *_path()],
            stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, encoding="utf-8", start_new_session=True,
        )  # fmt: skip
    except (OSError, RuntimeError):  # RuntimeError: Python ends
        return None
    assert process.stdin
    with contextlib.suppress(OSError):
        process.stdin.write(text)
        process.stdin.close()
    return process


def _path() -> list[str]:
    return [place for place in sys.path if isinstance(place, str)]
