"""Recorded paths: one program for one structure of arguments and one way through the branches."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from fastad.execution.compiled import Compiled
from fastad.execution.kernel import GuardFailed
from fastad.once import lazy
from fastad.recording.capture import OutsideState
from fastad.recording.outside_arrays import Elements, Part, part_of
from fastad.recording.rereading import same_choices
from fastad.recording.watching import Watch
from fastad.tables.columns import Line
from fastad.transforms.call import Call
from fastad.transforms.program import Program

MANY = 100_000  # elements: arrays with more are watched at once, not when they have changed
_VAIN_WATCHES = 3  # after which a function is not watched any more
T = TypeVar("T")
_clock = itertools.count(1)


@dataclass(eq=False)
class Recording:
    """One recorded path: the program, how it runs, and where a failed guard leads.

    Functions that are the same but for the arrays that they refer to share it, so it holds none of these: where an
    array stands among those that a walk finds is in `parts`, and in the program stands an empty one.
    """

    program: Program
    compiled: Compiled
    parts: tuple[Part | None, ...]  # of the arrays that the program reads; None: what the program itself holds
    elements: "UsedElements"
    held: tuple[Any, ...] = ()  # what the key of the path knows by address only
    is_private: bool = False  # it may hold what the key does not tell
    settings: tuple[Any, ...] = ()  # those that were read, with their choices: see `OutsideState.settings`
    is_twin: bool = False  # see `in_sweeps`
    _after: dict[int, "list[Recording]"] = field(default_factory=dict)
    _used: int = 0  # when a failed guard has last led here
    family_nbytes: int = 0  # bytes of this recording and of those that failed guards lead to

    @lazy
    def is_plain(self) -> bool:
        """Whether the inputs of the call are the inputs of the table as they come."""
        return self.program.sources == tuple(range(len(self.program.request.inputs)))

    def after(self, guard: int) -> "Recording | None":
        """The recording that was made when this guard failed under the present settings."""
        found = next((r for r in self._after.get(guard, ()) if same_choices(r.settings)), None)
        if found is not None:
            found._used = next(_clock)
        return found

    def in_sweeps(self) -> "Recording":
        """The same recording, run by the sweeps, for a guard that fails in native code though it holds in NumPy.

        Native code contracts products and sums and has vector functions of its own, so a comparison of numbers that
        are equal but for rounding errors may come out differently there. The sweeps round as NumPy does nearly always.
        """
        return replace(self, compiled=self.program.compiled("sweep", None), is_twin=True, _after={}, _used=0)

    def lead(self, guard: int, old: "Recording | None", new: "Recording") -> None:
        """Have a failed guard lead to a recording, in place of an older one."""
        new._used = next(_clock)
        self._replace(guard, old, [new])

    def _replace(self, guard: int, old: "Recording | None", new: "list[Recording]") -> None:
        self._after[guard] = [*(r for r in self._after.get(guard, ()) if r is not old), *new]

    def forget_followers(self, most: int, most_bytes: int) -> None:
        """Forget the least recently used of all recordings that failed guards lead to from here on, where they are too
        many or take too many bytes. The last one stays, and so do those that lead to it."""
        family: list[tuple[Recording, Recording, int]] = [(self, self, 0)]
        for parent, *_ in family:  # which grows meanwhile
            family += [(child, parent, guard) for guard, found in list(parent._after.items()) for child in found]
        used = {id(recording): recording._used for recording, *_ in family}
        for recording, parent, _ in reversed(family):  # one that leads to another is used when that is
            used[id(parent)] = max(used[id(parent)], used[id(recording)])
        sizes = [recording.nbytes for recording, *_ in family]
        self.family_nbytes, count = sum(sizes), len(family)
        for k in sorted(range(len(family)), key=lambda k: (used[id(family[k][0])], -k)):
            recording, parent, guard = family[k]
            if (self.family_nbytes <= most_bytes and count <= most) or used[id(recording)] == used[id(self)]:
                break
            parent._replace(guard, recording, [])
            self.family_nbytes, count = self.family_nbytes - sizes[k], count - 1

    @property
    def followers(self) -> "list[Recording]":
        """The recordings that failed guards lead to."""
        return [r for found in list(self._after.values()) for r in found]

    def place(self, guard: int) -> Line:
        """The user's line that a guard stands for; none for a guard of what an executor has added."""
        request = self.program.request
        for table in (request.base, request.table):
            if guard < len(table.guards):
                return table.line_of(table.guards[guard])
        return Line("", 0, "")

    def holds_number(self, guard: int) -> bool:
        """Whether a guard is for what a number is, not for a branch."""
        table = self.program.request.base
        return guard < len(table.guards) and table.guards[guard] in table.number_guards

    def is_repeated_by(self, new: "Recording") -> bool:
        """Whether another recording computes the same."""
        pairs = zip(self._own_arrays, new._own_arrays, strict=False)
        same = self.program.is_repeated_by(new.program) and self.parts == new.parts
        return same and all(x is y for x, y in pairs)

    @property
    def _own_arrays(self) -> list[Any]:
        """The arrays that the program itself holds."""
        return [a for a, part in zip(self.program.captured, self.parts, strict=True) if part is None]

    @property
    def nbytes(self) -> int:
        """Bytes that the recording keeps in memory, about."""
        return self.program.request.base.nbytes + self.elements.nbytes + self.compiled.nbytes


def recorded_path(
    program: Program, tier: str, threads: int | None, states: Sequence[OutsideState], is_private: bool = False,
    watch: Watch | None = None,
) -> Recording:  # fmt: skip
    """The recording of a program that has just been made, in this state of the outside."""
    arrays = [a for state in states for a in state.arrays]
    parts = tuple(part_of(a, arrays) for a in program.captured)
    guarded = {id(x.array) for state in states for x in state.changing}  # whatever depends on these, guards hold
    elements = UsedElements([None if id(a) in guarded else a for a in arrays], parts, watch)
    hollow = [a if part is None else _hollow(a) for part, a in zip(parts, program.captured, strict=True)]
    program = program.bound(hollow)
    held = tuple(x for state in states for x in state.held)
    compiled = program.compiled(tier, threads)
    settings = states[0].settings if states else ()
    is_private = is_private or any(p is None and _may_change(a) for a, p in zip(hollow, parts, strict=True))
    found = Recording(program, compiled, parts, elements, held, is_private, settings)
    found.family_nbytes = found.nbytes
    return found


def _may_change(a: np.ndarray) -> bool:
    """Whether somebody may write into an array: what is read-only, and a view of nothing but such, was made to stay as
    it is."""
    owner: Any = a
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    return owner is not None


def _hollow(a: np.ndarray) -> np.ndarray:
    """An array of the same shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), a.dtype), a.shape)


class Path:
    """A recording as one function runs it, with the arrays that this function refers to."""

    def __init__(
        self, recording: Recording, outside: OutsideState, others: Sequence[OutsideState] = (),
        count: list[int] | None = None,
    ) -> None:  # fmt: skip
        self.recording, self.outside, self.others = recording, outside, tuple(others)
        self.call_key: Any = None  # of the calls that it is the first path for
        self.first = recording  # the one whose failed guards have led here
        self.was_used = False
        self.used = 0  # when it was last used, see `fastad.transforms.known.Memory`
        self.arrays = [a for state in (outside, *others) for a in state.arrays]
        self.captured = [
            own if part is None else part.of(self.arrays)
            for part, own in zip(recording.parts, recording.program.captured, strict=True)
        ]
        self.count = [0] if count is None else count  # calls; a list, since it is counted in generated code
        self.fast: dict[Any, Callable[[tuple[Any, ...]], Any]] = {}  # see `fastad.transforms.fast`
        self.numba_function: Any = None  # see `fastad.transforms.numba_call`

    def moved(self, outside: OutsideState, others: Sequence[OutsideState]) -> "Path":
        """The same recording for another state of the outside; this path where that is its own."""
        if outside is self.outside and not others and not self.others:
            return self
        found = Path(self.recording, outside, others, self.count)
        found.call_key = self.call_key
        return found

    def beside(self, recording: Recording) -> "Path":
        """Another recording for the same arrays."""
        found = Path(recording, self.outside, self.others)
        found.first = self.first
        return found

    @property
    def compiled(self) -> Compiled:
        """How the recording runs."""
        return self.recording.compiled

    @lazy
    def program(self) -> Program:
        """The program with the arrays of this function."""
        return self.recording.program.bound(self.captured)

    def run(self, inputs: Sequence[Any]) -> Any:
        """The result for the inputs of a call; raises GuardFailed."""
        self.count[0] += 1
        recording = self.recording
        program = recording.program
        given = inputs if recording.is_plain else [*program.gather(inputs), *self.captured]
        return program.result(recording.compiled(given))

    def is_current(self) -> bool:
        """Whether outside arrays have the elements, and settings the choices, that the recording may have used."""
        settings, elements = self.outside.settings, self.recording.elements
        same = not settings or same_choices(settings)
        return same and (not elements.needed or elements.are_those_of(self.arrays))


class UsedElements:
    """Elements of outside arrays that a recording may depend on.

    An array that the program reads anew at every run need not be compared, if a watch (see
    `fastad.recording.watching`) has seen that the function does not look into it otherwise.
    """

    def __init__(self, arrays: Sequence[np.ndarray | None], parts: Sequence[Part | None], watch: Watch | None) -> None:
        read = {part.number for part in parts if part is not None}
        compared = [(k, a) for k, a in enumerate(arrays) if a is not None]
        free = {k for k, a in compared if k in read and watch is not None and watch.is_clean(a)}
        self._compared = {k: Elements(a) for k, a in compared if k not in free}
        self.needed = bool(self._compared)
        self.vain_watches = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        return sum(e.nbytes for e in self._compared.values())

    @property
    def wants_watch(self) -> bool:
        """Whether it is worth while to look what the function does with the arrays."""
        return self.vain_watches < _VAIN_WATCHES

    def are_those_of(self, arrays: Sequence[np.ndarray]) -> bool:
        """Whether these arrays have the elements."""
        for k, elements in self._compared.items():  # noqa: SIM110 - twice as fast as `all`
            if not elements.are_those_of(arrays[k]):
                return False
        return True

    def confirmed(self, new: "UsedElements") -> None:
        """A new recording gave the same table; take over what it saw."""
        vars(self).update(vars(new))


class Paths(Protocol):
    """What a transformed function is to those that run its paths."""

    __name__: str

    def normalise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the program wants them."""

    def path_for(self, call: Call) -> Path:
        """The first path recorded for calls of this structure; records it if there is none."""

    def other_path(self, call: Call, path: Path, guard: int) -> Path:
        """The path where this guard of a path fails; records it if there is none."""


class Undecided(Exception):
    """A guard fails although the path was recorded for these very inputs.

    The comparison depends on the last bits, and kernels may round differently from NumPy. Or the lanes of a vmap
    differ.
    """

    def __init__(self, path: Path, guard: int) -> None:
        super().__init__(guard)
        self.path = path
        self.place = path.recording.place(guard)


def follow(paths: Paths, call: Call, path: Path, run: Callable[[Path], T]) -> T:
    """`run(path)`, from this path on along guards that fail; raises Undecided."""
    while True:
        try:
            return run(path)
        except GuardFailed as failed:
            other = paths.other_path(call, path, failed.guard)
            same = other.recording.program.request == path.recording.program.request
            if same and (path.recording.is_twin or not other.recording.is_twin):
                raise Undecided(other, failed.guard) from None
            path = other
