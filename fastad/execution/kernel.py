"""What every executor makes: a kernel, and the protocol to run it on NumPy arrays."""

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fastad.errors import IndexRangeError
from fastad.execution.layout import Layout
from fastad.tables.table import Table

# int64 kernel(const void *context, const double *in, double *out, double *work)
SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Called(Protocol):
    """What a kernel knows of a kernel that it calls."""

    @property
    def work_size(self) -> int:
        """Doubles of work memory."""


class Kernel(Protocol):
    """A program ready to run. `address` is a C function of `SIGNATURE`; it returns 0, row + 1 of a failed guard, or
    -(row + 1) of a row with an index out of bounds; `rows` is the table that these rows belong to."""

    address: int
    context: int
    layout: Layout
    work_size: int
    rows: Table

    @property
    def packets(self) -> Sequence[Called]:
        """The kernels that it calls."""


def raise_for(code: int, rows: Table) -> None:
    """Raise the error that a negative return code stands for."""
    index = -code - 1
    row, line = rows.row(index), rows.line_of(index)
    if row.sub is not None:
        raise composite_error(f"{row.sub.name}, recorded at {line}")
    primitive: Any = row.primitive
    raise primitive.error(f"{primitive.complaint} in {row.name}, recorded at {line}")


def composite_error(what: str) -> BaseException:
    """Why a composite row has failed: the exception of a Python function that it called, or what else it can be."""
    from fastad.execution.calling import pending_error

    return pending_error() or IndexRangeError(f"{what}: an index out of bounds, or no memory for its states")


def aligned(size: int) -> np.ndarray:
    """Uninitialised float64 vector that starts on a cache line."""
    try:
        raw = np.empty(size + 8, np.float64)
    except MemoryError as error:
        remedy = "A loop's gradient needs less with checkpoint=fad.checkpoint.Auto(max_bytes)"
        raise MemoryError(f"{error}, for the values of a program. {remedy}") from None
    shift = (-raw.ctypes.data // 8) % 8
    return raw[shift : shift + size]
