"""Composite rows that choose among the recorded paths of a program with Python branches.

Each path holds where its guards do. Derivatives are those of the path that is taken. A choice without a path for a
point fails as a guard does, and notes the point.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.kernels.records import KERNEL, PATHS, record
from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.choices import Lanes, joint_sub
from fastad.tables.composites.driver import Data, Driver, Parameters, filled
from fastad.tables.composites.sub import Sub, packed, slices
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner, Stopped

_notes: dict[tuple[str, int], np.ndarray] = {}


def note_of(owner: str, size: int) -> np.ndarray:
    """Where the last point is noted for which no path was known: 1 if there is one, then so many numbers."""
    return _notes.setdefault((owner, size), np.zeros(1 + size))


def take_notes(owner: str) -> list[np.ndarray]:
    """The points that were noted for a function since the last time."""
    found = [note for (own, _), note in list(_notes.items()) if own == owner and note[0]]
    points = [note[1:].copy() for note in found]
    for note in found:
        note[0] = 0.0
    return points


def has_paths(sub: Sub) -> bool:
    """Whether a sub-program, or one that it calls, chooses among paths."""
    inner = () if sub.table is None else sub.table.subs
    return isinstance(sub, Paths) or any(map(has_paths, (*sub.parts, *inner)))


@dataclass(frozen=True, eq=False)
class Paths(Driver, kind="paths"):
    """An argument to the result of the first path whose guards hold.

    `owner` names the function; its choices note points in the same place. A point is the first `point` numbers of the
    argument.
    """

    paths: tuple[Sub, ...] = ()
    owner: str = ""
    point: int = 0
    kernel = "fastad.kernels.following.run_paths"

    @staticmethod
    def of(paths: Sequence[Sub], name: str, owner: str, point: int) -> "Paths":
        """The choice among paths of the same sizes."""
        return Paths(paths[0].n_in, paths[0].n_out, name, paths=tuple(paths), owner=owner, point=point)

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {f"path {number}": part for number, part in enumerate(self.paths)}

    @lazy
    def key(self) -> str:
        return f"paths {self.owner} {self.point} {[part.key for part in self.paths]}"

    @property
    def kind_text(self) -> str:
        return "1 path" if len(self.paths) == 1 else f"choice among {len(self.paths)} paths"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def parameters(self) -> Parameters:
        count = len(self.paths)
        dtype = record(*((name, PATHS[name]) for name in PATHS.names or ()), ("paths", KERNEL, (count,)))
        note = note_of(self.owner, self.point).view(np.int64)
        return Parameters(filled(dtype, count=count, point=self.point), {"paths": self.paths}, {"note": note})

    def _taken(self, x: np.ndarray, run: Runner | None) -> tuple[int, np.ndarray]:
        """The number of the path for an argument, and its result; raises `Stopped`."""
        for number, part in enumerate(self.paths):
            try:
                return number, part.evaluate(x, run=run)
            except Stopped:
                continue
        raise Stopped(0)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return self._taken(x, None)[1]

    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        number, _ = self._taken(x, run)
        yield f"path {number} of {self.name}", self.paths[number], x

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        return max((of(part) for part in self.paths), key=lambda own: own.total)

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        return reduce(sets.either, (part.dependencies(sets, x) for part in self.paths))

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        if not self.paths:
            return "a choice without paths"
        if any(part.n_saved for part in self.paths):
            return "a path that needs saved states"
        if not 0 <= self.point <= self.n_in:
            return "points that are longer than the argument"
        same = {(part.n_in, part.n_out) for part in self.paths} == {(self.n_in, self.n_out)}
        return None if same else "paths of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"paths": [write(part) for part in self.paths], "owner": self.owner, "point": self.point}

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "Paths":
        paths = [read(part) for part in data.of("paths", list)]
        if not paths:
            raise TableError(f"{name}: a choice without paths")
        return Paths.of(paths, name, data.of("owner", str), data.of("point", int))

    # ── derivation and batching ──────────────────────────────────────────────────────────────────────────────
    def _derived(self, name: str, derive: Callable[[Sub], Sub]) -> "Paths":
        parts = [derive(part) for part in self.paths]
        return Paths.of(parts, f"{name} of {self.name}", self.owner, self.point)

    @lazy
    def _joint(self) -> "Paths":
        return self._derived("tangent", joint_sub)

    @lazy
    def _adjoint(self) -> "Paths":
        return self._derived("adjoint", lambda part: part.adjoint)

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        y, dy = slices(b, b.call(self._joint, packed(b, [x, dx])), (self.n_out, self.n_out))
        return y, dy

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None) -> Ref:
        return b.call(self._adjoint, packed(b, [x, u]))

    def batched(self, size: int) -> Sub:
        return Lanes.of(self, size)
