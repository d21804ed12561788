"""Compiling in a process of its own, where it holds up nobody.

llvmlite lets one thread at a time into LLVM, and Python raises KeyboardInterrupt when LLVM returns. So a text that
takes long is given to another process: meanwhile other threads link and compile, Ctrl-C is heard at once, this process
may end, and the memory that LLVM took is given back. A process serves until nothing has come for some seconds.
"""

import atexit
import contextlib
import os
import subprocess
import sys
import time

import llvmlite

from fastad.errors import CompileError
from fastad.execution.machine import llvm_ir, objects
from fastad.execution.machine.llvm_ir import READY, REPLY, TASK

# Characters of a text whose optimisation takes about a fifth of a second, and of one from which it is worth while to
# have no other thread wait for it: code generation alone takes a tenth of that.
_LONG, _LONG_BESIDE = 200_000, 20_000
_WITHOUT_PASSES = 10


class LostProcessError(Exception):
    """The process has ended."""


class CompilerProcess:
    """A process that compiles one text after the other. Raises LostProcessError if there cannot be one."""

    def __init__(self) -> None:
        home = os.path.dirname(os.path.dirname(os.path.abspath(llvmlite.__file__)))
        run = f"runpy.run_path({llvm_ir.__file__!r}, run_name='__main__')"
        code = f"import runpy, sys; sys.path.append({home!r}); {run}"
        # -I: no module of the user's can be in the way; a session of its own: Ctrl-C in a terminal does not end it.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", code], bufsize=0, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise LostProcessError from error
        _all.append(self)
        self._read(len(READY))

    def compile(self, text: str, level: int) -> tuple[bytes, float]:
        """The object code of a text, and the seconds of CPU time that it took. CompileError if LLVM rejects it."""
        data = text.encode()
        try:
            self._write(TASK.pack(len(data), level, objects.is_verified(level)) + data)
            length, is_object, seconds = REPLY.unpack(self._read(REPLY.size))
            found = self._read(length)
        except BaseException:  # Ctrl-C too: what it would answer now belongs to no question
            self.end()
            raise
        if not is_object:
            raise objects.rejected(found.decode())
        return found, seconds

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._process.stdin.write(left) :]  # type: ignore[union-attr]
        except OSError as error:
            raise LostProcessError from error

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            if not (more := self._process.stdout.read(size - len(found))):  # type: ignore[union-attr]
                self.end()
                raise LostProcessError
            found += more
        return bytes(found)

    def end(self) -> None:
        """End the process."""
        with contextlib.suppress(ValueError):
            _all.remove(self)
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


_all: list[CompilerProcess] = []
_idle: list[CompilerProcess] = []  # those that wait for a task
_inherited: list[CompilerProcess] = []  # of the process that this one was forked from
_closed = False


def is_possible() -> bool:
    """Whether there can be another process: the program of a frozen application is not Python."""
    return bool(sys.executable) and not getattr(sys, "frozen", False) and not _closed


def compiled(text: str, level: int, beside: bool = False) -> tuple[bytes, float]:
    """The object code of a text, and the seconds of processor time that it took; `beside`: other threads have work to
    do. CompileError if LLVM rejects the text."""
    if beside and _closed:
        raise CompileError("the process ends")
    length = len(text) if level else len(text) // _WITHOUT_PASSES
    if length >= (_LONG_BESIDE if beside else _LONG) and is_possible():
        with contextlib.suppress(LostProcessError):
            return _elsewhere(text, level)
    start = time.thread_time()
    return objects.compile_ir(text, level=level), time.thread_time() - start


def _elsewhere(text: str, level: int) -> tuple[bytes, float]:
    """Raises LostProcessError if there can be no other process, CompileError too if it ends over the text."""
    with contextlib.suppress(IndexError, LostProcessError):  # one that waits may just have ended
        return _given_back(_idle.pop(), text, level)
    process = CompilerProcess()
    try:
        return _given_back(process, text, level)
    except LostProcessError:
        raise CompileError("the process that compiled a program has ended: memory may have run out") from None


def _given_back(process: CompilerProcess, text: str, level: int) -> tuple[bytes, float]:
    try:
        return process.compile(text, level)
    finally:
        if process in _all:
            _idle.append(process)


@atexit.register
def _close() -> None:
    """What is compiled at the end of this process is lost; a thread may yet wait for it, so pipes stay open."""
    global _closed
    _closed = True
    while _idle:
        _idle.pop().end()
    for process in _all:
        process.kill()


def _start_anew() -> None:
    """A forked child leaves the processes to its parent; with its ends of the pipes open they would not see theirs."""
    _inherited.extend(_all)  # never collected: that would look for them among the child's own processes
    for process in _all:
        for pipe in (process._process.stdin, process._process.stdout):
            with contextlib.suppress(OSError):
                os.close(pipe.fileno())  # type: ignore[union-attr]
    _all.clear()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
