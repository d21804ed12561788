"""Work in the background: one thread that makes what will be needed, while those who will need it go on without it.

FASTAD_BACKGROUND=0 turns it off. The thread is a daemon, so the end of the process does not wait for it. A fork does,
until the thread is between two pieces of work: what it holds would be held for ever in the child.
"""

import contextlib
import contextvars
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from fastad.execution.machine import compiling

T = TypeVar("T")


class Job(Generic[T]):
    """Something to be made, by the background or by whoever cannot wait for its turn."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._context, self._process = make, contextvars.copy_context(), os.getpid()
        self._begun, self._ended = threading.Lock(), threading.Event()
        self._made: list[T] = []
        self.seconds = 0.0  # that it took
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether `result` has it, or its error, at once."""
        return self._ended.is_set()

    @property
    def is_lost(self) -> bool:
        """Whether it was left to the thread of a process that this one was forked from."""
        return self._process != os.getpid() and not self._ended.is_set()

    def result(self) -> T:
        """What was made, or its error raised; made here if nobody has begun."""
        self.run()
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._made[0]

    def run(self) -> None:
        """Make it, unless somebody does already."""
        if not self._begun.acquire(blocking=False):
            return
        start = time.perf_counter()
        try:
            self._made.append(self._context.run(self._make))
        except Exception as error:
            self._error = error
        except BaseException:  # Ctrl-C: somebody may try again
            self._begun.release()
            raise
        self.seconds = time.perf_counter() - start
        self._ended.set()


def is_on() -> bool:
    """Whether there is a background: it needs other processes for what takes long."""
    return os.environ.get("FASTAD_BACKGROUND", "1") != "0" and compiling.is_possible()


def is_here() -> bool:
    """Whether this thread is the background."""
    return threading.current_thread() is _thread


def submit(make: Callable[[], T], seconds: float = 0.0) -> Job[T]:
    """Have something made that takes about so many seconds; what takes less comes first."""
    global _thread
    job = Job(make)
    _jobs.put((seconds, next(_count), job))
    with _starting:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_work, name="fastad-background", daemon=True)
            try:
                _thread.start()
            except RuntimeError:  # the system refuses a thread, or Python ends: then there is no background
                _thread = None
                job.run()
    return job


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Within the context the background only waits, and the process may be forked; other threads are not concerned."""
    if not is_here():
        yield
        return
    _working.release()
    try:
        yield
    finally:
        _working.acquire()


_jobs: "queue.PriorityQueue[tuple[float, int, Job]]" = queue.PriorityQueue()
_count = itertools.count()
_thread: threading.Thread | None = None
_starting = threading.Lock()
_working = threading.Lock()  # held by the thread while it does more than to wait


def _work() -> None:
    while True:
        job = _jobs.get()[-1]
        with _working:
            job.run()
        del job  # what it has made belongs to others


def _start_anew() -> None:
    """A forked child has no thread, and leaves its jobs to its parent."""
    global _jobs, _thread, _starting, _working
    _jobs, _thread, _starting, _working = queue.PriorityQueue(), None, threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _working.acquire(), after_in_parent=lambda: _working.release(), after_in_child=_start_anew
    )
