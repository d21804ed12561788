"""The op table: a program as a frozen struct of arrays, the only representation of programs in fastad.

Each row computes one value from the values of earlier rows. A scalar row takes 18 bytes (see `COLUMNS`).
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fastad import primitives
from fastad.errors import TableError
from fastad.primitives import PRIMITIVES, ArrayPrimitive, Form, Primitive
from fastad.primitives.regions import pieces

Shape = tuple[int, ...]
# Columns a, b, c are operand rows (-1: none), except:
# array rows: c is the offset of the row's static integers;
# rows of more than two operands: a and b are offset and length of the list in `operands`;
# const: a is an offset in `constants`; input: a is the number of the input.
COLUMNS = {"op": np.uint16, "type": np.uint16, "line": np.uint16, "a": np.int32, "b": np.int32, "c": np.int32}
POOLS = {"operands": np.int32, "statics": np.int64, "constants": np.float64}
INPUT, CONST = primitives.INPUT.code, primitives.CONST.code
GUARD, CALL = primitives.GUARD.code, primitives.CALL.code
DTYPES: dict[str, np.dtype[Any]] = {
    "d": np.dtype(np.float64),
    "f": np.dtype(np.float32),
    "i": np.dtype(np.int64),
    "b": np.dtype(np.bool_),
}
_ALIGN = 8  # doubles: slots of arrays are aligned to cache lines


class ValueType(NamedTuple):
    """Shape and dtype character of a value. In memory every value is float64."""

    shape: Shape
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        dims = ",".join(map(str, self.shape))
        return f"{DTYPES[self.dtype].name}[{dims}]" if self.shape else DTYPES[self.dtype].name


class Line(NamedTuple):
    """A line of the user's source. `role` says what a row computes for it: "" the value, or e.g. "adjoint"."""

    file: str
    number: int
    function: str
    role: str = ""

    def derived(self, role: str) -> "Line":
        """The line for rows of a derivative, with the role "tangent", "adjoint", "tangent of adjoint", …"""
        return Line(*self[:3], f"{role} of {self.role}" if self.role else role)

    def __str__(self) -> str:
        return f"{self.file}:{self.number} in {self.function}" if self.number else "(no source line)"


@dataclass(slots=True)
class Row:
    """One row, unpacked for reading."""

    index: int
    primitive: Primitive
    operands: tuple[int, ...]
    statics: tuple[int, ...]
    shape: Shape
    dtype: str
    sub: Any = None  # of a composite row

    @property
    def name(self) -> str:
        return self.primitive.name

    @property
    def form(self) -> Form:
        """What kind of row it is."""
        return self.primitive.form if isinstance(self.primitive, ArrayPrimitive) else Form.FUNCTION

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def regions(self) -> list[tuple[int, ...]]:
        return pieces(self.statics)


@dataclass(frozen=True, eq=False)
class Table:
    """A program: columns, pools, and which rows are its results.

    `inputs` are the types of its inputs, `outputs` the rows of its results. `captured` are arrays outside the recorded
    function. They are the last inputs, and are read at every run. `subs` are the sub-programs of its composite rows
    (`fastad.tables.sub.Sub`).
    """

    columns: dict[str, np.ndarray]
    pools: dict[str, np.ndarray]
    types: tuple[ValueType, ...]
    lines: tuple[Line, ...]
    inputs: tuple[ValueType, ...]
    outputs: tuple[int, ...]
    captured: tuple[Any, ...] = ()
    subs: tuple[Any, ...] = ()
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        from fastad.tables.validate import validate

        for array in (*self.columns.values(), *self.pools.values()):
            array.setflags(write=False)
        validate(self)

    def __len__(self) -> int:
        return len(self.columns["op"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.hash == other.hash

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────
    def row(self, index: int) -> Row:
        """Row `index`, unpacked."""
        col = self._lists
        primitive = PRIMITIVES[col["op"][index]]
        shape, dtype = self.types[col["type"][index]]
        a, b, c = col["a"][index], col["b"][index], col["c"][index]
        operands: tuple[int, ...]
        statics: tuple[int, ...] = ()
        if not isinstance(primitive, ArrayPrimitive):
            operands = (a, b, c)[: len(primitive.domain)]  # type: ignore[attr-defined]
        else:
            if primitive.is_pooled:
                operands = tuple(self._pool_lists["operands"][a : a + b])
            else:
                operands = (a, b)[: primitive.arity]
            if c >= 0:
                pool = self._pool_lists["statics"]
                statics = tuple(pool[c + 1 : c + 1 + pool[c]])
        sub = self.subs[statics[0]] if self.columns["op"][index] == CALL else None
        return Row(index, primitive, operands, statics, shape, dtype, sub)

    def rows(self) -> Iterator[Row]:
        """All rows in order."""
        return (self.row(i) for i in range(len(self)))

    def constant(self, index: int) -> np.ndarray:
        """Value of a `const` row, as float64."""
        start, kind = int(self.columns["a"][index]), self.types[self.columns["type"][index]]
        return self.pools["constants"][start : start + kind.size].reshape(kind.shape)

    def type_of(self, index: int) -> ValueType:
        return self.types[self.columns["type"][index]]

    def line_of(self, index: int) -> Line:
        """The line of the user's source that a row comes from."""
        return self.lines[self.columns["line"][index]]

    @property
    def output_types(self) -> tuple[ValueType, ...]:
        return tuple(self.type_of(i) for i in self.outputs)

    @property
    def explicit_inputs(self) -> int:
        """Number of inputs that the caller passes. The captured arrays follow them."""
        return len(self.inputs) - len(self.captured)

    @cached_property
    def _lists(self) -> dict[str, list[int]]:
        return {name: column.tolist() for name, column in self.columns.items()}

    @cached_property
    def _pool_lists(self) -> dict[str, list[Any]]:
        return {name: self.pools[name].tolist() for name in ("operands", "statics")}

    # ── the value arena ──────────────────────────────────────────────────────────────────────────────────────
    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of elements of every row's value."""
        return np.array([t.size for t in self.types], np.int64)[self.columns["type"]]

    @cached_property
    def offsets(self) -> np.ndarray:
        """Slot of every row's value in an arena that holds all values (uint32, in doubles)."""
        sizes = self.sizes
        slots = np.where(sizes < _ALIGN, sizes, -(-sizes // _ALIGN) * _ALIGN)
        ends = np.cumsum(slots)
        if len(ends) and ends[-1] >= 2**32:
            raise TableError("the values of this table take more than 32 GiB; use scan, checkpoint or smaller arrays")
        return (ends - slots).astype(np.uint32)

    @property
    def arena_size(self) -> int:
        """Size of an arena that holds all values, in doubles."""
        if not len(self):
            return 0
        return int(self.offsets[-1]) + max(-(-int(self.sizes[-1]) // _ALIGN) * _ALIGN, 1)

    @cached_property
    def guards(self) -> tuple[int, ...]:
        """The guard rows, which stop a replay that takes another path."""
        rows = np.flatnonzero(np.isin(self.columns["op"], (GUARD, CALL))).tolist()
        return tuple(i for i in rows if self.columns["op"][i] == GUARD or self.row(i).sub.has_guards)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns and pools."""
        return sum(x.nbytes for x in (*self.columns.values(), *self.pools.values()))

    # ── identity ─────────────────────────────────────────────────────────────────────────────────────────────
    @cached_property
    def hash(self) -> str:
        """Digest of everything that determines what the table computes; source lines do not."""
        h = hashlib.sha256()
        for name in ("op", "type", "a", "b", "c"):
            h.update(self.columns[name].tobytes())
        for pool in self.pools.values():
            h.update(pool.tobytes() + b"|")
        names = [row.name for row in PRIMITIVES]
        used = np.flatnonzero(np.bincount(self.columns["op"])).tolist()  # np.unique imports numpy.ma
        subs = [sub.key for sub in self.subs]
        h.update(repr((self.types, self.inputs, self.outputs, subs, [(i, names[i]) for i in used])).encode())
        return h.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"_cache": {}}

    # ── what users call ──────────────────────────────────────────────────────────────────────────────────────
    def __str__(self) -> str:
        from fastad.tables.listing import listing

        return listing(self)

    def __repr__(self) -> str:
        return f"<op table: {len(self)} rows, {len(self.inputs)} inputs, {len(self.outputs)} outputs>"

    def _repr_svg_(self) -> str:
        from fastad.tables.drawing import to_svg

        return to_svg(self)

    def to_dot(self, values: Sequence[Any] | None = None) -> str:
        """The graph in the language of Graphviz. With `values` (the inputs) it shows every value and adjoint."""
        from fastad.tables.drawing import to_dot

        return to_dot(self, values)

    def cost(self, wrt: Sequence[int] | None = None) -> Any:
        """Predicted operations and bytes of the table and of its derivatives with respect to the inputs `wrt` (default:
        all floating-point arguments); see `fastad.tables.cost.Cost`."""
        from fastad.tables.cost import cost

        return cost(self, wrt)

    def save(self, path: Any) -> None:
        """Write the table to an `.npz` file (plain arrays, no pickles). Captured arrays are saved by value."""
        from fastad.tables.store import save

        save(self, path)

    @staticmethod
    def load(path: Any) -> "Table":
        """Read a table from a file written by `save`. Raises `TableError` if the file is not a valid table."""
        from fastad.tables.store import load

        return load(path)
