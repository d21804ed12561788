"""np.nditer over recorded arrays: elements as views without axes, which write through."""

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastad.recording.buffers import Buffer, target_of
from fastad.recording.functions.registry import Array, constant
from fastad.recording.libraries import in_library
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.recorder import open_recordings, recording_error
from fastad.recording.standins import StandIn, stands_in

_FLAGS = frozenset([
    "multi_index", "c_index", "f_index", "refs_ok", "zerosize_ok", "buffered", "copy_if_overlap", "delay_bufalloc",
])  # fmt: skip


class NdIter(StandIn):
    """Stands for np.nditer: NumPy's iterator reads the memory of arrays, which recorded ones do not have."""

    def __call__(self, /, op: Any, *args: Any, **options: Any) -> Any:
        operands = op if isinstance(op, list | tuple) else [op]
        if not open_recordings() or in_library(sys._getframe(1).f_code):
            return self.original(op, *args, **options)
        if not is_recorded(operands) and not any(type(x) is Buffer for x in operands):
            return self.original(op, *args, **options)
        return RecordedIterator(operands, *args, **options)


class RecordedIterator:
    """What is used of np.nditer: iteration, `multi_index`, `index`, `value`, `finished`, `operands`, `with`."""

    def __init__(
        self, operands: Any, flags: Any = (), op_flags: Any = None, op_dtypes: Any = None, order: str = "K",
        casting: str = "safe", **others: Any,
    ) -> None:  # fmt: skip
        unknown = [f"flags={flag!r}" for flag in flags or () if flag not in _FLAGS]
        unknown += [name for name, value in {"op_dtypes": op_dtypes, **others}.items() if value]
        if unknown:
            raise recording_error(
                f"np.nditer with {unknown[0]} is not supported on recorded values",
                "Leave it out, or use whole arrays, or np.ndindex(x.shape) and x[index].",
            )
        self._flags = frozenset(flags or ())
        written = _written(op_flags, len(operands))
        self.shape = np.broadcast_shapes(*(np.shape(x) for x in operands if x is not None))
        self.operands = tuple(_operand(x, w, self.shape, operands) for x, w in zip(operands, written, strict=True))
        self._indices = list(_order(self.operands[0], self.shape, order))
        self._views = [
            x if w or np.shape(x) == self.shape else np.broadcast_to(x, self.shape)
            for x, w in zip(self.operands, written, strict=True)
        ]
        self.ndim, self.nop, self.itersize = len(self.shape), len(operands), len(self._indices)
        self.iterindex = 0

    def __iter__(self) -> Iterator[Any]:
        while not self.finished:
            yield self.value
            self.iterindex += 1

    def __len__(self) -> int:
        return self.itersize

    def __enter__(self) -> "RecordedIterator":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getitem__(self, k: int) -> Any:
        view: Any = self._views[k]
        return view[(*self._at, ...)]

    def __setitem__(self, k: int, value: Any) -> None:
        self[k][...] = value

    @property
    def _at(self) -> tuple[int, ...]:
        if self.finished:
            raise ValueError("Iterator is past the end")
        return self._indices[self.iterindex]

    @property
    def finished(self) -> bool:
        return self.iterindex >= self.itersize

    @property
    def value(self) -> Any:
        found = tuple(self[k] for k in range(self.nop))
        return found[0] if self.nop == 1 else found

    @property
    def multi_index(self) -> tuple[int, ...]:
        self._asked("multi_index")
        return self._at

    @property
    def index(self) -> int:
        by_columns = "f_index" in self._flags
        self._asked("f_index" if by_columns else "c_index")
        place = 0
        for k, n in list(zip(self._at, self.shape, strict=True))[:: -1 if by_columns else 1]:
            place = place * n + k
        return place

    def _asked(self, flag: str) -> None:
        if flag not in self._flags:
            raise ValueError(f"Iterator is not tracking a {flag}: pass flags=[{flag!r}]")

    def iternext(self) -> bool:
        """Go to the next element; whether there is one."""
        self.iterindex += 1
        return not self.finished

    def reset(self) -> None:
        """Go to the first element."""
        self.iterindex = 0

    def close(self) -> None:
        """Nothing is held back."""


def _written(op_flags: Any, count: int) -> list[bool]:
    """Which operands are written to."""
    flags = op_flags or [["readonly"]]
    each = [flags] if isinstance(flags[0], str) else list(flags)
    each = each * count if len(each) == 1 else each
    return [bool({"readwrite", "writeonly"} & set(own)) for own in each]


def _operand(x: Any, is_written: bool, shape: tuple[int, ...], operands: Any) -> Array:
    if x is None:  # made here, as NumPy makes it
        like = as_recorded(0.0, recorder_of(operands))
        return constant(like, np.zeros(shape))
    if is_written:
        if np.shape(x) != shape:
            raise ValueError("non-broadcastable operand")
        return target_of(x, "np.nditer writes")
    return x


def _order(x: Any, shape: tuple[int, ...], order: str) -> Iterator[tuple[int, ...]]:
    """All indices: the last axis fastest, the first one (order="F"), or as the elements of x follow in memory."""
    steps = x.strides if order in "KA" and np.shape(x) == shape else np.empty(shape, np.int8).strides
    axes = range(len(shape))[::-1] if order == "F" else sorted(range(len(shape)), key=lambda d: -abs(steps[d]))
    ways = [range(shape[d])[:: -1 if order == "K" and steps[d] < 0 else 1] for d in axes]
    place = np.argsort(list(axes)).tolist()
    return (tuple(k[d] for d in place) for k in itertools.product(*ways))


stands_in("numpy", "nditer", NdIter(np.nditer))
