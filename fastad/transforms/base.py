"""What all transformations share: recording once per structure and path, replaying, and composing."""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.errors import FastadError, RecordingError, TableError
from fastad.execution.compiled import Compiled
from fastad.execution.executors import AUTO, policy
from fastad.execution.kernel import GuardFailed
from fastad.execution.traced import traced
from fastad.recording.capture import OutsideReader, OutsideState
from fastad.recording.operands import recorder_of
from fastad.recording.randomness import random_states
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.tables.reference import Stopped
from fastad.tables.table import Table
from fastad.transforms import saved
from fastad.transforms.call import Call, make_call
from fastad.transforms.fast import MISS, fast_call
from fastad.transforms.numba_call import numba_function
from fastad.transforms.paths import Path, Undecided, UsedElements, follow
from fastad.transforms.prepared import Prepared
from fastad.transforms.program import Program, record, replay, run_by_numpy

# Paths of one structure after which the user is told once that a function keeps finding new ones.
_MANY_PATHS = 64


class Transformed:
    """A function that is recorded once per structure of its arguments and per path, and replayed afterwards.

    Subclasses say in `program` how the table of a call comes about. Calls from inside another recording put their
    rows there, so all transformations compose. One object may be called by several threads at once.
    """

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
        self._outside = OutsideReader(base_function(function))
        self._fastad_wraps = (function,)
        self._paths: dict[Any, Path] = {}
        self._lock = threading.RLock()
        self._fast: tuple[Any, Any] = (None, None)  # the short way of the last call, and its path
        self._recordings = 0
        self._warned = self._warned_of_random_numbers = False

    # ── to be defined by a transformation ────────────────────────────────────────────────────────────────────
    def program(self, call: Call) -> Program:
        """Record (or transform) the program of a call with concrete arguments."""
        raise NotImplementedError

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
        outside = self._outside.read()
        path = self.path_for(call, outside)
        self._fast = (fast_call(args, path), path) if not kwargs else (None, None)
        return self._from(call, path)

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
        compiled = Compiled(program.request, policy(self.tier).first.name)
        return self._from(call, Path(program, compiled, UsedElements((), program), OutsideState(())))

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
        now = self._outside.read().key
        firsts = [(call_key, first) for (call_key, seen), first in list(self._paths.items()) if seen == now]
        found = [(call_key, path.program) for call_key, first in firsts for path in _current_paths(first)]
        if not found:
            raise TableError(
                f"{self.__name__} has not been recorded yet (with what it refers to now): call it once before saving"
            )
        saved.save(self.__name__, [saved.described(call_key, program) for call_key, program in found], path)

    def __reduce__(self) -> Any:
        return restore, (saved.to_bytes(self.save), self.tier, self.threads)

    def __copy__(self) -> "Transformed":
        return self  # as functions do

    def __deepcopy__(self, memo: Any) -> "Transformed":
        return self

    # ── paths ────────────────────────────────────────────────────────────────────────────────────────────────
    def path_for(self, call: Call, outside: OutsideState | None = None) -> Path:
        """The first path recorded for calls of this structure; records it if there is none."""
        outside = outside or self._outside.read()
        key = (call.key, outside.key)
        path = self._paths.get(key)
        if path is None or not path.is_current():
            with self._lock:
                path = self._paths.get(key)
                if path is None or not path.is_current():
                    new = self._recorded(call, outside)
                    outside = new.outside
                    path = self._paths[call.key, outside.key] = self._renewed(path, new)
        path.outside = outside
        return path

    def other_path(self, call: Call, path: Path, guard: int) -> Path:
        """The path that was found when this guard failed before, or a new recording."""
        known = path.after.get(guard)
        if known is not None and known.is_current():
            return known
        with self._lock:
            known = path.after.get(guard)
            if known is None or not known.is_current():
                new = self._recorded(call, self._outside.read())
                if new.program.request == path.program.request:
                    return new
                known = path.after[guard] = self._renewed(known, new)
            return known

    @staticmethod
    def _renewed(old: Path | None, new: Path) -> Path:
        """The old path if recording it again has changed nothing."""
        if (
            old is None
            or old.program.request != new.program.request
            or old.program.out_leaves != new.program.out_leaves
        ):
            return new
        old.elements.confirmed(new.elements)
        old.outside = new.outside
        return old

    def _recorded(self, call: Call, outside: OutsideState) -> Path:
        self._recordings += 1
        states = random_states(outside.held)
        program = self.program(call)
        if states != random_states(outside.held):
            self._warn_of_random_numbers()
        if program.lifted:
            raise FastadError("a recorded value of an outer function was used where nothing is being recorded")
        self._warn_of_many_paths()
        if self._outside.add_settings(program.settings):
            self._follow_settings()
        outside = outside.with_settings(self._outside.settings) if self._outside.settings else outside
        outer = (outside, *call.outside)
        arrays = [a for state in outer for a in state.arrays]
        held = tuple(x for state in outer for x in state.held)
        compiled = Compiled(program.request, self.tier, self.threads)
        return Path(program, compiled, UsedElements(arrays, program), outside, held)

    def _follow_settings(self) -> None:
        """The function has read a setting for the first time. What was recorded before does not depend on it, but
        what follows after a failed guard may: it is found under the present choice."""
        for path in self._paths.values():
            path.outside = path.outside.with_settings(self._outside.settings)
        self._paths = {(call_key, path.outside.key): path for (call_key, _), path in self._paths.items()}
        self._fast = (None, None)

    def _warn_of_random_numbers(self) -> None:
        if self._warned_of_random_numbers:
            return
        import warnings

        self._warned_of_random_numbers = True
        code = getattr(inspect.unwrap(base_function(self)), "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        warnings.warn(
            f"{self.__name__}{where} drew random numbers while it was recorded: every later call, and every step of a "
            "loop, uses the same ones. Draw them outside and pass them as an argument.",
            RuntimeWarning,
            stacklevel=5,
        )

    def _warn_of_many_paths(self) -> None:
        if self._recordings >= _MANY_PATHS and not self._warned:
            import warnings

            self._warned = True
            warnings.warn(
                f"{self.__name__} was recorded {self._recordings} times: its structure, captured numbers or branches "
                "keep changing. Pass changing numbers as arguments (floats or arrays), and replace branches that "
                "depend on the data by np.where or fad.cond.",
                RuntimeWarning,
                stacklevel=4,
            )

    def all_paths(self) -> list[Path]:
        """Every recorded path."""
        found: list[Path] = []
        todo = list(self._paths.values())
        while todo:
            path = todo.pop(0)
            found.append(path)
            todo.extend(path.after.values())
        return found

    # ── what users look at ───────────────────────────────────────────────────────────────────────────────────
    @property
    def tables(self) -> list[Table]:
        """The tables recorded so far, one a structure and path."""
        return [traced(path.program.table) for path in self.all_paths()]

    def stats(self) -> dict[str, Any]:
        """Recordings, paths, calls, and for each path its rows, tier and compile time in seconds."""
        paths = self.all_paths()
        return {
            "recordings": self._recordings,
            "paths": len(paths),
            "calls": sum(p.count[0] for p in paths),
            "tables": [
                {
                    "rows": p.program.request.rows, "calls": p.count[0], "tier": p.compiled.tier_in_use,
                    "compile_seconds": p.compiled.compile_seconds,
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
        todo += reversed(path.after.values())
    return found


def base_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The user's function under all transformations."""
    while isinstance(function, Transformed):
        function = function.__wrapped__
    return function


def program_of(function: Callable[..., Any], call: Call) -> Program:
    """The program of a plain or transformed function for a call with concrete arguments."""
    return function.program(call) if isinstance(function, Transformed) else record(function, call)


# ── saved functions ───────────────────────────────────────────────────────────────────────────────────────────
class Loaded(Transformed):
    """A saved function. It is callable and differentiable without its source, for the structures it was saved with."""

    def __init__(self, name: str, entries: list[saved.Entry]) -> None:
        super().__init__(_no_source)
        self.__name__ = name
        self._entries = entries

    def program(self, call: Call) -> Program:
        return saved.program_for(self.__name__, self._entries, call)

    def save(self, path: Any) -> None:
        """As of any function; one that was not called yet is saved as it was loaded."""
        if self._paths:
            super().save(path)
        else:
            saved.save(self.__name__, self._entries, path)


def _no_source() -> None:
    """Stands for the source of a loaded function, which there is not."""


def load(path: Any) -> Loaded:
    """A function saved by `.save(path)`: callable and differentiable without its source.

    Raises `TableError` if the file is not a saved function. Nothing is unpickled.

    >>> import os, tempfile, numpy as np, fastad as fad
    >>> f = fad.jit(lambda x: np.sum(x**2))
    >>> _ = f(np.ones(3))
    >>> path = os.path.join(tempfile.mkdtemp(), "f.npz")
    >>> f.save(path)
    >>> fad.grad(fad.load(path))(np.ones(3))
    array([2., 2., 2.])
    """
    return Loaded(*saved.load(path))


def restore(data: bytes, tier: str, threads: int | None) -> Loaded:
    """The function that was pickled as these bytes."""
    loaded = saved.from_bytes(data, load)
    loaded.tier, loaded.threads = tier, threads
    return loaded
