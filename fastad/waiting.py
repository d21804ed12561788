"""A line on the terminal for what takes long, while it does: one who waits should know for what.

Nothing is written where the standard error is no terminal (a pipe, a file, a notebook), or with FASTAD_QUIET=1.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SECONDS = 2.0  # from which work is long


@dataclass(eq=False)
class _Work:
    what: Callable[[], str]
    deadline: float
    is_told: bool = False


_works: list[_Work] = []  # of all threads, those that began first first
_lock = threading.Lock()
_watcher: threading.Thread | None = None


@contextlib.contextmanager
def waiting(what: Callable[[], str]) -> Iterator[None]:
    """Tell the user of the work within once it is long. `what()` says what it is; another thread calls it."""
    if not _is_shown():
        yield
        return
    work = _Work(what, time.monotonic() + SECONDS)
    _begin(work)
    try:
        yield
    finally:
        with _lock:
            if work in _works:  # not in a process that was forked meanwhile
                _works.remove(work)


def _is_shown() -> bool:
    try:
        return os.environ.get("FASTAD_QUIET", "") in ("", "0") and sys.stderr.isatty()
    except (AttributeError, ValueError):  # no stream, or a closed one
        return False


def _begin(work: _Work) -> None:
    global _watcher
    with _lock:
        _works.append(work)
        # A thread lives until the work is done or told, so that many short pieces of work one after another share it.
        if _watcher is None:
            watcher = threading.Thread(target=_watch, name="fastad-waiting", daemon=True)
            with contextlib.suppress(RuntimeError):  # the system refuses a thread, or Python ends
                watcher.start()
                _watcher = watcher


def _watch() -> None:
    while (wait := _tell()) is not None:
        time.sleep(wait)


def _tell() -> float | None:
    """Tell of all work that has become long. Seconds until there may be more to tell; None: the thread may end."""
    global _watcher
    now = time.monotonic()
    with _lock:
        late = [work for work in _works if not work.is_told and work.deadline <= now]
        for work in late:
            work.is_told = True
        rest = [work.deadline for work in _works if not work.is_told]
        if not rest:
            _watcher = None
    for work in late:
        _print(work.what())
    return min(rest) - now if rest else None


def _print(text: str) -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"fastad: {text}\n")
        sys.stderr.flush()


def _forget() -> None:
    """Threads do not live on in a forked process."""
    global _lock, _watcher
    _lock, _watcher = threading.Lock(), None
    _works.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
