"""Records the functions that a loop or a choice consists of, as sub-programs of one vector of operands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import RecordingError, ScheduleError, ShapeError
from fastad.recording.operands import recorder_of, to_ref
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder, current_recorder, tentatively
from fastad.recording.source import at_line, user_line
from fastad.schedules.base import Schedule
from fastad.tables.builder import Builder, dtype_char
from fastad.tables.columns import ValueType
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.sub import Sub, made, packed, unpacked
from fastad.tables.inline import inline
from fastad.tables.reference import Stopped
from fastad.transforms.base import program_of
from fastad.transforms.call import Call, described, flatten, make_call, unflatten
from fastad.transforms.program import Program


@dataclass(frozen=True)
class Part:
    """One function: its name for messages, its program, and the types of its operands (the first inputs)."""

    name: str
    program: Program
    lead: tuple[ValueType, ...]

    @property
    def shared(self) -> list[Any]:
        """Values from outside that the function refers to: recorded values of outer functions, and arrays."""
        return [*self.program.lifted, *self.program.captured]

    @property
    def results(self) -> tuple[ValueType, ...]:
        """Types of the results that are arrays or numbers."""
        return self.program.table.output_types


def record_part(function: Callable[..., Any], args: tuple[Any, ...], name: str) -> Part:
    """Record a function at the concrete values of its arguments."""
    call: Call = make_call(args, {}).concrete()
    with tentatively():
        program = program_of(function, call)
    return Part(name, program, program.table.inputs[: len(call.inputs)])


class Shared:
    """The values from outside that the parts refer to, each once."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.values: list[Any] = []
        self.kinds: list[ValueType] = []
        for part in parts:
            for value, kind in zip(part.shared, part.program.table.inputs[len(part.lead) :], strict=True):
                if self.place(value, kind) is None:
                    self.values.append(value)
                    self.kinds.append(kind)

    def place(self, value: Any, kind: ValueType) -> int | None:
        """Position of a value among these; None if it is not one of them."""
        found = (i for i, own in enumerate(self.values) if _same(own, value) and self.kinds[i] == kind)
        return next(found, None)

    @property
    def size(self) -> int:
        return sum(kind.size for kind in self.kinds)

    def sub(self, part: Part, lead: Sequence[ValueType], outputs: Sequence[ValueType]) -> Sub:
        """The part as a sub-program of [lead | shared], where its operands are the first of `lead`. Its results are
        converted to the given types."""

        def rows(b: Builder, x: int) -> int:
            refs = unpacked(b, x, [*lead, *self.kinds])
            own = part.program.table.inputs[len(part.lead) :]
            places = [self.place(value, kind) for value, kind in zip(part.shared, own, strict=True)]
            inputs = [*refs[: len(part.lead)], *(refs[len(lead) + i] for i in places if i is not None)]
            found = inline(b, part.program.inner, inputs)
            results = [found[i] for i in part.program.inner.outputs]
            return packed(b, [cast(b, ref, kind) for ref, kind in zip(results, outputs, strict=True)])

        return made(part.name, sum(kind.size for kind in (*lead, *self.kinds)), rows)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Recorded) and isinstance(b, Recorded):
        return a._recorder is b._recorder and a.ref == b.ref
    return a is b


def cast(b: Any, ref: int, kind: ValueType) -> int:
    """The value converted to the dtype of this type."""
    if b.dtype(ref) == kind.dtype:
        return ref
    return b.cast(ref, kind.shape, kind.dtype)


def flatten_state(tree: Any) -> tuple[list[Any], Any]:
    """Leaves and structure of a state. None is part of the structure."""
    return flatten(tree, none_is_leaf=False)


def numeric(tree: Any, what: str) -> tuple[list[Any], Any]:
    """Leaves and structure of a state. Python numbers become arrays; ShapeError where a leaf is not real numbers."""
    leaves, structure = flatten_state(tree)
    found = []
    for leaf in leaves:
        if isinstance(leaf, np.generic):
            leaf = np.asarray(leaf)
        elif not isinstance(leaf, Recorded) and isinstance(leaf, bool | int | float):
            leaf = _number(leaf)
        if not isinstance(leaf, Recorded) and not (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub"):
            shown = (
                f"an array of dtype {leaf.dtype}"
                if isinstance(leaf, np.ndarray)
                else f"{leaf!r} of type {type(leaf).__name__}"
            )
            raise ShapeError(
                f"{what} holds {shown}{at_line()}, but may hold only real numbers and arrays of them. "
                "The function can refer to other objects outside of it."
            )
        found.append(leaf)
    return found, structure


def _number(x: float) -> Any:
    """A Python number of the user's. While something is recorded it becomes a constant at once: a NumPy number might
    have been computed from an array outside."""
    value, recorder = np.asarray(x, np.float64 if isinstance(x, float) else None), current_recorder()
    return value if recorder is None else Recorded(recorder, recorder.const(value))


def check_schedule(loop: Loop) -> None:
    """ScheduleError unless `checkpoint` is None or a schedule that suits the loop."""
    if not isinstance(loop.schedule, Schedule | None):
        text = "checkpoint must be a schedule, such as fad.checkpoint.Revolve(100)"
        raise ScheduleError(f"{text}{at_line()}, not {loop.schedule!r}")
    if loop.condition is not None:
        try:
            _ = loop.storage
        except ScheduleError as error:
            raise ScheduleError(f"{error}{at_line()}") from None


def kind_of(leaf: Any) -> ValueType:
    """Shape and dtype of an array, a number or a recorded value."""
    return ValueType(np.shape(leaf), dtype_char(leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype))


def any_recorded(values: Sequence[Any]) -> bool:
    """Whether any value is recorded, so that the loop or choice must become a row."""
    return any(isinstance(x, Recorded) for x in values)


def emit(recorder: Recorder, rows: Callable[[Builder], list[int]], parts: Sequence[Part]) -> list[Recorded]:
    """Add rows to a recording and compute their values. RecordingError if a guard inside a part fails."""
    recorder.builder.source_line(user_line())
    refs = rows(recorder.builder)
    try:
        recorder.settle()
    except Stopped:
        raise branch_error(parts) from None
    return [Recorded(recorder, ref) for ref in refs]


def branch_error(parts: Sequence[Part]) -> RecordingError:
    """The error for a guard that fails inside a loop."""
    lines = {str(p.program.table.line_of(row)) for p in parts for row in p.program.table.guards}
    names = " and ".join(dict.fromkeys(p.name for p in parts))
    return RecordingError(
        f"{names}: a Python branch on recorded values takes another path in a later step "
        f"than in the first ({', '.join(sorted(lines))}); use np.where, or fad.cond for costly branches"
        + (", and np.asarray(a, like=i)[i] for a[i] where a is a plain array" if have_numbers(parts) else "")
    )


def counts_in(parts: Sequence[Part]) -> bool:
    """Whether a path depends on what a whole number is, such as an index."""
    guards = [(p.program.table, row) for p in parts for row in p.program.table.guards]
    return any(table.type_of(table.row(row).operands[0]).dtype not in "bfd" for table, row in guards)


def have_numbers(parts: Sequence[Part]) -> bool:
    """Whether a path depends on what a number is: a whole one, or one that was made whole by `int`."""
    return any(part.program.table.number_guards for part in parts)


def operand_refs(values: Sequence[Any]) -> tuple[Recorder, list[int]]:
    """The recorder of a row and the rows of its operands."""
    recorder = recorder_of(values)
    return recorder, [to_ref(recorder, x) for x in values]


def concrete(tree: Any) -> Any:
    """A pytree with recorded values replaced by their concrete values."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [x.value if isinstance(x, Recorded) else x for x in leaves])


def structure_error(what: str, before: Any, after: Any) -> ShapeError:
    """The error for a new state whose structure or shapes differ from those of the old one."""
    return ShapeError(
        f"{what} must return a state like the one it got{at_line()}: it got {described(before)}, and returned "
        f"{described(after)}"
    )
