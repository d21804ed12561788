"""Comparisons of what functions read from outside, as straight-line Python.

They run at every call of a function that is kept, so they must take little time: what a list of places and a loop take
0.1 µs for, takes 0.01 µs as code. Globals are read as the user's function reads them, by name, which Python does faster
than any access to a dict; so the code's own names start with a prefix.
"""

import builtins
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from keyword import iskeyword
from types import CellType
from typing import Any

from fastad.recording.identity import same_elements, same_items
from fastad.recording.walk import MISSING, Walk

_PREFIX = "_fastad_"
_MOST = 64  # tests: for more, a loop is as good


class _Code:
    """Tests under construction. Each is true if something has changed."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace  # whose names the code reads as globals
        self.values: list[Any] = []
        self.tests: dict[str, None] = {}  # in order, each of them once
        self._names: dict[int, str] = {}

    def add(self, text: str, *values: Any) -> None:
        """A test, with values in the places of {}."""
        self.tests[text.format(*map(self._name, values))] = None

    def _name(self, value: Any) -> str:
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = f"{_PREFIX}{len(self.values)}"
            self.values.append(value)
        return name

    def place(self, holder: Any, name: Any, value: Any) -> None:
        """Whether something else is in a place."""
        if holder is self.namespace and _is_word(name) and value is not MISSING:
            self.add(f"{name} is not {{}}", value)
        elif isinstance(holder, Mapping):
            self.add("{} in {}" if value is MISSING else "{1}[{0}] is not {2}", name, holder, value)
        elif isinstance(holder, CellType):
            self.add("{}.cell_contents is not {}", holder, value)
        elif isinstance(holder, ContextVar):
            self.add("{}.get({}) is not {}", holder, name, value)
        else:
            self.add(f"{{}}.{name} is not {{}}", holder, value)

    def builtin(self, holder: dict[str, Any], name: str, value: Any) -> None:
        """Whether something stands before a builtin, or in its place."""
        if holder is self.namespace and _is_word(name):
            self.add(f"{name} is not {{}}", value)
        else:
            self.place(holder, name, MISSING)
            self.place(vars(builtins), name, value)

    def function(self) -> Callable[[], bool]:
        """Whether any of the tests is true."""
        if not self.tests:
            return bool
        errors = self._name((AttributeError, KeyError, NameError, ValueError))
        names = ", ".join(f"{_PREFIX}{k}" for k in range(len(self.values)))
        lines = [
            f"def {_PREFIX}make({names}):", f"    def {_PREFIX}changed():", "        try:",
            f"            return {' or '.join(self.tests)}", f"        except {errors}:", "            return True",
            f"    return {_PREFIX}changed",
        ]  # fmt: skip
        made: dict[str, Any] = {}
        exec(compile("\n".join(lines), f"{__file__}<changed>", "exec"), self.namespace, made)  # no line of the user's
        found: Callable[[], bool] = made[f"{_PREFIX}make"](*self.values)
        return found


def comparison(walk: Walk, places: Iterable[tuple[Any, Any, Any]]) -> Callable[[], bool] | None:
    """A function that says whether what a walk has found, and these places, have changed. None where it would be long,
    or has to be walked again to be compared."""
    places = list(places)
    if walk.must_be_walked or any(value is MISSING and not isinstance(holder, Mapping) for holder, _, value in places):
        return None
    spaces = [x for x, *_ in (*places, *walk.builtins) if type(x) is dict and "__builtins__" in x]
    main = Counter(map(id, spaces)).most_common(1)
    code = _Code(next((x for x in spaces if id(x) == main[0][0]), {}))
    for place in places:
        code.place(*place)
    for place in walk.builtins:
        code.builtin(*place)
    for function, own in walk.codes:
        code.add("{}().__code__ is not {}" if type(function) is weakref.ref else "{}.__code__ is not {}", function, own)
    for value, kind in walk.kinds:
        code.add("{}({}) is not {}", type, value, kind)
    for names, count in walk.classes:
        code.add("{}({}) != {}", len, names, count)
    for a, shape in walk.shapes:
        code.add("{}.shape != {}", a, shape)
    for x, values in walk.lists:
        code.add("not {}({}, {})", same_elements, x, values)
    for x, keys, values in walk.dicts:
        code.add("not {}({}, {}, {})", same_items, x, keys, values)
    if walk.layouts:
        code.add("not {}()", walk.has_same_layouts)
    return code.function() if len(code.tests) <= _MOST else None


def _is_word(name: Any) -> bool:
    if type(name) is not str or not name.isascii() or not name.isidentifier():
        return False
    return not iskeyword(name) and not name.startswith(_PREFIX)
