"""The function of a loop or a solve, recorded once for each path that its Python branches take."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastad.control.parts import Part, Shared, branch_error, record_part
from fastad.execution.composites.evaluating import run
from fastad.recording.recorded import Recorded
from fastad.tables.columns import ValueType
from fastad.tables.composites.driver import Driver
from fastad.tables.composites.paths import Paths, note_of
from fastad.tables.composites.sub import Sub
from fastad.tables.reference import Stopped

_MOST = 64  # paths of one function
_missed: dict[tuple[str, int], list[np.ndarray]] = {}  # points of which replays did not know the path
_NEAR = (0.0, 1e-15, -1e-15, 1e-12, -1e-12, 1e-9, -1e-9)  # relative changes of a point, see `_extend`


class Recordings:
    """A function of vectors and numbers, recorded at a first point, and at further ones where it takes other paths."""

    def __init__(self, function: Callable[..., Any], start: Sequence[Any], name: str) -> None:
        self._function, self._name = function, name
        self._start = [np.asarray(x) for x in start]
        own = getattr(function, "__wrapped__", function)
        line = getattr(getattr(own, "__code__", None), "co_firstlineno", 0)
        self.owner = f"{getattr(own, '__module__', '')}.{getattr(own, '__qualname__', name)}:{line}"
        self.size = sum(x.size for x in self._start)
        self.parts = [record_part(function, tuple(start), name)]
        if self.branches:
            self._recall()

    @property
    def branches(self) -> bool:
        """Whether the function has Python branches."""
        return bool(self.parts[0].program.table.guards)

    def sub(self, shared: Shared, lead: Sequence[ValueType], outputs: Sequence[ValueType]) -> Sub:
        """The function as a sub-program; see `Shared.sub`."""
        subs = [shared.sub(part, lead, outputs) for part in self.parts]
        return Paths.of(subs, self._name, self.owner, self.size) if self.branches else subs[0]

    def known(self, driver: Driver, operands: Iterable[Any], others: Sequence[Part] = ()) -> bool:
        """Whether a run for these operands takes known paths only. Otherwise another one is recorded. `others`: the
        driver's parts that may take one path only."""
        if not self.branches:
            return True
        values = [x.value if isinstance(x, Recorded) else x for x in operands]
        note = note_of(self.owner, self.size)
        note[0] = 0.0
        try:
            run(driver, np.concatenate([np.ravel(np.asarray(x, float)) for x in values]))
        except Stopped:
            if not note[0] or len(self.parts) >= _MOST or not self._extend(note[1:].copy()):
                raise branch_error([*self.parts, *others]) from None
            return False
        return True

    def _recall(self) -> None:
        """Record the paths that replays have missed: other lanes of a vmap may take them."""
        missed, note = _missed.setdefault((self.owner, self.size), []), note_of(self.owner, self.size)
        if note[0] and len(missed) < _MOST:
            missed.append(note[1:].copy())
        note[0] = 0.0
        missed[:] = [point for point in missed if self._extend(point, tentative=True)]

    def _extend(self, point: np.ndarray, tentative: bool = False) -> bool:
        """Record the path at a point, or next to it: kernels may round otherwise than NumPy does. False if it is known.
        `tentative`: the point may be one where the function is not defined."""
        tables = {part.program.table.hash for part in self.parts}
        for change in _NEAR:
            try:
                part = record_part(self._function, self._cut(point * (1.0 + change)), self._name)
            except Exception:
                if tentative:
                    return False
                raise
            if part.program.table.hash not in tables:
                self.parts.append(part)
                return True
            if tentative:
                return False
        return False

    def _cut(self, point: np.ndarray) -> tuple[Any, ...]:
        """The arguments of which a point consists."""
        cut = np.split(point, np.cumsum([x.size for x in self._start])[:-1])
        return tuple(
            value.reshape(like.shape).astype(like.dtype)[()] for value, like in zip(cut, self._start, strict=True)
        )
