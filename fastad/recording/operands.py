"""Operands as rows: recorded values, arrays, numbers and lists of them, as a function passes them to NumPy."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastad.recording.alternatives import of_library
from fastad.recording.buffers import Buffer, twin_of
from fastad.recording.complex_operands import ComplexOperand
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import NUMBERS
from fastad.recording.recorder import Recorder, current_recorder, recording_error
from fastad.recording.source import at_line
from fastad.recording.watched import Watched
from fastad.tables.builder import Ref, dtype_char
from fastad.tables.columns import DTYPES

Shape = tuple[int, ...]
_NUMBERS = (float, int, np.floating, np.integer, np.bool_)


def recorder_of(objects: Iterable[Any]) -> Recorder:
    """The innermost recorder of the recorded values in (nested) arguments. Where there are none, as of an array's where
    only an option is recorded, the innermost of all."""
    found = _deepest(objects, None) or current_recorder()
    if found is None:
        raise recording_error("an operation on recorded values after their recording", "Return them from the function.")
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
    if isinstance(x, complex):
        raise complex_operand()
    raise recording_error(
        f"an operand is a {type(x).__name__}, which cannot be recorded",
        of_library(type(x)) or "Use numbers, NumPy arrays or recorded values.",
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
    if x.dtype.kind == "c" and x.dtype.itemsize <= 16:
        raise complex_operand()
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8 or x.dtype == np.float16:
        raise recording_error(
            f"an operand has dtype {x.dtype}, which cannot be recorded",
            "Convert it to float64, float32, integers or bool.",
        )
    return x


def complex_operand() -> ComplexOperand:
    """The error for a complex operand."""
    text = f"an operand is complex{at_line()}, where recorded ones can only be real"
    return ComplexOperand(f"{text}. Pass real and imaginary parts apart, z.real and z.imag.")


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
