"""How a transformed function finds the recording for a call, and makes it if there is none."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from fastad.errors import FastadError
from fastad.execution.executors import AUTO, policy
from fastad.once import lazy
from fastad.recording.capture import OutsideState
from fastad.recording.keys import Key
from fastad.recording.libraries import claim
from fastad.recording.lookups import Lookups
from fastad.recording.outside_arrays import part_of
from fastad.recording.outside_numbers import reading_anew
from fastad.recording.randomness import draws, have_drawn, others_may_have_drawn, random_states
from fastad.recording.recorded_numbers import NumberNeeded
from fastad.recording.retrying import with_second_try
from fastad.recording.source import at_line
from fastad.recording.standins import bound_names
from fastad.recording.watching import Watch, watching
from fastad.schedules.base import Schedule
from fastad.tables.columns import Line
from fastad.transforms.call import Call
from fastad.transforms.known import MOST, RECORDINGS, Memory, most_bytes
from fastad.transforms.numbers import INTEGERS, OUTSIDE_NUMBERS, Renumbered, code_of
from fastad.transforms.paths import MANY, Path, Recording, recorded_path
from fastad.transforms.program import Program, rolling
from fastad.transforms.warnings import count_recording, warn_of_random_numbers


class Finder:
    """A function with its recordings: one for a structure of arguments, the outside state, and a way through branches.

    Subclasses say in `program` how the table of a call comes about, and in `options` which of their attributes it
    depends on. A new object finds what was recorded for another of the same code.
    """

    options: tuple[str, ...] = ()
    _fastad_calls_later = False  # whether functions are called after the recording
    is_shared = True  # whether other objects may use the recordings

    def __init__(
        self, function: Callable[..., Any], *, tier: str | None = None, threads: int | None = None,
        roll: Any = None, device: str | None = None, **unknown: Any,
    ) -> None:  # fmt: skip
        if not callable(function):
            raise TypeError(
                f"expected a function, got {type(function).__name__}{at_line()}; pass the function itself, and call "
                "the result: fad.grad(f)(x)"
            )
        if unknown:
            names = ", ".join(f"{name}=" for name in unknown)
            raise TypeError(
                f"there is no option {names}{at_line()}: argnums= names the arguments of a derivative by number, and "
                "all transformations take tier=, threads=, roll=, device="
            )
        if isinstance(function, Finder):
            tier, threads = tier or function.tier, threads or function.threads
            roll = function.roll if roll is None else roll
            device = device or function.device
        tier = tier or AUTO
        if tier != AUTO:
            policy(tier)  # raises for a tier that is not known
        if threads is not None and (not isinstance(threads, int | np.integer) or threads < 1):
            raise ValueError(f"threads must be a positive integer, not {threads!r}{at_line()}")
        if roll is not None and not isinstance(roll, bool | Schedule):
            raise TypeError(
                f"roll must be True, False or a schedule, such as fad.checkpoint.Revolve(100){at_line()}, not {roll!r}"
            )
        if device not in (None, "cpu", "cuda"):
            raise ValueError(f'device must be "cpu" or "cuda", not {device!r}{at_line()}')
        self.tier: str = tier
        self.device: str | None = None if device == "cpu" else device
        self.roll: bool | Schedule | None = roll
        self.threads: int | None = threads
        self.__wrapped__ = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)
        self.memory = Memory()
        self._fast: tuple[Any, Any] = (None, None)  # the short way of the last call, and its path
        self._warned_of_random_numbers = False
        self._looks_up = False  # whether a guard of a number has failed: see `fastad.recording.lookups`

    # ── what it is ───────────────────────────────────────────────────────────────────────────────────────────
    @property
    def _fastad_wraps(self) -> tuple[Any, ...] | None:
        """What a walk looks into (see `fastad.recording.capture`)."""
        return (self.__wrapped__,) if self.is_shared else None

    @property
    def _fastad_options(self) -> tuple[Any, ...]:
        own = [_frozen(getattr(self, name)) for name in self.options]
        return (self.tier, self.threads, _frozen(self.roll), self.device, *own)

    @lazy
    def _kind(self) -> tuple[Any, ...]:
        """All transformations down to the user's function."""
        inner = self.__wrapped__
        return type(self), self._fastad_options, inner._kind if isinstance(inner, Finder) else None

    @property
    def _code(self) -> Any:
        return self._kind, code_of(base_function(self))

    # ── to be defined by a transformation ────────────────────────────────────────────────────────────────────
    def program(self, call: Call) -> Program:
        """Record (or transform) the program of a call with concrete arguments."""
        raise NotImplementedError

    def new_program(self, call: Call) -> Program:
        """`program`, with loops rolled as `roll` says."""
        with rolling(self.roll):
            return self.program(call)

    def table_program(self, call: Call) -> Program:
        """`new_program` for who looks at the program and runs it elsewhere: with the second try of a path's."""
        return with_second_try(lambda: self.new_program(call), (self._outside(), *call.outside))

    def path_program(self, call: Call) -> Program:
        """The program of a path: on a device it has lanes."""
        if self.device is None:
            return self.new_program(call)
        from fastad.execution.cuda.values import on_host

        with rolling(self.roll):
            return self.device_program(call.replaced(list(map(on_host, call.inputs))))

    def device_program(self, call: Call) -> Program:
        """What a device runs: one lane."""
        from fastad.transforms.devices import one_lane

        return one_lane(self.program(call))

    def with_inputs(self, call: Call) -> Call:
        """The call with the Python integers, and the numbers in static arguments, as inputs that change from call to
        call."""
        if call.outside:
            call = call.reading([OUTSIDE_NUMBERS.applied(self._kind, state) for state in call.outside])
        return INTEGERS.applied(self._code, call) if int in map(type, call.leaves) else call

    def normalise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the program wants them, e.g. integers to be differentiated made floats."""
        return args, kwargs

    # ── paths ────────────────────────────────────────────────────────────────────────────────────────────────
    def _outside(self) -> OutsideState:
        """What the user's function reads from outside now."""
        return OUTSIDE_NUMBERS.applied(self._kind, self.memory.outside.read(base_function(self)))

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
        path = self._renewed(old, self._recorded(call, self._outside(), old))
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
                self._looks_up = self._looks_up or path.recording.holds_number(guard)
                new = self._recorded(call, self._outside(), found, path.recording.place(guard))
                same = new.recording.program.request == path.recording.program.request
                has_twin = same and not path.recording.is_twin and self.tier != "sweep" and self.device is None
                if (same and not has_twin) or new.outside.key != path.outside.key:
                    return new
                found = path.beside(new.recording.in_sweeps()) if has_twin else self._renewed(found, new)
                path.recording.lead(guard, known, found.recording)
                path.first.forget_followers(MOST, most_bytes())
                RECORDINGS.trim()
                self.memory.trim()
            return found

    @staticmethod
    def _renewed(old: Path | None, new: Path) -> Path:
        """The old path if recording it again has changed nothing."""
        if old is None or not old.recording.is_repeated_by(new.recording):
            return new
        old.recording.elements.confirmed(new.recording.elements)
        return Path(old.recording, new.outside, new.others, old.count)

    def _recorded(self, call: Call, outside: OutsideState, old: Path | None, branch: Line | None = None) -> Path:
        claim(base_function(self))
        reached = (outside, *call.outside)
        before = random_states([x for state in reached for x in state.held])
        with reading_anew([number for state in reached for number in state.changing]) as reads_anew:
            if not reads_anew and any(self._need(OUTSIDE_NUMBERS.need_all, call.outside)):
                raise Renumbered
            outside = outside if reads_anew else outside.without_changing()
            program, watch = self._program(call, outside, None if old is None else old.recording)
            after = random_states([x for state in reached for x in state.held])
            drew = have_drawn(before, after)
            if drew and others_may_have_drawn(before, after):
                drew = draws(lambda: self._program(call, outside, None))
        if drew and not self._warned_of_random_numbers:
            self._warned_of_random_numbers = True
            warn_of_random_numbers(base_function(self), self.__name__)
        self.memory.recordings += 1
        if program.lifted:
            raise FastadError("a recorded value of an outer function was used where nothing is being recorded")
        count_recording(self._code, base_function(self), self.__name__, call, branch)
        if self.memory.outside.add_settings(program.settings):
            self._follow_settings()
        outside = outside.with_settings(self.memory.outside.settings) if self.memory.outside.settings else outside
        states = (outside, *call.outside)
        recording = recorded_path(program, self.tier, self.threads, states, drew, watch)
        if old is not None and watch is None:
            recording.elements.vain_watches = old.recording.elements.vain_watches + 1
        return Path(recording, outside, call.outside)

    def _program(self, call: Call, outside: OutsideState, old: Recording | None) -> tuple[Program, Watch | None]:
        """A new recording, and what was seen of the arrays that the function refers to; raises Renumbered if the
        recording needs the values of some of its inputs."""
        reached = (outside, *call.outside)
        try:
            with bound_names([place for state in reached for place in state.bindings]):
                program, watch = self._watched_if_likely(call, reached, old)
        except (Exception, NumberNeeded):
            self._need(OUTSIDE_NUMBERS.need_written, reached)
            if not any([INTEGERS.need_all(self._code, call), *self._need(OUTSIDE_NUMBERS.need_all, reached)]):
                raise
            raise Renumbered from None  # with the numbers as constants it may go well, or fail as in Python
        table = program.request.base
        needs = [
            INTEGERS.need_values(self._code, call, table, program.sources),
            *self._need(OUTSIDE_NUMBERS.need_written, reached),
            *self._need(OUTSIDE_NUMBERS.need_values, reached, table),
        ]
        if any(needs):
            raise Renumbered
        return program, watch

    def _watched_if_likely(
        self, call: Call, reached: Sequence[OutsideState], old: Recording | None
    ) -> tuple[Program, Watch | None]:
        """A new recording. Arrays are watched when it is likely that they change: where they have changed since an
        old recording. Large ones that a walk finds are watched at once, since comparing them takes time."""
        watched = None
        if old is not None and old.elements.wants_watch and not old.is_private:
            watched = self._watched(call)
            if watched is not None and old.program.is_repeated_by(watched[0]):
                return watched
        before = random_states([])
        program = self._with_lookups(call) if self._looks_up else None
        if program is None:
            program = with_second_try(lambda: self.path_program(call), reached)
        if old is None and before == random_states([]):
            large = [a for a in program.captured if a.size > MANY]
            arrays = [a for state in reached for a in state.arrays] if large else []
            if any(part_of(a, arrays) is not None for a in large):
                watched = self._watched(call)
        return program, watched[1] if watched is not None and program.is_repeated_by(watched[0]) else None

    def _with_lookups(self, call: Call) -> Program | None:
        """A recording with lookups in tables as rows; None if paths of numbers remain, or it is not possible."""
        lookups = Lookups(base_function(self))
        if lookups.any_tables:
            with suppress(Exception, NumberNeeded), lookups.in_place():
                program = self.path_program(call)
                if not program.request.base.number_guards:
                    return program
        return None

    def _watched(self, call: Call) -> tuple[Program, Watch] | None:
        """A recording while the arrays are watched; None where that is not possible."""
        try:
            with watching([base_function(self), *call.objects]) as watch:
                program = None if watch is None else self.path_program(call)
        except (Exception, NumberNeeded):  # a `Watched` was given to code that wants an array
            return None
        return None if watch is None or program is None else (program, watch)

    def _need(self, what: Callable[..., bool], states: Iterable[OutsideState], *more: Any) -> list[bool]:
        """Whether numbers of these states cannot be inputs, of all states: each of them is made a constant."""
        return [what(self._kind, state, *more) for state in states]

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


def _frozen(option: Any) -> Any:
    """An option as a part of a key."""
    try:
        hash(option)
    except TypeError:  # axes in lists and dicts
        return repr(option)
    return option


def base_function(function: Any) -> Callable[..., Any]:
    """The user's function under all transformations."""
    while isinstance(function, Finder):
        function = function.__wrapped__
    return function
