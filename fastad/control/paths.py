"""The functions of loops and solves, recorded once for each path that their Python branches take."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

import numpy as np

from fastad.control.parts import Part, Shared, branch_error, counts_in, have_numbers, record_part
from fastad.errors import FastadError, RecordingError, ShapeError
from fastad.execution.composites.evaluating import run
from fastad.recording.lookups import Lookups
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import lifting
from fastad.recording.source import at_line
from fastad.tables.builder import dtype_char
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.driver import Driver
from fastad.tables.composites.paths import Paths, has_paths, note_of, take_notes
from fastad.tables.composites.sub import Sub
from fastad.tables.reference import Stopped
from fastad.transforms.call import flatten, unflatten

_T = TypeVar("_T")
_MOST = 64  # paths of one function
_NOTED = 10_000  # numbers from outside up to which they belong to a point
_missed: dict[str, list[np.ndarray]] = {}  # points of which replays did not know the path
_NEAR = (0.0, 1e-15, -1e-15, 1e-12, -1e-12, 1e-9, -1e-9)  # relative changes of a point, see `_extend`


class Recordings:
    """A function, recorded at first arguments, and at further ones where it takes other paths. `of` is the user's
    function. `counts`: paths may be those of whole numbers, of which there may be many.

    A point is all that a path depends on: the arguments, and the values from outside that the function refers to. Of
    the lanes of a vmap these have values of their own.
    """

    def __init__(
        self, function: Callable[..., Any], start: Sequence[Any], name: str, of: Any, *, counts: bool = True
    ) -> None:
        self._function, self.name, self._counts = function, name, counts
        leaves, self._tree = flatten(tuple(start))
        self._start, self._leaves = tuple(start), [np.asarray(x) for x in leaves]
        line = getattr(getattr(of, "__code__", None), "co_firstlineno", 0)
        self._owner = f"{name} {getattr(of, '__module__', '')}.{getattr(of, '__qualname__', '')}:{line}"
        self._recalled: list[np.ndarray] = []
        self._renewals = 0
        self._lookups: Lookups | None = None
        self.parts = [record_part(function, self._start, name)]
        if have_numbers(self.parts):
            self._look_up(of)

    def _look_up(self, of: Any) -> None:
        """Record lookups in tables by whole numbers as rows, if that leaves no paths of whole numbers."""
        lookups = Lookups(of)
        if lookups.any_tables:
            with suppress(Exception), lookups.in_place():  # the stand-ins may not do where plain numbers must be
                part = record_part(self._function, self._start, self.name)
                if not have_numbers([part]):
                    self.parts, self._lookups = [part], lookups

    def _recorded(self, args: tuple[Any, ...]) -> Part:
        with nullcontext() if self._lookups is None else self._lookups.in_place():
            return record_part(self._function, args, self.name)

    @property
    def branches(self) -> bool:
        """Whether the function has Python branches of which several paths can be known."""
        table = self.parts[0].program.table
        return bool(table.guards) and (self._counts or not counts_in(self.parts))

    @property
    def calls_paths(self) -> bool:
        """Whether a loop or a solve in it has Python branches."""
        return any(has_paths(sub) for part in self.parts for sub in part.program.table.subs)

    @property
    def results(self) -> list[ValueType]:
        """Types of the results of all paths."""
        each = zip(*(part.results for part in self.parts), strict=True)
        return [ValueType(kinds[0].shape, _widest(kinds)) for kinds in each]

    def sub(self, shared: Shared, lead: Sequence[ValueType], outputs: Sequence[ValueType]) -> Sub:
        """The function as a sub-program; see `Shared.sub`."""
        subs = [shared.sub(part, lead, outputs) for part in self.parts]
        if not self.branches:
            return subs[0]
        self._first, self._shared = sum(kind.size for kind in lead), shared
        self._size = self._first + (shared.size if shared.size <= _NOTED else 0)
        return Paths.of(subs, self.name, self._owner, self._size)

    # ── further paths ────────────────────────────────────────────────────────────────────────────────────────
    def extend(self) -> bool:
        """Record the path that the last run has missed. False if it was not this function, or cannot be recorded."""
        note = note_of(self._owner, self._size) if self.branches else np.zeros(1)
        return bool(note[0]) and len(self.parts) < _MOST and self._extend(note[1:].copy())

    def renew(self) -> bool:
        """Record it anew, so that what it calls knows the path that the last run has missed. False if it calls nothing
        that has paths, or nothing that has learnt one."""
        if not self.calls_paths or self._renewals >= _MOST:
            return False
        self._renewals += 1
        before = [part.program.table.hash for part in self.parts]
        self.parts[:] = [self._recorded(self._start)]
        return before != [part.program.table.hash for part in self.parts]

    def remember(self) -> None:
        """Keep the points that runs have noted."""
        missed = _missed.setdefault(self._owner, [])
        missed += take_notes(self._owner)
        del missed[:-_MOST]

    def recall(self) -> bool:
        """Record the paths that replays have missed: other lanes of a vmap may take them. Whether there are any."""
        if not self.branches:
            return False
        found = False
        for point in list(_missed.get(self._owner, ())):
            if len(point) == self._size and not any(point is known for known in self._recalled):
                with suppress(Exception):  # the function may not be defined at a point of another recording
                    found = self._extend(point) or found
                self._recalled.append(point)
        return found

    def _extend(self, point: np.ndarray) -> bool:
        """Record the path at a point, or next to it: kernels may round otherwise than NumPy does. False if it is
        known."""
        tables = {part.program.table.hash for part in self.parts}
        for change in _NEAR:
            leaves, outside = self._cut(point * (1.0 + change))
            with lifting(outside):
                part = self._recorded(unflatten(self._tree, leaves))
            if part.program.table.hash not in tables:
                self._check(part)
                self.parts.append(part)
                return True
        return False

    def _cut(self, point: np.ndarray) -> tuple[list[Any], list[tuple[Recorded, Any]]]:
        """The arguments of which a point consists, and the values from outside."""
        ends = np.cumsum([x.size for x in self._leaves])
        leaves = [_like(own, x.shape, x.dtype) for own, x in zip(np.split(point, ends), self._leaves, strict=False)]
        outside, at = [], self._first
        for value, kind in zip(self._shared.values, self._shared.kinds, strict=True):
            if isinstance(value, Recorded) and at + kind.size <= len(point):
                outside.append((value, _like(point[at : at + kind.size], kind.shape, value.dtype)))
            at += kind.size
        return leaves, outside

    def _check(self, part: Part) -> None:
        """ShapeError unless the results of a path are like those of the first."""
        first = self.parts[0]
        one, other = ([None if x is None else (x.value,) for x in own.program.out_leaves] for own in (first, part))
        same = part.program.out_tree == first.program.out_tree and one == other
        if not same or [kind.shape for kind in part.results] != [kind.shape for kind in first.results]:
            raise ShapeError(
                f"{self.name}: the paths of a Python branch must return the same structure and shapes{at_line()}"
            )


def _widest(kinds: Sequence[ValueType]) -> str:
    """The dtype of values of these types."""
    return dtype_char(np.result_type(*(DTYPES[kind.dtype] for kind in kinds)))


def _like(numbers: np.ndarray, shape: tuple[int, ...], dtype: Any) -> Any:
    """A piece of a point as an array or number of this type."""
    whole = np.dtype(dtype).kind in "iub"
    return (np.rint(numbers) if whole else numbers).reshape(shape).astype(dtype)[()]


def parts_of(recordings: Iterable[Recordings]) -> list[Part]:
    """The paths of all functions."""
    return [part for own in recordings for part in own.parts]


def known(driver: Driver, operands: Iterable[Any], recordings: Sequence[Recordings]) -> bool:
    """Whether a run of a driver for these operands takes known paths of its functions only. Otherwise another one is
    recorded, and the driver must be made anew."""
    if not any(own.branches or own.calls_paths for own in recordings):
        return True
    for own in recordings:
        own.remember()
    values = [np.ravel(np.asarray(x.value if isinstance(x, Recorded) else x, float)) for x in operands]
    try:
        run(driver, np.concatenate(values))
    except Stopped:
        if any(own.extend() for own in recordings) or _all_renewed(recordings):
            return False
        raise branch_error(parts_of(recordings)) from None
    except FastadError:
        pass  # it fails in its own way, which the row will tell
    recalled = [own.recall() for own in recordings]
    return not any(recalled)


def along_paths(own: Recordings, attempt: Callable[[], _T]) -> _T:
    """attempt(), which evaluates the sub-program of a function, once the paths are recorded that it takes."""
    if own.branches or own.calls_paths:
        own.remember()
    while True:
        try:
            found = attempt()
        except (Stopped, RecordingError) as error:
            if own.extend() or own.renew():
                continue
            if isinstance(error, Stopped):
                raise branch_error(own.parts) from None
            raise
        if not own.recall():
            return found


def _all_renewed(recordings: Sequence[Recordings]) -> bool:
    """Record anew all functions that call something with paths. Whether there are any."""
    renewed = [own.renew() for own in recordings]
    return any(renewed)
