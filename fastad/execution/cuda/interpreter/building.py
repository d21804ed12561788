"""From the interpreter's text to functions that threads run: what a decorator and leaves for some target make of it.

The kernels of array primitives are those of `fastad.kernels`, loaded once more for the target: their files stand under
another package name, in which `flags` decorates for the target, and products are loops.
"""

import importlib
import re
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.execution.cuda.interpreter import text
from fastad.execution.cuda.interpreter.leaves import leaf_symbols
from fastad.execution.cuda.interpreter.source import ARGUMENTS, Argument, interpreter_text
from fastad.execution.machine.exported import kernel_homes
from fastad.kernels import fields

Decorate = Callable[[Callable[..., Any]], Any]


@dataclass(frozen=True)
class Source:
    """The text of what a thread does, its arguments after the thread's number, and the kind of number it computes with
    ("d" or "f")."""

    name: str
    text: str
    arguments: tuple[Argument, ...]
    real: str

    @property
    def types(self) -> tuple[tuple[np.dtype[Any], int], ...]:
        """Dtype and number of dimensions of every argument."""
        return tuple((np.dtype(self.real if kind == "r" else kind), ndim) for kind, ndim in self.arguments)

    @property
    def leaves(self) -> list[str]:
        """The C functions that it calls."""
        return sorted(set(re.findall(r"\bc_(\w+)\(", self.text)))


def interpreter(mode: str, arrays: bool, real: str) -> Source:
    """The interpreter of a mode."""
    name = f"{mode}_{'arrays' if arrays else 'scalars'}_{real}"
    return Source(name, interpreter_text(mode, arrays), ARGUMENTS[mode], real)


def mover(what: str, kind: str, real: str) -> Source:
    """What copies between the arena and an array of dtype character `kind`: "load" or "store"."""
    words = 5 if what == "load" else 4
    arguments = (("r", 2), (np.dtype(kind).str[1:], 1), *(("i8", 0),) * words)
    return Source(f"{what}_{kind}_{real}", text.LOAD if what == "load" else text.STORE, arguments, real)


def thread(source: Source, decorate: Decorate, leaves: Mapping[str, Any]) -> Any:
    """The function `thread` of a source, all its functions decorated. `leaves` are the functions by the names of C."""
    real = np.float64 if source.real == "d" else np.float32
    space: dict[str, Any] = {name: getattr(fields, name) for name in dir(fields) if name.isupper()}
    space |= {"int64": np.int64, "inf": np.inf, "nan": np.nan, "real": real, "zero": real(0.0)}
    space |= {f"c_{name}": leaves[name] for name in source.leaves if name in leaf_symbols()}
    space["select"] = decorate(_select)
    space |= _kernels(source.text, decorate)
    before = set(space)
    exec(compile(source.text, f"<{source.name}>", "exec"), space)
    for name in [name for name in space if name not in before and isinstance(space[name], types.FunctionType)]:
        space[name] = decorate(space[name])
    return space["thread"]


def _select(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _kernels(source: str, decorate: Decorate) -> dict[str, Any]:
    """The kernels that a text calls, loaded for the target."""
    used = {name: home for name, home in kernel_homes().items() if re.search(rf"\b{name}\(", source)}
    modules = {home: _load(home, decorate) for home in set(used.values())}
    return {name: getattr(modules[home], name) for name, home in used.items()}


def _load(home: str, decorate: Decorate) -> Any:
    """A module of `fastad.kernels` whose functions are decorated for the target; loaded once for each decorator."""
    package = f"_fastad_kernels_{id(decorate)}"
    if package not in sys.modules:
        _make_package(package, decorate)
    fresh = f"{package}.{home}" not in sys.modules
    module = importlib.import_module(f"{package}.{home}")
    if fresh and hasattr(module, "_by_blas"):
        setattr(module, "_by_blas", getattr(module, "_loops"))  # noqa: B009, B010 - numba reads it when it compiles
    return module


_kept: list[Decorate] = []  # their addresses name packages


def _make_package(package: str, decorate: Decorate) -> None:
    _kept.append(decorate)
    made: Any = types.ModuleType(package)
    made.__path__ = list(importlib.import_module("fastad.kernels").__path__)
    flags = types.ModuleType(f"{package}.flags")
    vars(flags).update(kernel=decorate, helper=decorate, exact_helper=decorate, at=np.uintp)
    blas = types.ModuleType(f"{package}.blas")
    vars(blas).update(dgemm=None, dgemv=None)
    sys.modules.update({package: made, flags.__name__: flags, blas.__name__: blas})
