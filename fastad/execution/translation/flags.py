"""Stands for `fastad.kernels.flags` where kernels are translated: decorators say how a function is to be compiled."""

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Source:
    """A function to translate. `contracts`: a product in a sum need not be rounded."""

    py_func: types.FunctionType
    contracts: bool = True


def kernel(function: Any) -> Source:
    return Source(function)


helper = inlined = kernel


def exact_helper(function: Any) -> Source:
    return Source(function, contracts=False)


def at(index: Any) -> Any:
    """An index that is not negative, as all are here: see `Expressions.call`."""
    raise NotImplementedError


# By the name of a hook: the field of the first argument's record that says whose function it is, and that function.
_CHOICES: dict[Callable[..., Any], list[tuple[str, Source]]] = {}


def choose_by_field(hook: Callable[..., Any], marker: str, own: Source) -> None:
    _CHOICES.setdefault(hook, []).append((marker, own))


def chosen(hook: Any, fields: Any) -> Source | None:
    """The function that stands for a hook, for a record with these fields."""
    for marker, own in _CHOICES.get(hook, ()) if isinstance(hook, types.FunctionType) else ():
        if marker in (fields or ()):
            return own
    return None
