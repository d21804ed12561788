"""Elementwise rows with NumPy's broadcasting and promotion: the primitive, what operands are spread to, the dtype."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastad.primitives import primitive
from fastad.primitives.row import elementwise_rows
from fastad.recording.dispatch import implements_ufunc
from fastad.recording.operands import recorder_of, to_ref
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import Number
from fastad.recording.recorder import Recorder
from fastad.recording.rolling import roll_rows
from fastad.recording.source import user_line
from fastad.tables.builder import Ref, dtype_char
from fastad.tables.columns import DTYPES, NARROW, ValueType

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ElementwisePlan:
    """The row that an elementwise operation on operands of given types needs, and its type."""

    name: str
    number: int  # of the result's type
    char: str
    spread: Sequence[Callable[[Any, Ref], Ref] | None]  # what makes the broadcast row that an operand needs
    whole: bool  # an operation on integers that gives -0 for some
    wraps: str = ""  # the dtype of narrow integers that int64 of this plan become
    rounds: bool = False  # a comparison of float32, for which NumPy rounds Python numbers


# Python numbers follow the other operand's dtype; a Python bool is like NumPy's.
_WEAK = frozenset([float, int, Number])
_LIKE = {"i": 0, "d": 0.0}  # Python numbers for the dtypes that recorded ones have


def elementwise(name: str, *operands: Any) -> Recorded:
    """Record an elementwise primitive with NumPy's broadcasting."""
    recorder = recorder_of(operands)
    if not recorder.open:
        Recorded(recorder, 0).recorder  # noqa: B018 - raises the error that says so
    refs = [recorder.number(x) if type(x) in (float, int) else to_ref(recorder, x) for x in operands]
    kinds = [(recorder.types[ref], type(x) in _WEAK) for ref, x in zip(refs, operands, strict=True)]
    return _planned(recorder, (name, *kinds), operands, refs)


def unary(name: str, x: Any) -> Recorded:
    """`elementwise` for one operand, faster."""
    if type(x) is not Recorded or not x._recorder.open:
        return elementwise(name, x)
    recorder = x._recorder
    if len(recorder.types) > recorder.rolls_at:
        roll_rows(recorder)
    ref = x._ref if x._base is None and not x._pending else x.ref
    return _planned(recorder, (name, recorder.types[ref]), (x,), (ref,))


def binary(name: str, x: Any, y: Any) -> Recorded:
    """`elementwise` for two operands, faster where they are recorded values and Python numbers."""
    kind_x, kind_y = type(x), type(y)
    number = 0  # which operand is a number: 1 or 2, of NumPy's -1 or -2; 0: neither
    if kind_x is Recorded:
        recorder = x._recorder
        if kind_y is float or kind_y is int:
            number = 2
        elif kind_y is np.float64:
            number = -2
        elif kind_y is np.ndarray and y.base is None and recorder.open and y.dtype == np.float64 and y.ndim:
            y = Recorded(recorder, recorder.capture(y))
        elif kind_y is not Recorded or y._recorder is not recorder:
            return elementwise(name, x, y)
    elif kind_y is Recorded and (kind_x is float or kind_x is int):
        recorder, number = y._recorder, 1
    elif kind_y is Recorded and kind_x is np.float64:
        recorder, number = y._recorder, -1
    elif kind_y is Recorded and kind_x is np.ndarray and x.base is None and x.dtype == np.float64 and x.ndim:
        recorder = y._recorder
        x = Recorded(recorder, recorder.capture(x)) if recorder.open else x
    else:
        return elementwise(name, x, y)
    if not recorder.open:
        return elementwise(name, x, y)
    if len(recorder.types) > recorder.rolls_at:
        roll_rows(recorder)
    if number < 0:
        a = recorder.number(float(x)) if number == -1 else x.ref
        b = recorder.number(float(y)) if number == -2 else y.ref
    else:
        a = recorder.number(x) if number == 1 else x._ref if x._base is None and not x._pending else x.ref
        b = recorder.number(y) if number == 2 else y._ref if y._base is None and not y._pending else y.ref
    types = recorder.types
    return _planned(recorder, (name, types[a], types[b], number), (x, y), (a, b))


def _planned(recorder: Recorder, key: Any, operands: Sequence[Any], refs: Sequence[Ref]) -> Recorded:
    """The row of an elementwise operation. `key` is its name and the types of its operands."""
    plan = recorder.plans.get(key)
    if plan is None:
        plan = recorder.plans[key] = _plan(recorder, key[0], operands, refs)
    if plan.rounds:
        pairs = zip(operands, refs, strict=True)
        refs = [recorder.number(float(np.float32(x))) if type(x) is float else ref for x, ref in pairs]
    elif plan.whole or plan.wraps:
        ref = _integers(recorder, plan, refs) if plan.whole else emit_broadcast(recorder, plan.name, refs, plan.char)
        return Recorded(recorder, recorder.convert(ref, plan.wraps or plan.char))
    b = recorder.builder
    b.source_line(user_line(4))
    if plan.spread:
        refs = [x if f is None else f(b, x) for f, x in zip(plan.spread, refs, strict=True)]
    return Recorded(recorder, b.emit_elementwise(plan.name, refs, plan.number))


def _integers(recorder: Recorder, plan: ElementwisePlan, refs: Sequence[Ref]) -> Ref:
    """A row of integers, none of which is -0 or NaN: 1 / -n is inf for n = 0."""
    b = recorder.builder
    row = primitive(plan.name)
    # A product with a positive number has the sign of the other factor.
    if row.commutes and any((b.scalar(x) or 0) > 0 for x in refs):
        return emit_broadcast(recorder, plan.name, refs, "i")
    signed = emit_broadcast(recorder, plan.name, refs, "d")
    if row.divides and not b.scalar(refs[1]):
        zero = recorder.number(0.0)
        by_zero = emit_broadcast(recorder, "equal", (refs[1], zero))
        signed = emit_broadcast(recorder, "where", (by_zero, zero, signed), "d")
    return recorder.emit("add", (signed, recorder.number(0.0)), (), b.shape(signed), "i")


def detached(x: Any) -> Any:
    """x with derivative 0."""
    return elementwise("stop_gradient", x) if isinstance(x, Recorded) else x


def _plan(recorder: Recorder, name: str, operands: Sequence[Any], refs: Sequence[Ref]) -> ElementwisePlan:
    b = recorder.builder
    kinds = [b.type(x) for x in refs]
    row = primitive(name)
    if row.on_truth is not None and all(k.dtype == "b" for k in kinds):
        row.numpy(*[np.True_] * row.arity)  # raises NumPy's own error
        row = primitive(row.on_truth)
    shape = _broadcast_shape([k.shape for k in kinds])
    char = _promoted(row, operands, [k.dtype for k in kinds])
    spread = [_spread(k.shape, shape) for k in kinds]
    wraps = char if char in NARROW and not _selects(row) else ""
    char = "i" if wraps else char
    whole = char == "i" and row.minus_zero
    number = b.type_number(ValueType(shape, char))
    rounds = bool(row.operator and row.operator.kind == "comparison") and "f" in [k.dtype for k in kinds]
    return ElementwisePlan(row.name, number, char, spread if any(spread) else (), whole, wraps, rounds)


def _selects(row: Any) -> bool:
    return bool(row.operator and row.operator.kind == "selection")


def _spread(own: Shape, shape: Shape) -> Callable[[Any, Ref], Ref] | None:
    """What broadcasts an operand to the shape of the result; numbers need nothing beside larger arrays."""
    if own == shape or (math.prod(own) == 1 and math.prod(shape) != 1):
        return None
    return lambda b, x: b.broadcast(x, shape)


def _promoted(row: Any, operands: Sequence[Any], chars: Sequence[str]) -> str:
    """The dtype of a result by NumPy's promotion, in which Python numbers are weak and arrays of one number are not."""
    rule = row.result
    if rule in ("bool", "int"):
        return rule[0]
    conditions = 1 if _selects(row) else 0
    pairs = list(zip(operands, chars, strict=True))[conditions:]
    found = np.result_type(*(_promoting(x, c) for x, c in pairs))
    if rule == "float" and found.kind in "biu":
        return "d"
    return "i" if rule == "total" and found.kind == "b" else dtype_char(found)


def _promoting(x: Any, char: str) -> Any:
    """What stands for an operand in np.result_type: its dtype, or a number like it."""
    return _LIKE.get(char, DTYPES[char]) if type(x) in _WEAK else DTYPES[char]


def result_char(operands: Sequence[Any]) -> str:
    """The dtype of what is put together from operands, by NumPy's promotion."""
    dtypes = [x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype for x in operands]
    return dtype_char(np.result_type(*(_promoting(x, dtype_char(d)) for x, d in zip(operands, dtypes, strict=True))))


def _broadcast_shape(shapes: Sequence[Shape]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        text = " and ".join(map(str, shapes))
        raise ValueError(f"operands could not be broadcast together with shapes {text}") from None


def emit_broadcast(recorder: Recorder, name: str, refs: Sequence[Ref], dtype: str | None = None) -> Ref:
    """An elementwise row over operands of different shapes. Operands of size 1 stay so; others get a broadcast row."""
    b = recorder.builder
    shape = _broadcast_shape([b.shape(x) for x in refs])
    size = math.prod(shape)
    spread = [x if b.size(x) == 1 and size != 1 else broadcast_ref(recorder, x, shape) for x in refs]
    return recorder.emit(name, spread, shape=shape, dtype=dtype)


def broadcast_ref(recorder: Recorder, x: Ref, shape: Shape) -> Ref:
    key = (x, shape)
    found = recorder.broadcasts.get(key)
    if found is None:
        found = recorder.broadcasts[key] = recorder.builder.broadcast(x, shape)
    return found


_SHORT: dict[int, Callable[..., Recorded]] = {1: unary, 2: binary}
for _row in elementwise_rows():
    for _ufunc in _row.ufuncs:
        _own_name = getattr(getattr(np, _ufunc, None), "__name__", _ufunc)
        implements_ufunc(_ufunc, _own_name)(partial(_SHORT.get(_row.arity, elementwise), _row.name))
