"""NumPy calls that are like an earlier one: the rows that it made are made again, without asking how.

What a function of NumPy does to a recording depends on the types of its operands, on its other arguments and on
nothing else, but for the functions that look at values. So when a call of one kind is met for the second time, what its
implementation asks of the builder is noted, step by step, with the places of operands and of earlier results; from the
third on these steps are taken at once, on the new operands. The builder simplifies and shares rows as always.

A kind of call is not repeated if its implementation looked at a value, a constant or the definition of an operand, made
an input or a guard, wrote into an operand, or gives a view of one.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.primitives import primitive
from fastad.primitives.regions import contiguous_strides, whole
from fastad.primitives.vocabulary import Vocabulary
from fastad.recording.buffers import Buffer, twin_of
from fastad.recording.concrete import FAILING_NAMES
from fastad.recording.dispatch import Function
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder
from fastad.recording.source import user_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import CONST

_STATIC = frozenset([int, bool, str, type(None), type(np._NoValue), type(Ellipsis), type])
_LISTS = frozenset([list, tuple])
_ARRAYS = frozenset([np.ndarray, Buffer])
_DTYPES = frozenset(map(np.dtype, ("f8", "f4", "i8")))
_MOST = 4096  # kinds of calls that are remembered
_MOST_OPERANDS = 256  # of a call that is worth remembering
_MET, _DIFFERENT = object(), object()  # a kind that was met once; one that cannot be repeated


class Unlike(Exception):
    """The arguments of a call are not of those that make a kind, or what was noted depends on more than the kind."""


class Step:
    """A request to the builder: its method, the places of the operands, the other arguments."""

    __slots__ = ("method", "name", "operands", "rest")

    def __init__(self, method: str, name: tuple[Any, ...], operands: Sequence[int], rest: tuple[Any, ...]) -> None:
        self.method, self.name, self.operands, self.rest = method, name, operands, rest


class _Noted(int):
    """A row, and its place among the operands, the constants and the results of a call."""

    place: int


def _noted(ref: Ref, place: int) -> Ref:
    found = _Noted(ref)
    found.place = place
    return found


class _Notes(Vocabulary):
    """Stands for the builder during a call, and notes what is asked of it. Places of constants are negative."""

    def __init__(self, builder: Builder, operands: int) -> None:
        self._builder = builder
        self.count = operands
        self._spread = set[Ref]()  # constant arrays that are no constant rows
        self.fixed: list[Ref] = []
        self.steps: list[Step] = []
        self.complete = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def __len__(self) -> int:
        return len(self._builder)

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def emit(self, name: str, operands: Any, statics: Any = (), shape: Any = None, dtype: Any = None) -> Ref:
        return self._step("emit", (name,), operands, (tuple(statics), None if shape is None else tuple(shape), dtype))

    def emit_elementwise(self, name: str, operands: Any, number: int) -> Ref:
        return self._step("emit_elementwise", (name,), operands, (number,))

    def read(self, ref: Ref, own: Any, shape: Any) -> Ref:
        if self.shape(ref) == shape and own == whole(self.size(ref)):
            return ref
        return self._step("read", (), (ref,), (own, tuple(shape)))

    def matrix_product(self, x: Ref, y: Ref, *rest: Any) -> Ref:
        return self._step("matrix_product", (), (x, y), rest)

    def const(self, value: Any, dtype: Any = None) -> Ref:
        found = self._builder.const(value, dtype)
        self._spread.add(found)
        return found

    def _step(self, method: str, name: tuple[Any, ...], operands: Any, rest: tuple[Any, ...]) -> Ref:
        places = tuple([self._place(x) for x in operands])
        refs = tuple([int(x) for x in operands])
        given = refs if method in ("read", "matrix_product") else (refs,)
        found = getattr(self._builder, method)(*name, *given, *rest)
        if method == "emit" and not self._builder.is_elementwise(*name):
            rest = (rest[0], self._builder.type(found))
        self.steps.append(Step(method, name, places, rest))
        return _noted(found, self.count + len(self.steps) - 1)

    def _place(self, x: Ref) -> int:
        if type(x) is _Noted:
            return x.place
        if x not in self._spread and self._builder.columns["op"][x] != CONST:
            self.complete = False  # a row from elsewhere
        if x not in self.fixed:
            self.fixed.append(x)
        return -1 - self.fixed.index(x)

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────
    def scalar(self, ref: Ref) -> float | None:
        """That of an operand, if it has one, is that of this call alone; nothing depends on knowing it."""
        return None if type(ref) is _Noted else self._builder.scalar(ref)

    def definition(self, ref: Ref) -> tuple[int, int, int, int]:
        if type(ref) is _Noted:
            self.complete = False
        return self._builder.definition(ref)


class _Plan:
    """The steps of a call: what is emitted, from which places, and the place of each result."""

    __slots__ = ("constants", "fails", "kind", "results", "steps")

    def __init__(self, notes: _Notes, results: Sequence[int], kind: type | None) -> None:
        count, constants = notes.count, notes.fixed
        needed = _needed(notes.steps, results, count)

        # Operands, constants and the steps' results stand one after another.
        numbers = {count + k: count + len(constants) + i for i, k in enumerate(needed)}

        def moved(place: int) -> int:
            return count - 1 - place if place < 0 else place if place < count else numbers[place]

        self.constants = tuple(constants)
        self.steps = [_taken(notes.steps[k], tuple(map(moved, notes.steps[k].operands))) for k in needed]
        self.fails = any(notes.steps[k].name[:1] and notes.steps[k].name[0] in FAILING_NAMES for k in needed)
        self.results, self.kind = tuple(map(moved, results)), kind

    def run(self, recorder: Recorder, refs: list[Ref]) -> Any:
        b = recorder.builder
        b.source_line(user_line(3))
        refs += self.constants
        for step in self.steps:
            refs.append(step(b, refs))
        if self.fails:
            recorder.settle()
        if self.kind is None:
            return Recorded(recorder, refs[self.results[0]])
        return self.kind([Recorded(recorder, refs[k]) for k in self.results])


def _needed(steps: Sequence[Step], results: Sequence[int], count: int) -> list[int]:
    """The steps that the results need, and those that may fail."""
    wanted, found = set(results), []
    for k in reversed(range(len(steps))):
        if count + k in wanted or (steps[k].name[:1] and steps[k].name[0] in FAILING_NAMES):
            found.append(k)
            wanted.update(steps[k].operands)
    return found[::-1]


def _taken(step: Step, places: tuple[int, ...]) -> Callable[[Builder, list[Ref]], Ref]:
    """A step as a function of the builder and of the rows so far."""
    rest = step.rest
    if step.method == "emit_elementwise":
        (name,), (number,) = step.name, rest
        return lambda b, refs: b.emit_elementwise(name, [refs[k] for k in places], number)
    if step.method == "emit" and len(rest) == 2:
        row, (statics, kind) = primitive(*step.name), rest
        return lambda b, refs: b.emit_array(row, tuple([refs[k] for k in places]), statics, kind)
    if step.method == "emit":
        (name,), (statics, shape, dtype) = step.name, rest
        return lambda b, refs: b.emit(name, [refs[k] for k in places], statics, shape, dtype)
    if step.method == "read":
        (place,), (own, shape) = places, rest
        return lambda b, refs: b.read(refs[place], own, shape)
    (x, y) = places
    return lambda b, refs: b.matrix_product(refs[x], refs[y], *rest)


# ── kinds of calls ────────────────────────────────────────────────────────────────────────────────────────────
class _Kind:
    """What makes a call of one kind with another, found by looking at its arguments."""

    __slots__ = ("arrays", "captured", "operands", "recorder")

    def __init__(self, arrays: bool) -> None:
        self.arrays = arrays  # whether arrays are operands like recorded values
        self.recorder: Any = None
        self.operands: dict[Ref, int] = {}  # and their places
        self.captured: dict[int, Ref] = {}

    def begin(self, recorder: Recorder) -> None:
        """Operands are of this recorder."""
        if recorder is not self.recorder:
            if self.recorder is not None or not recorder.open or recorder.notes is not None:
                raise Unlike
            self.recorder = recorder

    def of(self, x: Any) -> Any:
        """A part of the key."""
        kind = type(x)
        if kind is Recorded:
            return self._of_recorded(x)
        if kind in _STATIC:
            return kind, x
        if kind in _LISTS:
            return (kind, *[self.of(y) for y in x])
        if kind is float:
            return kind, x.hex()
        if kind is slice:
            return slice, self.of(x.start), self.of(x.stop), self.of(x.step)
        if kind in _ARRAYS and self.arrays and x.dtype in _DTYPES and x.size > 1:
            return np.ndarray, self._operand(self._of_array(x))
        raise Unlike

    def _of_array(self, x: np.ndarray) -> Ref:
        if self.recorder is None or ((type(x) is Buffer or x.base is not None) and twin_of(x) is not None):
            raise Unlike
        found = self.captured[id(x)] = self.recorder.capture(x)
        return found

    def _of_recorded(self, x: Recorded) -> Any:
        self.begin(x._recorder)
        ref = x._ref if x._base is None and not x._pending else x.ref
        return (x._frame, self._operand(x.root.ref)) if _has_geometry(x) else self._operand(ref)

    def _operand(self, ref: Ref) -> Any:
        """The type of an operand, and its place if it is one that was there before."""
        number = self.recorder.types[ref]
        place = len(self.operands)
        known = self.operands.setdefault(ref, place)
        if known != place:
            return number, known
        if place > _MOST_OPERANDS:
            raise Unlike
        return number


def _has_geometry(x: Recorded) -> bool:
    """Whether a view reads its root in another order, which products look through."""
    if x._base is None:
        return False
    _, shape, strides = x._frame
    return len(shape) > 1 and strides != contiguous_strides(shape)


def repeated(name: Any, implementation: Callable[..., Any], args: Any, kwargs: Any, arrays: bool = False) -> Any:
    """The result of an implementation of a NumPy function, which `name` stands for. With `arrays`, arrays among the
    arguments are nothing but operands."""
    found = _Kind(arrays)
    try:
        if arrays:  # which may come first
            for x in args:
                if type(x) is Recorded:
                    found.begin(x._recorder)
                    break
        key = (name, *[found.of(x) for x in args], *[(k, found.of(x)) for k, x in kwargs.items()])
    except (Unlike, TypeError, AttributeError):
        return implementation(*args, **kwargs)
    recorder = found.recorder
    if recorder is None:
        return implementation(*args, **kwargs)
    calls = recorder.calls
    plan = calls.get(key)
    if type(plan) is _Plan:
        return plan.run(recorder, list(found.operands))
    if plan is None and len(calls) < _MOST:
        calls[key] = _MET
    if plan is not _MET:
        return implementation(*args, **kwargs)
    calls[key] = _DIFFERENT
    plan = _planned(found, implementation, args, kwargs)
    if plan is None:
        return implementation(*args, **kwargs)
    calls[key] = plan
    return plan.run(recorder, list(found.operands))


def repeating(implementation: Function) -> Function:
    """An implementation whose arguments are nothing but operands, with `repeated` around it."""

    @functools.wraps(implementation)
    def call(*args: Any, **kwargs: Any) -> Any:
        return repeated(implementation, implementation, args, kwargs, True)

    return call  # type: ignore[return-value]


def _planned(found: _Kind, implementation: Any, args: Any, kwargs: Any) -> _Plan | None:
    """The plan of a call, from its steps on stand-ins for the operands; None where it cannot be repeated."""
    recorder = found.recorder
    builder, reads = recorder.builder, recorder._reads
    notes: Any = _Notes(builder, len(found.operands))
    recorder.builder, recorder.notes, recorder._reads = notes, notes, {}
    standins = _StandIns(found)
    try:
        result = implementation(*map(standins.of, args), **{k: standins.of(x) for k, x in kwargs.items()})
    finally:
        recorder.builder, recorder.notes, recorder._reads = builder, None, reads
    kind = type(result) if type(result) in _LISTS else None
    results = [result] if kind is None else result
    if not notes.complete or not all(map(standins.are_apart, results)):
        return None
    places = [x._ref.place for x in results]
    return _Plan(notes, places, kind) if notes.complete else None


class _StandIns:
    """What an implementation gets in the place of operands, so that what becomes of them can be followed."""

    def __init__(self, found: _Kind) -> None:
        self._recorder, self._captured = found.recorder, found.captured
        self._rows = {ref: _noted(ref, k) for ref, k in found.operands.items()}
        self._made: list[Recorded] = []

    def of(self, x: Any) -> Any:
        kind = type(x)
        if kind in _LISTS:
            return kind([self.of(y) for y in x])
        if kind in _ARRAYS and id(x) in self._captured:
            return self._new(Recorded(self._recorder, self._rows[self._captured[id(x)]]))
        if kind is not Recorded:
            return x
        if _has_geometry(x):
            root = self._new(Recorded(self._recorder, self._rows[x.root.ref]))
            return self._new(root.view(x._frame, keep=True))
        return self._new(Recorded(self._recorder, self._rows[x._ref]))

    def _new(self, x: Recorded) -> Recorded:
        self._made.append(x)
        return x

    def are_apart(self, result: Any) -> bool:
        """Whether a result is a value that has nothing to do with the memory of operands."""
        if type(result) is not Recorded or result._recorder is not self._recorder:
            return False
        if type(result.ref) is not _Noted or result._read_only or (result._base is not None and not result.shape):
            return False
        written = any(x._version or x._pending for x in self._made)
        return not written and all(x is not result and x is not result._base for x in self._made)
