"""Recorded paths: one program for one structure of arguments and one way through the branches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from fastad.execution.compiled import Compiled
from fastad.execution.kernel import GuardFailed
from fastad.once import lazy
from fastad.recording.capture import ArrayElements, OutsideState
from fastad.transforms.call import Call
from fastad.transforms.program import Program

_CONTENT_LIMIT = 100_000  # elements: larger outside arrays that are used as a whole are not compared at first
_CONFIRMATIONS = 3  # changes of outside arrays that led to the same table, after which they are not compared
T = TypeVar("T")


@dataclass
class Path:
    """One recorded path: the program, how it runs, and where a failed guard leads."""

    program: Program
    compiled: Compiled
    elements: "UsedElements"
    outside: OutsideState  # as it was when the path was last looked up
    held: tuple[Any, ...] = ()  # what the key of the path knows by address only
    after: dict[int, "Path"] = field(default_factory=dict)
    count: list[int] = field(default_factory=lambda: [0])  # calls; a list, since it is counted in generated code
    fast: dict[Any, Callable[[tuple[Any, ...]], Any]] = field(default_factory=dict)  # see `fastad.transforms.fast`
    numba_function: Any = None  # see `fastad.transforms.numba_call`

    def run(self, inputs: Sequence[Any]) -> Any:
        """The result for the inputs of a call; raises GuardFailed."""
        self.count[0] += 1
        program = self.program
        given = inputs if self.is_plain else [*program.gather(inputs), *program.captured]
        return program.result(self.compiled(given))

    @lazy
    def is_plain(self) -> bool:
        """Whether the inputs of the call are the inputs of the table as they come."""
        return self.program.sources == tuple(range(len(self.program.request.inputs)))

    def is_current(self) -> bool:
        """Whether outside arrays have the elements, and settings the choices, that the recording may have used."""
        same = not self.outside.settings or self.outside.same_settings()
        return same and (not self.elements.needed or self.elements.unchanged())


class UsedElements:
    """Elements of outside arrays that a recording may depend on.

    An array that the program reads anew at every run need not be compared, unless other values were computed from it
    while recording: a branch, say, or its mean. That is seen where such a value enters the program; and a branch is
    trusted not to depend on the array once several changes of it have led to the same table.
    """

    def __init__(self, arrays: Sequence[np.ndarray], program: Program) -> None:
        captured = {id(a) for a in program.captured} | {id(a.base) for a in program.captured}
        always = [a for a in arrays if program.derived or id(a) not in captured]
        self._always = [ArrayElements(a) for a in always]
        tried = [a for a in arrays if not program.derived and id(a) in captured and a.size <= _CONTENT_LIMIT]
        self._tried = [ArrayElements(a) for a in tried]
        self.confirmations = 0
        self.needed = bool(self._always or self._tried)

    def unchanged(self) -> bool:
        return all(c.unchanged() for c in self._always) and all(c.unchanged() for c in self._tried)

    def confirmed(self, new: "UsedElements") -> None:
        """A new recording gave the same table; take over what it saw."""
        self.confirmations += 1
        self._always = new._always
        self._tried = new._tried if self.confirmations < _CONFIRMATIONS else []
        self.needed = bool(self._always or self._tried)


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
        self.place = path.program.request.base.line_of(path.program.request.base.guards[guard])


def follow(paths: Paths, call: Call, path: Path, run: Callable[[Path], T]) -> T:
    """`run(path)`, from this path on along guards that fail; raises Undecided."""
    while True:
        try:
            return run(path)
        except GuardFailed as failed:
            other = paths.other_path(call, path, failed.guard)
            if other.program.request == path.program.request:
                raise Undecided(other, failed.guard) from None
            path = other
