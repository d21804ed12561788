"""Loops called outside of any recording: each becomes a recorded function, which is kept for the next call."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import update_wrapper
from types import MethodType
from typing import Any

from fastad.transforms.base import Transformed
from fastad.transforms.derivatives import Jit

_REMEMBERED = 64
_loops: OrderedDict[Any, Transformed] = OrderedDict()
_lock = threading.Lock()


def recorded_loop(functions: Sequence[Any], options: Any, run: Callable[..., Any]) -> Transformed:
    """`run` as a recorded function: that of an earlier call, if there was one with the same functions and options.

    Functions are compared by identity, because equal objects may compute different things. `run` refers to them, so
    they live as long as their identities are in use. Messages name the first function and its line.
    """
    key = (*[f if isinstance(f, MethodType) else id(f) for f in functions], options)
    with _lock:
        found = _loops[key] = _loops.get(key) or Jit(update_wrapper(run, functions[0], updated=()))
        _loops.move_to_end(key)
        while len(_loops) > _REMEMBERED:
            _loops.popitem(last=False)
    return found
