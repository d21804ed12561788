"""What all transformations share: recording once per structure and path, replaying, and composing."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.errors import FastadError, RecordingError, TableError
from fastad.execution.executors import AUTO, policy
from fastad.execution.kernel import GuardFailed
from fastad.execution.traced import traced
from fastad.once import lazy
from fastad.recording.capture import OutsideState
from fastad.recording.keys import Key
from fastad.recording.libraries import claim
from fastad.recording.operands import recorder_of
from fastad.recording.randomness import random_states
from fastad.recording.recorded import NumberNeeded, Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.retrying import with_second_try
from fastad.recording.standins import bound_names
from fastad.tables.columns import Line
from fastad.tables.reference import Stopped
from fastad.tables.table import Table
from fastad.transforms import saved
from fastad.transforms.call import Call, make_call
from fastad.transforms.fast import MISS, fast_call
from fastad.transforms.known import RECORDINGS, Memory
from fastad.transforms.numba_call import numba_function
from fastad.transforms.numbers import INTEGERS, Renumbered, code_of
from fastad.transforms.paths import Path, Undecided, follow, recorded_path
from fastad.transforms.prepared import Prepared
from fastad.transforms.program import Program, record, replay, run_by_numpy
from fastad.transforms.warnings import count_recording, warn_of_random_numbers


class Transformed:
    """A function that is recorded once per structure of its arguments and per path, and replayed afterwards.

    Subclasses say in `program` how the table of a call comes about, and in `options` which of their attributes it
    depends on. Calls from inside another recording put their rows there, so all transformations compose. One object may
    be called by several threads at once. A new object finds what was recorded for another of the same code.
    """

    options: tuple[str, ...] = ()
    is_shared = True  # whether other objects may use the recordings

    def __init__(self, function: Callable[..., Any], *, tier: str | None = None, threads: int | None = None) -> None:
        if not callable(function):
            raise TypeError(f"expected a function, got {type(function).__name__}")
        if isinstance(function, Transformed):
            tier, threads = tier or function.tier, threads or function.threads
        tier = tier or AUTO
        policy(tier)  # raises for a tier that is not known
        if threads is not None and (not isinstance(threads, int | np.integer) or threads < 1):
            raise ValueError(f"threads must be a positive integer, not {threads!r}")
        self.tier: str = tier
        self.threads: int | None = threads
        self.__wrapped__ = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)
        self.memory = Memory()
        self._fast: tuple[Any, Any] = (None, None)  # the short way of the last call, and its path
        self._warned_of_random_numbers = False

    # ── what it is ───────────────────────────────────────────────────────────────────────────────────────────
    @property
    def _fastad_wraps(self) -> tuple[Any, ...] | None:
        """What a walk looks into (see `fastad.recording.capture`)."""
        return (self.__wrapped__,) if self.is_shared else None

    @property
    def _fastad_options(self) -> tuple[Any, ...]:
        return (self.tier, self.threads, *[_frozen(getattr(self, name)) for name in self.options])

    @lazy
    def _kind(self) -> tuple[Any, ...]:
        """All transformations down to the user's function."""
        inner = self.__wrapped__
        return type(self), self._fastad_options, inner._kind if isinstance(inner, Transformed) else None

    @property
    def _code(self) -> Any:
        return self._kind, code_of(base_function(self))

    # ── to be defined by a transformation ────────────────────────────────────────────────────────────────────
    def program(self, call: Call) -> Program:
        """Record (or transform) the program of a call with concrete arguments."""
        raise NotImplementedError

    def with_inputs(self, call: Call) -> Call:
        """The call with the Python integers as inputs that change from call to call."""
        return INTEGERS.applied(self._code, call) if int in map(type, call.leaves) else call

    def normalise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the program wants them, e.g. integers to be differentiated made floats."""
        return args, kwargs

    # ── calling ──────────────────────────────────────────────────────────────────────────────────────────────
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fast, path = self._fast
        if fast is not None and not kwargs:
            try:
                result = fast(args)
                if result is not MISS:
                    return result
            except GuardFailed as failed:
                call = make_call(*self.normalise(args, kwargs))
                return self._from(call, self.other_path(call, path, failed.guard))
        call = make_call(*self.normalise(args, kwargs))
        if current_recorder() is not None:
            return self.inside(call)
        while True:
            try:
                numbered = self.with_inputs(call)
                path = self.path_for(numbered)
                self._fast = (fast_call(args, path), path) if path.count[0] and not kwargs else (None, None)
                return self._from(numbered, path)
            except Renumbered:  # happens once for every integer at most
                continue

    def _from(self, call: Call, path: Path) -> Any:
        """Run from this path on, along guards that fail."""
        inputs = call.inputs
        try:
            return follow(self, call, path, lambda path: path.run(inputs))
        except Undecided as undecided:
            return self._by_numpy(call, undecided)

    def _by_numpy(self, call: Call, undecided: Undecided) -> Any:
        """The result where kernels cannot tell which branch to take."""
        try:
            return run_by_numpy(undecided.path.program, call.inputs)
        except Stopped:
            raise RecordingError(
                f"the lanes of {self.__name__} take different branches at {undecided.place}; use np.where or fad.cond "
                "there, and np.asarray(a, like=i)[i] for a[i] where a is a plain array and i is mapped"
            ) from None

    def inside(self, call: Call) -> Any:
        """Called while another function is recorded: the rows go there if any operand is recorded."""
        program = self.program(call.concrete())
        operands = [*call.inputs, *program.lifted]
        if any(isinstance(x, Recorded) for x in operands):
            return replay(program, recorder_of(operands), call.inputs)
        recording = recorded_path(program, policy(self.tier).first.name, None, ())
        return self._from(call, Path(recording, OutsideState(())))

    # ── other ways to call ───────────────────────────────────────────────────────────────────────────────────
    def prepare(self, *args: Any, **kwargs: Any) -> Any:
        """A call with buffers bound once: see `fastad.transforms.prepared.Prepared`."""
        return Prepared(self, args, kwargs)

    @property
    def numba_function(self) -> Any:
        """The function for use inside @njit code: see `fastad.transforms.numba_call.numba_function`."""
        paths = self.all_paths()
        if not paths:
            raise RecordingError(
                f"call {self.__name__} once (or .prepare it) before using .numba_function: it is recorded then"
            )
        return numba_function(paths[0], self.__name__)

    def save(self, path: Any) -> None:
        """Write all recorded paths to a file that `fad.load` reads; no pickles, captured arrays by value."""
        now = self._outside().key
        firsts = [first for first in list(self.memory.paths.values()) if first.outside.key == now]
        found = [(first.call_key, path.program) for first in firsts for path in _current_paths(first)]
        if not found:
            raise TableError(
                f"{self.__name__} has not been recorded yet (with what it refers to now): call it once before saving"
            )
        saved.save(self.__name__, [saved.described(call_key, program) for call_key, program in found], path)

    def __reduce__(self) -> Any:
        from fastad.transforms.loaded import restore

        return restore, (saved.to_bytes(self.save), self.tier, self.threads)

    def __copy__(self) -> "Transformed":
        return self  # as functions do

    def __deepcopy__(self, memo: Any) -> "Transformed":
        return self

    # ── paths ────────────────────────────────────────────────────────────────────────────────────────────────
    def _outside(self) -> OutsideState:
        """What the user's function reads from outside now."""
        return self.memory.outside.read(base_function(self))

    def path_for(self, call: Call) -> Path:
        """The first path recorded for calls of this structure; records it if there is none."""
        outside, memory = self._outside(), self.memory
        path = memory.paths.get((call.key, outside.key)) if memory.paths else None
        if path is not None:
            moved = path.moved(outside, call.outside)
            if moved.is_current():
                return memory.touched(path) if moved is path else self._keep(call.key, moved)
        with memory.lock:
            path = self._find(call, outside)
            return self._keep(call.key, path if path is not None and path.is_current() else self._new(call, path))

    def _keep(self, call_key: Any, path: Path) -> Path:
        path.call_key = call_key
        return self.memory.keep(path)

    def _find(self, call: Call, outside: OutsideState) -> Path | None:
        """The path that another thread, or another function of the same code, has recorded."""
        path = self.memory.paths.get((call.key, outside.key)) if self.memory.paths else None
        if path is not None:
            return path.moved(outside, call.outside)
        found = RECORDINGS.find(self._shared_key(call, outside)) if self.is_shared and not outside.is_opaque else None
        if found is None:
            return None
        self.memory.recordings += 1
        recording, settings = found
        if settings and self.memory.outside.add_settings(settings):
            outside = self._outside()
        return Path(recording, outside, call.outside)

    def _new(self, call: Call, old: Path | None) -> Path:
        path = self._renewed(old, self._recorded(call, self._outside()))
        states = (path.outside, *call.outside)
        if self.is_shared and not path.recording.is_private and not any(state.is_opaque for state in states):
            RECORDINGS.keep(self._shared_key(call, path.outside), path.recording, self.memory.outside.settings)
        return path

    def _shared_key(self, call: Call, outside: OutsideState) -> Key:
        return Key(self._kind, call.key, outside.code_key)

    def other_path(self, call: Call, path: Path, guard: int) -> Path:
        """The path that was found when this guard failed before, or a new recording."""
        with self.memory.lock:
            known = path.recording.after(guard)
            found = None if known is None else path.beside(known)
            if found is None or not found.is_current():
                new = self._recorded(call, self._outside(), path.recording.place(guard))
                if new.recording.program.request == path.recording.program.request:
                    return new
                found = self._renewed(found, new)
                path.recording.lead(guard, known, found.recording)
            return found

    @staticmethod
    def _renewed(old: Path | None, new: Path) -> Path:
        """The old path if recording it again has changed nothing."""
        if old is None or not old.recording.is_repeated_by(new.recording):
            return new
        old.recording.elements.confirmed(new.recording.elements)
        return Path(old.recording, new.outside, new.others, old.count)

    def _recorded(self, call: Call, outside: OutsideState, branch: Line | None = None) -> Path:
        claim(base_function(self))
        reached = (outside, *call.outside)
        before = random_states([x for state in reached for x in state.held])
        try:
            with bound_names([place for state in reached for place in state.bindings]):
                program = with_second_try(lambda: self.program(call), reached)
        except (Exception, NumberNeeded):
            if not INTEGERS.need_all(self._code, call):
                raise
            raise Renumbered from None  # with the integers as constants it may go well, or fail as in Python
        drew = before != random_states([x for state in reached for x in state.held])
        if drew and not self._warned_of_random_numbers:
            self._warned_of_random_numbers = True
            warn_of_random_numbers(base_function(self), self.__name__)
        if INTEGERS.need_values(self._code, call, program.request.base, program.sources):
            raise Renumbered
        self.memory.recordings += 1
        if program.lifted:
            raise FastadError("a recorded value of an outer function was used where nothing is being recorded")
        count_recording(self._code, base_function(self), self.__name__, call, branch)
        if self.memory.outside.add_settings(program.settings):
            self._follow_settings()
        outside = outside.with_settings(self.memory.outside.settings) if self.memory.outside.settings else outside
        states = (outside, *call.outside)
        recording = recorded_path(program, self.tier, self.threads, states, is_private=drew)
        return Path(recording, outside, call.outside)

    def _follow_settings(self) -> None:
        """The function has read a setting for the first time. What was recorded before does not depend on it, but
        what follows after a failed guard may: it is found under the present choice."""
        settings, paths = self.memory.outside.settings, list(self.memory.paths.values())
        self.memory.paths.clear()
        for path in paths:
            self._keep(path.call_key, path.moved(path.outside.with_settings(settings), path.others))
        self._fast = (None, None)

    def all_paths(self) -> list[Path]:
        """Every recorded path."""
        found: dict[int, Path] = {}
        todo = list(self.memory.paths.values())
        while todo:
            path = todo.pop(0)
            if id(path.recording) not in found:
                found[id(path.recording)] = path
                todo.extend(map(path.beside, path.recording.followers))
        return list(found.values())

    # ── what users look at ───────────────────────────────────────────────────────────────────────────────────
    @property
    def tables(self) -> list[Table]:
        """The tables recorded so far, one a structure and path."""
        return [traced(path.program.table) for path in self.all_paths()]

    def stats(self) -> dict[str, Any]:
        """Recordings, paths, calls, and for each path its rows, tier and compile time in seconds."""
        paths = self.all_paths()
        return {
            "recordings": self.memory.recordings,
            "paths": len(paths),
            "calls": sum(p.count[0] for p in paths),
            "tables": [
                {
                    "rows": p.recording.program.request.rows, "bytes": p.recording.nbytes, "calls": p.count[0],
                    "tier": p.compiled.tier_in_use, "compile_seconds": p.compiled.compile_seconds,
                    "interpreted_seconds": p.compiled.interpreted_seconds,
                }
                for p in paths
            ],
        }  # fmt: skip

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the instance becomes the first argument."""
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<fastad {type(self).__name__} of {self.__name__}: {len(self.all_paths())} recorded path(s)>"


def _current_paths(path: Path) -> list[Path]:
    """A path and those that follow it, as far as they still hold."""
    found: list[Path] = []
    todo = [path]
    while todo:  # a loop that ends by its data makes a path for each number of steps
        path = todo.pop()
        found += [path] if path.is_current() else []
        todo += map(path.beside, reversed(path.recording.followers))
    return found


def _frozen(option: Any) -> Any:
    """An option as a part of a key."""
    try:
        hash(option)
    except TypeError:  # axes in lists and dicts
        return repr(option)
    return option


def base_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The user's function under all transformations."""
    while isinstance(function, Transformed):
        function = function.__wrapped__
    return function


def program_of(function: Callable[..., Any], call: Call) -> Program:
    """The program of a plain or transformed function for a call with concrete arguments."""
    return function.program(call) if isinstance(function, Transformed) else record(function, call)
