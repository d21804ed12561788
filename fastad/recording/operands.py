"""Operands as rows: recorded values, arrays, numbers and lists of them, as a function passes them to NumPy."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastad.primitives import primitive
from fastad.primitives.regions import contiguous_strides
from fastad.primitives.row import elementwise_rows
from fastad.recording.buffers import Buffer, twin_of
from fastad.recording.dispatch import implements_ufunc
from fastad.recording.recorded import Frame, Recorded
from fastad.recording.recorded_numbers import NUMBERS, Number
from fastad.recording.recorder import Recorder, recording_error
from fastad.recording.rolling import roll_rows
from fastad.recording.source import user_line
from fastad.recording.watched import Watched
from fastad.tables.builder import Ref, dtype_char
from fastad.tables.columns import DTYPES, NARROW, ValueType

Shape = tuple[int, ...]
_NUMBERS = (float, int, np.floating, np.integer, np.bool_)


def recorder_of(objects: Iterable[Any]) -> Recorder:
    """The innermost recorder of the recorded values in (nested) arguments."""
    found = _deepest(objects, None)
    if found is None:
        raise recording_error("an operation on recorded values without a recorded operand", "This is a bug in fastad.")
    return found


def _deepest(objects: Iterable[Any], best: Recorder | None) -> Recorder | None:
    for x in objects:
        if isinstance(x, Recorded):
            own = x._recorder
            if type(x) in NUMBERS and not x.is_live:
                continue
            if best is None or own.level > best.level:
                best = own
        elif isinstance(x, list | tuple):
            best = _deepest(x, best)
        elif isinstance(x, np.ndarray):
            if x.dtype == object:
                best = _deepest(x.reshape(-1).tolist(), best)
            elif type(x) is Buffer or x.base is not None:
                twin = twin_of(x)
                best = best if twin is None else _deepest((twin,), best)
    return best


def is_recorded(x: Any) -> bool:
    """Whether x is a recorded value, or a list or an array that holds one."""
    return _deepest((x,), None) is not None


def to_ref(recorder: Recorder, x: Any) -> Ref:
    """The row of an operand in this recorder."""
    if isinstance(x, Recorded):
        if x._recorder is recorder:
            return x.ref
        if type(x) in NUMBERS and not x.is_live:
            return recorder.number(x.held())
        if x.recorder.level > recorder.level:
            raise recording_error(
                "a value recorded by an inner function is used in an outer function",
                "Return it from the inner function.",
            )
        return recorder.lift(x)
    if type(x) is Watched:
        x = x.array if _is_read_anew(x.array) else x.seen()
    if isinstance(x, _NUMBERS):
        return recorder.const(x)
    if isinstance(x, np.ndarray):
        return _array_ref(recorder, x)
    if isinstance(x, list | tuple):
        return stack_refs(recorder, x) if is_recorded(x) else recorder.const(_checked(np.asarray(x)))
    raise recording_error(
        f"an operand is a {type(x).__name__}, which cannot be recorded", "Use numbers, NumPy arrays or recorded values."
    )


def _array_ref(recorder: Recorder, x: np.ndarray) -> Ref:
    if type(x) is Buffer or x.base is not None:
        twin = twin_of(x)
        if twin is not None:
            return to_ref(recorder, twin)
    if x.dtype == object:
        return stack_refs(recorder, _plain(x))
    _checked(x)
    if not x.dtype.isnative:  # a table holds it by value, so it is compared at every call
        return recorder.const(x.astype(x.dtype.newbyteorder("=")))
    return recorder.capture(x) if _is_read_anew(x) else recorder.const(x)


def _is_read_anew(x: np.ndarray) -> bool:
    """Whether an array from outside is an input; whole numbers without axes may be those of shapes and indices."""
    return bool(x.ndim) or x.dtype.kind == "f"


def has_own_arithmetic(kind: type) -> bool:
    """Whether a subclass of arrays computes differently from NumPy's own, as masked arrays and matrices do."""
    names = ("__mul__", "__array_ufunc__")
    return kind not in (Buffer, Watched) and any(getattr(kind, name) is not getattr(np.ndarray, name) for name in names)


def _plain(x: np.ndarray) -> np.ndarray:
    if type(x) is not np.ndarray and has_own_arithmetic(type(x)):
        raise recording_error(
            f"an operand is a {type(x).__name__}, which computes differently from a plain array",
            "Use a plain array: np.asarray(x), or x.filled() for a masked array.",
        )
    return x


def _checked(x: np.ndarray) -> np.ndarray:
    _plain(x)
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8 or x.dtype == np.float16:
        raise recording_error(
            f"an operand has dtype {x.dtype}, which cannot be recorded",
            "Convert it to float64, float32, integers or bool.",
        )
    return x


def stack_refs(recorder: Recorder, items: Any) -> Ref:
    """A row that assembles a nested list (or object array) of recorded values and numbers."""
    if isinstance(items, np.ndarray) and items.ndim == 0:
        return to_ref(recorder, items.item())
    parts = [to_ref(recorder, x) for x in items]
    shape = recorder.builder.shape(parts[0]) if parts else ()
    if any(recorder.builder.shape(x) != shape for x in parts):
        raise recording_error("an array is made of values of different shapes", "Give all of them the same shape.")
    return assemble_blocks(recorder, parts, (len(parts), *shape))


def assemble_blocks(recorder: Recorder, parts: Sequence[Ref], shape: Shape) -> Ref:
    """One array from blocks of equal size, one after another in memory."""
    n = math.prod(shape) // max(len(parts), 1)
    statics = [i for k in range(len(parts)) for i in (1, k * n, n, 1)]
    dtypes = [DTYPES[recorder.builder.type(x).dtype] for x in parts]
    dtype = dtype_char(np.result_type(*dtypes)) if parts else "d"
    return recorder.emit("assemble", parts, statics, shape, dtype)


def as_recorded(x: Any, recorder: Recorder | None = None) -> Recorded:
    """x as a recorded value (itself, when it is one)."""
    if isinstance(x, Recorded) and (recorder is None or x._recorder is recorder):
        return x
    recorder = recorder or recorder_of((x,))
    return Recorded(recorder, to_ref(recorder, x))


def path_value(x: Any, recorder: Recorder) -> np.ndarray:
    """The value of something that shapes depend on. It gets a guard, so the function is recorded again for another
    value, also where a captured array has changed."""
    if isinstance(x, Recorded):
        return np.asarray(x.recorder.guard(x.ref))
    if is_recorded(x):
        return path_value(as_recorded(x), recorder)
    found = np.asarray(x)
    if isinstance(x, np.ndarray) and x.ndim and x.dtype.kind in "biuf":
        recorder.guard(to_ref(recorder, x))
    return found


# ── elementwise ───────────────────────────────────────────────────────────────────────────────────────────────
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
    return recorder.builder.broadcast(x, shape)


_SHORT: dict[int, Callable[..., Recorded]] = {1: unary, 2: binary}
for _row in elementwise_rows():
    for _ufunc in _row.ufuncs:
        _own_name = getattr(getattr(np, _ufunc, None), "__name__", _ufunc)
        implements_ufunc(_ufunc, _own_name)(partial(_SHORT.get(_row.arity, elementwise), _row.name))


_as_strided = np.lib.stride_tricks.as_strided  # NumPy's own, whatever stands for it during a recording


_BYTE = np.empty(1, np.int8)


# ── geometry ──────────────────────────────────────────────────────────────────────────────────────────────────
def dummy(frame: tuple[int, Shape, Shape]) -> np.ndarray:
    """An array with this geometry but without the memory for it, one byte an element. NumPy's own indexing and
    reshaping of it give the geometry of their results. Its elements must never be read."""
    _, shape, strides = frame
    return _as_strided(_BYTE, shape, strides)


def frame_of(view: np.ndarray, origin: np.ndarray, offset: int) -> tuple[int, Shape, Shape]:
    """The frame of a view of a dummy."""
    start = view.__array_interface__["data"][0] - origin.__array_interface__["data"][0]
    return offset + (start if view.size else 0), view.shape, view.strides


_MOST_GEOMETRIES = 8192
_geometries: dict[Any, Frame | None] = {}  # by what changed which geometry; the offset is from that of the operand


def reframe(x: Recorded, function: Callable[..., Any], *args: Any, **options: Any) -> Recorded:
    """A view of x with the geometry that a function of arrays gives to a dummy of x."""
    offset, shape, strides = x.frame()
    key = (function, shape, strides, args, *options.items())
    try:
        found = _geometries[key]
    except TypeError:  # an argument that cannot be a key
        found = _changed_geometry(shape, strides, function, args, options)
    except KeyError:
        found = _changed_geometry(shape, strides, function, args, options)
        if len(_geometries) < _MOST_GEOMETRIES:
            _geometries[key] = found
    if found is None:
        return copied(x)
    start, shape, strides = found
    return x.view((offset + start, shape, strides), keep=bool(x.shape))


def _changed_geometry(
    shape: Shape, strides: Shape, function: Callable[..., Any], args: Any, options: Any
) -> Frame | None:
    origin = dummy((0, shape, strides))
    changed = function(origin, *args, **options)
    # np.flip of an array without axes returns its element
    return None if isinstance(changed, np.generic) else frame_of(changed, origin, 0)


def copied(x: Recorded) -> Recorded:
    """A copy of x as it is now."""
    return Recorded(x.recorder, x.ref)


def reshape(x: Recorded, shape: Any) -> Recorded:
    """NumPy's reshape: a view where possible, else a copy."""
    full = resolved_shape(x, shape)
    offset, own, strides = x.frame()
    if strides == contiguous_strides(own):
        return x.view((offset, full, contiguous_strides(full)), keep=bool(x.shape))
    try:
        return reframe(x, _reshaped_in_place, full)
    except ValueError:  # NumPy cannot without copying
        return copied(x).view((0, full, contiguous_strides(full)))


def _reshaped_in_place(x: np.ndarray, shape: Shape) -> np.ndarray:
    return np.reshape(x, shape, copy=False)


def resolved_shape(x: Recorded, shape: Any) -> Shape:
    dims = tuple(int(n) for n in (shape if isinstance(shape, list | tuple) else (shape,)))
    known = math.prod(n for n in dims if n != -1)
    if dims.count(-1) == 1 and known and x.size % known == 0:
        dims = tuple(x.size // known if n == -1 else n for n in dims)
    if math.prod(dims) != x.size or min(dims, default=0) < 0:
        raise ValueError(f"cannot reshape array of size {x.size} into shape {shape}")
    return dims
