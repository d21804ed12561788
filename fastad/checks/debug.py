"""Finding where a NaN arises: programs are run row by row, and stop at the first bad value."""

import contextlib
import linecache
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from fastad.errors import IndexRangeError, NanError
from fastad.execution import compiled
from fastad.execution.drivers import run
from fastad.primitives import Elementwise
from fastad.tables.listing import input_name
from fastad.tables.reference import Stopped, steps
from fastad.tables.sub import Sub
from fastad.tables.table import DTYPES, Row, Table

_lock = threading.Lock()
_users = 0  # contexts that are open now, in all threads


@dataclass
class _Mode(threading.local):
    """What this thread checks."""

    nan: bool = False
    inf: bool = False


_mode = _Mode()


@contextlib.contextmanager
def nans(*, inf: bool = False) -> Iterator[None]:
    """Within this context, the first NaN that a recorded function computes raises `NanError`.

    The error names the row, its primitive, the values of its operands, the line of the user's source that it comes
    from, and whether it arose in the value or in a derivative ("adjoint", "tangent", or e.g. "tangent of adjoint" for
    second derivatives). With `inf`, infinite results of finite operands raise too. A NaN among the arguments or in
    an array that the function refers to is reported as such.

    Every row counts, including values that a later `np.where` does not choose. Programs are interpreted meanwhile,
    one NumPy call a row: slow, but nothing is slower outside of the context. Only this thread is checked; prepared
    calls and `.numba_function` are not. May be used as a decorator too.

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
    previous = _mode.nan, _mode.inf
    _mode.nan, _mode.inf = True, inf or _mode.inf
    _count(1)
    try:
        yield
    finally:
        _mode.nan, _mode.inf = previous
        _count(-1)


def _count(change: int) -> None:
    """Keep the hook of the executors in place exactly while some context is open."""
    global _users
    with _lock:
        _users += change
        compiled.inspector = _inspect if _users else None


def _inspect(plan: compiled.Plan, values: Sequence[Any]) -> list[Any] | None:
    """Results of a program, run row by row; None where this thread checks nothing."""
    return checked_results(plan.table, values, _mode.inf) if _mode.nan else None


def checked_results(table: Table, inputs: Sequence[Any], inf: bool = False) -> list[Any]:
    """Results of a table for given inputs; raises `NanError` at the first row with a NaN (or, with `inf`, infinity)."""
    found: list[np.ndarray] = []
    try:
        _walk(table, inputs, inf, found)
    except Stopped as stopped:
        raise compiled.GuardFailed(table.guards.index(stopped.row)) from None
    except IndexError as error:
        line = table.line_of(len(found))
        raise IndexRangeError(f"{error}, in {table.row(len(found)).name}, recorded at {line}") from None
    kinds: list[Any] = [DTYPES[kind.dtype] for kind in table.output_types]
    return [found[i].astype(kind)[()] for i, kind in zip(table.outputs, kinds, strict=True)]


def _walk(table: Table, inputs: Sequence[Any], inf: bool, found: list[np.ndarray]) -> None:
    """Evaluate the rows one by one into `found`; of a composite row, the row inside it is what counts."""
    for row, operands, value in steps(table, inputs, run):
        bad = _bad(row, operands, value, inf)
        if bad is not None:
            if row.sub is not None:
                _walk_sub(row.sub, operands[0].reshape(-1), inf)
            raise NanError(_message(table, row, operands, bad))
        found.append(value)


def _walk_sub(sub: Sub, x: np.ndarray, inf: bool) -> None:
    """Raise `NanError` for the first bad value inside of a sub-program, with the step, branch or lane it is in."""
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
    """Where a value is bad: the first flat index, how many elements are, and what they are ("NaN" or "infinite")."""

    at: int
    count: int
    what: str


def _bad(row: Row, operands: Sequence[np.ndarray], value: np.ndarray, inf: bool) -> _Bad | None:
    if row.name == "const":  # np.where(known, x, np.nan): nothing is wrong before it is chosen
        return None
    flat = value.reshape(-1) if row.sub is None else row.sub.numbers(value.reshape(-1))
    wrong = np.flatnonzero(np.isnan(flat))
    if len(wrong):
        return _Bad(int(wrong[0]), len(wrong), "NaN")
    # Infinities that the user has put in, or that came from those, are meant.
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
    if row.name == "input":
        name = input_name(table, row.index)
        what = "argument" if name[0] == "x" else "array that the function refers to"
        return f"an {what} ({name}) is NaN{where}; it came in so, nothing computed it"
    role = table.line_of(row.index).role or "value"
    name = row.name if row.sub is None else row.sub.name
    return f"the {role} is {bad.what}{where}: {name} of {' and '.join(_shown(x, row, bad) for x in operands)}"


def _extent(row: Row, bad: _Bad) -> str:
    """Which elements of an array are bad."""
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
    """An operand: the element that met the bad one, or what there is to know of a whole array."""
    if value.size == 1:
        return f"{value.reshape(-1)[0]:.10g}"
    if isinstance(row.primitive, Elementwise):
        return f"{value.reshape(-1)[bad.at]:.10g}"
    finite = value[np.isfinite(value)]
    extent = f"{finite.min():.4g} … {finite.max():.4g}" if len(finite) else "nothing finite"
    infinite = int(np.isinf(value).sum())
    return f"array{list(value.shape)} of {extent}" + (f" and {infinite} infinite" if infinite else "")


def _origin(table: Table, index: int) -> str:
    """Where an operand comes from."""
    name, line = table.row(index).name, table.line_of(index)
    if name in ("input", "const"):
        return input_name(table, index) if name == "input" else "a constant"
    place = f" at {PurePath(line.file).name}:{line.number}" if line.number else ""
    return f"the {line.role or 'value'} from {name}{place}"


def _hint(table: Table, row: Row, operands: Sequence[np.ndarray]) -> str:
    """What usually helps."""
    if not table.line_of(row.index).role or not any(np.isinf(x).any() for x in operands):
        return ""
    return (
        "A derivative is infinite here (as that of sqrt at 0): move the point, or keep it away from the singular "
        "operand with np.where before the function is applied."
    )
