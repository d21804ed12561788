"""What a driver is: a composite row that calls other sub-programs by the addresses of their kernels.

A subclass of `Driver` says everything about one kind of driver: how it is checked, stored, listed and costed, what it
computes and how that is derived and batched, which kernel runs it, and what that kernel reads. Nothing else knows the
kind. A kind is found by its name:

    class Twice(Driver, kind="twice"):
        kernel = "my_package.my_kernels.run_twice"

The module of a kernel outside of `fastad.kernels` stands by itself: it may import numba, NumPy and `fastad.kernels`.
If it uses no more of Python than the drivers of `fastad.kernels` do, and imports nothing of numba, it is compiled
without that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from fastad.errors import TableError
from fastad.tables.builder import Builder
from fastad.tables.composites.pieces import Pieces
from fastad.tables.composites.sub import Sub
from fastad.tables.reference import Runner

_kinds: "dict[str, type[Driver]]" = {}


def registered_kinds() -> "Mapping[str, type[Driver]]":
    """All kinds of drivers that were defined, by name."""
    return _kinds


# ── what a kernel reads ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class StatesOnDisk:
    """A file of so many doubles, mapped into memory during a run; `path`: see `fad.checkpoint.Multistage`."""

    doubles: int
    path: Any = None


@dataclass(frozen=True)
class ProgressBar:
    """A bar that shows a count of steps during a run; `total` is None where their number is not known.

    `part`: it shows the part that is done instead, from `part[0]` to `part[1]`, with the count beside it.
    """

    name: str
    total: int | None
    part: tuple[float, float] | None = None


@dataclass(frozen=True)
class UserWarned:
    """The user has been given this warning before a run."""

    text: str


@dataclass(frozen=True)
class Parameters:
    """What the kernel of a driver reads: a record of an aligned dtype, and what fills in its addresses.

    The others are by the names of the record's fields. `kernels`: the sub-program (None: there is none) whose kernel
    stands there, or several if the field is an array of kernels. `arrays`: an array of int64 whose address stands
    there. `resources`: what a run finds there, for which Python is called before and after it. `work`: lengths of the
    driver's own vectors, which start where the fields of the nested record `work` say; the work of the kernels starts
    at `work.scratch`. A driver without vectors of its own passes all of its work on.

    `pieces`: by kernel, the pieces of its vectors, of which a driver that has a field `apart` can have the large ones
    elsewhere, with `room` numbers of work for them.
    """

    record: np.ndarray
    kernels: Mapping[str, Sub | Sequence[Sub] | None] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    resources: Mapping[str, StatesOnDisk | ProgressBar | UserWarned] = field(default_factory=dict)
    work: Mapping[str, int] = field(default_factory=dict)
    pieces: Mapping[str, Pieces] = field(default_factory=dict)
    room: int = 0

    def apart(self, least: int) -> tuple[Mapping[str, Pieces], Mapping[str, int]]:
        """The pieces of the kernels, and the work for those of at least so many numbers; none where no piece is so
        large, or a kernel is not made from a table."""
        parts = [self.kernels[name] for name in self.pieces]
        come_apart = all(part is None or (isinstance(part, Sub) and part.table is not None) for part in parts)
        if come_apart and any(own.largest >= least for own in self.pieces.values()):
            return self.pieces, {"room": self.room}
        return {}, {}


def filled(dtype: np.dtype, **values: Any) -> np.ndarray:
    """A record with these values, and zeros in its other fields."""
    record = np.zeros((), dtype)
    for name, value in values.items():
        record[name] = value
    return record


# ── the contract ──────────────────────────────────────────────────────────────────────────────────────────────
class Driver(Sub):
    """A sub-program that a driver runs.

    Besides what is here, a subclass gives `named_parts`, `key`, `emit_joint`, `emit_adjoint` and `batched`, and, where
    it has something to say, `kind_text`, `calls`, `numbers`, `repetitions`, `operations`, `work_bytes`, `loop_size` and
    what is about saved states (see `Sub`). `kernel` is the dotted name of a function of four
    addresses, (context, source, target, work), compiled by `fastad.kernels.flags.kernel`. It returns 0, guard + 1 of a
    guard that failed, or a negative number for an error. The first place of its work has the address of the saved
    states, if it takes some.
    """

    kind: ClassVar[str]
    kernel: ClassVar[str]

    def __init_subclass__(cls, kind: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind is None:  # a class that others derive from
            return
        known = _kinds.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"a driver of the kind {kind!r} exists: {known.__module__}.{known.__qualname__}")
        cls.kind = kind
        _kinds[kind] = cls

    @property
    def has_guards(self) -> bool:
        return any(part.has_guards for part in self.parts)

    @property
    def fails(self) -> bool:
        return any(part.fails for part in self.parts)

    @property
    def calls_back(self) -> bool:
        return bool(self.parameters().resources)

    def evaluate(self, x: Any, saved: Any = None, run: Runner | None = None) -> np.ndarray:
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        return self.reference(flat) if run is None else run(self, flat, saved if self.n_saved else None)

    def _differentiable(self) -> Sub:
        """A table that has the driver as its only row."""
        b = Builder()
        return Sub(self.n_in, self.n_out, self.name, b.table([b.call(self.standalone, b.input((self.n_in,)))]))

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        """As of a sub-program. Unless a driver knows better, every element depends on the whole argument."""
        return np.full(self.n_out, sets.joined(x)[0], np.int32)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def blocks(self) -> int | None:
        """Number of blocks of independent work. The kernel is then called for each of them, with its number in the
        second place of the work, perhaps by several threads at once. None: it is called once for all."""
        return None

    def parameters(self) -> Parameters:
        """What the kernel reads. The record is a new one: addresses are written into it."""
        raise NotImplementedError

    def reference(self, x: np.ndarray) -> np.ndarray:
        """What the driver computes, step by step in Python."""
        raise NotImplementedError

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        """What is wrong with the driver, whose parts are checked already; None if nothing is. A driver from a file is
        checked before it is used: its kernel computes addresses from its sizes."""
        raise NotImplementedError

    def to_data(self, write: Any) -> dict[str, Any]:
        """The driver as JSON can hold it, but for its kind and name. `write(part)` describes a part,
        `write.array(array)` stores an array of int64 and gives its name."""
        raise NotImplementedError

    @classmethod
    def from_data(cls, name: str, data: "Data", read: Any) -> "Driver":
        """The driver that `to_data` described: `read(description)` gives a part, `read.array(name)` an array. Raises
        TableError for a description that is none."""
        raise NotImplementedError

    @property
    def stored_parts(self) -> Sequence[Sub]:
        """The parts that `to_data` describes; others follow from these."""
        return self.parts


class Data(dict[str, Any]):
    """A JSON object from a file, of which nothing is certain."""

    def of(self, key: str, kind: type) -> Any:
        """The value for a key, of exactly this type."""
        found = self.get(key)
        if type(found) is not kind:
            raise TableError(f"its header has a sub-program without a valid {key!r}")
        return found

    def list_of(self, key: str, kinds: Sequence[type]) -> list[Any]:
        """The list for a key, of values of these types."""
        found = self.of(key, list)
        if [type(x) for x in found] != list(kinds):
            raise TableError(f"its header has a sub-program without a valid {key!r}")
        return list(found)
