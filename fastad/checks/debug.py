"""`nans`: finds where a NaN arises, by running programs row by row until the first bad value."""

import contextlib
import linecache
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from fastad.errors import IndexRangeError, NanError
from fastad.execution.composites.evaluating import run
from fastad.execution.kernel import GuardFailed
from fastad.execution.observing import observing
from fastad.primitives import Elementwise, Form
from fastad.tables.columns import DTYPES
from fastad.tables.composites.sub import Sub
from fastad.tables.reference import Stopped, steps
from fastad.tables.shown.listing import input_name
from fastad.tables.table import Row, Table


@dataclass
class _Mode(threading.local):
    """What this thread checks besides NaN."""

    inf: bool = False


_mode = _Mode()


@contextlib.contextmanager
def nans(*, inf: bool = False) -> Iterator[None]:
    """Within this context, the first NaN that a recorded function computes raises `NanError`.

    The error names the row, its primitive, the values of its operands, the line of the user's source, and where the NaN
    arose: in the value or in a derivative ("adjoint", "tangent", or e.g. "tangent of adjoint" for second derivatives).
    With `inf`, an infinite result of finite operands raises too. A NaN that came in with an argument, or with an array
    that the function refers to, is reported as such.

    Every row is checked, also values that a later `np.where` does not choose. Within the context, programs are
    interpreted with one NumPy call for each row, which is slow; outside of it, nothing is slower. Only the current
    thread is checked; prepared calls and `.numba_function` are not. The context can be used as a decorator.

    Raises
    ------
    NanError
        At the first bad value.

    >>> import numpy as np, fastad as fad
    >>> with fad.debug.nans():
    ...     fad.grad(lambda x: np.sqrt(x) * x)(0.0)
    Traceback (most recent call last):
        ...
    fastad.errors.NanError: the adjoint is NaN: multiply of 0 and inf...
    """
    previous = _mode.inf
    _mode.inf = inf or previous
    try:
        with observing(lambda request, values: checked_results(request.table, values, _mode.inf)):
            yield
    finally:
        _mode.inf = previous


def checked_results(table: Table, inputs: Sequence[Any], inf: bool = False) -> list[Any]:
    """Results of a table; raises `NanError` at the first row with a NaN (or, with `inf`, an infinity)."""
    found: list[np.ndarray] = []
    try:
        _walk(table, inputs, inf, found)
    except Stopped as stopped:
        raise GuardFailed(table.guards.index(stopped.row)) from None
    except IndexError as error:
        line = table.line_of(len(found))
        raise IndexRangeError(f"{error}, in {table.row(len(found)).name}, recorded at {line}") from None
    kinds: list[Any] = [DTYPES[kind.dtype] for kind in table.output_types]
    return [found[i].astype(kind)[()] for i, kind in zip(table.outputs, kinds, strict=True)]


def _walk(table: Table, inputs: Sequence[Any], inf: bool, found: list[np.ndarray]) -> None:
    """Evaluate the rows one by one into `found`. For a composite row, the error names the bad row inside it."""
    for row, operands, value in steps(table, inputs, run):
        bad = _bad(row, operands, value, inf)
        if bad is not None:
            if row.sub is not None:
                _walk_sub(row.sub, operands[0].reshape(-1), inf)
            raise NanError(_message(table, row, operands, bad))
        found.append(value)


def _walk_sub(sub: Sub, x: np.ndarray, inf: bool) -> None:
    """Raise `NanError` for the first bad value inside a sub-program, with its step, branch or lane."""
    if sub.table is not None:
        _walk(sub.table, [x], inf, [])
    for where, part, argument in sub.calls(x, run):
        value = part.numbers(part.evaluate(argument, run=run))
        if np.isnan(value).any() or (inf and np.isinf(value).any()):
            try:
                _walk_sub(part, argument, inf)
            except NanError as error:
                raise NanError(f"{error}\n  in {where}") from None


@dataclass(frozen=True)
class _Bad:
    """Bad elements of a value: the first flat index, their number, and what they are ("NaN" or "infinite")."""

    at: int
    count: int
    what: str


def _bad(row: Row, operands: Sequence[np.ndarray], value: np.ndarray, inf: bool) -> _Bad | None:
    if row.form is Form.CONSTANT:  # as in np.where(known, x, np.nan): a constant NaN is wrong only where it is used
        return None
    flat = value.reshape(-1) if row.sub is None else row.sub.numbers(value.reshape(-1))
    wrong = np.flatnonzero(np.isnan(flat))
    if len(wrong):
        return _Bad(int(wrong[0]), len(wrong), "NaN")
    # Infinities of the user's own, and what is computed from them, are intended.
    if inf and operands and all(np.isfinite(x).all() for x in operands):
        wrong = np.flatnonzero(np.isinf(flat))
        if len(wrong):
            return _Bad(int(wrong[0]), len(wrong), "infinite")
    return None


# ── the message ───────────────────────────────────────────────────────────────────────────────────────────────
def _message(table: Table, row: Row, operands: Sequence[np.ndarray], bad: _Bad) -> str:
    lines = [_headline(table, row, operands, bad), *_place(table, row.index)]
    if row.operands:
        lines.append(f"  row %{row.index} is {row.name}({', '.join(f'%{i}' for i in row.operands)})")
    for i, value in dict(zip(row.operands, operands, strict=True)).items():
        lines.append(f"    %{i} = {_shown(value, row, bad)}, {_origin(table, i)}")
    hint = _hint(table, row, operands)
    return "\n".join([*lines, f"  {hint}"] if hint else lines)


def _headline(table: Table, row: Row, operands: Sequence[np.ndarray], bad: _Bad) -> str:
    where = _extent(row, bad)
    if row.form is Form.INPUT:
        name = input_name(table, row.index)
        what = "argument" if name[0] == "x" else "array that the function refers to"
        return f"an {what} ({name}) is NaN{where}; it was NaN before the call"
    role = table.line_of(row.index).role or "value"
    name = row.name if row.sub is None else row.sub.name
    return f"the {role} is {bad.what}{where}: {name} of {' and '.join(_shown(x, row, bad) for x in operands)}"


def _extent(row: Row, bad: _Bad) -> str:
    """Which elements of an array are bad, as text."""
    if not row.shape:
        return ""
    index = ", ".join(map(str, np.unravel_index(bad.at, row.shape)))
    return f" at [{index}]" + (f" and {bad.count - 1} more of {row.size} elements" if bad.count > 1 else "")


def _place(table: Table, index: int) -> list[str]:
    """The user's source line, with its text where the file can be read."""
    line = table.line_of(index)
    if not line.number:
        return []
    text = linecache.getline(line.file, line.number).strip()
    return [f"  {line}", *([f"    {text}"] if text else [])]


def _shown(value: np.ndarray, row: Row, bad: _Bad) -> str:
    """An operand as text: the element that the bad one was computed from, or a summary of the whole array."""
    if value.size == 1:
        return f"{value.reshape(-1)[0]:.10g}"
    if isinstance(row.primitive, Elementwise):
        return f"{value.reshape(-1)[bad.at]:.10g}"
    finite = value[np.isfinite(value)]
    extent = f"{finite.min():.4g} … {finite.max():.4g}" if len(finite) else "nothing finite"
    infinite = int(np.isinf(value).sum())
    return f"array{list(value.shape)} of {extent}" + (f" and {infinite} infinite" if infinite else "")


def _origin(table: Table, index: int) -> str:
    """Where an operand comes from, as text."""
    row, line = table.row(index), table.line_of(index)
    if row.form in (Form.INPUT, Form.CONSTANT):
        return input_name(table, index) if row.form is Form.INPUT else "a constant"
    place = f" at {PurePath(line.file).name}:{line.number}" if line.number else ""
    return f"the {line.role or 'value'} from {row.name}{place}"


def _hint(table: Table, row: Row, operands: Sequence[np.ndarray]) -> str:
    """What usually helps, if there is such advice."""
    if not table.line_of(row.index).role or not any(np.isinf(x).any() for x in operands):
        return ""
    return (
        "A derivative is infinite here (as that of sqrt at 0): change the point, or replace the singular operand by "
        "np.where before the function is applied to it."
    )
