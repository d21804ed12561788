"""Whether a list holds the very objects that it held before."""

import ctypes
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

_MANY = 256  # elements: for fewer, comparing one by one is as fast
_compare = ctypes.PyDLL(None).memcmp  # which keeps the interpreter's lock, so no thread changes a list meanwhile
_compare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_POINTER = ctypes.sizeof(ctypes.c_void_p)
# CPython's list is a header, a length and the address of the elements; its tuple has the elements after the length.
_ADDRESS = object.__basicsize__ + _POINTER


def _elements_of_list(x: list[Any]) -> int:
    return ctypes.c_void_p.from_address(id(x) + _ADDRESS).value or 0


def _elements_of_tuple(x: tuple[Any, ...]) -> int:
    return id(x) + tuple.__basicsize__


def _same_addresses(x: list[Any], old: tuple[Any, ...]) -> bool:
    return not _compare(_elements_of_list(x), _elements_of_tuple(old), len(old) * _POINTER)


def same_bytes(first: int, second: int, size: int) -> bool:
    """Whether the same bytes are at two addresses."""
    return not _compare(first, second, size)


def _is_known_layout() -> bool:
    """Whether lists and tuples are laid out as is supposed here."""
    if list.__basicsize__ != _ADDRESS + 2 * _POINTER or tuple.__basicsize__ != _ADDRESS:
        return False
    objects = [object(), object(), object()]
    return _same_addresses(objects, tuple(objects)) and not _same_addresses(objects, (*objects[:2], None))


_KNOWN = _is_known_layout()


def same_elements(x: Sequence[Any], old: tuple[Any, ...]) -> bool:
    """Whether a list, or something like it, holds these objects."""
    if len(x) != len(old):
        return False
    if _KNOWN and len(old) >= _MANY and isinstance(x, list):
        return _same_addresses(x, old)
    return all(map(is_, x, old))


def same_items(x: Mapping[Any, Any], keys: tuple[Any, ...], values: tuple[Any, ...]) -> bool:
    """Whether a dict holds these objects under these keys, in this order."""
    return len(x) == len(keys) and all(map(is_, x, keys)) and all(map(is_, x.values(), values))
