"""Writes docs/primitives.md from the primitive table: `python docs/make_primitives.py`."""

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastad.primitives import PRIMITIVES, Elementwise
from fastad.primitives.row import ArrayPrimitive
from fastad.recording.dispatch import CREATORS, FUNCTIONS, UFUNCS

TARGET = Path(__file__).with_name("primitives.md")

HEAD = """\
# Primitives

Written by `python docs/make_primitives.py` from the primitive table
([elementwise.py](../fastad/primitives/elementwise.py), [arrays.py](../fastad/primitives/arrays.py)); do not edit.
`print(fad.trace(f, x))` shows which of these rows a function becomes.

## Elementwise

Each primitive maps numbers to a number, and arrays element by element, with NumPy's broadcasting. In the expressions,
`a`, `b`, `c` are the operands and `r` is the result. Each partial derivative is an expression in primitives, so there
are derivatives of any order. Where the value is a call of the primitive itself, it is a machine operation or a C
function.
"""

ARRAYS = """\
## Arrays

All other NumPy functions are composed of these primitives. Static integers describe the geometry of a row: views,
transposes, broadcasts and slices are all `strided`.
"""

FUNCTIONS_HEAD = """\
## NumPy and SciPy functions

These functions accept recorded values; so do the corresponding operators and methods of arrays. Any other function
raises `RecordingError`, which names the line and the fix.
"""


def markdown() -> str:
    """The text of the page."""
    rows = [row for row in PRIMITIVES if isinstance(row, Elementwise)]
    arrays = [row for row in PRIMITIVES if isinstance(row, ArrayPrimitive)]
    return "\n".join([HEAD, *_elementwise(rows), "", ARRAYS, *_arrays(arrays), "", FUNCTIONS_HEAD, *_functions(), ""])


def _elementwise(rows: Iterable[Elementwise]) -> Iterable[str]:
    yield from _head("name", "recorded from", "value", "partial derivatives")
    for row in rows:
        partials = "; ".join(_code(p) for p in row.partials)
        yield _line(_code(row.name), ", ".join(row.ufuncs), _code(row.value), partials)


def _arrays(rows: Iterable[ArrayPrimitive]) -> Iterable[str]:
    yield from _head("name", "operands", "static integers", "has a derivative")
    for row in rows:
        operands = "any number" if row.arity < 0 else str(row.arity)
        yield _line(_code(row.name), operands, " ".join(row.statics), "yes" if row.adjoint else "no")


def _functions() -> Iterable[str]:
    for module, names in sorted(functions().items()):
        text = f"**{module}**: " + ", ".join(_code(name) for name in sorted(names))
        yield textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def functions() -> dict[str, set[str]]:
    """Names of the supported functions, by module."""
    groups: dict[str, set[str]] = {"numpy, ufuncs": set(), "scipy.special, ufuncs": set()}
    for name in (name for name in UFUNCS if not name.startswith("_")):
        groups["numpy, ufuncs" if hasattr(np, name) else "scipy.special, ufuncs"].add(name)
    for function in {*FUNCTIONS, *CREATORS}:
        module, name = _public(function)
        groups.setdefault(module, set()).add(name)
    return groups


def _public(function: Callable[..., Any]) -> tuple[str, str]:
    """The module and the name under which users call a function."""
    name = function.__name__
    module = (getattr(function, "__module__", None) or "numpy").partition("._")[0]
    return "numpy" if getattr(np, name, None) is function else module, name


def _head(*cells: str) -> tuple[str, str]:
    return _line(*cells), _line(*["---"] * len(cells))


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


if __name__ == "__main__":
    TARGET.write_text(markdown(), encoding="utf-8")
    print(f"wrote {TARGET}")
