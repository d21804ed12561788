"""What every executor makes: a kernel, and the protocol to run it on NumPy arrays."""

import contextlib
import ctypes
import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from fastad.errors import IndexRangeError
from fastad.execution.interrupting import named
from fastad.execution.layout import Layout
from fastad.execution.pending import pending_error
from fastad.primitives import PRIMITIVES, ArrayPrimitive
from fastad.tables.composites.sub import Sub
from fastad.tables.reference import Stopped
from fastad.tables.table import Table

# int64 kernel(const void *context, const double *in, double *out, double *work)
SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Called(Protocol):
    """What a kernel knows of a kernel that it calls."""

    @property
    def work_size(self) -> int:
        """Doubles of work memory."""


class PartKernel(Protocol):
    """The kernel of a sub-program: one vector in, one vector out, both inline."""

    @property
    def address(self) -> int:
        """A C function with the signature of kernels."""

    @property
    def context(self) -> int | None:
        """Its first argument."""

    @property
    def work_size(self) -> int:
        """Doubles of work memory."""


class Kernel(Protocol):
    """A program ready to run. `address` is a C function of `SIGNATURE`; it returns 0, row + 1 of a failed guard, or
    -(row + 1) of a row with an index out of bounds; `rows` is the table that these rows belong to.

    A kernel of a derivative may compute all its results; `chosen` are then those that are wanted, in order.
    """

    address: int
    context: int
    layout: Layout
    work_size: int
    rows: Table
    chosen: tuple[int, ...] | None

    @property
    def callees(self) -> Sequence[Called]:
        """The kernels that it calls."""


# ── return codes ──────────────────────────────────────────────────────────────────────────────────────────────
class GuardFailed(Exception):  # control flow, never seen by users
    """A replay met another path than the recorded one; `guard` counts the guards of the table."""

    def __init__(self, guard: int) -> None:
        super().__init__(guard)
        self.guard = guard


def raise_for(code: int, rows: Table, explain: Callable[[int], BaseException | None] = lambda row: None) -> None:
    """Raise what a return code other than 0 stands for: a failed guard if it is positive, an error if negative.

    That is the exception of Python code that the kernel called, if there is one; else what `explain` finds wrong with
    a row.
    """
    if code > 0:
        raise GuardFailed(rows.guards.index(code - 1))
    index = -code - 1
    row, line = rows.row(index), rows.line_of(index)
    known = pending_error() or explain(index)
    if row.sub is not None:  # a rolled loop has no line of its own: the rows of its turn have theirs
        what = f"{row.sub.name}, recorded at {line}" if line.number else row.sub.name
        raise named(known, what) if known is not None else composite_error(what, row.sub)
    if known is not None:
        raise named(known, f"{row.name}, at {line}")
    primitive: Any = row.primitive
    raise primitive.error(f"{primitive.complaint} in {row.name}, recorded at {line}")


def raise_for_part(code: int, sub: Any, explain: Callable[[], BaseException | None] = lambda: None) -> None:
    """The same for the kernel of a sub-program, whose guards are not followed."""
    if code > 0:
        raise Stopped(0)
    raise named(pending_error() or explain() or composite_error(sub.name, sub), sub.name)


def failure_lines(name: str, rows: Table) -> tuple[list[str], dict[str, type[Exception]]]:
    """The same as Python lines for numba, and the errors that they name; `code` is the return code."""
    lines = [
        "if code > 0:",
        f"    raise RuntimeError({name + ': the arguments lead to a path that was not recorded'!r})",
    ]
    errors: dict[str, type[Exception]] = {}
    for code in np.flatnonzero(np.bincount(rows.columns["op"])).tolist():
        row: Any = PRIMITIVES[code]
        if isinstance(row, ArrayPrimitive) and row.error not in (None, IndexRangeError):
            errors[row.error.__name__] = row.error
            places = [-(i + 1) for i in np.flatnonzero(rows.columns["op"] == code).tolist()]
            test = " or ".join(f"code == {place}" for place in places)
            lines += [f"if {test}:", f"    raise {row.error.__name__}({f'{name}: {row.complaint}'!r})"]
    return [*lines, "if code < 0:", f"    raise IndexError({name + ': index out of bounds'!r})"], errors


def composite_error(what: str, sub: Any) -> BaseException:
    """Why a composite row has failed: the exception of a Python function that it called, or what else it can be."""
    places = ((row, f" (recorded at {line})" if line.number else "") for row, line in _failing(sub))
    rows = ((row.error, f"{row.complaint}{place}") for row, place in places)
    found = dict.fromkeys((*_own_failures(sub), *rows))
    kinds = list(dict.fromkeys(kind for kind, _ in found)) or [IndexRangeError]
    texts = [text for _, text in found][:_NAMED] or ["an index out of bounds"]
    return pending_error() or kinds[0](f"{what}: {', '.join(texts)}, or no memory for its states")


_NAMED = 3  # causes that a message lists


def _own_failures(sub: Any) -> Iterator[tuple[type[Exception], str]]:
    """The errors of drivers inside."""
    yield from sub.failures
    for part in (*sub.parts, *(() if sub.table is None else sub.table.subs)):
        yield from _own_failures(part)


def _failing(sub: Any) -> Iterator[tuple[Any, Any]]:
    """The rows inside that may raise an error, those of linear algebra first, with their lines."""
    own = [sub.table] if sub.table is not None else []
    rows = [(row.primitive, table.line_of(row.index)) for table in own for row in table.rows() if _raises(row)]
    yield from sorted(rows, key=lambda pair: pair[0].error is IndexRangeError)
    for part in (*sub.parts, *(inner for table in own for inner in table.subs)):
        yield from _failing(part)


def _raises(row: Any) -> bool:
    return isinstance(row.primitive, ArrayPrimitive) and row.primitive.error is not None


def keeps_open(sub: Sub) -> bool:
    """Whether a sub-program has room for the states of more steps than it will make."""
    inner = () if sub.table is None else sub.table.subs
    return sub.open_size is not None or any(map(keeps_open, (*sub.parts, *inner)))


def aligned(size: int, sparse: bool = False) -> np.ndarray:
    """Uninitialised float64 vector that starts on a cache line. `sparse`: few of its pages will be touched."""
    try:
        raw = _small_pages(size + 8) if sparse and size >= _HUGE else np.empty(size + 8, np.float64)
    except (MemoryError, OSError) as error:
        remedy = "A loop's gradient needs less with checkpoint=fad.checkpoint.Auto(max_bytes), or with fewer steps"
        raise MemoryError(f"{error}, for the values of a program. {remedy}") from None
    shift = (-raw.ctypes.data // 8) % 8
    return raw[shift : shift + size]


_HUGE = 2**19  # doubles from which NumPy asks Linux for pages of 2 MiB, all of which is cleared at the first touch


def _small_pages(size: int) -> np.ndarray:
    """As np.empty, in the smallest pages: one touch does not cost two megabytes."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows, which has no others
        return np.empty(size, np.float64)
    memory = mmap.mmap(-1, 8 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float64)
