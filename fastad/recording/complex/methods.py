"""Python's operators, indexing, and the methods of complex recorded values."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastad.recording.buffers import plain
from fastad.recording.complex import calling, linalg, partwise, products, questions
from fastad.recording.complex.parts import split
from fastad.recording.complex.value import RecordedComplex, pair
from fastad.recording.operators import BINARY, COMPARE, UNARY, written_back
from fastad.recording.recorder import Recorder, recording_error
from fastad.recording.rolling import OPERATORS, roll_rows

_METHODS = (
    "sum prod mean var std cumsum cumprod dot reshape transpose ravel swapaxes squeeze repeat take trace diagonal "
    "round any all nonzero"
)
_OF_ORDER = "max min argmax argmin argsort sort searchsorted clip partition argpartition"


# ── operators ─────────────────────────────────────────────────────────────────────────────────────────────────
def _begin(recorder: Recorder) -> None:
    """Operators are where loops may be rolled: see `rolling`."""
    if len(recorder.types) > recorder.rolls_at:
        roll_rows(recorder)


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    def forward(self: RecordedComplex, other: Any) -> Any:
        _begin(self._recorder)
        return calling.call_operator(name, self, plain(other))

    def reflected(self: RecordedComplex, other: Any) -> Any:
        _begin(self._recorder)
        return calling.call_operator(name, plain(other), self)

    def in_place(self: RecordedComplex, other: Any) -> Any:
        result = calling.call_operator(name, self, plain(other))
        return written_back(self, result, name, is_number=not self.shape and self.part._base is None)

    OPERATORS.update(f.__code__ for f in (forward, reflected))
    return forward, reflected, in_place


def _array_ufunc(self: RecordedComplex, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    _begin(self._recorder)
    return calling.call_ufunc(ufunc, method, [plain(x) for x in inputs], **options)


def _array_function(self: RecordedComplex, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    out = kwargs.get("out")
    kwargs = plain(kwargs)
    return calling.call_function(function, plain(args), kwargs if out is None else kwargs | {"out": out})


# ── indexing ──────────────────────────────────────────────────────────────────────────────────────────────────
def _getitem(self: RecordedComplex, key: Any) -> RecordedComplex:
    if self.shape and (self._re is None or self._im is None):
        return RecordedComplex(self.real[key], self.imag[key])
    return RecordedComplex(*(None if x is None else x[key] for x in (self._re, self._im)))


def _setitem(self: RecordedComplex, key: Any, value: Any) -> None:
    re, im = split(plain(value))
    self.real[key] = 0.0 if re is None else re
    self.imag[key] = 0.0 if im is None else im


def _iterate(self: RecordedComplex) -> Iterator[RecordedComplex]:
    if not self.shape:
        raise TypeError("iteration over a 0-d array")
    return (self[i] for i in range(self.shape[0]))


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────
def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def call(self: RecordedComplex, *args: Any, **kwargs: Any) -> Any:
        if name in ("reshape", "transpose") and len(args) != 1:
            args = (args,) if args else ()
        return calling.call_function(function, (self, *args), kwargs)

    call.__name__ = name
    return call


def _unordered(name: str) -> Callable[..., Any]:
    def call(self: RecordedComplex, *args: Any, **kwargs: Any) -> Any:
        raise recording_error(
            f".{name}() is not supported on complex recorded values",
            "Complex numbers have no order: use the real part, z.real, or the absolute value, np.abs(z).",
        )

    return call


def astype(self: RecordedComplex, dtype: Any, **options: Any) -> Any:
    """A copy of another complex dtype."""
    target = np.dtype(dtype)
    if target.kind == "b":
        return calling.call_operator("not_equal", self, 0.0)
    if target.kind != "c":
        raise recording_error(
            f"astype({target}) of a complex recorded value would drop its imaginary part", "Write z.real, or np.abs(z)."
        )
    kind = np.float32 if target.itemsize == 8 else np.float64
    return pair(*(None if x is None else x.astype(kind) for x in (self._re, self._im)))


def _installed() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for short, name in BINARY:
        found |= dict(zip((f"__{short}__", f"__r{short}__", f"__i{short}__"), _binary(name), strict=True))
    for short, name in COMPARE:
        found[f"__{short}__"] = _binary(name)[0]
    for short, name in UNARY:
        found[f"__{short}__"] = lambda self, _name=name: calling.call_operator(_name, self)
    found |= {name: _method(name) for name in _METHODS.split()} | {name: _unordered(name) for name in _OF_ORDER.split()}
    conjugate = lambda self: calling.call_operator("conjugate", self)
    return found | {
        "__array_ufunc__": _array_ufunc, "__array_function__": _array_function, "__getitem__": _getitem,
        "__setitem__": _setitem, "__iter__": _iterate, "astype": astype, "conj": conjugate, "conjugate": conjugate,
        "copy": lambda self, *args, **kwargs: self.frozen(),
        "__copy__": lambda self: self.frozen(), "__deepcopy__": lambda self, memo: self.frozen(),
        "__complex__": _no_number,
        "__round__": lambda self, digits=0: calling.call_function(np.round, (self, digits), {}),
        "flatten": lambda self, order="C": calling.call_function(np.ravel, (self, order), {}).frozen(),
        "fill": lambda self, value: _setitem(self, ..., value),
        "T": property(lambda self: calling.call_function(np.transpose, (self,), {})),
        "mT": property(lambda self: calling.call_function(np.matrix_transpose, (self,), {})),
    }  # fmt: skip


def _no_number(self: RecordedComplex) -> complex:
    raise recording_error(
        "complex() of a recorded value (asin, acos and the like of cmath call it) would lose its derivative",
        "Leave complex() out, and use NumPy's functions, such as np.exp.",
    )


for _name, _value in _installed().items():
    RecordedComplex.define(_name, _value)
_ = (linalg, partwise, products, questions)
