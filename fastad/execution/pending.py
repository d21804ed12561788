"""Exceptions of Python code that a kernel calls. They cannot pass through it: they are kept for its caller."""

import threading


class _Pending(threading.local):
    error: BaseException | None = None


_pending = _Pending()


def keep_error(error: BaseException) -> None:
    """Keep an exception for whoever called the kernel in this thread."""
    _pending.error = error


def pending_error() -> BaseException | None:
    """The exception that was kept in this thread, once."""
    error, _pending.error = _pending.error, None
    return error
