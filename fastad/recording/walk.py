"""A walk from functions to everything that their code can reach from outside: cells, globals, defaults, attributes,
elements of containers, and the functions that they call."""

import builtins
import ctypes
import functools
import inspect
import marshal
import os
import re
import sys
import types
import weakref
from array import array
from collections import deque, namedtuple
from collections.abc import Hashable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from datetime import date, timedelta, tzinfo
from itertools import count
from typing import Any

import numpy as np
from optree import PyTreeSpec

from fastad.recording.code_names import Names, absolute_name, file_of, names_in
from fastad.recording.keys import Key
from fastad.recording.outside_arrays import address, layout, owner_of
from fastad.recording.outside_numbers import NumberPlace
from fastad.recording.plain_objects import all_slots, extends_built_in, is_plain, is_users
from fastad.recording.source import is_library
from fastad.recording.standins import all_bound, as_bound, has_standins, held
from fastad.recording.watched import Watched

_EXACT = frozenset({int, str, bytes, bool, type(None)})
_MARSHALLED = frozenset({int, float, complex, str, bytes, bool, type(None)})
_NUMBERS = frozenset({int, float, np.float64, np.float32})
_FUNCTIONS = frozenset({types.FunctionType, types.MethodType, types.BuiltinFunctionType, tuple})
_LONG = 64  # containers of plain values with at least this many elements are converted to bytes at once
_BUDGET = 100_000  # most objects that one walk visits; further ones enter the key by identity only
_MOST_NUMBERS = 1000  # further ones are constants
MISSING = object()  # what is found where there is nothing
_BUILTINS = dict(vars(builtins))  # as they are before a user puts something in the place of one
# Classes in C whose instances never change.
_UNCHANGING = (
    types.ModuleType, types.CodeType, types.MethodDescriptorType, types.WrapperDescriptorType, types.EllipsisType,
    types.NotImplementedType, type(vars(namedtuple("_Fields", "first"))["first"]), np.ufunc, np.dtype, re.Pattern, date,
    timedelta, tzinfo,
)  # fmt: skip


class Walk:
    """What was found on the way from functions (`roots`).

    `structure` stands for all of it but the plain numbers in `numbers` and the elements of `arrays`. `held` holds every
    object that is in it by its address: it must live as long as that, because Python uses addresses again. `is_opaque`:
    something was found that has a state which a walk does not see, an iterator say.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        self.arrays: list[np.ndarray] = []
        self.numbers: list[NumberPlace] = []
        self.held: list[Any] = []
        self.is_opaque = False
        self.has_late_readers = False  # whether functions were found that are called after the recording has ended
        self._places: list[tuple[Any, Any, Any]] = []
        self.functions: list[tuple[Any, Any, Any]] = []  # as `_places`, of functions and tuples that may hold some
        self.lists: list[tuple[Any, tuple[Any, ...]]] = []
        self.dicts: list[tuple[Mapping[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self.shapes: list[tuple[np.ndarray, Any]] = []
        self.builtins: list[tuple[dict[str, Any], str, Any]] = []  # found where the namespace has not the name
        self.codes: list[tuple[Any, types.CodeType]] = []  # of functions, or weak references to them
        self.kinds: list[tuple[Any, type]] = []  # objects and their classes, which may be set
        self.classes: list[tuple[Mapping[str, Any], int]] = []  # names of classes, and how many
        self._looks_at_layouts = False
        self.must_be_walked = False  # whether something was found that only another walk can compare
        self._walk(roots)

    def _walk(self, roots: Iterable[Any]) -> None:
        """Look into every object once, in the order in which they are found. The key numbers them in this order, so
        it has no depth, however deep the objects are."""
        self._numbers: dict[Any, int] = {}
        self._number_at: dict[tuple[int, Any, Any], int] = {}
        self._queue: list[Any] = []  # holds temporary objects, too, whose addresses must not be used again
        self._owners: dict[int, tuple[int, np.ndarray]] = {}
        roots = tuple(roots)
        self._roots = set(map(id, roots))
        found = [self._of(root) for root in roots]
        for value in self._queue:  # which grows meanwhile
            kind: type = type(value)
            found.append(self._look(value, kind))
            if extends_built_in(kind):
                found.append((self._of(kind), self._of(getattr(value, "__dict__", None))))
        self._has_objects = any((self.lists, self.dicts, self.kinds, self.classes, self._looks_at_layouts))
        self.layouts = [layout(a) for a in self.arrays] if self._looks_at_layouts else []
        self.structure = Key(*found, *self.layouts)
        del self._numbers, self._number_at, self._queue, self._owners, self._roots

    @property
    def held_values(self) -> list[tuple[Any, Any, Any]]:
        """(cell, None, value), (namespace, name, value), (dict, key, value) or (list, index, value) for everything that
        was found in such a place."""
        items = [(x, key, value) for x, keys, values in self.dicts for key, value in zip(keys, values, strict=True)]
        return [*self._places, *items, *((x, i, value) for x, values in self.lists for i, value in enumerate(values))]

    def _held(self, holder: Any, name: Any, value: Any) -> Hashable:
        """What stands for a value that is in a place: for a plain number the place."""
        kind = type(value)
        if kind in _NUMBERS:
            return self._number(NumberPlace(holder, name, value))
        if kind in _FUNCTIONS:
            self.functions.append((holder, name, value))
        if kind is tuple and len(value) < _LONG and not _NUMBERS.isdisjoint(map(type, value)):
            return (kind, *self._elements(holder, name, value))
        return self._of(value)

    def _elements(self, holder: Any, name: Any, values: tuple[Any, ...]) -> Iterable[Hashable]:
        """The same for the elements of a tuple that is in a place."""
        self.functions.append((holder, name, values))
        return [
            self._number(NumberPlace(holder, name, x, k, values)) if type(x) in _NUMBERS else self._of(x)
            for k, x in enumerate(values)
        ]

    def _number(self, place: NumberPlace) -> Hashable:
        key = (id(place.holder), place.name, place.position)
        number = self._number_at.get(key)
        if number is None:
            if len(self.numbers) >= _MOST_NUMBERS:
                return self._of(place.value)
            number = self._number_at[key] = len(self.numbers)
            self.numbers.append(place)
        return ("number", number, type(place.value))

    def _of(self, value: Any) -> Hashable:
        """What stands for a value in the key: a plain value itself, an object's number."""
        kind = type(value)
        if kind in _EXACT:
            return (kind, value)
        if kind is float or kind is complex:
            return (kind, repr(value))
        if kind is Watched:  # which another thread has put there
            value = value.array
        elif isinstance(value, np.generic):
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
        if kind is types.MethodType:
            return ("method", self._of(value.__func__), self._of(value.__self__))
        if is_users(kind):
            return self._of_object(value, kind)
        if isinstance(value, np.ndarray):
            return self._of_array(value, kind)
        if isinstance(value, type):
            return self._of_class(value)
        if isinstance(value, list | tuple | deque):
            return self._of_sequence(value, kind)
        if isinstance(value, dict | types.MappingProxyType):
            return (kind, self._of(getattr(value, "default_factory", None)), *self._of_dict(value))
        if isinstance(value, ContextVar):
            return (self._identity(value), self._place(value, MISSING))
        if isinstance(value, set | frozenset | array | bytearray | memoryview):
            self.must_be_walked = self.must_be_walked or kind is not frozenset
            if isinstance(value, set | frozenset):
                return (kind, *[self._of(x) for x in value])  # in the order in which the code meets them
            return (kind, getattr(value, "typecode", getattr(value, "format", "")), bytes(value))
        if isinstance(value, ctypes.Array | ctypes.Structure | ctypes.Union) or ctypes._SimpleCData in kind.__mro__:
            self.must_be_walked = True
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
            elements = self._elements(value, "args", self._seen(value, "args"))
            return ("partial", self._place(value, "func"), *elements, self._of(value.keywords))
        if isinstance(value, types.BuiltinFunctionType):
            return ("builtin", value.__qualname__, self._of(value.__self__))
        if isinstance(value, _UNCHANGING) or kind.__name__ == "cython_function_or_method":
            return self._identity(value)
        wrapped = inspect.getattr_static(value, "__wrapped__", None)  # runs no code of the user's
        if wrapped is not None and not is_plain(kind):
            return self._of_wrapper(value, wrapped)
        return self._of_object(value, kind)

    def has_same_layouts(self) -> bool:
        """Whether the arrays have their strides, dtypes and flags."""
        return list(map(layout, self.arrays[: len(self.layouts)])) == self.layouts

    def _identity(self, value: Any) -> Hashable:
        self.held.append(value)
        return ("id", id(value))

    def _hidden(self, value: Any) -> Hashable:
        """An object whose state is not seen."""
        self.is_opaque = True
        return self._identity(value)

    def _of_wrapper(self, value: Any, wrapped: Any) -> Hashable:
        """An object in C around a function, such as that of lru_cache."""
        return (self._identity(value), self._of(wrapped))

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────
    def _of_array(self, value: np.ndarray, kind: type) -> Hashable:
        if value.dtype.hasobject:
            self.must_be_walked = True
            elements = value.reshape(-1).tolist() if value.dtype == object else [self._hidden(value)]
            return (kind, value.shape, *[self._of(x) for x in elements])
        self.arrays.append(value)
        self.shapes.append((value, value.shape))
        root = owner_of(value)
        number, first = self._owners.setdefault(id(root), (len(self._owners), value))
        # Arrays that share memory stand to each other as they did when the function was recorded.
        offset = 0 if first is value else address(value) - address(first)
        return (kind, value.shape, value.strides, value.dtype, number, offset)

    def _of_sequence(self, value: Any, kind: type) -> Hashable:
        if kind is not tuple:
            self.lists.append((value, tuple(value)))
        if len(value) >= _LONG and _MARSHALLED.issuperset(map(type, value)):
            return (kind, marshal.dumps(list(value), 2))
        if kind is list:
            return (kind, *[self._held(value, k, x) for k, x in enumerate(all_bound(value, count(), value))])
        return (kind, *[self._of(x) for x in value])

    def _of_dict(self, value: Mapping[Any, Any]) -> tuple[Hashable, ...]:
        keys = tuple(value)
        values = all_bound(value, keys, value.values())
        self.dicts.append((value, keys, values))
        if len(keys) >= _LONG and _MARSHALLED.issuperset(map(type, (*keys, *values))):
            return (marshal.dumps((keys, values), 2),)
        if type(value) is not dict:
            return tuple([(self._of(k), self._of(v)) for k, v in zip(keys, values, strict=True)])
        return tuple([(self._of(k), self._held(value, k, v)) for k, v in zip(keys, values, strict=True)])

    def _of_object(self, value: Any, kind: type) -> Hashable:
        if hasattr(kind, "__array__") and (not is_plain(kind) or is_library(file_of(kind))):
            return self._of_array_like(value, kind)
        if kind.__module__.startswith("scipy.stats") and has_standins(kind):  # by what they were made of
            return (self._of(kind), *[(k, self._of(v)) for k, v in getattr(value, "_ctor_param", {}).items()])
        found: list[Hashable] = [self._of(kind)] if is_plain(kind) else [self._hidden(value), self._of(kind)]
        self.kinds.append((value, kind))
        if isinstance(getattr(value, "__dict__", None), dict):
            found.append(self._of_dict(vars(value)))
        for name in all_slots(kind):
            self.must_be_walked = True
            found.append((name, self._of(getattr(value, name, MISSING))))
        return tuple(found)

    def _of_array_like(self, value: Any, kind: type) -> Hashable:
        """Data that NumPy sees as an array, such as a table of pandas. It may be changed behind this object, so it is
        compared by its elements and labels at every call."""
        self.must_be_walked = True
        data = np.asarray(value)
        named = [getattr(value, name, ()) for name in ("columns", "index")]
        labels = [self._of(() if callable(names) else list(names)) for names in named]
        if data.dtype.hasobject:
            return (kind, data.shape, *labels, *[self._of(x) for x in data.reshape(-1).tolist()])
        return (kind, data.shape, data.dtype, *labels, data.tobytes())

    def _of_own(self, value: Any, kind: type) -> Hashable:
        """fastad's own objects: functions by what they wrap, sparse matrices by what they consist of, settings and
        schedules by value."""
        consists = getattr(value, "_fastad_parts", None)
        if consists is not None:  # what never changes, and arrays
            return (kind, consists[0], *[self._of(x) for x in consists[1]])
        wraps = getattr(value, "_fastad_wraps", None)
        if wraps is not None:
            self.has_late_readers = self.has_late_readers or value._fastad_calls_later
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
                self.classes.append((vars(base), len(vars(base))))
                for name, member in list(vars(base).items()):
                    # A dataclass's __repr__ holds a set, which only another walk could compare; nobody computes by it.
                    if name != "__repr__" and (not name.startswith("__") or callable(member)):
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
        code = function.__code__
        found: list[Hashable] = [self._identity(code)]
        is_root = id(function) in self._roots  # what is known of a function must not keep it alive
        self.codes.append((weakref.ref(function) if is_root else function, code))
        found += [self._place(cell, None) for cell in function.__closure__ or ()]
        if function.__defaults__ is not None:
            found.append(tuple(self._elements(function, "__defaults__", self._seen(function, "__defaults__"))))
        if function.__kwdefaults__ is not None:
            found.append(self._place(function, "__kwdefaults__"))
        if function.__dict__:
            found.append(self._of_dict(function.__dict__))
        if not is_library(code.co_filename):
            names, space = names_in(code), function.__globals__
            found += [self._global(space, name, names) for name in names.globals]
            self._looks_at_layouts = self._looks_at_layouts or names.has_layouts
            if names.has_environment:
                found.append(self._of(vars(os.environ)["_data"]))
            for level, name in names.imports:
                found.append(self._imported(absolute_name(level, name, space), names))
        return tuple(found)

    def _place(self, holder: Any, name: Any) -> Hashable:
        value = self._seen(holder, name)
        if value is MISSING:
            return ("none",)
        return self._of(value) if isinstance(holder, ContextVar) else self._held(holder, name, value)

    def _seen(self, holder: Any, name: Any) -> Any:
        """What is in a place, which is compared from now on."""
        value = as_bound(holder, name, read_place(holder, name))
        self._places.append((holder, name, value))
        return value

    def _global(self, holder: dict[str, Any], name: str, names: Names) -> Hashable:
        value = as_bound(holder, name, holder.get(name, MISSING))
        if value is MISSING and name in vars(builtins):
            return self._builtin(holder, name)
        self._places.append((holder, name, value))
        if isinstance(value, types.ModuleType):
            return self._of_module(value, names)
        return ("none",) if value is MISSING else self._held(holder, name, value)

    def _builtin(self, holder: dict[str, Any], name: str) -> Hashable:
        """Something that a global of this name would stand before."""
        value = vars(builtins)[name]
        self.builtins.append((holder, name, value))
        return None if value is _BUILTINS.get(name) else self._of(value)

    def _imported(self, name: str, names: Names) -> Hashable:
        """A module that the code imports when it runs."""
        module = sys.modules.get(name, MISSING)
        if isinstance(module, types.ModuleType) and is_library(getattr(module, "__file__", None) or "<builtin>"):
            return None
        self._places.append((sys.modules, name, module))
        return self._of_module(module, names) if isinstance(module, types.ModuleType) else None

    def _of_module(self, module: types.ModuleType, names: Names) -> Hashable:
        """The attributes of a user's module whose names occur in the code, and those that it asks for in vain."""
        key = (id(module), names)
        if key in self._numbers:
            return self._identity(module)
        self._numbers[key] = 0
        if is_library(getattr(module, "__file__", None) or "<builtin>"):
            return (self._identity(module), *self._constants(vars(module), names))
        present = sorted(names.attributes.intersection(vars(module)))
        absent = [self._place(vars(module), name) for name in sorted(names.asked.difference(vars(module)))]
        return (self._identity(module), *[self._global(vars(module), name, names) for name in present], *absent)

    def _constants(self, space: dict[str, Any], names: Names) -> list[Hashable]:
        """Numbers and texts in a library's module, which users can set, and names that the code asks for in vain."""
        found: list[Hashable] = []
        for name in names.attributes:
            value = space.get(name, MISSING)
            kind = type(value)
            if kind is types.ModuleType:
                found.append(self._of_module(value, names))
            elif kind in _MARSHALLED or (value is MISSING and name in names.asked):
                found.append(self._of(self._seen(space, name)))  # never an input: libraries read it too
        return found


def read_place(holder: Any, name: Any) -> Any:
    """What is in a place: a context variable with its default, or those of `held`."""
    if type(holder) is dict:
        return holder.get(name, MISSING)
    return holder.get(name) if isinstance(holder, ContextVar) else held(holder, name, MISSING)
