"""Which code belongs to libraries: the standard library, installed packages, and fastad itself."""

import os
from types import CodeType
from typing import Any

from fastad.recording.source import PACKAGES, is_library, is_ours

# Known code objects by identity, because hashing one takes time in proportion to its length; `_kept` keeps them alive.
_known: dict[int, bool] = {}
_kept: list[CodeType] = []


# Installed packages of which a function has been transformed: their code counts as the user's own.
_claimed: set[str] = set()


def in_library(code: CodeType) -> bool:
    """Whether a function of a library has this code."""
    found = _known.get(id(code))
    if found is None:
        file = code.co_filename
        found = _known[id(code)] = is_ours(code) or (is_library(file) and not file.startswith(tuple(_claimed)))
        _kept.append(code)
    return found


def claim(function: Any) -> None:
    """Count the installed package of a function that is to be recorded as the user's own code."""
    method = function if hasattr(function, "__code__") else getattr(function, "__func__", type(function).__call__)
    code = getattr(method, "__code__", None)
    if not isinstance(code, CodeType) or is_ours(code):
        return
    file = code.co_filename
    found = PACKAGES.search(file)
    if found is not None:
        root = file[: found.end()] + file[found.end() :].partition(os.sep)[0]
        if root not in _claimed:
            _claimed.add(root)
            _known.clear()
