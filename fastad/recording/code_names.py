"""Which names code reads from outside: globals, attributes and imported modules."""

import dis
import functools
import re
import sys
import types
import weakref
from typing import Any, NamedTuple

import numpy as np

# Instructions that read globals. The index of the name is their argument without this many low bits.
_LOADS = (("LOAD_GLOBAL", 1), ("LOAD_NAME", 0))
# Functions that read a global, and an attribute, whose name is in a text.
_EVALUATE, _ASK = frozenset(["eval", "exec", "globals", "vars"]), frozenset(["getattr", "hasattr", "vars"])
_LAYOUT = frozenset(["base", "dtype", "flags", "strides"])
_ENVIRONMENT = frozenset(["environ", "getenv"])
_WORD = re.compile(r"[^\W\d]\w*")


class Names(NamedTuple):
    """What code reads from outside: globals, attributes, imported modules (level of a relative import, name), and
    attributes that it asks for by text, which a module may not have."""

    globals: tuple[str, ...]
    attributes: frozenset[str]
    imports: tuple[tuple[int, str], ...]
    asked: frozenset[str]
    has_layouts: bool  # whether it looks at what can be set of an array, apart from its shape
    has_environment: bool


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> Names:
    """The names in the code and in the functions defined inside it."""
    names, imports, attributes, asked = _globals(code), _imports(code), set(code.co_names), set[str]()
    texts = {word for text in code.co_consts if isinstance(text, str) for word in _WORD.findall(text)}
    if not _EVALUATE.isdisjoint(names):
        names |= texts
    if not _ASK.isdisjoint(names):
        asked |= texts
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = names_in(constant)
            names.update(inner.globals)
            attributes.update(inner.attributes)
            imports.update(inner.imports)
            asked.update(inner.asked)
    attributes |= asked
    flags = not _LAYOUT.isdisjoint(attributes), not _ENVIRONMENT.isdisjoint(attributes)
    return Names(tuple(sorted(names)), frozenset(attributes), tuple(sorted(imports)), frozenset(asked), *flags)


def _globals(code: types.CodeType) -> set[str]:
    """Names that the code reads as globals. `dis` would take as long as recording: it makes about 40 objects a line."""
    ops = np.frombuffer(code.co_code, np.uint8)
    ops, low = ops[::2], ops[1::2].astype(np.int64)
    found: set[str] = set()
    for name, shift in _LOADS:
        at = np.flatnonzero(ops == dis.opmap[name])
        argument = low[at]
        for digit in (1, 2, 3):  # higher bytes stand before it, each in an EXTENDED_ARG instruction
            at = at - 1
            extended = (at >= 0) & (ops[at] == dis.EXTENDED_ARG)
            argument = argument + np.where(extended, low[at] << 8 * digit, 0)
            at = np.where(extended, at, 0)
        found.update(code.co_names[i] for i in set((argument >> shift).tolist()))
    return found


def _imports(code: types.CodeType) -> set[tuple[int, str]]:
    if dis.opmap["IMPORT_NAME"] not in code.co_code[::2]:
        return set()
    found: set[tuple[int, str]] = set()
    before: list[Any] = [None, None]  # arguments of the last two instructions: the import's level and its names
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            found.add((before[0] if isinstance(before[0], int) else 0, instruction.argval))
        before = [before[1], instruction.argval]
    return found


def absolute_name(level: int, name: str, namespace: dict[str, Any]) -> str:
    """The full name of an imported module."""
    if not level:
        return name
    package = (namespace.get("__package__") or "").rsplit(".", level - 1)[0]
    return f"{package}.{name}" if name else package


@functools.lru_cache(maxsize=4096)
def file_of(kind: type) -> str:
    module = sys.modules.get(kind.__module__)
    return getattr(module, "__file__", None) or ("<builtin>" if kind.__module__ != "__main__" else "")


def code_now(function: Any) -> types.CodeType | None:
    """The code of a function, or of what a weak reference refers to."""
    function = function() if type(function) is weakref.ref else function
    return None if function is None else function.__code__
