"""Warnings to the user, at his own call: a function that keeps being recorded, and one that draws random numbers."""

import inspect
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastad.recording.source import is_ours, warn
from fastad.tables.columns import Line
from fastad.transforms.call import Call

_MANY = 64  # recordings of one function after which the user is told
_MOST = 1024  # functions that are watched
_SHOWN = 40  # characters of a value
_BRANCHES = "Replace branches that depend on the data by np.where or fad.cond."
_CAPTURED = "Pass changing numbers as arguments (floats or arrays)."
_INTEGERS = (
    "An integer that Python needs as it is (a seed, a number of turns, an index into plain data) has a recording for "
    "each value: pass what is made of it, such as random numbers or a batch, as an array."
)
_SHAPES = "Every shape has a recording: fill arrays up to one of a few sizes."


class _Part(NamedTuple):
    """A part of what a recording is found by, and what to do if it changes at every call."""

    text: str
    advice: str = ""


class _Watched:
    """What is known of the recordings of one function: the functions with the same code count as one."""

    def __init__(self) -> None:
        self.count = 0
        self.told = False
        self.last: dict[str, _Part] = {}
        self.changes: OrderedDict[str, str] = OrderedDict()  # advice by what has changed, the last at the end


_watched: OrderedDict[Any, _Watched] = OrderedDict()


def count_recording(code: Any, function: Callable[..., Any], name: str, call: Call, branch: Line | None = None) -> None:
    """Note that a function has been recorded, and warn when that has happened many times. `branch` is the line of the
    branch that took another way, if that was the reason. fastad's own functions (the layers of other frameworks) are
    recorded for many different functions of the user's, and do not count."""
    if isinstance(own := getattr(function, "__code__", None), types.CodeType) and is_ours(own):
        return
    found = _watched.setdefault(code, _Watched())
    while len(_watched) > _MOST:
        _watched.popitem(last=False)
    found.count += 1
    now = {**_arguments(call, function), **_captured(function)}
    changed = {f"{what} ({part.text})": part.advice for what, part in now.items() if found.last.get(what) != part}
    for text, advice in ({f"the branch at {branch}": _BRANCHES} if branch is not None else changed).items():
        found.changes[text] = advice
        found.changes.move_to_end(text)
    found.last = now
    if found.count >= _MANY and not found.told:
        found.told = True
        reasons = list(found.changes)[-3:]
        last = f" Changed last: {'; '.join(reasons)}." if reasons else ""
        advice = " ".join(dict.fromkeys(filter(None, map(found.changes.get, reasons)))) or f"{_CAPTURED} {_BRANCHES}"
        warn(
            f"{name}{_where(function)} was recorded {found.count} times: its structure, captured numbers or branches "
            f"keep changing.{last} {advice}"
        )


def _arguments(call: Call, function: Callable[..., Any]) -> dict[str, _Part]:
    """What the key says of every leaf of the arguments."""
    tree, *kinds = call.key
    code = getattr(inspect.unwrap(function), "__code__", None)
    names = code.co_varnames[: code.co_argcount] if isinstance(code, types.CodeType) else ()
    leaves = {_name(path, names): _kind(kind) for path, kind in zip(tree.paths(), kinds, strict=True)}
    return {"the structure of the arguments": _Part(str(tree)), **leaves}


def _name(path: tuple[Any, ...], names: tuple[str, ...]) -> str:
    """A leaf as a user would write it: x, or x['a'][0]."""
    which, first, *inner = path
    name = f"argument {first}" if which or first >= len(names) else names[first]
    return name + "".join(f"[{step!r}]" for step in inner)


def _kind(kind: tuple[Any, ...]) -> _Part:
    if kind[0] != "input":
        return _Part(_shown(kind[2]), _INTEGERS if type(kind[2]) is int else "")
    return _Part("an integer") if kind[2] == "n" else _Part(f"shape {kind[1]}, {np.dtype(kind[2])}", _SHAPES)


def _captured(function: Callable[..., Any]) -> dict[str, _Part]:
    """The plain values that a function refers to by name."""
    function = inspect.unwrap(function)
    if not isinstance(function, types.FunctionType):
        return {}
    return {f"{name!r} outside": _Part(_shown(value), _CAPTURED) for name, value in _names(function)}


def _names(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not yet assigned
            continue
    for name in code.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _shown(value: Any) -> str:
    """A plain value, or the shape of an array; nothing of other objects."""
    if isinstance(value, np.ndarray):
        return f"shape {value.shape}, dtype {value.dtype}"
    if not isinstance(value, bool | int | float | complex | str | np.generic):
        return type(value).__name__
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def warn_of_random_numbers(function: Callable[..., Any], name: str) -> None:
    """Say that random numbers have become constants."""
    warn(
        f"{name}{_where(function)} drew random numbers while it was recorded: every later call, and every step of a "
        "loop, uses the same ones. Draw them outside and pass them as an argument."
    )


def _where(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
