"""What a function reads from outside its arguments, so that a replay never uses a stale value.

Four kinds of values are read:
- code: functions with the same code are the same function, if what they refer to is;
- numbers in closures, globals, attributes and containers: their values are part of the recording's key;
- arrays: shape, dtype and layout are part of the key, and their elements are read again at every replay;
- settings that operators read while they are recorded (`fastad.recording.settings`): their choices are part of the key.

`OutsideState` walks from the function to everything that its code can reach: cells, globals, defaults, attributes,
elements of containers, and the functions that it calls. It makes the key, collects the arrays, and lists the places
that it read. Comparing these places later is much faster than walking again.
"""

import builtins
import ctypes
import functools
import inspect
import marshal
import os
import re
import sys
import types
from array import array
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from contextvars import ContextVar
from copy import copy
from dataclasses import fields, is_dataclass
from datetime import date, timedelta, tzinfo
from operator import is_
from typing import Any

import numpy as np
from optree import PyTreeSpec

from fastad.recording.code_names import Names, absolute_name, file_of, names_in
from fastad.recording.keys import Key
from fastad.recording.libraries import is_library
from fastad.recording.outside_arrays import address, owner_of
from fastad.recording.plain_objects import is_plain, slot_names
from fastad.recording.settings import Setting
from fastad.recording.standins import as_bound

_EXACT = frozenset({int, str, bytes, bool, type(None)})
_MARSHALLED = frozenset({int, float, complex, str, bytes, bool, type(None)})
_LONG = 64  # containers of plain values with at least this many elements are converted to bytes at once
_BUDGET = 100_000  # most objects that one walk visits; further ones enter the key by identity only
_MISSING = object()
_BUILT_IN = (list, tuple, dict, set, frozenset, deque, int, float, str, bytes, np.ndarray)
# Functions and methods that make a plain number of an element: no later use of it shows where it came from.
_CONVERT = frozenset(["int", "float", "bool", "complex", "round", "item", "tolist", "math"])
_ENVIRONMENT = frozenset(["environ", "getenv"])
# Classes in C whose instances never change.
_UNCHANGING = (
    types.ModuleType, types.CodeType, types.MethodDescriptorType, types.WrapperDescriptorType, types.EllipsisType,
    types.NotImplementedType, np.ufunc, np.dtype, re.Pattern, date, timedelta, tzinfo,
)  # fmt: skip


class OutsideState:
    """What functions (`roots`) can read from outside their arguments, at one moment.

    `key` stands for all of it: equal keys mean that a recording of the one function is a recording of the other, with
    the other's `arrays` in the places of its own. `held` holds every object that is in the key by its address: it
    must live as long as the key, because Python uses addresses again. `is_opaque`: something was found that has a
    state which a walk does not see, an iterator say.
    """

    def __init__(self, roots: Iterable[Any], settings: Iterable[Setting] = ()) -> None:
        self.arrays: list[np.ndarray] = []
        self.held: list[Any] = []
        self.is_opaque = False
        self.converts = False  # whether elements of arrays may have been converted to plain numbers
        self._own_places = self._places = list[tuple[Any, Any, Any]]()
        self._lists: list[tuple[Any, tuple[Any, ...]]] = []
        self._dicts: list[tuple[Mapping[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self._shapes: list[tuple[np.ndarray, Any]] = []
        self._mutable = False  # whether something was found that only another walk can compare
        self._walk(roots)
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
        self._places = [*self._own_places, *self.settings]
        self.key: Hashable = (self.code_key, *[choice for *_, choice in self.settings])

    def with_settings(self, settings: Iterable[Setting]) -> "OutsideState":
        """A copy with the current choices of these settings."""
        found = copy(self)
        found._set(settings)
        return found

    # ── the walk ─────────────────────────────────────────────────────────────────────────────────────────────
    def _walk(self, roots: Iterable[Any]) -> None:
        """Look into every object once, in the order in which they are found. The key numbers them in this order, so
        it has no depth, however deep the objects are."""
        self._numbers: dict[Any, int] = {}
        self._queue: list[Any] = []  # holds temporary objects, too, whose addresses must not be used again
        self._owners: dict[int, tuple[int, np.ndarray]] = {}
        found = [self._of(root) for root in roots]
        for value in self._queue:  # which grows meanwhile
            found.append(self._look(value, type(value)))
            if isinstance(value, _BUILT_IN) and type(value) not in _BUILT_IN:  # a class of the user's, with attributes
                found.append((self._of(type(value)), self._of(getattr(value, "__dict__", None))))
        self.code_key = Key(*found)
        del self._numbers, self._queue, self._owners

    def _of(self, value: Any) -> Hashable:
        """What stands for a value in the key: a plain value itself, an object's number."""
        kind = type(value)
        if kind in _EXACT:
            return (kind, value)
        if kind is float or kind is complex:
            return (kind, repr(value))
        if isinstance(value, np.generic):
            return (kind, value.tobytes())
        number = self._numbers.get(id(value))
        if number is None:
            if len(self._queue) >= _BUDGET:
                return self._hidden(value)
            number = self._numbers[id(value)] = len(self._queue)
            self._queue.append(value)
        return number

    def _look(self, value: Any, kind: type) -> Hashable:
        if kind is types.FunctionType:
            return self._of_function(value)
        if isinstance(value, np.ndarray):
            return self._of_array(value, kind)
        if isinstance(value, list | tuple | deque):
            return self._of_sequence(value, kind)
        if isinstance(value, dict | types.MappingProxyType):
            return (kind, self._of(getattr(value, "default_factory", None)), *self._of_dict(value))
        if isinstance(value, ContextVar):
            return (self._identity(value), self._place(value, _MISSING))
        if isinstance(value, set | frozenset | array | bytearray | memoryview):
            self._mutable = self._mutable or kind is not frozenset
            if isinstance(value, set | frozenset):
                return (kind, *[self._of(x) for x in value])  # in the order in which the code meets them
            return (kind, getattr(value, "typecode", getattr(value, "format", "")), bytes(value))
        if isinstance(value, ctypes.Array | ctypes.Structure | ctypes.Union) or ctypes._SimpleCData in kind.__mro__:
            self._mutable = True
            return (kind, bytes(value))
        if isinstance(value, PyTreeSpec):
            return (kind, value)
        if isinstance(value, int | float | str | bytes):
            plain = next(base for base in (int, float, str, bytes) if isinstance(value, base))
            return (kind, plain.__repr__(value))
        if isinstance(value, slice | range):
            return (kind, repr(value))
        if str(kind.__module__).startswith("fastad."):  # str: for classes made by Cython it is a descriptor
            return self._of_own(value, kind)
        if isinstance(value, functools.partial):
            return ("partial", self._of(value.func), self._of(value.args), self._of(value.keywords))
        if isinstance(value, types.MethodType):
            return ("method", self._of(value.__func__), self._of(value.__self__))
        if isinstance(value, type):
            return self._of_class(value)
        if isinstance(value, types.BuiltinFunctionType):
            return ("builtin", value.__qualname__, self._of(value.__self__))
        if isinstance(value, _UNCHANGING) or kind.__name__ == "cython_function_or_method":
            return self._identity(value)
        wrapped = inspect.getattr_static(value, "__wrapped__", None)  # runs no code of the user's
        if wrapped is not None and not is_plain(kind):
            return (self._identity(value), self._of(wrapped))
        return self._of_object(value, kind)

    def _identity(self, value: Any) -> Hashable:
        self.held.append(value)
        return ("id", id(value))

    def _hidden(self, value: Any) -> Hashable:
        """An object whose state is not seen."""
        self.is_opaque = True
        return self._identity(value)

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────
    def _of_array(self, value: np.ndarray, kind: type) -> Hashable:
        if value.dtype.hasobject:
            self._mutable = True
            elements = value.reshape(-1).tolist() if value.dtype == object else [self._hidden(value)]
            return (kind, value.shape, *[self._of(x) for x in elements])
        self.arrays.append(value)
        self._shapes.append((value, value.shape))
        root = owner_of(value)
        number, first = self._owners.setdefault(id(root), (len(self._owners), value))
        # Arrays that share memory stand to each other as they did when the function was recorded.
        offset = 0 if first is value else address(value) - address(first)
        return (kind, value.shape, value.strides, value.dtype, number, offset)

    def _of_sequence(self, value: Any, kind: type) -> Hashable:
        if kind is not tuple:
            self._lists.append((value, tuple(value)))
        if len(value) >= _LONG and _MARSHALLED.issuperset(map(type, value)):
            return (kind, marshal.dumps(list(value), 2))
        return (kind, *[self._of(x) for x in value])

    def _of_dict(self, value: Mapping[Any, Any]) -> tuple[Hashable, ...]:
        keys, values = tuple(value), tuple(value.values())
        self._dicts.append((value, keys, values))
        if len(keys) >= _LONG and _MARSHALLED.issuperset(map(type, (*keys, *values))):
            return (marshal.dumps((keys, values), 2),)
        return tuple([(self._of(k), self._of(v)) for k, v in zip(keys, values, strict=True)])

    def _of_object(self, value: Any, kind: type) -> Hashable:
        if hasattr(kind, "__array__") and (not is_plain(kind) or is_library(file_of(kind))):
            return self._of_array_like(value, kind)
        found: list[Hashable] = [self._of(kind)] if is_plain(kind) else [self._hidden(value), self._of(kind)]
        if isinstance(getattr(value, "__dict__", None), dict):
            found.append(self._of_dict(vars(value)))
        for base in kind.__mro__:
            for name in slot_names(base):
                self._mutable = True
                found.append((name, self._of(getattr(value, name, _MISSING))))
        return tuple(found)

    def _of_array_like(self, value: Any, kind: type) -> Hashable:
        """Data that NumPy sees as an array, such as a table of pandas. It may be changed behind this object, so it is
        compared by its elements and labels at every call."""
        self._mutable = True
        data = np.asarray(value)
        labels = [self._of(list(getattr(value, name, ()))) for name in ("columns", "index")]
        if data.dtype.hasobject:
            return (kind, data.shape, *labels, *[self._of(x) for x in data.reshape(-1).tolist()])
        return (kind, data.shape, data.dtype, *labels, data.tobytes())

    def _of_own(self, value: Any, kind: type) -> Hashable:
        """fastad's own objects: functions by what they wrap, settings and schedules by value."""
        wraps = getattr(value, "_fastad_wraps", None)
        if wraps is not None:
            return (kind, value._fastad_options, *[self._of(x) for x in wraps])
        if is_dataclass(value) and kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            return (kind, *[self._of(getattr(value, field.name)) for field in fields(value)])
        return self._identity(value)

    def _of_class(self, value: type) -> Hashable:
        found: list[Hashable] = [self._identity(value)]
        if type(value) is not type and not is_library(file_of(type(value))):
            found.append(self._of(type(value)))
        for base in value.__mro__:
            if not is_library(file_of(base)):
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
        descriptor = isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType)
        return self._identity(member) if descriptor else self._of(member)

    # ── functions ────────────────────────────────────────────────────────────────────────────────────────────
    def _of_function(self, function: types.FunctionType) -> Hashable:
        found: list[Hashable] = [self._identity(function.__code__)]
        found += [self._place(cell, None) for cell in function.__closure__ or ()]
        defaults = [name for name in ("__defaults__", "__kwdefaults__") if getattr(function, name) is not None]
        found += [self._place(function, name) for name in defaults]
        if function.__dict__:
            found.append(self._of_dict(function.__dict__))
        if not is_library(function.__code__.co_filename):
            names = names_in(function.__code__)
            found.extend([self._global(function.__globals__, name, names) for name in names.globals])
            self.converts = self.converts or not _CONVERT.isdisjoint(names.attributes)
            if not _ENVIRONMENT.isdisjoint(names.attributes):
                found.append(self._of(vars(os.environ)["_data"]))
            for level, name in names.imports:
                found.append(self._imported(absolute_name(level, name, function.__globals__), names))
        return tuple(found)

    def _place(self, holder: Any, name: Any) -> Hashable:
        value = as_bound(holder, name, _read(holder, name))
        self._places.append((holder, name, value))
        return ("none",) if value is _MISSING else self._of(value)

    def _global(self, holder: dict[str, Any], name: str, names: Names) -> Hashable:
        value = holder.get(name, _MISSING)
        if value is _MISSING and name in vars(builtins):
            return None
        if not isinstance(value, types.ModuleType):
            return self._place(holder, name)
        self._places.append((holder, name, value))
        return self._of_module(value, names)

    def _imported(self, name: str, names: Names) -> Hashable:
        """A module that the code imports when it runs."""
        module = sys.modules.get(name, _MISSING)
        if isinstance(module, types.ModuleType) and is_library(getattr(module, "__file__", None) or "<builtin>"):
            return None
        self._places.append((sys.modules, name, module))
        return self._of_module(module, names) if isinstance(module, types.ModuleType) else None

    def _of_module(self, module: types.ModuleType, names: Names) -> Hashable:
        """The attributes of a user's module whose names occur in the code, and those that it asks for in vain."""
        if is_library(getattr(module, "__file__", None) or "<builtin>") or (id(module), names) in self._numbers:
            return self._identity(module)
        self._numbers[id(module), names] = 0
        present = sorted(names.attributes.intersection(vars(module)))
        absent = [self._place(vars(module), name) for name in sorted(names.asked.difference(vars(module)))]
        return (self._identity(module), *[self._global(vars(module), name, names) for name in present], *absent)


class OutsideReader:
    """Reads the outside state of functions at every call, and walks again only where something has changed."""

    def __init__(self) -> None:
        self._last: OutsideState | None = None
        self.settings: tuple[Setting, ...] = ()  # those that the functions have read so far

    def read(self, *roots: Any) -> OutsideState:
        """The state now of the functions, which are the same at every call."""
        last = self._last
        if last is None or not last.unchanged():
            last = self._last = OutsideState(roots, self.settings)
        return last

    def add_settings(self, settings: Iterable[Setting]) -> bool:
        """Include these settings from now on. Returns whether any of them is new."""
        new = [s for s in settings if s not in self.settings]
        if new:
            self.settings = (*self.settings, *new)
            self._last = None
        return bool(new)


def same_choices(settings: Iterable[tuple[Any, Any, Any]]) -> bool:
    """Whether settings (variable, default, choice) have the same choices now, in the calling thread."""
    return all(_read(variable, default) is choice for variable, default, choice in settings)


def _read(holder: Any, name: Any) -> Any:
    if type(holder) is dict:
        return holder.get(name, _MISSING)
    try:
        if name is None:
            return holder.cell_contents
        if isinstance(holder, ContextVar):
            return holder.get(name)
        return getattr(holder, name) if isinstance(holder, types.FunctionType) else holder[name]
    except (ValueError, KeyError):
        return _MISSING
