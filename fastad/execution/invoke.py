"""Calling a kernel from Python with a single argument: ctypes spends its time on converting arguments.

A packet holds the kernel's address and its four arguments; one small native function, shared by all kernels,
takes the packet apart.
"""

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np

from fastad.execution import cache
from fastad.execution.objects import LoadedCode, compile_ir, load_object

_TEXT = """
define i64 @fastad_invoke(ptr %packet) {
  %f = load ptr, ptr %packet
  %p1 = getelementptr ptr, ptr %packet, i64 1
  %context = load ptr, ptr %p1
  %p2 = getelementptr ptr, ptr %packet, i64 2
  %in = load ptr, ptr %p2
  %p3 = getelementptr ptr, ptr %packet, i64 3
  %out = load ptr, ptr %p3
  %p4 = getelementptr ptr, ptr %packet, i64 4
  %work = load ptr, ptr %p4
  %code = call i64 %f(ptr %context, ptr %in, ptr %out, ptr %work)
  ret i64 %code
}
"""
_RELEASING = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_HOLDING = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


@lru_cache(maxsize=1)
def _loaded() -> LoadedCode:
    return load_object(cache.cached(("invoke", _TEXT), lambda: compile_ir(_TEXT)), ["fastad_invoke"])


@lru_cache(maxsize=2)
def invoker(release: bool) -> Any:
    """The ctypes function: `invoker(…)(packet_pointer)` runs the kernel of a packet and returns its code.

    With `release` other Python threads run meanwhile; for a kernel of a microsecond, handing the interpreter's lock
    over and waiting to get it back would take longer than the kernel.
    """
    return (_RELEASING if release else _HOLDING)(_loaded()["fastad_invoke"])


def packet(address: int, context: int, vector_in: np.ndarray, vector_out: np.ndarray, work: np.ndarray) -> np.ndarray:
    """The packet for a kernel on these vectors; it and the vectors must outlive the calls."""
    vectors = (vector_in.ctypes.data, vector_out.ctypes.data, work.ctypes.data)
    return np.array([address, context or 0, *vectors], np.int64)
