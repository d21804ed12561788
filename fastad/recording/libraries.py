"""Which code belongs to libraries: the standard library, installed packages, and fastad itself."""

import os
import re
import sysconfig
from types import CodeType

from fastad.recording.source import is_ours

_FOLDERS = {sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")}
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARIES = tuple(os.path.join(folder, "") for folder in (*_FOLDERS, _OWN))
# A virtual environment may also use the packages of another environment or of the system.
_PACKAGES = re.compile(r"[/\\](site|dist)-packages[/\\]")

# Known code objects by identity, because hashing one takes time in proportion to its length; `_kept` keeps them alive.
_known: dict[int, bool] = {}
_kept: list[CodeType] = []


def is_library(file: str) -> bool:
    """Whether a source file belongs to a library."""
    return file.startswith(_LIBRARIES) or file.startswith("<builtin") or _PACKAGES.search(file) is not None


def in_library(code: CodeType) -> bool:
    """Whether a function of a library has this code."""
    found = _known.get(id(code))
    if found is None:
        found = _known[id(code)] = is_ours(code) or is_library(code.co_filename)
        _kept.append(code)
    return found
