"""Loops that are called where nothing is recorded: each is a recorded function, kept for its next call."""

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
    """`run` as a recorded function: the one of the last call with the same functions and options.

    Functions are told apart by identity, as what they compute may differ where they are equal; `run` refers to them, so
    that none of them goes while its identity is remembered. In messages it has the name and line of the first one.
    """
    key = (*[f if isinstance(f, MethodType) else id(f) for f in functions], options)
    with _lock:
        found = _loops[key] = _loops.get(key) or Jit(update_wrapper(run, functions[0], updated=()))
        _loops.move_to_end(key)
        while len(_loops) > _REMEMBERED:
            _loops.popitem(last=False)
    return found
