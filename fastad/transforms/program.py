"""Programs: a table together with how its inputs come from a call and how its results become the caller's pytree."""

import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.errors import FastadError, RecordingError
from fastad.execution.collecting import uncollected
from fastad.execution.compiled import Compiled
from fastad.execution.composites.evaluating import run
from fastad.execution.request import Request
from fastad.once import lazy
from fastad.recording.complex_operands import Parts, joined
from fastad.recording.operands import is_recorded, to_ref
from fastad.recording.outside_numbers import placed_numbers
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import Number
from fastad.recording.recorder import Recorder, current_recorder
from fastad.recording.retrying import takes_plain_numbers_only
from fastad.recording.rolling import RUNNERS, roll_loops
from fastad.recording.settings import Setting
from fastad.recording.source import at_line, innermost_user_line, is_ours
from fastad.recording.standins import standin_for
from fastad.schedules.base import Schedule
from fastad.tables.columns import GUARD
from fastad.tables.inline import inline
from fastad.tables.reference import Stopped
from fastad.tables.rolling.packing import packed_at_once
from fastad.tables.rolling.rolled import roll
from fastad.tables.table import Table
from fastad.transforms.call import Call, ChangingInt, flatten, unflatten
from fastad.waiting import waiting

_OTHERS = ("jax", "torch", "tensorflow", "autograd", "casadi")  # whose functions take arrays of their own
_OF_OURS = re.compile(rf"{Recorded.__module__}|got {Recorded.__name__}")  # JAX and PyTorch name the type they refuse
_OBJECT_ERRORS = ("loop of ufunc does not support argument", "ufunc '")


@dataclass(frozen=True)
class Fixed:
    """A leaf of a result that is no output of the table."""

    value: Any


@dataclass(frozen=True)
class Program:
    """A recorded (and transformed) function for one structure of arguments and one path.

    `sources[i]` says where explicit input i of the table comes from: a number n >= 0 is the n-th input of the call,
    n < 0 is lifted value -1 - n. `out_leaves` are the leaves of the result: `None` for the next output of the
    table, or `Fixed`; `out_tree` is their structure. `request` is what the executors run. `settings` are those
    that were read while it was recorded.
    """

    request: Request
    sources: tuple[int, ...]
    lifted: tuple[Any, ...]
    out_tree: Any
    out_leaves: tuple[Any, ...]
    settings: frozenset[Setting] = frozenset()

    def is_repeated_by(self, other: "Program") -> bool:
        """Whether another program computes the same."""
        return self.request == other.request and self.out_leaves == other.out_leaves

    @property
    def table(self) -> Table:
        """The op table; a derived one is made when it is first needed."""
        return self.request.table

    @property
    def inner(self) -> Table:
        """The table as a part of another program; see `Request`."""
        return self.request.inner

    @property
    def captured(self) -> tuple[Any, ...]:
        """The arrays that the function refers to; they follow the explicit inputs."""
        return self.request.base.captured

    @property
    def storable(self) -> "Program":
        """The program as a file may hold it."""
        return self

    def with_table(self, table: Table, **changes: Any) -> "Program":
        """The program with another table (run as it stands)."""
        return replace(self, request=Request(table), **changes)

    def bound(self, captured: Sequence[Any]) -> "Program":
        """The program with other arrays of the same types in the places of those that the function refers to."""
        return replace(self, request=self.request.bound(captured)) if self.captured else self

    def compiled(self, tier: str, threads: int | None) -> Any:
        """How it runs."""
        return Compiled(self.request, tier, threads)

    def gather(self, inputs: Sequence[Any]) -> list[Any]:
        """Values of all explicit inputs, from the inputs of a call."""
        return [inputs[n] if n >= 0 else self.lifted[-1 - n] for n in self.sources]

    def by_numpy(self, inputs: Sequence[Any]) -> Any:
        """The result, computed row by row as while recording; raises `Stopped` where a guard fails."""
        return run_by_numpy(self, inputs)

    def result(self, outputs: Sequence[Any]) -> Any:
        """The caller's result from the outputs of the table."""
        return self._assemble(outputs)

    @lazy
    def _assemble(self) -> Callable[[Sequence[Any]], Any]:
        """`result`, as a function of its own where the structure can be written down: ten times faster."""
        text = self.result_text([f"o[{k}]" for k in range(len(self.out_leaves))])
        if text is not None:
            return eval(f"lambda o: {text}", {"joined": joined})

        tree, leaves = self.out_tree, self.out_leaves  # not the program itself, which would live until a cycle is found

        def assemble(outputs: Sequence[Any]) -> Any:
            given = iter(outputs)
            return unflatten(tree, [next(given) if x is None else x.value for x in leaves])

        return assemble

    def result_text(self, outputs: Sequence[str]) -> str | None:
        """The result as a Python expression, of expressions for the outputs and the name `joined`; None where it is not
        made of tuples, lists, dicts and complex values of outputs alone."""
        if any(x is not None for x in self.out_leaves):
            return None
        return _structure_text(unflatten(self.out_tree, [_Output(text) for text in outputs[: len(self.out_leaves)]]))

    def wrt(self, numbers: Sequence[int]) -> list[int]:
        """Explicit inputs of the table that stand for these inputs of the call."""
        return [self.sources.index(n) for n in numbers]


class _Output(str):
    """The expression for an output, where its value will stand."""


_DEEPEST = 20  # Python's parser ends somewhere


def _structure_text(x: Any, depth: int = 0) -> str | None:
    if type(x) is _Output:
        return str(x)
    if depth == _DEEPEST:
        return None
    if type(x) is Parts:
        return f"joined({_structure_text(x.real)}, {_structure_text(x.imag)})"
    if type(x) is dict and all(type(key) is str for key in x):
        parts = [(f"{key!r}: ", _structure_text(value, depth + 1)) for key, value in x.items()]
    elif type(x) in (tuple, list):
        parts = [("", _structure_text(value, depth + 1)) for value in x]
    else:
        return None
    if any(text is None for _, text in parts):
        return None
    inside = ", ".join(f"{start}{text}" for start, text in parts)
    if type(x) is tuple:
        return f"({inside},)" if parts else "()"
    return f"[{inside}]" if type(x) is list else f"{{{inside}}}"


_rolls: ContextVar[bool | Schedule] = ContextVar("rolls", default=True)


@contextmanager
def rolling(choice: bool | Schedule | None) -> Iterator[None]:
    """Recordings made within roll loops, under this schedule if it is one, or do not; None: as outside."""
    token = _rolls.set(_rolls.get() if choice is None else choice)
    try:
        yield
    finally:
        _rolls.reset(token)


def record(function: Callable[..., Any], call: Call) -> Program:
    """Run the function once on recorded values in place of the inputs of the call."""
    choice = _rolls.get()
    schedule = choice if isinstance(choice, Schedule) else None
    with Recorder(run) as recorder, placed_numbers(recorder), np.errstate(all="ignore"), _told(function, recorder):
        if choice:
            roll_loops(recorder, schedule)
        inputs = []
        for value in call.inputs:
            x = (Number if type(value) is ChangingInt else Recorded)(recorder, recorder.input(value))
            x._locked = True
            inputs.append(x)
        args, kwargs = call.rebuild(list(inputs))
        result = _run(function, args, kwargs)
        if isinstance(result, Iterator | Coroutine):
            raise RecordingError(
                f"{getattr(function, '__name__', function)} returned a {type(result).__name__}, which would run after "
                "the recording has ended; return a list or np.stack(list(...)) instead"
            )
        leaves, tree = flatten(result)
        input_refs = [x.ref for x in inputs]
        refs, out_leaves = _output_refs(recorder, leaves)
        del inputs, args, kwargs, result, leaves
        with uncollected():
            table = recorder.finish(input_refs, refs)
            table = packed_at_once(roll(table, schedule)) if choice else table
        count, lifted = len(input_refs), tuple(value for value, _ in recorder.lifted)
    sources = (*range(count), *(-1 - k for k in range(len(lifted))))
    settings = frozenset(recorder.settings)
    return Program(Request(table), sources, lifted, tree, tuple(out_leaves), settings)


def _told(function: Callable[..., Any], recorder: Recorder) -> AbstractContextManager[None]:
    name = getattr(function, "__name__", type(function).__name__)
    return waiting(lambda: f"recording {name}, {len(recorder.builder):,} rows so far")


def _run(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return standin_for(function)(*args, **kwargs)
    except FastadError:
        raise
    except Exception as error:
        ours = _ours_behind(error)
        if ours is None:
            _add_note(error)
            raise
        if ours is error.__cause__:
            raise ours from None
        raise ours from error


RUNNERS.update([record.__code__, _run.__code__])  # which hold no rows while the function runs


def _ours_behind(error: Exception) -> RecordingError | None:
    """The error that a recorded value raised or would have raised, where other code has put its own in the place of it:
    NumPy at a write into a plain array, code in C at any error."""
    if isinstance(error, ValueError | SystemError) and isinstance(error.__cause__, RecordingError):
        return error.__cause__
    refused = _refusal(error) if isinstance(error, TypeError) else None
    return refused or _replaced_by(error)


def _replaced_by(error: Exception) -> RecordingError | None:
    recorder = current_recorder()
    if recorder is None or not recorder.refused or not _is_of_libraries(error):
        return None
    # NumPy raises a ValueError for reasons of its own too, which the line tells from ours.
    replaces = not isinstance(error, ValueError) or f"(at {innermost_user_line(error)}" in recorder.refused
    return RecordingError(recorder.refused) if replaces else None


def _refusal(error: TypeError) -> RecordingError | None:
    """What to write instead, where a TypeError says that a recorded value was refused."""
    line = innermost_user_line(error)
    if str(error).startswith(_OBJECT_ERRORS):  # of NumPy, on what np.array makes of recorded values
        return RecordingError(
            f"{error} (at {line}). If the operand is np.array([...]) of recorded scalars, which is an array of Python "
            "objects, use np.stack([...]) instead."
        )
    if takes_plain_numbers_only(error):
        refused = RecordingError(
            f"{error}: code in C takes no recorded values (at {line}). Wrap the call by fad.primitive(f, vjp=...)"
        )
        refused.at_plain_array = True
        return refused
    if _OF_OURS.search(str(error)):
        return RecordingError(
            f"a function of another library takes no recorded values (at {_place_of(error)[1] or line}). Use NumPy's "
            "functions there (np instead of jnp and torch, without jax.jit, jax.grad and jax.vmap), or wrap the call "
            "by fad.primitive(f, vjp=...)"
        )
    return None


def _add_note(error: Exception) -> None:
    """Say of an error that another library raises what may be behind it: it was given recorded values."""
    recorder, (module, place) = current_recorder(), _place_of(error)
    if recorder is not None and recorder.refused:  # C code has put its own error in the place of ours
        error.add_note(f"fastad: {recorder.refused}")
    if module:
        error.add_note(
            f"fastad: {module} is called with recorded values in place of arrays (at {place}); use NumPy's "
            "functions there, or wrap the call by fad.primitive(f, vjp=...)"
        )


def _is_of_libraries(error: Exception) -> bool:
    """Whether NumPy or SciPy has raised this error, and not the user's code."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step is not None and is_ours(step.tb_frame.f_code)


def _place_of(error: Exception) -> tuple[str, str]:
    """The other library that an error comes from, if it is one that is known, and the line that called it. JAX takes
    its own lines out of errors."""
    step, place = error.__traceback__, ""
    while step is not None:
        module, code = step.tb_frame.f_globals.get("__name__", "").partition(".")[0], step.tb_frame.f_code
        if module in _OTHERS:
            return module, place
        place, step = f"{code.co_filename}:{step.tb_lineno} in {code.co_qualname}", step.tb_next
    return "", place


def _output_refs(recorder: Recorder, leaves: list[Any]) -> tuple[list[int], list[Any]]:
    refs: list[int] = []
    places: list[Fixed | None] = []
    for leaf in leaves:
        if isinstance(leaf, int) and abs(leaf) >= 2**63:
            places.append(Fixed(leaf))
        elif isinstance(leaf, Recorded | float | int | np.number | np.bool_) or _is_numeric(leaf):
            refs.append(to_ref(recorder, leaf))
            places.append(None)
        elif is_recorded(leaf):
            raise RecordingError(f"a result of type {type(leaf).__name__} holds recorded values{at_line()}")
        else:
            places.append(Fixed(leaf))
    return refs, places


def _is_numeric(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and (leaf.dtype.kind in "fiub" or is_recorded(leaf))


def replay(program: Program, recorder: Recorder, inputs: Sequence[Any]) -> Any:
    """Emit a program's rows into a recorder, as if its function had been run there."""
    table, b = program.inner, recorder.builder
    given = [to_ref(recorder, x) for x in program.gather(inputs)]
    given += [recorder.capture(a) for a in table.captured]
    refs = inline(b, table, given)
    recorder.settle()
    return program.result([Recorded(recorder, refs[i]) for i in table.outputs])


def run_by_numpy(program: Program, inputs: Sequence[Any]) -> Any:
    """The result, computed row by row as while recording; raises `Stopped` where a guard fails."""
    with Recorder(run) as recorder, np.errstate(all="ignore"):
        result = replay(program, recorder, [Recorded(recorder, recorder.input(x)) for x in inputs])
        for i, op in enumerate(recorder.builder.columns["op"]):
            if op == GUARD:
                found, expected = (recorder.value(recorder.builder.columns[c][i]) for c in "ab")
                if not np.array_equal(found, expected, equal_nan=True):
                    raise Stopped(i)
        leaves, tree = flatten(result)
        return unflatten(tree, [x.value if isinstance(x, Recorded) else x for x in leaves])
