"""What a function reads from outside its arguments, so that a replay never uses a stale value.

Three kinds of values are read:
- numbers in closures, globals, attributes and containers: their values are part of the recording's key;
- arrays: their identities are part of the key, and their elements are read again at every replay;
- settings that operators read while they are recorded (`fastad.recording.settings`): their choices are part of the key.

`OutsideState` walks from the function to everything that its code can reach: cells, globals, defaults, attributes,
elements of containers, and the functions that it calls. It makes the key, collects the arrays, and lists the places
that it read. Comparing these places later is much faster than walking again.
"""

import builtins
import dis
import functools
import marshal
import sys
import types
from array import array
from collections import deque
from collections.abc import Hashable, Iterable
from contextvars import ContextVar
from copy import copy
from operator import is_
from typing import Any

import numpy as np

from fastad.recording.libraries import is_library
from fastad.recording.settings import Setting
from fastad.recording.standins import as_bound

_EXACT = frozenset({int, str, bytes, bool, type(None)})
_MARSHALLED = frozenset({int, float, complex, str, bytes, bool, type(None)})
_LONG = 64  # containers of plain values with at least this many elements are converted to bytes at once
_BUDGET = 100_000  # most objects that one walk visits; further ones enter the key by identity only
_MISSING = object()
# Instructions that read globals. The index of the name is their argument without this many low bits.
_LOADS = (("LOAD_GLOBAL", 1), ("LOAD_NAME", 0))


class OutsideState:
    """What functions (`roots`) can read from outside their arguments, at one moment.

    `key` stands for all of it, `arrays` are the arrays found. `held` holds every object that is in the key by its
    address: it must live as long as the key, because Python uses addresses again.
    """

    def __init__(self, roots: Iterable[Any], settings: Iterable[Setting] = ()) -> None:
        self.arrays: list[np.ndarray] = []
        self.held: list[Any] = []
        self._places: list[tuple[Any, Any, Any]] = []
        self._lists: list[tuple[Any, tuple[Any, ...]]] = []
        self._dicts: list[tuple[dict[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self._shapes: list[tuple[np.ndarray, Any]] = []
        self._numbers: dict[Any, int] = {}
        self._mutable = False  # whether something was found that only another walk can compare
        self._outside: Hashable = tuple([self._of(root) for root in roots])
        del self._numbers
        self._set(settings)

    @property
    def places(self) -> list[tuple[Any, Any, Any]] | None:
        """(cell, None, value) or (namespace, name, value) for everything that was read. None where comparing these by
        identity is not enough to see a change."""
        return None if self._mutable or self._lists or self._dicts or self._shapes else self._places

    @property
    def bindings(self) -> list[tuple[Any, Any, Any]]:
        """(cell, None, value) or (namespace, name, value) for everything that was read by a name."""
        return self._places

    @property
    def held_values(self) -> list[tuple[Any, Any, Any]]:
        """`bindings`, and (dict, key, value) or (list, index, value) for everything in these."""
        items = [(x, key, value) for x, keys, values in self._dicts for key, value in zip(keys, values, strict=True)]
        return [*self._places, *items, *((x, i, value) for x, values in self._lists for i, value in enumerate(values))]

    @property
    def has_values(self) -> bool:
        """Whether anything other than modules and functions was read."""
        code = types.ModuleType | types.FunctionType
        return self.places is None or any(not isinstance(value, code) for *_, value in self.places)

    def unchanged(self) -> bool:
        """Whether a new walk would give the same key. False may also mean that only a walk can tell."""
        if self._mutable:
            return False
        for holder, name, value in self._places:
            if _read(holder, name) is not value:
                return False
        for a, shape in self._shapes:
            if a.shape != shape:
                return False
        return not (self._lists or self._dicts) or self._same_containers()

    def _same_containers(self) -> bool:
        return all(len(x) == len(old) and all(map(is_, x, old)) for x, old in self._lists) and all(
            len(x) == len(keys) and all(map(is_, x, keys)) and all(map(is_, x.values(), values))
            for x, keys, values in self._dicts
        )

    # ── settings ─────────────────────────────────────────────────────────────────────────────────────────────
    def _set(self, settings: Iterable[Setting]) -> None:
        """Add the current choices of these settings. They are compared like other places."""
        self.settings = tuple([(s.variable, s.default, s.now) for s in settings])
        self._places = [place for place in self._places if not isinstance(place[0], ContextVar)]
        self._places += self.settings
        self.key: Hashable = (self._outside, *[choice for *_, choice in self.settings])

    def with_settings(self, settings: Iterable[Setting]) -> "OutsideState":
        """A copy with the current choices of these settings."""
        found = copy(self)
        found._set(settings)
        return found

    def same_settings(self) -> bool:
        """Whether the settings have the same choices now, in the calling thread."""
        return all(_read(variable, default) is choice for variable, default, choice in self.settings)

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────
    def _of(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in _EXACT:
            return (kind, value)
        if kind is float or kind is complex:
            return (kind, repr(value))
        if isinstance(value, np.generic):
            return (kind, value.tobytes())
        number = self._numbers.get(id(value))
        if number is not None:
            return ("again", number)
        self._numbers[id(value)] = len(self._numbers)
        if len(self._numbers) > _BUDGET:
            return self._identity(value)
        return self._of_new(value, kind)

    def _of_new(self, value: Any, kind: type) -> Hashable:
        if isinstance(value, np.ndarray):
            return self._of_array(value)
        if isinstance(value, list | tuple | deque):
            return self._of_sequence(value, kind)
        if isinstance(value, dict):
            return (kind, *self._of_dict(value))
        if isinstance(value, set | frozenset | array | bytearray | memoryview):
            self._mutable = self._mutable or kind is not frozenset
            return (kind, frozenset(value) if isinstance(value, set | frozenset) else bytes(value))
        if isinstance(value, slice | range | int | float | str | bytes):
            return (kind, repr(value))
        if str(kind.__module__).startswith("fastad."):  # str: for classes made by Cython it is a descriptor
            return (self._identity(value), *[self._of(x) for x in getattr(value, "_fastad_wraps", ())])
        if isinstance(value, functools.partial):
            return ("partial", self._of(value.func), self._of(value.args), self._of(value.keywords))
        if isinstance(value, types.MethodType):
            return ("method", self._of(value.__func__), self._of(value.__self__))
        if isinstance(value, types.FunctionType):
            return self._of_function(value)
        if isinstance(value, type):
            return self._of_class(value)
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType | np.ufunc):
            return self._identity(value)
        if hasattr(value, "__wrapped__"):
            return (self._identity(value), self._of(value.__wrapped__))
        return self._of_object(value, kind)

    def _identity(self, value: Any) -> Hashable:
        self.held.append(value)
        return ("id", id(value))

    def _of_array(self, value: np.ndarray) -> Hashable:
        self.held.append(value)
        if value.dtype == object:
            self._mutable = True
            return ("array", id(value), value.shape, tuple([self._of(x) for x in value.reshape(-1).tolist()]))
        self.arrays.append(value)
        self._shapes.append((value, value.shape))
        return ("array", id(value), value.shape, value.dtype.str)

    def _of_sequence(self, value: Any, kind: type) -> Hashable:
        if kind is not tuple:
            self._lists.append((value, tuple(value)))
        if len(value) >= _LONG and _MARSHALLED.issuperset(map(type, value)):
            return (kind, marshal.dumps(list(value), 2))
        return (kind, tuple([self._of(x) for x in value]))

    def _of_dict(self, value: dict[Any, Any]) -> tuple[Hashable, ...]:
        keys, values = tuple(value), tuple(value.values())
        self._dicts.append((value, keys, values))
        if len(keys) >= _LONG and _MARSHALLED.issuperset(map(type, (*keys, *values))):
            return (marshal.dumps((keys, values), 2),)
        return tuple([(self._of(k), self._of(v)) for k, v in zip(keys, values, strict=True)])

    def _of_object(self, value: Any, kind: type) -> Hashable:
        found: list[Hashable] = [self._identity(value), self._of(kind)]
        if isinstance(getattr(value, "__dict__", None), dict):
            found.append(self._of_dict(vars(value)))
        for base in kind.__mro__:
            for name in _slot_names(base):
                self._mutable = True
                found.append((name, self._of(getattr(value, name, _MISSING))))
        return tuple(found)

    def _of_class(self, value: type) -> Hashable:
        found: list[Hashable] = [self._identity(value)]
        for base in value.__mro__:
            if not is_library(_file_of(base)):
                for name, member in list(vars(base).items()):
                    if not name.startswith("__") or callable(member):
                        found.append((name, self._member(base, name, member)))
        return tuple(found)

    def _member(self, owner: type, name: str, member: Any) -> Hashable:
        self._places.append((vars(owner), name, member))
        if isinstance(member, property):
            return self._of(member.fget)
        if isinstance(member, staticmethod | classmethod):
            return self._of(member.__func__)
        return self._identity(member) if isinstance(member, types.MemberDescriptorType) else self._of(member)

    # ── functions ────────────────────────────────────────────────────────────────────────────────────────────
    def _of_function(self, function: types.FunctionType) -> Hashable:
        found: list[Hashable] = [self._identity(function)]
        found += [self._place(cell, None) for cell in function.__closure__ or ()]
        # Objects are distinguished by address, so all of them must live until the walk ends: pass no temporary objects.
        found += [self._of(function.__defaults__), self._of(function.__kwdefaults__)]
        if function.__dict__:
            found.append(self._of_dict(function.__dict__))
        if not is_library(function.__code__.co_filename):
            names, attributes, imports = _names(function.__code__)
            found.extend(self._global(function.__globals__, name, attributes) for name in names)
            for level, name in imports:
                found.append(self._imported(_absolute(level, name, function.__globals__), attributes))
        return tuple(found)

    def _place(self, holder: Any, name: Any) -> Hashable:
        value = as_bound(holder, name, _read(holder, name))
        self._places.append((holder, name, value))
        return ("none",) if value is _MISSING else self._of(value)

    def _global(self, holder: dict[str, Any], name: str, attributes: frozenset[str]) -> Hashable:
        value = holder.get(name, _MISSING)
        if value is _MISSING and name in vars(builtins):
            return None
        if not isinstance(value, types.ModuleType):
            return self._place(holder, name)
        self._places.append((holder, name, value))
        return self._of_module(value, attributes)

    def _imported(self, name: str, attributes: frozenset[str]) -> Hashable:
        """A module that the code imports when it runs."""
        module = sys.modules.get(name, _MISSING)
        if isinstance(module, types.ModuleType) and is_library(getattr(module, "__file__", None) or "<builtin>"):
            return None
        self._places.append((sys.modules, name, module))
        return self._of_module(module, attributes) if isinstance(module, types.ModuleType) else None

    def _of_module(self, module: types.ModuleType, attributes: frozenset[str]) -> Hashable:
        """The attributes of a user's module whose names occur in the code."""
        if is_library(getattr(module, "__file__", None) or "<builtin>") or (id(module), attributes) in self._numbers:
            return self._identity(module)
        self._numbers[id(module), attributes] = 0
        names = sorted(attributes.intersection(vars(module)))
        return (self._identity(module), *[self._global(vars(module), name, attributes) for name in names])


class OutsideReader:
    """Reads the outside state of functions at every call, and walks again only where something has changed."""

    def __init__(self, *roots: Any) -> None:
        self._roots = roots
        self._last: OutsideState | None = None
        self.settings: tuple[Setting, ...] = ()  # those that the functions have read so far

    def read(self) -> OutsideState:
        """The state now."""
        last = self._last
        if last is None or not last.unchanged():
            last = self._last = OutsideState(self._roots, self.settings)
        return last

    def add_settings(self, settings: Iterable[Setting]) -> bool:
        """Include these settings from now on. Returns whether any of them is new."""
        new = [s for s in settings if s not in self.settings]
        if new:
            self.settings = (*self.settings, *new)
            self._last = None
        return bool(new)


def _read(holder: Any, name: Any) -> Any:
    try:
        if isinstance(holder, ContextVar):
            return holder.get(name)
        return holder.cell_contents if name is None else holder[name]
    except (ValueError, KeyError):
        return _MISSING


@functools.lru_cache(maxsize=4096)
def _names(code: types.CodeType) -> tuple[tuple[str, ...], frozenset[str], tuple[tuple[int, str], ...]]:
    """Names of globals, attributes and imported modules (level of a relative import, name) in the code and in the
    functions defined inside it."""
    names, imports, attributes = _globals(code), _imports(code), set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner, more, modules = _names(constant)
            names.update(inner)
            attributes.update(more)
            imports.update(modules)
    return tuple(sorted(names)), frozenset(attributes), tuple(sorted(imports))


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


def _absolute(level: int, name: str, namespace: dict[str, Any]) -> str:
    """The full name of an imported module."""
    if not level:
        return name
    package = (namespace.get("__package__") or "").rsplit(".", level - 1)[0]
    return f"{package}.{name}" if name else package


def _slot_names(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    found = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


@functools.lru_cache(maxsize=4096)
def _file_of(kind: type) -> str:
    module = sys.modules.get(kind.__module__)
    return getattr(module, "__file__", None) or ("<builtin>" if kind.__module__ != "__main__" else "")


# ── elements of arrays ────────────────────────────────────────────────────────────────────────────────────────
class ArrayElements:
    """The elements of an array at one moment."""

    __slots__ = ("_saved", "array")

    def __init__(self, found: np.ndarray) -> None:
        self.array = found
        self._saved = found.tobytes()

    def unchanged(self) -> bool:
        """Whether the array still has these elements."""
        a, saved = self.array, self._saved
        if len(saved) < 10_000 or a.nbytes != len(saved) or not a.flags.c_contiguous:
            return a.tobytes() == saved
        kind = np.uint8 if a.nbytes % 8 else np.int64  # words are compared faster than bytes
        return bool(np.array_equal(a.reshape(-1).view(kind), np.frombuffer(saved, kind)))
