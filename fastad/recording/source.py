"""Which line of the user's source a row comes from: the innermost frame outside fastad, NumPy, SciPy and optree."""

import dataclasses
import dis
import functools
import os
import re
import sys
import sysconfig
import warnings
from abc import ABCMeta
from bisect import bisect_right
from itertools import repeat
from types import CodeType, FrameType
from typing import Any

import numpy as np

from fastad.tables.columns import Line

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_KERNELS = os.path.join(os.path.dirname(_HERE), "kernels")
_SKIPPED = tuple(
    os.path.join(folder, "")
    for folder in (
        _HERE, _KERNELS, os.path.dirname(np.__file__), os.path.join(os.path.dirname(np.__file__), os.pardir, "scipy"),
        os.path.join(os.path.dirname(np.__file__), os.pardir, "optree"),
    )
)  # fmt: skip
_SKIP = tuple(os.path.normpath(folder) + os.sep for folder in _SKIPPED)
_SCIPY = os.path.normpath(_SKIPPED[3]) + os.sep
# SciPy's sparse matrices leave a product to __rmatmul__ of what NumPy makes no array of, but a single object.
SCIPY_PRODUCT = "_matmul_dispatch"
_FOLDERS = {sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")}
_LIBRARIES = tuple(os.path.join(folder, "") for folder in (*_FOLDERS, _HERE))
# A virtual environment may also use the packages of another environment or of the system.
PACKAGES = re.compile(r"[/\\](site|dist)-packages[/\\]")
# Code that has no file: what NumPy and attrs have written. That of dataclasses has the name that `exec` and `python -c`
# give to the user's own, but stands in a function of theirs.
_WRITTEN, _OF_DATACLASSES = ("<__array", "<attrs generated"), "__create_fn__"

# Known code objects. User code: the first instruction of each line, and the lines (`frame.f_lineno` would walk through
# all of them at every row). None: code of fastad and the libraries. The key is the identity of the code object, because
# hashing it takes time in proportion to its length; `_kept` keeps the objects alive.
_Lines = tuple[list[int], list[Line]]
_codes: dict[int, _Lines | None] = {}
_kept: list[CodeType] = []
_UNKNOWN: Any = object()
_NOWHERE = Line("", 0, "")
# Runs between isinstance(x, numbers.Real) and x.
_BINARY, _REMAINDERS = dis.opmap["BINARY_OP"], (6, 19)  # NB_REMAINDER, NB_INPLACE_REMAINDER of Python's opcode.h
_ABSTRACT = getattr(ABCMeta.__instancecheck__, "__code__", None)


def user_line(depth: int = 1) -> Line:
    """The line of user code that is running now. The innermost `depth` frames are known to be fastad's."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        known = _codes.get(id(code), _UNKNOWN)
        if known is _UNKNOWN:
            known = _learn(code)
        if known is not None:
            starts, lines = known
            return lines[bisect_right(starts, frame.f_lasti) - 1]
        frame = frame.f_back
    return _NOWHERE


def _learn(code: CodeType) -> _Lines | None:
    file = code.co_filename
    written = file.startswith(_WRITTEN) or (file == "<string>" and _OF_DATACLASSES in code.co_qualname)
    ours = written or file.startswith(_SKIP) or file == dataclasses.__file__
    found = _codes[id(code)] = None if ours else _lines_of(code)
    _kept.append(code)
    return found


def _lines_of(code: CodeType) -> _Lines:
    starts: list[int] = []
    numbers: list[int] = []
    last: int | None = -1
    for start, _, number in code.co_lines():
        if number != last:
            starts.append(start)
            numbers.append(number or code.co_firstlineno)
            last = number
    parts = zip(repeat(code.co_filename), numbers, repeat(code.co_qualname), repeat(""))
    return starts, list(map(Line._make, parts))


def innermost_user_line(error: BaseException) -> Line:
    """The line of user code in which an exception arose."""
    found = _NOWHERE
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if not is_ours(code):
            found = Line(code.co_filename, step.tb_lineno, code.co_qualname)
        step = step.tb_next
    return found


def is_ours(code: CodeType) -> bool:
    """Whether the code belongs to fastad, NumPy, SciPy or optree rather than to the user."""
    known = _codes.get(id(code), _UNKNOWN)
    return (_learn(code) if known is _UNKNOWN else known) is None


@functools.lru_cache(maxsize=4096)
def is_library(file: str) -> bool:
    """Whether a source file belongs to a library: the standard library, installed packages, and fastad itself."""
    return file.startswith(_LIBRARIES) or file.startswith("<builtin") or PACKAGES.search(file) is not None


def warn(text: str, category: type[Warning] = RuntimeWarning) -> None:
    """A warning at the user's line that called fastad."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and is_ours(frame.f_code):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def asked_by_user() -> bool:
    """Whether the user's code asks the caller of this function for something, by isinstance or not."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code is _ABSTRACT:
        frame = frame.f_back
    return frame is not None and not is_ours(frame.f_code)


def from_scipy() -> str | None:
    """The name of the SciPy function that the user's code has called, if it is running one now."""
    frame: FrameType | None = sys._getframe(1)
    inner = None
    while frame is not None and is_ours(frame.f_code):
        if frame.f_code.co_filename.startswith(_SCIPY):
            inner = _scipy_name(frame) or inner or "a function of SciPy"
        frame = frame.f_back
    return inner


def _scipy_name(frame: FrameType) -> str | None:
    """The full name of the function that a frame of SciPy runs; of a decorator's wrapper that of what it calls, `f`."""
    wrapped: Any = frame.f_locals.get("f")
    path, name = frame.f_globals["__name__"], frame.f_code.co_qualname
    if path.startswith("scipy._lib") and hasattr(wrapped, "__qualname__"):
        path, name = str(wrapped.__module__), wrapped.__qualname__
    module = path.partition("._")[0]
    return f"{module}.{name}" if module != "scipy" else None


def asked_by_scipy(function: str) -> bool:
    """Whether this function of SciPy asks for something, directly or through NumPy's stand-ins."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == function and frame.f_code.co_filename.startswith(_SCIPY)


def asked_by_remainder() -> bool:
    """Whether the caller of this function was called by the operator %, of a text that is formatted: other operands on
    its left ask no recorded value for a plain number."""
    frame = sys._getframe(2)
    operation, which = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return operation == _BINARY and which in _REMAINDERS


def at_line() -> str:
    """ " (at FILE:LINE …)" for an error message: the user's line that is running, with that of another library which it
    has called. Empty if there is none."""
    line = user_line()
    if not line.number:
        return ""
    caller = _caller_of_libraries() if is_library(line.file) else _NOWHERE
    return f" (at {caller}, which has called {line})" if caller.number else f" (at {line})"


def calling_library() -> str:
    """The name of the library, other than NumPy and SciPy, whose code is running now; empty if it is the user's."""
    line = user_line()
    found = PACKAGES.search(line.file)
    return re.split(r"[/\\.]", line.file[found.end() :])[0] if found else ""


def _caller_of_libraries() -> Line:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (is_ours(frame.f_code) or is_library(frame.f_code.co_filename)):
        frame = frame.f_back
    return _NOWHERE if frame is None else Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
