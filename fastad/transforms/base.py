"""What all transformations share: recording once per structure and path, replaying, and composing."""

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fastad.errors import FastadError, RecordingError
from fastad.execution.compiled import Compiled, GuardFailed
from fastad.execution.traced import traced
from fastad.recording.capture import Content, View, Watch
from fastad.recording.operands import recorder_of
from fastad.recording.randomness import random_states
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.tables.reference import Stopped
from fastad.tables.table import Table
from fastad.transforms.call import Call, make_call
from fastad.transforms.fast import MISS, fast_call
from fastad.transforms.program import Program, record, replay, run_by_numpy

# Paths of one structure after which the user is told once that a function keeps finding new ones.
_MANY_PATHS = 64
_CONTENT_LIMIT = 100_000  # elements: larger outside arrays that are used as a whole are not compared at first
_CONFIRMATIONS = 3  # changes of outside arrays that led to the same table, after which they are not compared


@dataclass
class Path:
    """One recorded path: the program, how it runs, and where a failed guard leads."""

    program: Program
    compiled: Compiled
    contents: "Contents"
    view: View  # of the outside, when the path was last looked up
    held: tuple[Any, ...] = ()  # what the key of the path knows by address only
    after: dict[int, "Path"] = field(default_factory=dict)
    count: list[int] = field(default_factory=lambda: [0])  # calls; a list, since it is counted in generated code
    fast: dict[Any, Callable[[tuple[Any, ...]], Any]] = field(default_factory=dict)  # see `fastad.transforms.fast`

    def run(self, inputs: Sequence[Any]) -> Any:
        """The result for the inputs of a call; raises GuardFailed."""
        self.count[0] += 1
        program = self.program
        given = inputs if self.is_plain else [*program.gather(inputs), *program.captured]
        return program.result(self.compiled(given))

    @cached_property
    def is_plain(self) -> bool:
        """Whether the inputs of the call are the inputs of the table as they come."""
        return self.program.sources == tuple(range(len(self.program.plan.inputs)))

    def is_current(self) -> bool:
        """Whether outside arrays have the elements, and settings the choices, that the recording may have used."""
        same = not self.view.settings or self.view.same_settings()
        return same and (not self.contents.needed or self.contents.unchanged())


class Contents:
    """Elements of outside arrays that a recording may depend on.

    An array that the program reads anew at every run need not be compared, unless other values were computed from it
    while recording: a branch, say, or its mean. That is seen where such a value enters the program; and a branch is
    trusted not to depend on the array once several changes of it have led to the same table.
    """

    def __init__(self, arrays: Sequence[np.ndarray], program: Program) -> None:
        captured = {id(a) for a in program.captured} | {id(a.base) for a in program.captured}
        always = [a for a in arrays if program.derived or id(a) not in captured]
        self._always = [Content(a) for a in always]
        tried = [a for a in arrays if not program.derived and id(a) in captured and a.size <= _CONTENT_LIMIT]
        self._tried = [Content(a) for a in tried]
        self.confirmations = 0
        self.needed = bool(self._always or self._tried)

    def unchanged(self) -> bool:
        return all(c.unchanged() for c in self._always) and all(c.unchanged() for c in self._tried)

    def confirmed(self, new: "Contents") -> None:
        """A new recording gave the same table; take over what it saw."""
        self.confirmations += 1
        self._always = new._always
        self._tried = new._tried if self.confirmations < _CONFIRMATIONS else []
        self.needed = bool(self._always or self._tried)


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
        tier = tier or "auto"
        if tier not in ("auto", "sweep", "native"):
            raise ValueError(f"tier must be 'auto', 'sweep' or 'native', not {tier!r}")
        if threads is not None and (not isinstance(threads, int | np.integer) or threads < 1):
            raise ValueError(f"threads must be a positive integer, not {threads!r}")
        self.tier: str = tier
        self.threads: int | None = threads
        self.__wrapped__ = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)
        self._watch = Watch(base_function(function))
        self._fastad_watched = (function,)
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
        view = self._watch.view()
        path = self.path_for(call, view)
        self._fast = (fast_call(args, path), path) if not kwargs else (None, None)
        return self._from(call, path)

    def _from(self, call: Call, path: Path) -> Any:
        """Run from this path on, along guards that fail."""
        inputs = call.inputs
        while True:
            try:
                return path.run(inputs)
            except GuardFailed as failed:
                other = self.other_path(call, path, failed.guard)
                if other.program.plan == path.program.plan:
                    return self._by_numpy(call, other, failed.guard)
                path = other

    def _by_numpy(self, call: Call, path: Path, guard: int) -> Any:
        """The result where a guard fails though the path was recorded for these inputs: a comparison that hangs on
        the last bits, which kernels round as they like. Or the lanes of a vmap differ."""
        try:
            return run_by_numpy(path.program, call.inputs)
        except Stopped:
            line = path.program.plan.base.line_of(path.program.plan.base.guards[guard])
            raise RecordingError(
                f"the lanes of {self.__name__} take different branches at {line}; use np.where or fad.cond there, "
                "and np.asarray(a, like=i)[i] for a[i] where a is a plain array and i is mapped"
            ) from None

    def inside(self, call: Call) -> Any:
        """Called while another function is recorded: the rows go there if any operand is recorded."""
        program = self.program(call.concrete())
        operands = [*call.inputs, *program.lifted]
        if any(isinstance(x, Recorded) for x in operands):
            return replay(program, recorder_of(operands), call.inputs)
        return self._from(call, Path(program, Compiled(program.plan, "sweep"), Contents((), program), View(())))

    # ── other ways to call ───────────────────────────────────────────────────────────────────────────────────
    def prepare(self, *args: Any, **kwargs: Any) -> Any:
        """A call with buffers bound once: see `fastad.transforms.prepared.Prepared`."""
        from fastad.transforms.prepared import Prepared

        return Prepared(self, args, kwargs)

    @property
    def numba_function(self) -> Any:
        """The function for use inside @njit code: see `fastad.transforms.numba_call.numba_function`."""
        from fastad.transforms.numba_call import numba_function

        return numba_function(self)

    def save(self, path: Any) -> None:
        """Write all recorded paths to a file that `fad.load` reads; no pickles, captured arrays by value."""
        from fastad.transforms.saved import save

        save(self, path)

    def __reduce__(self) -> Any:
        from fastad.transforms.saved import restore, to_bytes

        return restore, (to_bytes(self), self.tier, self.threads)

    def __copy__(self) -> "Transformed":
        return self  # as functions do

    def __deepcopy__(self, memo: Any) -> "Transformed":
        return self

    # ── paths ────────────────────────────────────────────────────────────────────────────────────────────────
    def path_for(self, call: Call, view: View | None = None) -> Path:
        """The first path recorded for calls of this structure; records it if there is none."""
        view = view or self._watch.view()
        key = (call.key, view.key)
        path = self._paths.get(key)
        if path is None or not path.is_current():
            with self._lock:
                path = self._paths.get(key)
                if path is None or not path.is_current():
                    new = self._recorded(call, view)
                    view = new.view
                    path = self._paths[call.key, view.key] = self._renewed(path, new)
        path.view = view
        return path

    def other_path(self, call: Call, path: Path, guard: int) -> Path:
        """The path that was found when this guard failed before, or a new recording."""
        known = path.after.get(guard)
        if known is not None and known.is_current():
            return known
        with self._lock:
            known = path.after.get(guard)
            if known is None or not known.is_current():
                new = self._recorded(call, self._watch.view())
                if new.program.plan == path.program.plan:
                    return new
                known = path.after[guard] = self._renewed(known, new)
            return known

    @staticmethod
    def _renewed(old: Path | None, new: Path) -> Path:
        """The old path if recording it again has changed nothing."""
        if old is None or old.program.plan != new.program.plan or old.program.out_leaves != new.program.out_leaves:
            return new
        old.contents.confirmed(new.contents)
        old.view = new.view
        return old

    def _recorded(self, call: Call, view: View) -> Path:
        self._recordings += 1
        states = random_states(view.held)
        program = self.program(call)
        if states != random_states(view.held):
            self._warn_of_random_numbers()
        if program.lifted:
            raise FastadError("a recorded value of an outer function was used where nothing is being recorded")
        self._warn_of_many_paths()
        if self._watch.follow(program.settings):
            self._follow_settings()
        view = view.reading(self._watch.settings) if self._watch.settings else view
        views = (view, *call.views)
        arrays = [a for v in views for a in v.arrays]
        held = tuple(x for v in views for x in v.held)
        return Path(program, Compiled(program.plan, self.tier, self.threads), Contents(arrays, program), view, held)

    def _follow_settings(self) -> None:
        """The function has read a setting for the first time. What was recorded before does not depend on it, but
        what follows after a failed guard may: it is found under the present choice."""
        for path in self._paths.values():
            path.view = path.view.reading(self._watch.settings)
        self._paths = {(call_key, path.view.key): path for (call_key, _), path in self._paths.items()}
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
                    "rows": p.program.plan.rows, "calls": p.count[0], "tier": p.compiled.tier_in_use,
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


def base_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The user's function under all transformations."""
    while isinstance(function, Transformed):
        function = function.__wrapped__
    return function


def program_of(function: Callable[..., Any], call: Call) -> Program:
    """The program of a plain or transformed function for a call with concrete arguments."""
    return function.program(call) if isinstance(function, Transformed) else record(function, call)
