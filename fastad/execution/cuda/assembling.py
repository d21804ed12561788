"""Several modules of IR text as one: the kernels of a program and of all that it calls.

Emission writes one module for each kernel, and all have a function `kernel`. Here what a module defines gets names of
its own, declarations of what others define go, and what nobody defines is asked for by name.
"""

import re
from collections.abc import Callable

_NAME = re.compile(r"@([\w.$]+)")
_REMARK = re.compile(r"!(\d+)\b")
_DEFINED = re.compile(r"^(?:define [^@\n]*|)@([\w.$]+)(?: = (?!external)|\()", re.MULTILINE)
_OUTSIDE = re.compile(r"^(?:declare [^@\n]*@([\w.$]+)\(.*|@([\w.$]+) = external .*)$", re.MULTILINE)


def defined_in(text: str) -> list[str]:
    """The names that a module defines."""
    return _DEFINED.findall(text)


def outside_of(text: str) -> list[str]:
    """The names that a module declares and leaves to others."""
    return [found[1] or found[2] for found in _OUTSIDE.finditer(text)]


class Assembly:
    """Text of modules: `add` them, `complete` them, then ask for the text."""

    def __init__(self) -> None:
        self._bodies: list[str] = []
        self.outside: dict[str, str] = {}  # declarations, by name
        self._defined: set[str] = set()
        self._remarks = 0

    def add(self, text: str, prefix: str = "", names: dict[str, str] | None = None) -> None:
        """A module. What it defines gets the prefix; `names` are new names for others."""
        known = {name: prefix + name for name in defined_in(text)} | (names or {})
        text = _NAME.sub(lambda found: f"@{known.get(found[1], found[1])}", text)
        text = self._with_own_remarks(text)
        for found in _OUTSIDE.finditer(text):
            self.outside.setdefault(found[1] or found[2], found[0])
        self._defined.update(defined_in(text))
        self._bodies.append(_OUTSIDE.sub("", text))

    def _with_own_remarks(self, text: str) -> str:
        """With numbers for its metadata that no other module has."""
        start = self._remarks
        numbers = {int(found) for found in _REMARK.findall(text)}
        self._remarks += max(numbers, default=-1) + 1
        return _REMARK.sub(lambda found: f"!{start + int(found[1])}", text) if start else text

    @property
    def missing(self) -> list[str]:
        """Names that modules use and none defines, LLVM's own left out."""
        return [name for name in self.outside if name not in self._defined and not name.startswith("llvm.")]

    def complete(self, define: Callable[[str], str | None]) -> None:
        """Add modules for what is missing, and for what these lack: `define(name)` gives the text of one that defines a
        name; None: it is known elsewhere."""
        seen: set[str] = set()
        while waiting := [name for name in self.missing if name not in seen]:
            for name in waiting:
                seen.add(name)
                if (found := define(name)) is not None:
                    self.add(found, f"{name}.", {name: name})

    def renamed(self, names: dict[str, str], more: str = "", elsewhere: str = "") -> str:
        """The text of all, with other names for what no module defines, and one more module, in which some of these new
        names are defined, or `elsewhere`."""
        new = defined_in(more + elsewhere)
        known = self._defined.union(symbol for symbol in names if names[symbol] in new)
        lines = [line for name, line in self.outside.items() if name not in known]
        return _renamed("\n".join([*lines, *self._bodies]) + "\n", names) + more


def _renamed(text: str, names: dict[str, str]) -> str:
    return _NAME.sub(lambda found: f"@{names.get(found[1], found[1])}", text) if names else text
