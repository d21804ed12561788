"""What takes long says so, while it does: one who waits should know for what, and for how long already.

A bar of tqdm's where it is installed, otherwise one line. Terminals and notebooks get it; nothing is written where the
standard error is a pipe or a file, or with FASTAD_QUIET=1.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SECONDS = 2.0  # from which work is long
REFRESH = 0.5  # seconds
_LAYOUT = "fastad [{elapsed}]: {desc}"  # a narrow terminal cuts its end


@dataclass(eq=False)
class _Work:
    what: Callable[[], str]
    begun: float
    is_told: bool = False
    bar: Any = None


_works: list[_Work] = []  # of all threads, those that began first first
_lock = threading.Lock()
_watcher: threading.Thread | None = None


@contextlib.contextmanager
def waiting(what: Callable[[], str]) -> Iterator[None]:
    """Tell the user of the work within once it is long, and when Ctrl-C ends it. `what()` says what it is; another
    thread calls it."""
    try:
        with _shown(what) if _is_shown() else contextlib.nullcontext():
            yield
    except KeyboardInterrupt as error:
        if not error.args:  # else it says already where it was
            error.args = (f"stopped while {what()}",)
        if _has_lines(error):
            raise
        raise KeyboardInterrupt(*error.args) from None


def _has_lines(error: BaseException) -> bool:
    """Whether all frames know their line. Python gives none to some instructions, and IPython fails at these."""
    step = error.__traceback__
    while step is not None:
        if step.tb_lineno is None:
            return False
        step = step.tb_next
    return True


@contextlib.contextmanager
def _shown(what: Callable[[], str]) -> Iterator[None]:
    work = _Work(what, time.monotonic())
    _begin(work)
    try:
        yield
    finally:
        with _lock:
            if work in _works:  # not in a process that was forked meanwhile
                _works.remove(work)
                if work.bar is not None:
                    _end(work)


def _is_shown() -> bool:
    if os.environ.get("FASTAD_QUIET", "") not in ("", "0"):
        return False
    stream = sys.stderr
    try:
        return stream.isatty() or type(stream).__module__.startswith("ipykernel.")
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
    with _lock:  # also while writing, so that no work ends between
        for work in _works:
            if work.bar is not None:
                _refresh(work)
            elif not work.is_told and work.begun + SECONDS <= now:
                _show(work)
        waits = [work.begun + SECONDS - now for work in _works if not work.is_told]
        if any(work.bar is not None for work in _works):
            waits.append(min(REFRESH, SECONDS))  # work that begins meanwhile is told of in time
        if not waits:
            _watcher = None
    return min(waits, default=None)


def _show(work: _Work) -> None:
    work.is_told = True
    with contextlib.suppress(AttributeError, OSError, ValueError):  # a stream that is gone meanwhile
        try:
            from tqdm import tqdm
        except ImportError:
            sys.stderr.write(f"fastad: {work.what()}\n")
            sys.stderr.flush()
        else:
            columns, rows = shutil.get_terminal_size()  # tqdm shows nothing where a terminal does not know its size
            work.bar = tqdm(desc=work.what(), file=sys.stderr, ncols=columns, nrows=rows, bar_format=_LAYOUT)
            work.bar.start_t -= time.monotonic() - work.begun
            _refresh(work)


def _refresh(work: _Work) -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        work.bar.set_description_str(work.what())


def _end(work: _Work) -> None:
    _refresh(work)
    with contextlib.suppress(AttributeError, OSError, ValueError):
        work.bar.close()


def _forget() -> None:
    """Threads do not live on in a forked process."""
    global _lock, _watcher
    _lock, _watcher = threading.Lock(), None
    _works.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
