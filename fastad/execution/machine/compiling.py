"""Object code from LLVM in processes of their own.

LLVM's library takes some 70 MB of a process that compiles with it, and never gives all of it back. So `compiler`
runs elsewhere: in as many processes as there are processors, each started when it is needed and gone when nothing was
asked of it for a few seconds. Where there can be no such process, or where code is linked by LLVM too, it runs here.
"""

import atexit
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from fastad.errors import CompileError
from fastad.execution.machine import compiler, linking

IDLE_SECONDS = 5.0
_PROCESSES = os.cpu_count() or 1

_here = threading.RLock()  # held by the thread that compiles in this process
_places = threading.BoundedSemaphore(_PROCESSES)
_idle: "list[_Process]" = []
_all: "set[_Process]" = set()
_can_start = linking.IS_KNOWN


class _Process:
    """A process that compiles. OSError if there is none, EOFError if it has ended."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", compiler.__file__, str(llvmlite_folder().parent), str(IDLE_SECONDS)]
        # A session of its own: Ctrl-C is for the program, and whoever waits for an answer ends this process then.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                         stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        _all.add(self)
        self.host: tuple[str, str] = tuple(json.loads(self._line()))

    def compile(self, text: bytes, level: int, verify: bool) -> bytes:
        self._write(compiler.REQUEST.pack(len(text), level, verify) + text)
        size, is_code = compiler.ANSWER.unpack(self._read(compiler.ANSWER.size))
        found = self._read(size)
        if not is_code:
            raise RuntimeError(found.decode())
        return found

    def end(self) -> int:
        """Stop it, if it still runs; returns its exit status."""
        _all.discard(self)
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(0.1)  # of itself, as nothing is written to it any more
        self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def leave(self) -> None:
        """Let it end when it will."""
        self.close()
        self._process.returncode = 0

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._process.stdin.write(rest) :]  # type: ignore[union-attr]
            except BrokenPipeError:
                raise EOFError from None

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            if not (part := self._process.stdout.read(size - len(found))):  # type: ignore[union-attr]
                raise EOFError
            found += part
        return bytes(found)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1)
        return line


def llvmlite_folder() -> Path:
    """Where llvmlite is installed; it is not imported."""
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or spec.origin is None:
        raise ImportError("llvmlite is not installed")
    return Path(spec.origin).parent


def host() -> tuple[str, str]:
    """What LLVM says of this CPU: see `compiler.host`."""
    with _places:
        if (process := _started()) is not None:
            _idle.append(process)
            return process.host
    return compiler.host()


def compile_text(text: str, level: int, verify: bool) -> bytes:
    """What `compiler.compile_text` returns. RuntimeError, with LLVM's message, if the text is not valid.

    Raises CompileError if the process that compiled it has ended.
    """
    data = text.encode()
    with _places:
        while (process := _taken()) is not None:
            try:
                found = process.compile(data, level, verify)
            except EOFError:
                if status := process.end():
                    raise CompileError(f"LLVM ended with status {status}") from None
                continue  # it had waited too long for something to do
            except RuntimeError:
                _idle.append(process)
                raise
            except BaseException:  # interrupted: its answer would be read as that to the next request
                process.end()
                raise
            _idle.append(process)
            return found
    with _here:
        return compiler.compile_text(text, level, verify)


def _taken() -> "_Process | None":
    """A process that has nothing to do."""
    with contextlib.suppress(IndexError):
        return _idle.pop()
    return _started()


def _started() -> "_Process | None":
    """A new process. None where there can be none: the program of a frozen application is not Python."""
    global _can_start
    if not _can_start or not sys.executable or getattr(sys, "frozen", False):
        return None
    try:
        return _Process()
    except (OSError, EOFError, ValueError):
        _can_start = False
        return None


@atexit.register
def _leave() -> None:
    """Processes end of themselves when nobody can write to them any more."""
    for process in list(_all):
        process.leave()


def _start_anew() -> None:
    """A forked child has processes of its own, and locks in whatever state they were."""
    global _here, _places, _idle, _all
    _leave()
    _here, _places, _idle, _all = threading.RLock(), threading.BoundedSemaphore(_PROCESSES), [], set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
