"""What NumPy's functions and ufuncs do on recorded values: the implementations, and how they are registered."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # by identity
CREATORS: dict[Any, Callable[..., Any]] = {}  # constructors with `like=`
FIXES: dict[Any, str] = {}  # what the error for an unsupported function advises
VIEWS: set[Any] = set()  # the functions whose results are views where NumPy's are
UFUNCS: dict[str, Callable[..., Any]] = {}  # by name
UFUNC_METHODS: dict[str, Callable[..., Any]] = {}  # by name, such as "add.reduce"


def implements(*functions: Any) -> Callable[[Function], Function]:
    """Register an implementation of NumPy functions. It takes their arguments, except `out=`, which the caller handles.

    Functions that not every NumPy release has are given by name, e.g. "linalg.matrix_norm".
    """

    def register(implementation: Function) -> Function:
        for function in functions:
            found = _by_name(function) if isinstance(function, str) else function
            if found is not None:
                FUNCTIONS[found] = implementation
        return implementation

    return register


def _by_name(name: str) -> Any:
    found: Any = np
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def implements_ufunc(*names: str) -> Callable[[Function], Function]:
    """Register an implementation of ufuncs by name, or of their methods ("add.reduce")."""

    def register(implementation: Function) -> Function:
        for name in names:
            (UFUNC_METHODS if "." in name else UFUNCS)[name] = implementation
        return implementation

    return register


def creates(*functions: Any) -> Callable[[Function], Function]:
    """Register an implementation of constructors with `like=`. Its first argument is the recorder of `like`."""

    def register(implementation: Function) -> Function:
        CREATORS.update(dict.fromkeys(functions, implementation))
        return implementation

    return register


def advise(module: Any, names: str, fix: str) -> None:
    """Set the fix that the errors for unsupported functions of a module name. Not every NumPy release has them all."""
    for name in names.split():
        if hasattr(module, name):
            FIXES[getattr(module, name)] = fix
