"""The recorder: runs a function once on concrete values and writes every operation into a table under construction.

Concrete values are computed when something asks for one (a branch, a print, a shape that depends on data), for all
rows up to it; most recordings never ask. Rows that can raise an error are evaluated at once, at the user's line.
"""

import contextlib
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy import array, asarray, isnan, vdot  # NumPy's own, whatever stands for them during a recording

from fastad.errors import RecordingError
from fastad.primitives import GUARD as GUARD_ROW
from fastad.primitives.regions import Region, whole
from fastad.recording import standins
from fastad.recording.captured import Capture, memory_of, root_of
from fastad.recording.concrete import FAILING_NAMES, ConcreteValues
from fastad.recording.outside_arrays import owner_of
from fastad.recording.source import at_line, user_line
from fastad.recording.watched import look_into, unwatched
from fastad.tables.builder import Builder, Ref, dtype_char
from fastad.tables.columns import CONST, DTYPES, NARROW
from fastad.tables.fixing import with_constants
from fastad.tables.inline import compact
from fastad.tables.reference import Runner
from fastad.tables.table import Table

# What the memory of arrays is filled with that have become recorded: a NaN whose bits no calculation gives. NumPy's
# arithmetic hands them on.
ERASED = np.array(0x7FF8B5AB40000000).view(np.float64)[()]


class _Stack(threading.local):
    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.tentative = False
        self.lifting: dict[tuple[Recorder, Ref], Any] = {}


_stack = _Stack()
# The recorders that are open, of all threads: where there are none, nothing needs to look at the thread's own.
open_recorders: "list[Recorder]" = []


class Recorder:
    """One recording. Use as a context manager; values recorded in it are dead afterwards.

    Recorders nest (a gradient inside a recorded function records its own function): an operation belongs to the
    innermost recorder among those of its operands, and values of outer recorders enter as lifted inputs.

    `run` runs the drivers of composite rows; without it their definitions in Python are run.
    """

    def __init__(self, run: Runner | None = None) -> None:
        self.builder = Builder()
        self._run = run
        self.types, self.kinds = self.builder.columns["type"], self.builder.type_list
        self.rolls_at = sys.maxsize  # rows after which loops are looked for: see `rolling`
        self.schedule: Any = None  # of loops that are rolled
        self.given: dict[Ref, Any] = {}  # concrete values of the inputs
        self._values = ConcreteValues(self.builder, self.given, run, _stack.tentative)
        self.reference = weakref.ref(self)
        self.level = 0
        self.open = False
        self.lifted: list[tuple[Any, Ref]] = []
        self.captures: list[Capture] = []
        self._captured: dict[Any, Capture] = {}  # by their identity, and by the memory that they show
        self._captures_of: dict[int, list[Capture]] = {}  # by the array that owns their memory
        self.plans: dict[Any, Any] = {}  # of elementwise rows, by name and types: see `operands`
        self.calls: dict[Any, Any] = {}  # of NumPy functions, by their kinds: see `repeated`
        self.masks: dict[Ref, Any] = {}  # where captured masks are true, by their inputs
        self.notes: Any = None  # what is noted of a call now: see `repeated`
        self._numbers: dict[Any, Ref] = {}
        self._reads: dict[Any, Ref] = {}
        self.broadcasts: dict[Any, Ref] = {}  # by what is broadcast, and to which shape
        self._guarded: set[Ref] = set()
        self.erased = ""  # the place of the first write of recorded values into an array; see `ERASED`
        self.shown: Any = None  # the user's line where a value was first turned into text
        self.refused = ""  # the last error that a recording raised
        self.settings: set[Any] = set()  # that operators have read: see `fastad.recording.settings`

    def __enter__(self) -> "Recorder":
        _stack.recorders.append(self)
        open_recorders.append(self)
        self.level = len(_stack.recorders)
        self.open = True
        standins.put_in_place()
        return self

    def __exit__(self, *exc: object) -> None:
        _stack.recorders.remove(self)
        open_recorders.remove(self)
        self.open = False
        standins.take_away()

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def emit(
        self, name: str, operands: Sequence[Ref], statics: Sequence[int] = (), shape: tuple[int, ...] | None = None,
        dtype: str | None = None,
    ) -> Ref:  # fmt: skip
        """A row."""
        b = self.builder
        b.source_line(user_line())
        ref = b.emit(name, operands, statics, shape, dtype)
        if name in FAILING_NAMES:
            self.settle()
        return ref

    def read(self, ref: Ref, own: Region, shape: tuple[int, ...]) -> Ref:
        """A region of a value, as an array of this shape."""
        key = (ref, own, shape)
        found = self._reads.get(key)
        if found is None:
            self.builder.source_line(user_line(3))
            found = self._reads[key] = self.builder.read(ref, own, shape)
        return found

    def convert(self, ref: Ref, dtype: str) -> Ref:
        """The value in another dtype, as NumPy's astype: float32 rounds, integers truncate, truth values say what is
        not 0."""
        shape, own = self.builder.type(ref)
        if own == dtype:
            return ref
        if dtype == "b":
            return self.emit("not_equal", (ref, self.number(0)), shape=shape)
        if dtype not in "fd" and own in "fd":
            ref = self.emit("add", (self.emit("trunc", (ref,)), self.number(0.0)), (), shape, "i")  # no integer is -0
        if dtype == "f" and own in "di":
            ref = self.emit("single", (ref,), (), shape, "d")
        if dtype in NARROW and not np.can_cast(DTYPES[own], DTYPES[dtype], "safe"):
            ref = self._wrapped(ref, np.iinfo(DTYPES[dtype]))
        if self.builder.dtype(ref) == dtype:
            return ref
        return self.emit("strided", (ref,), whole(self.builder.size(ref)), shape, dtype)

    def _wrapped(self, ref: Ref, limits: np.iinfo) -> Ref:
        """Integers that differ by multiples of their dtype's range are one in it."""
        turn, shape = 2.0**limits.bits, self.builder.shape(ref)
        above = self.emit("subtract", (ref, self.number(limits.min)), (), shape, "d")
        turns = self.emit("floor", (self.emit("multiply", (above, self.number(1.0 / turn)), (), shape, "d"),))
        return self.emit("subtract", (ref, self.emit("multiply", (turns, self.number(turn)))), (), shape, "i")

    def number(self, x: float) -> Ref:
        """A Python number as a constant."""
        if type(x) is float and (x == x or not self.erased):
            return self.builder.number(x)
        key = (type(x), x)
        ref = self._numbers.get(key)
        if ref is None or not x:  # -0.0 == 0.0
            ref = self._numbers[key] = self.const(x)
        return ref

    def const(self, value: Any) -> Ref:
        """A constant by value; an integer that no dtype of NumPy's holds as a float."""
        if self.erased:
            self._check_erased(value)
        return self.builder.const(float(value) if type(value) is int and not -(2**63) <= value < 2**63 else value)

    def input(self, value: Any) -> Ref:
        """An input of the table with its concrete value, which is copied."""
        if self.notes is not None:
            self.notes.complete = False
        x = array(unwatched(value), order="C")
        if self.erased:
            self._check_erased(x)
        ref = self.builder.input(x.shape, dtype_char(x.dtype))
        self.given[ref] = x[()]
        return ref

    def _check_erased(self, value: Any) -> None:
        if type(value) is float and value == value:
            return
        x = asarray(value)
        if x.dtype.kind != "f" or x.dtype.itemsize > 8 or not isnan(vdot(x, x)):  # a sum of squares: NaN where x is
            return
        found = np.abs(x[np.isnan(x)].astype(np.float64))
        if np.any(found.view(np.int64) == ERASED.view(np.int64)):
            raise recording_error(
                f"an array that recorded values are written into{self.erased} was read past NumPy's functions, "
                "as memoryview and np.nditer do, and the result is used",
                "Use NumPy's functions and indexing of the array itself.",
            )

    # ── concrete values ──────────────────────────────────────────────────────────────────────────────────────
    def value(self, ref: Ref) -> Any:
        """The concrete value of a row: an array or a NumPy scalar."""
        if self.notes is not None:
            self.notes.complete = False
        return self._values.of(self, ref)

    def settle(self) -> None:
        """Evaluate the new rows that may raise an error."""
        self._values.settle(self)

    def replay(self, given: dict[Ref, Any]) -> int | None:
        """Compute all values for other inputs; where a guard fails, its row, and the old values stay."""
        old = self.given, self._values
        self.given = self.given | given
        self._values = ConcreteValues(self.builder, self.given, self._run, _stack.tentative)
        failed = self._values.failed_guard(self)
        if failed is not None:
            self.given, self._values = old
        return failed

    # ── guards ───────────────────────────────────────────────────────────────────────────────────────────────
    def guard(self, ref: Ref) -> Any:
        """The concrete value, which every replay is held to; constants need no guard."""
        value = self.value(ref)
        if self.builder.columns["op"][ref] != CONST and ref not in self._guarded:
            self._guarded.add(ref)
            expected = self.const(asarray(value))
            self.emit(GUARD_ROW.name, (ref, self.builder.reshape(expected, self.builder.shape(ref))))
        return value

    # ── operands from outside ────────────────────────────────────────────────────────────────────────────────
    def capture(self, array: np.ndarray) -> Ref:
        """An array the function refers to, as an input that is read anew at every run."""
        known = self._captured.get(id(array))
        if known is None or not known.unchanged():
            shown = memory_of(array)
            known = None if known is not None else self._captured.get(shown)
            if known is None or not known.unchanged():
                ref = self.input(array)
                known = self._captured[id(array)] = self._captured[shown] = Capture(array, ref, self.given[ref])
                self.captures.append(known)
                self._captures_of.setdefault(id(owner_of(array)), []).append(known)
        return known.ref

    def keep_snapshot(self, owner: np.ndarray) -> None:
        """Captured parts of this array have lost their elements: refer to the snapshots from now on."""
        for capture in self._captures_of.pop(id(owner), ()):
            self._captured.pop(id(capture.array), None)
            self._captured.pop(memory_of(capture.array), None)
            capture.refer_to_snapshot()

    def lift(self, value: Any) -> Ref:
        """A value recorded by an outer recorder, as an input of this one."""
        for held, ref in self.lifted:
            if held is value:
                return ref
        ref = self.input(_stack.lifting.get((value._recorder, value.ref), value.value))
        self.lifted.append((value.frozen(), ref))
        return ref

    # ── rolling ──────────────────────────────────────────────────────────────────────────────────────────────────
    def go_on_in(self, builder: Builder, inputs: Sequence[Ref], moved: np.ndarray) -> None:
        """Go on in another builder, with these inputs. `moved` says where the rows are that anything refers to, by
        their numbers; -1 for others."""
        number = self.builder.columns["a"]
        place = {ref: inputs[number[ref]] for ref in self.given}
        builder.at_line(builder.line_number(self.builder.current_line()))
        self.builder = builder
        self.types, self.kinds = builder.columns["type"], builder.type_list
        self.given = {place[ref]: value for ref, value in self.given.items()}
        self.lifted = [(value, place[ref]) for value, ref in self.lifted]
        for capture in self.captures:
            capture.ref = place[capture.ref]
        for known in (self.plans, self.calls, self.masks, self.broadcasts, self._numbers, self._reads):
            known.clear()
        self._guarded = {int(moved[ref]) for ref in self._guarded if moved[ref] >= 0}
        self._values = self._values.moved(self, moved)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────
    def finish(self, inputs: Sequence[Ref], outputs: Sequence[Ref]) -> Table:
        """The table of (inputs, lifted values, captured arrays) to outputs.

        Arrays that only the recording refers to (temporaries of the function), or that changed while it ran,
        become constants; the others stay references.
        """
        self.masks.clear()  # whose arrays only the recording has
        explicit = [*inputs, *(ref for _, ref in self.lifted)]
        own = _references(self.captures)
        lasting = {id(root_of(c.array)) for c in self.captures if not _is_temporary(c, *own)}
        fixed = {c.ref: c.snapshot for c in self.captures if id(root_of(c.array)) not in lasting or not c.unchanged()}
        if fixed:
            look_into(c.array for c in self.captures if c.ref in fixed)
        kept = [c for c in self.captures if c.ref not in fixed]
        order = [*explicit, *(c.ref for c in kept)]
        return with_inputs(self.builder, outputs, order, fixed, [c.array for c in kept])


def _references(captures: Sequence[Capture]) -> tuple[Counter, Counter]:
    """How many captures there are of each array, and of views of it."""
    return Counter(id(c.array) for c in captures), Counter(id(c.array.base) for c in captures)


def _is_temporary(capture: Capture, captures: Counter, views: Counter) -> bool:
    """Whether nobody but this recording has the array, nor the array that it is a view of."""
    root = root_of(capture.array)
    if not isinstance(root, np.ndarray):
        return False
    # sys.getrefcount counts its argument, and `root` here.
    if root is not capture.array and sys.getrefcount(capture.array) > 1 + captures[id(capture.array)]:
        return False
    return sys.getrefcount(root) <= 2 + captures[id(root)] + views[id(root)]


@contextlib.contextmanager
def tentatively() -> Iterator[None]:
    """Recordings made within are of code that may not run: a row that fails has the value NaN. If the code does run,
    the row raises its error then."""
    before, _stack.tentative = _stack.tentative, True
    try:
        yield
    finally:
        _stack.tentative = before


def is_tentative() -> bool:
    """Whether what is recorded now may not run; see `tentatively`."""
    return _stack.tentative


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Code within runs as if nothing was being recorded: on concrete values, for their sake."""
    before, _stack.recorders = _stack.recorders, []
    try:
        yield
    finally:
        _stack.recorders = before


@contextlib.contextmanager
def lifting(values: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Recordings made within take other concrete values for these recorded values of outer recordings."""
    before, _stack.lifting = _stack.lifting, {(own._recorder, own.ref): value for own, value in values}
    try:
        yield
    finally:
        _stack.lifting = before


def with_inputs(
    recorded: Builder, outputs: Sequence[Ref], order: Sequence[Ref], fixed: dict[Ref, np.ndarray], captured: list[Any]
) -> Table:
    """The recorded table with its inputs in this order, some of them turned into constants."""
    numbers = {ref: recorded.columns["a"][ref] for ref in (*order, *fixed)}
    if list(numbers.values()) == list(range(len(recorded.inputs))) and not fixed:
        return compact(recorded.table(outputs, captured))
    b, refs = with_constants(recorded, order, fixed)
    return compact(b.table([refs[i] for i in outputs], captured))


def recording_error(what: str, fix: str) -> RecordingError:
    """An error that names the user's line and the fix."""
    error = RecordingError(f"{what}{at_line()}. {fix}")
    if _stack.recorders:
        _stack.recorders[-1].refused = str(error)
    return error


def current_recorder() -> Recorder | None:
    """The innermost open recorder of this thread."""
    return _stack.recorders[-1] if _stack.recorders else None


def open_recordings() -> list[Recorder]:
    """All open recorders of this thread, the outermost first."""
    return _stack.recorders


__all__ = ["Recorder", "current_recorder", "open_recordings", "recording_error"]
