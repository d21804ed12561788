"""Recorded values: what a function gets instead of its arrays while it is recorded. They behave like NumPy arrays.

A recorded array can be written to: a write makes new rows, and the object then stands for these. Writes to elements and
slices are collected as pending pieces and joined into one row when the whole array is read, so the cost of filling an
array in a loop is that of the elements written. Slices are views: they see writes to their base.
"""

import numbers
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastad.primitives.regions import Region, contiguous_strides, region, whole
from fastad.primitives.values import strided_view
from fastad.recording.alternatives import no_elements, plain_array_error, refused_by
from fastad.recording.forgetting import HOLDERS
from fastad.recording.recorder import Recorder, recording_error
from fastad.recording.source import (
    SCIPY_PRODUCT,
    asked_by_remainder,
    asked_by_scipy,
    asked_by_user,
    at_line,
    from_scipy,
    user_line,
)
from fastad.tables.builder import Ref
from fastad.tables.columns import DTYPES

Shape = tuple[int, ...]
Frame = tuple[int, Shape, Shape]  # offset, shape, strides in the root array
# Most elements of an array that np.array or np.asarray turns into an object array of recorded scalars.
_CONVERT_LIMIT = 20_000
_NOTHING: dict[Region, Ref] = {}  # no pending pieces; never written to
_NO_MASK = bytearray()


@lru_cache(maxsize=4096)
def own_frame(shape: Shape) -> Frame:
    """The frame of an array that is not a view."""
    return 0, shape, contiguous_strides(shape)


class RecordedReal:
    """The class that libraries are told a recorded number has: it is a numbers.Real. There are no instances."""


class RecordedIntegral(RecordedReal):
    """The same for integers."""


numbers.Real.register(RecordedReal)
numbers.Integral.register(RecordedIntegral)


class Recorded:
    """A value that is being recorded; `value` is its concrete value in this recording."""

    __slots__ = (
        "__weakref__", "_base", "_frame", "_locked", "_mask", "_pending", "_read_only", "_recorder", "_ref", "_seen",
        "_version",
    )  # fmt: skip
    __array_priority__ = 1000.0
    __pandas_priority__ = 10_000  # so that operators of pandas' objects leave it to ours, which say what to write

    if TYPE_CHECKING:  # defined by `operators`

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __iter__(self) -> Any: ...
        def __add__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...

    def __init__(self, recorder: Recorder, ref: Ref, base: "Recorded | None" = None, frame: Any = None) -> None:
        self._recorder = recorder
        self._ref = ref
        self._base = base
        self._frame = frame  # a view's (offset, shape, strides) in its base
        self._version = 0
        self._seen = base._version if base is not None else 0
        self._pending: dict[Region, Ref] = _NOTHING
        self._mask = _NO_MASK  # one byte an element: 1 where a pending piece covers it
        self._locked = False  # an argument: a replay would not repeat a write to it
        self._read_only = False  # a view that is read-only in NumPy too

    @classmethod
    def define(cls, name: str, method: Any) -> None:
        """Add an operator or a method. They make recorded values themselves, so they stand in a file above this one."""
        setattr(cls, name, method)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What isinstance looks at besides the type. To the user's code it is what NumPy has here, so that branches on
        types go NumPy's way; libraries see that the value is not in memory."""
        number = not self.shape and self._base is None
        if asked_by_user():
            return self.dtype.type if number else np.ndarray
        if not number:
            return Recorded
        return RecordedIntegral if self.dtype.kind in "iu" else RecordedReal

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def recorder(self) -> Recorder:
        """The recorder, which must still be open."""
        if not self._recorder.open:
            raise recording_error(
                "a recorded value is used after the recording of its function has ended",
                "Return it from the function instead of storing it in an outer variable.",
            )
        return self._recorder

    @property
    def ref(self) -> Ref:
        """The row of this value now, after all writes."""
        if self._base is not None:
            if self._seen != self._base._version:
                _, shape, _ = self._frame
                self._ref = self._base._read(region(*self._frame) if shape else (self._frame[0], 1, 1), shape)
                self._seen = self._base._version
        elif self._pending:
            self._flush()
        return self._ref

    @property
    def value(self) -> Any:
        """Concrete value: an array, or a NumPy scalar."""
        return self._recorder.value(self.ref)

    def frozen(self) -> "Recorded":
        """The value as it is now: later writes do not change it."""
        return Recorded(self._recorder, self.ref)

    @classmethod
    def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
        raise recording_error(
            "a function of PyTorch is called with a recorded value", "Use NumPy's function of that name."
        )

    @property
    def shape(self) -> Shape:
        recorder = self._recorder
        return recorder.kinds[recorder.types[self._ref]].shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        raise recording_error("the shape of a recorded array cannot be set", f"Write y = y.reshape({shape}).")

    @property
    def dtype(self) -> np.dtype:
        recorder = self._recorder
        return DTYPES[recorder.kinds[recorder.types[self._ref]].dtype]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self._recorder.builder.size(self._ref)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise no_elements("len()")
        return self.shape[0]

    def __hash__(self) -> int:
        raise recording_error(
            "a recorded value cannot be the key of a dict, in a set, or an argument of functools.lru_cache",
            "Leave the cache out: fastad replays what it has recorded.",
        )

    def __repr__(self) -> str:
        if not self._recorder.open:
            return f"<recorded {self.dtype}{list(self.shape)}, recording ended>"
        return f"<recorded {self.dtype}{list(self.shape)} = {self._shown()!r}>"

    # ── views and writes ─────────────────────────────────────────────────────────────────────────────────────
    def frame(self) -> Frame:
        """Offset, shape and strides in the root array."""
        return self._frame or own_frame(self.shape)

    @property
    def root(self) -> "Recorded":
        return self if self._base is None else self._base

    @property
    def base(self) -> "Recorded | None":
        return self._base

    def view(self, frame: Any = None, keep: bool = False, **options: Any) -> "Recorded":
        """A view of the root with this frame (default: that of this value). A scalar is read at once and is not a view,
        unless `keep` is set, as for x[..., 0]. To the user it is NumPy's method, for plain arrays."""
        if options or frame is np.ndarray:
            frame = None if options.get("type", frame) is np.ndarray else options.get("dtype", frame)
        frame = self.frame() if frame is None else frame
        if not isinstance(frame, tuple):
            raise recording_error("x.view(dtype) of a recorded value is not supported", "Use x.astype(dtype).")
        return self.part(frame, keep)

    def part(self, frame: Frame, keep: bool = False) -> "Recorded":
        """`view` with a frame."""
        root = self if self._base is None else self._base
        recorder = self._recorder if self._recorder.open else self.recorder
        shape = frame[1]
        own = region(*frame) if shape else (frame[0], 1, 1)
        ref = root._read(own, shape) if root._pending else recorder.read(root._ref, own, shape)
        if not shape and not keep:
            return Recorded(recorder, ref)
        found = Recorded(recorder, ref, root, frame)
        found._read_only = self._read_only
        return found

    def read_only(self) -> "Recorded":
        """This view as a read-only one, as NumPy's diagonals and broadcast views are."""
        if self._base is None:
            return Recorded(self.recorder, self.ref) if not self.shape else self.view(self.frame()).read_only()
        self._read_only = True
        return self

    def _read(self, own: Region, shape: Shape) -> Ref:
        """A region of this root. Where it is exactly one pending piece, nothing is joined."""
        piece = self._pending.get(own)
        if piece is not None:
            return self._shaped(piece, shape)
        if self._pending and _is_marked(self._mask, own):
            self._flush()
        return self._recorder.read(self._ref, own, shape)

    def _shaped(self, ref: Ref, shape: Shape) -> Ref:
        return self._recorder.builder.reshape(ref, shape)

    def write(self, frame: Frame, ref: Ref) -> None:
        """Write a value of the frame's shape into the root, which keeps its dtype."""
        root = self if self._base is None else self._base
        if self._read_only:
            raise ValueError("assignment destination is read-only")
        if root._locked:
            raise recording_error(
                "an argument of the recorded function is changed in place; "
                "a replay would not repeat that on the caller's array",
                "Copy it first: x = x.copy().",
            )
        recorder = root._recorder
        types, kinds = recorder.types, recorder.kinds
        own = kinds[types[root._ref]].dtype
        if kinds[types[ref]].dtype != own:
            ref = recorder.convert(ref, own)
        root._write(region(*frame), ref)

    def holds(self, view: "Recorded") -> bool:
        """Whether a view shows what has just been written here, so that a write of it changes nothing: what is left of
        x[key] += y after the update of x[key]."""
        root = self if self._base is None else self._base
        is_now = view._base is root and view._seen == root._version and not self._read_only
        return is_now and region(*view._frame) in root._pending

    def _write(self, own: Region, ref: Ref) -> None:
        self._version += 1
        if own[0] == 0 and own == whole(self.size):
            self._pending, self._mask = _NOTHING, _NO_MASK
            self._ref = self._shaped(ref, self.shape)
            return
        if own not in self._pending:
            if self._pending and _is_marked(self._mask, own):
                self._flush()
            if not self._pending:
                self._mask, self._pending = bytearray(self.size), {}
            _mark(self._mask, own)
        self._pending[own] = ref

    def _flush(self) -> None:
        """Join the pending pieces into one row."""
        pieces, self._pending, self._mask = self._pending, _NOTHING, _NO_MASK
        recorder, b = self.recorder, self._recorder.builder
        kind = b.type(self._ref)
        operands, regions = list(pieces.values()), list(pieces)
        if sum(b.size(x) for x in operands) < kind.size:
            operands, regions = [self._ref, *operands], [whole(kind.size), *regions]
        statics = [i for r in regions for i in ((len(r) - 1) // 2, *r)]
        self._ref = recorder.emit("assemble", operands, statics, kind.shape, kind.dtype)

    # ── conversion to plain values ───────────────────────────────────────────────────────────────────────────
    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "the truth value of a recorded array with other than one element is ambiguous; use .any() or .all()"
            )
        truth: Any = self
        if self.dtype.kind != "b":
            truth = Recorded.__ne__(self, 0)  # the guard holds the outcome, not the number
        return bool(truth.recorder.guard(truth.ref))

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            text = "which makes a path for each (as a branch does)"
            raise TypeError(f"a recorded float cannot be used as an integer{at_line()}; write int(x), {text}")
        if self.size != 1:
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return int(self.recorder.guard(self.ref))

    def __int__(self) -> int:
        if self.dtype.kind in "iub":
            return self.__index__()
        if not self.shape and asked_by_remainder():
            return int(self._shown())
        recorder = self.recorder
        return int(recorder.guard(recorder.emit("trunc", (self.ref,))))

    def __float__(self) -> float:
        wanted = from_scipy()
        if wanted is not None:
            raise refused_by(wanted)
        if not self.shape and asked_by_remainder():  # "%f" % x
            return float(self._shown())
        raise plain_array_error(
            "float() of a recorded value (writing x into a plain array from outside the function calls it)",
            "Leave float() out, print with f'{x:.3f}', and",
        )

    def __format__(self, spec: str) -> str:
        return format(self._shown(), spec) if spec and not self.shape else str(self)

    def _shown(self) -> Any:
        """The concrete value, for a text: a function that prints does so only while it is recorded."""
        self._recorder.shown = self._recorder.shown or user_line()
        return self.value

    def __complex__(self) -> complex:
        raise recording_error("complex() of a recorded value would lose its derivative", "Write x + 1j * y.")

    def item(self, *args: Any) -> Any:
        raise recording_error("item() of a recorded value would lose its derivative", "Use x[()] or x[i] instead.")

    def tolist(self) -> Any:
        return [x.tolist() if x.ndim else x for x in self] if self.ndim else self

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """An object array of recorded scalars, so that np.array([a, b]) of recorded values stays recorded.

        Integers and truth values, which have no derivatives, become plain arrays and get a guard (`table[i]`).
        """
        kind = self.dtype.kind if dtype is None else np.dtype(dtype).kind
        if kind in "iub":
            whole = self if self.dtype.kind in "iub" else self.astype(dtype)
            return np.array(self.recorder.guard(whole.ref), dtype)
        if not self.size:
            return np.empty(self.shape, self.dtype if dtype is None else dtype)
        wanted = from_scipy()
        if wanted is not None and asked_by_scipy(SCIPY_PRODUCT):
            return np.array(None)
        if wanted is not None:
            raise refused_by(wanted)
        if self.size > _CONVERT_LIMIT:
            raise recording_error(
                f"np.asarray or np.array of a recorded array of {self.size} elements would make a row for each element",
                "Leave the conversion out (a recorded value is an array already), or use np.stack or np.concatenate.",
            )
        if dtype is not None and np.dtype(dtype) != object:
            raise plain_array_error(
                "converting recorded values to a plain array, or writing them into one from outside the function,"
            )
        out = np.empty(self.size, dtype=object)
        if not self.shape:
            out[0] = self.frozen()
            return out.reshape(())
        flat = self.frozen().view((0, (self.size,), (1,))) if self.ndim != 1 else self
        for i in range(self.size):
            out[i] = flat.view(_element(flat, i))
        return out.reshape(self.shape)


HOLDERS.add(Recorded)


def _element(x: Recorded, i: int) -> Frame:
    offset, _, strides = x.frame()
    return offset + i * strides[0], (), ()


def _is_marked(mask: bytearray, own: Region) -> bool:
    """Whether any element of a region is marked."""
    if len(own) == 3 and own[2] > 0:
        return 1 in mask[_slice(own)]
    return bool(strided_view(np.frombuffer(mask, np.bool_), own).any())


def _mark(mask: bytearray, own: Region) -> None:
    if len(own) == 3 and own[2] > 0:
        mask[_slice(own)] = b"\1" * own[1]
    else:
        strided_view(np.frombuffer(mask, np.bool_), own)[...] = True


def _slice(own: Region) -> slice:
    """A region of one dimension, with a positive stride."""
    offset, n, stride = own
    return slice(offset, offset + (n - 1) * stride + 1, stride)
