"""Locks that a forked child finds open: the threads that held them do not live on there, and would never let go.

What such a lock protects must be whole whenever the thread that holds it is stopped: it is made aside, and put in place
by one assignment.
"""

import os
import threading
import weakref
from typing import Any

_locks: "weakref.WeakSet[Any]" = weakref.WeakSet()


def lock() -> Any:
    """A reentrant lock. After a fork it is still held in the child if the thread that forked holds it, else open."""
    made = threading.RLock()
    _locks.add(made)
    return made


def _open() -> None:
    for held in list(_locks):
        if not held._is_owned():
            held._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open)
