"""What a function takes from outside its arguments: numbers in closures, globals, attributes and containers are part
of the key of a recording, so that a replay never uses a stale one; arrays are referred to, and checked by identity.
"""

import functools
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_LIBRARIES = tuple({sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")})
_PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic, slice, range)
_LIMIT = 1000  # elements of a container that are looked at
_DEPTH = 6


class Watch:
    """The outside values that a function can see; `key()` changes whenever one of them does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._slots = list(_slots(function, set(), 0))
        self._seen: list[tuple[Any, Any, Any]] | None = []  # for `unchanged`; None: some values are mutable
        self._key: tuple[Any, ...] = ()

    def unchanged(self, key: tuple[Any, ...]) -> bool:
        """Whether `key()` would still return this key; quick where all values are numbers, arrays and functions."""
        if not self._slots:
            return True
        if self._seen is not None and key is self._key:
            if all(_read(holder, name) is value for holder, name, value in self._seen):
                return True
        return bool(self.key() == key)

    def remember(self, key: tuple[Any, ...]) -> None:
        """Make `unchanged` quick for this key, the present one."""
        values = [(holder, name, _read(holder, name)) for holder, name in self._slots]
        simple = all(isinstance(v, (*_PLAIN, np.ndarray)) or callable(v) for _, _, v in values)
        self._seen, self._key = (values, key) if simple else (None, ())

    def key(self) -> tuple[Any, ...]:
        """Fingerprint of all outside values now."""
        return tuple([_fingerprint(_read(holder, name), 0) for holder, name in self._slots]) if self._slots else ()

    def arrays(self) -> list[np.ndarray]:
        """The arrays among the outside values."""
        found: list[np.ndarray] = []
        for holder, name in self._slots:
            _collect_arrays(_read(holder, name), found, 0)
        return found


_MISSING = object()


def _read(holder: Any, name: Any) -> Any:
    try:
        return holder.cell_contents if name is None else holder[name]
    except (ValueError, KeyError):
        return _MISSING


def _slots(function: Any, seen: set[int], depth: int) -> Iterator[tuple[Any, Any]]:
    """Places (cell, None) or (namespace, name) that the function reads values from."""
    if id(function) in seen or depth > _DEPTH:
        return
    seen.add(id(function))
    if isinstance(function, functools.partial):
        yield ({"partial": (function.args, function.keywords)}, "partial")
        yield from _slots(function.func, seen, depth + 1)
    elif isinstance(function, types.MethodType):
        yield ({"self": function.__self__}, "self")
        yield from _slots(function.__func__, seen, depth + 1)
    elif isinstance(function, types.FunctionType) and not _is_library(function.__code__.co_filename):
        yield from _function_slots(function, seen, depth)
    elif hasattr(function, "__wrapped__"):
        yield from _slots(function.__wrapped__, seen, depth + 1)
    elif hasattr(type(function), "__call__") and hasattr(function, "__dict__") and not isinstance(function, type):
        yield ({"self": function}, "self")
        yield from _slots(getattr(type(function), "__call__", None), seen, depth + 1)


def _function_slots(function: types.FunctionType, seen: set[int], depth: int) -> Iterator[tuple[Any, Any]]:
    if function.__defaults__ or function.__kwdefaults__:
        yield ({"defaults": (function.__defaults__, function.__kwdefaults__)}, "defaults")
    places: list[tuple[Any, Any]] = [(cell, None) for cell in function.__closure__ or ()]
    names = set(_names(function.__code__))
    places += [(function.__globals__, name) for name in names if name in function.__globals__]
    for holder, name in places:
        value = _read(holder, name)
        if isinstance(value, types.ModuleType):
            if not _is_library(getattr(value, "__file__", None) or "<builtin>"):
                yield from ((vars(value), n) for n in names if isinstance(vars(value).get(n), (*_PLAIN, np.ndarray)))
        elif isinstance(value, type | types.BuiltinFunctionType | np.ufunc):
            continue
        elif callable(value):
            if not _is_library(_file_of(value)):
                yield (holder, name)
            yield from _slots(value, seen, depth + 1)
        else:
            yield (holder, name)


def _names(code: types.CodeType) -> Iterator[str]:
    """Global and attribute names in the code and in the functions defined inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _file_of(value: Any) -> str:
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return getattr(module, "__file__", None) or ""


def _is_library(file: str) -> bool:
    return file.startswith(_LIBRARIES) or file.startswith("<builtin")


def _fingerprint(value: Any, depth: int) -> Any:
    if isinstance(value, _PLAIN):
        return (type(value), repr(value)) if isinstance(value, slice | float | np.generic) else (type(value), value)
    if isinstance(value, np.ndarray):
        return ("array", id(value), value.shape, value.dtype.char)
    if depth > _DEPTH:
        return id(value)
    if isinstance(value, list | tuple):
        return (type(value), len(value), tuple(_fingerprint(v, depth + 1) for v in value[:_LIMIT]))
    if isinstance(value, dict):
        items = list(value.items())[:_LIMIT]
        return (dict, len(value), tuple((_fingerprint(k, depth + 1), _fingerprint(v, depth + 1)) for k, v in items))
    if callable(value) or isinstance(value, type | types.ModuleType) or not hasattr(value, "__dict__"):
        return id(value)
    return (id(value), _fingerprint(vars(value), depth + 1))


def _collect_arrays(value: Any, found: list[np.ndarray], depth: int) -> None:
    if isinstance(value, np.ndarray):
        found.append(value)
    elif depth > _DEPTH or isinstance(value, _PLAIN):
        return
    elif isinstance(value, list | tuple):
        for v in value[:_LIMIT]:
            _collect_arrays(v, found, depth + 1)
    elif isinstance(value, dict):
        for v in list(value.values())[:_LIMIT]:
            _collect_arrays(v, found, depth + 1)
    elif hasattr(value, "__dict__") and not callable(value) and not isinstance(value, type | types.ModuleType):
        _collect_arrays(vars(value), found, depth + 1)
