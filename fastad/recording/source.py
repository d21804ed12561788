"""Where in the user's source a row comes from: the innermost frame outside fastad, NumPy and its relatives."""

import os
import sys
from bisect import bisect_right
from functools import lru_cache
from types import CodeType, FrameType

import numpy as np

from fastad.tables.table import Line

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
# By identity of the code object (which is kept alive): hashing one takes as long as its function is.
_inside: dict[int, tuple[CodeType, bool]] = {}
_lines: dict[tuple[int, int], Line] = {}


def user_line(depth: int = 1) -> Line:
    """The line of user code that is running now; the innermost `depth` frames are known to be ours."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        known = _inside.get(id(code))
        if not (is_ours(code) if known is None else known[1]):
            key = (id(code), frame.f_lasti)
            line = _lines.get(key)
            if line is None:
                line = _lines[key] = Line(code.co_filename, _number(code, frame.f_lasti), code.co_qualname)
            return line
        frame = frame.f_back
    return Line("", 0, "")


@lru_cache(maxsize=256)
def _line_table(code_id: int) -> tuple[list[int], list[int | None]]:
    """Offsets of instructions, and the line that begins at each: `frame.f_lineno` would walk through all of them."""
    rows = list(_inside[code_id][0].co_lines())
    return [start for start, _, _ in rows], [line for _, _, line in rows]


def _number(code: CodeType, instruction: int) -> int:
    starts, numbers = _line_table(id(code))
    return numbers[bisect_right(starts, instruction) - 1] or code.co_firstlineno


def innermost_user_line(error: BaseException) -> Line:
    """The line of user code in which an exception arose."""
    found = Line("", 0, "")
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if not is_ours(code):
            found = Line(code.co_filename, step.tb_lineno, code.co_qualname)
        step = step.tb_next
    return found


def is_ours(code: CodeType) -> bool:
    """Whether the code belongs to fastad or a library that it serves, not to the user."""
    known = _inside.get(id(code))
    if known is None:
        file = code.co_filename
        known = _inside[id(code)] = (code, file.startswith(_SKIP) or file.startswith("<__array"))
    return known[1]


def from_scipy() -> str | None:
    """The name of the function of SciPy that the user's code is in, if it is in one."""
    frame: FrameType | None = sys._getframe(1)
    inner = None
    while frame is not None and is_ours(frame.f_code):
        if frame.f_code.co_filename.startswith(_SCIPY):
            module = frame.f_globals["__name__"].partition("._")[0]
            inner = f"{module}.{frame.f_code.co_qualname}" if module != "scipy" else inner or "a function of SciPy"
        frame = frame.f_back
    return inner


def at_line() -> str:
    """Where we are, for an error message."""
    line = user_line()
    return f" (at {line})" if line.number else ""
