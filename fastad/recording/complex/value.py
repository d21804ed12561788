"""A complex recorded value: the pair of its real and imaginary parts."""

import numbers
from typing import Any

import numpy as np

from fastad.recording.complex_operands import ComplexOperand, Parts
from fastad.recording.operands import as_recorded, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder, recording_error
from fastad.recording.source import asked_by_user, at_line

Shape = tuple[int, ...]
Part = Any  # what stands for a part in calculations: a recorded value, a plain array, a number; None is 0 throughout
COMPLEX: dict[str, np.dtype] = {"f": np.dtype(np.complex64), "d": np.dtype(np.complex128)}


class RecordedNumber:
    """The class that libraries are told a complex recorded number has. There are no instances."""


numbers.Complex.register(RecordedNumber)


class RecordedComplex(Recorded):
    """A complex value that is being recorded, of two parts of one shape and dtype.

    A part that is 0 throughout is None until it is asked for, so that products with 1j or with real values cost what
    they should. A real operand has no imaginary part, rather than one of 0 (C99, Annex G): where parts are infinite,
    NumPy's product with a real number has NaN in more places.

    Both parts are recorded arrays, so views and writes are theirs. The value has no row of its own: `ref` raises
    `ComplexOperand`, which sends operations of recorded values here, or tells the user what to write.
    """

    __slots__ = ("_im", "_re")

    def __init__(self, re: Recorded | None, im: Recorded | None) -> None:
        own = re if re is not None else im
        assert own is not None
        super().__init__(own._recorder, 0)
        self._re, self._im = re, im

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        number = not self.shape and self.part._base is None
        if asked_by_user():
            return self.dtype.type if number else np.ndarray
        return RecordedNumber if number else RecordedComplex

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def part(self) -> Recorded:
        """The first part that is not 0 throughout."""
        found = self._re if self._re is not None else self._im
        assert found is not None
        return found

    def _real(self) -> Recorded:
        """The real part, as a view."""
        if self._re is None:
            self._re = _zeros(self.part)
        return self._re

    def _imag(self) -> Recorded:
        """The imaginary part, as a view."""
        if self._im is None:
            self._im = _zeros(self.part)
        return self._im

    def _set_real(self, value: Any) -> None:
        self.real[...] = value

    def _set_imag(self, value: Any) -> None:
        self.imag[...] = value

    real: Any = property(_real, _set_real)
    imag: Any = property(_imag, _set_imag)

    # ── what arrays have ─────────────────────────────────────────────────────────────────────────────────────
    @property
    def recorder(self) -> Recorder:
        return self.part.recorder

    @property
    def ref(self) -> int:
        raise ComplexOperand(
            f"a complex value is used where recorded ones can only be real{at_line()}. Take z.real, z.imag, np.abs(z) "
            "or np.angle(z); elements are written into an array of dtype complex."
        )

    @property
    def value(self) -> Any:
        shape, kind = self.shape, self.dtype
        out = np.zeros(shape, kind)
        for name, own in (("real", self._re), ("imag", self._im)):
            if own is not None:
                setattr(out, name, own.value)
        return out[()]

    @property
    def shape(self) -> Shape:
        return self.part.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        raise recording_error("the shape of a recorded array cannot be set", f"Write y = y.reshape({shape}).")

    @property
    def dtype(self) -> np.dtype:
        return COMPLEX[self.part.dtype.char]

    @property
    def size(self) -> int:
        return self.part.size

    @property
    def base(self) -> Any:
        return self.part.base

    def frame(self) -> Any:
        return self.part.frame()

    def frozen(self) -> "RecordedComplex":
        """The value as it is now: later writes do not change it."""
        return RecordedComplex(*(None if x is None else x.frozen() for x in (self._re, self._im)))

    def view(self, frame: Any = None, keep: bool = False, **options: Any) -> "RecordedComplex":
        """A view of both parts. To the user it is NumPy's method, for plain arrays."""
        dtype = options.get("dtype", frame)
        if not (frame is None or isinstance(frame, tuple) or dtype is np.ndarray):
            raise recording_error(
                "z.view(dtype) of a complex recorded value is not supported",
                "Use z.real and z.imag, or np.stack([z.real, z.imag], -1).",
            )
        return RecordedComplex(self.real.view(frame, keep), self.imag.view(frame, keep))

    def read_only(self) -> "RecordedComplex":
        return RecordedComplex(self.real.read_only(), self.imag.read_only())

    # ── conversion to plain values ───────────────────────────────────────────────────────────────────────────
    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "the truth value of a recorded array with other than one element is ambiguous; use .any() or .all()"
            )
        return bool((self.real != 0) | (self.imag != 0))

    def _no_real(self, *args: Any) -> Any:
        raise TypeError(f"a complex recorded value is no real number{at_line()}; take z.real, z.imag or abs(z)")

    __index__ = __int__ = __float__ = _no_real

    def _shown(self) -> Any:
        self.part._shown()  # which notes that the recording has shown a value
        return self.value

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """An object array of complex recorded scalars."""
        if dtype is not None and np.dtype(dtype) != object:
            raise recording_error(
                "writing complex recorded values into a plain array from outside the function would lose their "
                "derivatives", "Write into an array that the function makes itself: np.zeros(n, dtype=complex)."
            )
        re, im = (np.ravel(x.__array__(object)) for x in (self.real, self.imag))
        out = np.empty(self.size, dtype=object)
        for i in range(self.size):
            out[i] = RecordedComplex(re[i], im[i])
        return out.reshape(self.shape)


def _zeros(like: Recorded) -> Recorded:
    return Recorded(like.recorder, like.recorder.const(np.zeros(like.shape, like.dtype)))


def pair(re: Part, im: Part, sources: Any = ()) -> Any:
    """The complex value of these parts, brought to one recorder, shape and dtype. What is there already is frozen,
    since it may be written to. `sources` are operands of which one is recorded, if neither part need be."""
    parts = [x for x in (re, im) if x is not None]
    recorder = recorder_of((*parts, *sources))
    own = [as_recorded(np.asarray(x) if isinstance(x, list | tuple) else x, recorder) for x in parts]
    shape = np.broadcast_shapes(*(x.shape for x in own))
    kinds = [x.dtype for x, given in zip(own, parts, strict=True) if type(given) not in (int, float, bool)]
    kind = np.result_type(*(kinds or [np.dtype(float)]))
    kind = kind if kind.kind == "f" else np.dtype(float)
    ready = iter([_brought(x, shape, kind) for x in own])
    return RecordedComplex(*(None if x is None else next(ready) for x in (re, im)))


def _brought(x: Any, shape: Shape, kind: np.dtype) -> Any:
    x = x.frozen() if x.dtype == kind else x.astype(kind)
    return x if x.shape == shape else np.broadcast_to(x, shape).copy()


def of_parts(re: Any, im: Any) -> Any:
    """The leaves of a complex value as one value: a recorded one if a part is recorded."""
    if isinstance(re, Recorded) and isinstance(im, Recorded) and (re.shape, re.dtype) == (im.shape, im.dtype):
        return RecordedComplex(re, im)
    return pair(re, im) if isinstance(re, Recorded) or isinstance(im, Recorded) else Parts(re, im)
