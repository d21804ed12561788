"""Compiling in a process of its own, where it holds up nobody.

llvmlite lets one thread at a time into LLVM, Python raises KeyboardInterrupt when LLVM returns, and LLVM's library
takes some 70 MB of a process that compiles, and never gives all of it back. So texts are given to another process:
meanwhile other threads link and compile, Ctrl-C is heard at once, this process may end, and the memory returns to the
system when nothing has come for some seconds. Where objects are linked by LLVM too, this is for long texts only.
"""

import atexit
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from fastad.errors import CompileError
from fastad.execution.machine import linking, llvm_ir
from fastad.execution.machine.llvm_ir import REPLY, TASK

# Where LLVM is here anyway: characters of a text whose optimisation takes about a fifth of a second, and of one from
# which it is worth while to have no other thread wait for it: code generation alone takes a tenth of that.
_LONG, _LONG_BESIDE = 200_000, 20_000
_WITHOUT_PASSES = 10

_PIECE = 2**16  # characters that are sent at once

_PROCESSES = os.cpu_count() or 1


class LostProcessError(Exception):
    """The process has ended."""


class CompilerProcess:
    """A process that compiles one text after the other. Raises LostProcessError if there cannot be one, which without
    `waits` is found out when it is first asked for something."""

    def __init__(self, waits: bool = True) -> None:
        home = str(llvmlite_folder().parent)
        self._host: tuple[str, str] | None = None
        # -I: no module of the user's can be in the way; a session of its own: Ctrl-C in a terminal does not end it.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", llvm_ir.__file__, home, str(llvm_ir.IDLE_SECONDS)], bufsize=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except (OSError, RuntimeError) as error:  # RuntimeError: Python ends
            raise LostProcessError from error
        _all.append(self)
        if waits:
            self.host()
        # It ends by itself: without a thread that waits for that it would stay in the system's list of processes.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=self._process.wait, name="fastad-reaping", daemon=True).start()

    def host(self) -> tuple[str, str]:
        """What LLVM says of this CPU, which is the first that the process says."""
        if self._host is None:
            try:
                self._host = self._greeting()
            except BaseException:  # Ctrl-C too
                self.end()
                raise
        return self._host

    def _greeting(self) -> tuple[str, str]:
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1)
        try:
            name, features = json.loads(line)
        except (ValueError, TypeError) as error:  # something else writes to the pipe
            raise LostProcessError from error
        return name, features

    def compile(self, text: str, level: int, device: str = "") -> tuple[bytes, float]:
        """The object code of a text, and seconds of processor time that it took. CompileError if LLVM rejects it."""
        length, more = len(text) if text.isascii() else len(text.encode()), device.encode()
        self.host()
        try:
            self._write(TASK.pack(length, level, is_verified(level), len(more)))
            for start in range(0, len(text), _PIECE):  # a long text is not in memory as a whole once more
                self._write(text[start : start + _PIECE].encode())
            self._write(more)
            length, is_object, seconds = REPLY.unpack(self._read(REPLY.size))
            found = self._read(length)
        except BaseException:  # Ctrl-C too: what it would answer now belongs to no question
            self.end()
            raise
        if not is_object:
            raise rejected(found.decode())
        return found, seconds

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            with _no_broken_pipe_signal():
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

    @property
    def has_ended_by_itself(self) -> bool:
        """Whether it is over because nothing came: what kills it, or makes it fail, gives another status."""
        return self._process.returncode == 0


@contextlib.contextmanager
def _no_broken_pipe_signal() -> Iterator[None]:
    """Within the context, this thread is not sent SIGPIPE. Programs that end by it when nobody reads their output would
    also end when a compiler process has."""
    if not hasattr(signal, "sigtimedwait") or signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
    try:
        yield
    finally:
        if signal.SIGPIPE not in before:
            signal.sigtimedwait([signal.SIGPIPE], 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_all: list[CompilerProcess] = []
_idle: list[CompilerProcess] = []  # those that wait for a task
_inherited: list[CompilerProcess] = []  # of the process that this one was forked from
_closed = False


def _places() -> dict[bool, threading.BoundedSemaphore]:
    """Permissions to compile, for what waits beside the program, and for what the program waits for."""
    return {beside: threading.BoundedSemaphore(_PROCESSES) for beside in (False, True)}


_free = _places()


def llvmlite_folder() -> Path:
    """Where llvmlite is installed; it is not imported. A script of that name beside the user's own is passed over."""
    find = importlib.machinery.PathFinder.find_spec
    specs = (importlib.util.find_spec("llvmlite"), *(find("llvmlite", [place]) for place in sys.path))
    for spec in specs:
        if spec is not None and spec.origin is not None and spec.submodule_search_locations is not None:
            return Path(spec.origin).parent
    raise ImportError("llvmlite is not installed")


def is_verified(level: int) -> bool:
    """Whether LLVM's verifier looks at code of a level."""
    return 0 < level < llvm_ir.STRAIGHT or "FASTAD_VERIFY_IR" in os.environ


def rejected(message: str) -> CompileError:
    """What becomes of LLVM's message."""
    return CompileError(f"LLVM rejects generated code: {message.strip()}")


def is_possible() -> bool:
    """Whether there can be another process: the program of a frozen application, or of a server that runs Python
    inside, is not Python."""
    return is_python(sys.executable) and not getattr(sys, "frozen", False) and not _closed


def is_python(program: str | None) -> bool:
    """Whether a program is an interpreter, by its name."""
    return Path(program or "").name.lower().startswith(("python", "pypy"))


def host() -> tuple[str, str]:
    """What LLVM says of this CPU: see `llvm_ir.host`."""
    if linking.IS_KNOWN and is_possible():
        with contextlib.suppress(LostProcessError):
            process = CompilerProcess()
            _idle.append(process)
            return process.host()
    return llvm_ir.host()


def prepare() -> None:
    """Have a process start, if there is none: soon it will be given a text, and it takes a twentieth of a second."""
    if linking.IS_KNOWN and is_possible() and not _all:
        with contextlib.suppress(LostProcessError):
            _idle.append(CompilerProcess(waits=False))


def compiled(text: str, level: int, beside: bool = False, device: str = "") -> tuple[bytes, float]:
    """The object code of a text, and the seconds of processor time that it took; `beside`: other threads have work to
    do; `device`: PTX is wanted, for this GPU (see `llvm_ir.ptx_of`). CompileError if LLVM rejects the text."""
    if beside and _closed:
        raise CompileError("the process ends")
    length = len(text) if 0 < level < llvm_ir.STRAIGHT else len(text) // _WITHOUT_PASSES
    is_worth = linking.IS_KNOWN or length >= (_LONG_BESIDE if beside else _LONG)
    if is_worth and is_possible():
        with contextlib.suppress(LostProcessError), _free[beside]:
            return _elsewhere(text, level, device)
    with llvm_ir.LOCK:
        start = time.thread_time()
        try:
            return llvm_ir.code_of(text, level, is_verified(level), device), time.thread_time() - start
        except RuntimeError as error:
            raise rejected(str(error)) from None


def _elsewhere(text: str, level: int, device: str = "") -> tuple[bytes, float]:
    """Raises LostProcessError if there can be no other process, or the new one did not wait long enough for the text,
    as where this one was suspended meanwhile. CompileError if it ends over the text."""
    with contextlib.suppress(IndexError, LostProcessError):  # one that waits may just have ended
        return _given_back(_idle.pop(), text, level, device)
    process = CompilerProcess()
    try:
        return _given_back(process, text, level, device)
    except LostProcessError:
        if process.has_ended_by_itself:
            raise
        raise CompileError("the process that compiled a program has ended: memory may have run out") from None


def _given_back(process: CompilerProcess, text: str, level: int, device: str) -> tuple[bytes, float]:
    try:
        return process.compile(text, level, device)
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
    for process in _all.copy():
        process.kill()


def _start_anew() -> None:
    """A forked child leaves the processes to its parent; with its ends of the pipes open they would not see theirs."""
    global _free
    _free = _places()
    _inherited.extend(_all)  # never collected: that would look for them among the child's own processes
    for process in _all:
        for pipe in (process._process.stdin, process._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
    _all.clear()
    _idle.clear()


# From the end of the process on LLVM is the main thread's: what a daemon thread does in it would meet LLVM's own end.
atexit.register(llvm_ir.LOCK.acquire)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
    os.register_at_fork(  # a forked child has no other thread that could release the lock
        before=llvm_ir.LOCK.acquire, after_in_parent=llvm_ir.LOCK.release, after_in_child=llvm_ir.LOCK.release
    )
