"""What all transformations share: recording once per structure and path, replaying, and composing."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from fastad.errors import RecordingError, TableError
from fastad.execution.executors import policy
from fastad.execution.kernel import GuardFailed
from fastad.execution.traced import traced
from fastad.recording.capture import OutsideState
from fastad.recording.operands import recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.watched import look_into
from fastad.tables.reference import Stopped
from fastad.tables.table import Table
from fastad.transforms import saved
from fastad.transforms.call import Call, make_call
from fastad.transforms.fast import MISS, fast_call
from fastad.transforms.finding import Finder
from fastad.transforms.numbers import Renumbered
from fastad.transforms.paths import Path, Undecided, follow, recorded_path
from fastad.transforms.prepared import Prepared
from fastad.transforms.program import Program, record, replay


class Transformed(Finder):
    """A function that is recorded once per structure of its arguments and per path, and replayed afterwards.

    Calls from inside another recording put their rows there, so all transformations compose. One object may be called
    by several threads at once.
    """

    # ── calling ──────────────────────────────────────────────────────────────────────────────────────────────
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.device is not None:
            args, kwargs = _device_calls().on_device(args, kwargs)
        fast, path = self._fast
        if fast is not None and not kwargs:
            try:
                result = fast(args)
                if result is not MISS:
                    return result
            except GuardFailed as failed:
                call = make_call(*self.normalise(args, kwargs))
                with contextlib.suppress(Renumbered):
                    return self._from(call, self.other_path(call, path, failed.guard))
        call = make_call(*self.normalise(args, kwargs))
        if current_recorder() is not None:
            return self.inside(self._on_host(call))
        while True:
            try:
                numbered = self.with_inputs(call)
                path = self.path_for(numbered)
                self._fast = (fast_call(args, path), path) if path.was_used and not kwargs else (None, None)
                path.was_used = True  # one that is never used again, for a number that changes, needs no short way
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
            return undecided.path.program.by_numpy(self._on_host(call).inputs)
        except Stopped:
            hint = "np.asarray(a, like=i)[i] for a[i] where a is a plain array and i is mapped"
            if any(map(_has_solve, undecided.path.program.table.subs)):
                hint += ". Lanes of a solve differ in the numbers of steps and events: give t_eval, and ask for single "
                hint += "events, such as t_events[0][2]"
            raise RecordingError(
                f"the lanes of {self.__name__} take different branches at {undecided.place}; use np.where or fad.cond "
                f"there, and {hint}"
            ) from None

    def _on_host(self, call: Call) -> Call:
        """The call with its arrays in the processor's memory."""
        return call if self.device is None else _device_calls().on_host_call(call)

    def inside(self, call: Call) -> Any:
        """Called while another function is recorded: the rows go there if any operand is recorded."""
        program = self.new_program(call.concrete())
        operands = [*call.inputs, *program.lifted]
        if any(isinstance(x, Recorded) for x in operands):
            return replay(program, recorder_of(operands), call.inputs)
        look_into(program.captured)  # the result is a plain one
        recording = recorded_path(program, policy(self.tier).first.name, None, ())
        return self._from(call, Path(recording, OutsideState(())))

    # ── other ways to call ───────────────────────────────────────────────────────────────────────────────────
    def prepare(self, *args: Any, **kwargs: Any) -> Any:
        """A call with buffers bound once: see `fastad.transforms.prepared.Prepared`, or for a device
        `fastad.transforms.device_calls.PreparedOnDevice`."""
        if self.device is not None:
            return _device_calls().PreparedOnDevice(self, *_device_calls().on_device(args, kwargs))
        return Prepared(self, args, kwargs)

    @property
    def numba_function(self) -> Any:
        """The function for use inside @njit code: see `fastad.transforms.numba_call.numba_function`."""
        paths = self.all_paths()
        if not paths:
            raise RecordingError(
                f"call {self.__name__} once (or .prepare it) before using .numba_function: it is recorded then"
            )
        from fastad.transforms.numba_call import numba_function

        return numba_function(paths[0], self.__name__)

    def save(self, path: Any) -> None:
        """Write all recorded paths to a file that `fad.load` reads; no pickles, captured arrays by value."""
        now = self._outside().key
        firsts = [first for first in list(self.memory.paths.values()) if first.outside.key == now]
        found = [(first.call_key, path.program.storable) for first in firsts for path in _current_paths(first)]
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
            "paths": sum(not p.recording.is_twin for p in paths),
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


def _device_calls() -> Any:
    """What calls on a device need, which others do without."""
    from fastad.transforms import device_calls

    return device_calls


def _current_paths(path: Path) -> list[Path]:
    """A path and those that follow it, as far as they still hold."""
    found: list[Path] = []
    todo = [path]
    while todo:  # a loop that ends by its data makes a path for each number of steps
        path = todo.pop()
        found += [path] if path.is_current() and not path.recording.is_twin else []
        todo += map(path.beside, reversed(path.recording.followers))
    return found


def _has_solve(sub: Any) -> bool:
    """Whether a sub-program solves an ODE."""
    inner = () if sub.table is None else sub.table.subs
    return "solve" in getattr(sub, "kind", "") or any(map(_has_solve, (*sub.parts, *inner)))


def program_of(function: Callable[..., Any], call: Call) -> Program:
    """The program of a plain or transformed function for a call with concrete arguments."""
    return function.new_program(call) if isinstance(function, Transformed) else record(function, call)


# ── saved functions ───────────────────────────────────────────────────────────────────────────────────────────
class Loaded(Transformed):
    """A saved function. It is callable and differentiable without its source, for the structures it was saved with."""

    is_shared = False

    def __init__(self, name: str, entries: list[saved.Entry]) -> None:
        super().__init__(_no_source)
        self.__name__ = name
        self._entries = entries
        self._kind = (object(),)  # like no other's

    def with_inputs(self, call: Call) -> Call:
        """The integers are inputs that were inputs when the function was saved."""
        return saved.with_inputs(self._entries, call)

    def program(self, call: Call) -> Program:
        return saved.program_for(self.__name__, self._entries, call)

    def save(self, path: Any) -> None:
        """As of any function; one that was not called yet is saved as it was loaded."""
        if self.memory.paths:
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
