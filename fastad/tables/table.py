"""The op table: a program as a frozen struct of arrays; the only representation of a program in fastad.

One row computes one value from the values of earlier rows. Scalar rows cost 18 bytes (see `columns`).
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fastad.once import lazy
from fastad.primitives import PRIMITIVES, ArrayPrimitive, Form, Primitive
from fastad.primitives.regions import pieces, whole
from fastad.tables.columns import CALL, GUARD, Line, Shape, ValueType
from fastad.tables.validate import validate


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

    def written_over(self, sizes: Sequence[int]) -> int | None:
        """The operand of an assembly that its other pieces are written over, if it is an array in its own order, and
        not one of the pieces as well; so of a row that writes at computed places. `sizes` are those of the table's
        rows."""
        if self.form is Form.WRITE:
            x, *others = self.operands
            return x if x not in others else None
        if self.form is not Form.PIECES or len(self.operands) < 2 or sizes[self.operands[0]] != self.size:
            return None
        first, *others = self.operands
        return first if self.statics[:4] == (1, *whole(self.size)) and first not in others else None


@dataclass(frozen=True, eq=False)
class Table:
    """A program: columns, pools, and which rows are its results.

    `inputs` are the types of its inputs, `outputs` the rows of its results. `captured` are arrays outside the recorded
    function. They are the last inputs, and are read at every run. `subs` are the sub-programs of its composite rows
    (`fastad.tables.composites.sub.Sub`).
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
        sub = self.subs[statics[0]] if col["op"][index] == CALL else None
        return Row(index, primitive, operands, statics, shape, dtype, sub)

    def rows(self) -> Iterator[Row]:
        """All rows in order."""
        return (self.row(i) for i in range(len(self)))

    @property
    def primitives(self) -> list[Primitive]:
        """The primitives that it has rows of."""
        return [PRIMITIVES[code] for code in np.flatnonzero(np.bincount(self.columns["op"])).tolist()]

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

    @lazy
    def _lists(self) -> dict[str, list[int]]:
        return {name: column.tolist() for name, column in self.columns.items()}

    @lazy
    def _pool_lists(self) -> dict[str, list[Any]]:
        return {name: self.pools[name].tolist() for name in ("operands", "statics")}

    def free_lists(self) -> None:
        """Free the columns as Python lists, which take eight times as much as they do themselves; whoever looks at rows
        again has them made anew."""
        for name in ("_lists", "_pool_lists"):
            vars(self).pop(name, None)

    @lazy
    def sizes(self) -> np.ndarray:
        """Number of elements of every row's value."""
        return np.array([t.size for t in self.types], np.int64)[self.columns["type"]]

    @lazy
    def guards(self) -> tuple[int, ...]:
        """The guard rows, which stop a replay that takes another path."""
        ops = self.columns["op"]
        rows = np.flatnonzero((ops == GUARD) | (ops == CALL)).tolist()
        return tuple(i for i in rows if self.columns["op"][i] == GUARD or self.row(i).sub.has_guards)

    @lazy
    def number_guards(self) -> frozenset[int]:
        """Rows of guards for what a number is, such as an index, not for a condition."""
        rows = [i for i in self.guards if self.columns["op"][i] == GUARD]
        return frozenset(i for i in rows if self.type_of(self.row(i).operands[0]).dtype != "b")

    @property
    def nbytes(self) -> int:
        """Bytes of the columns and pools."""
        return sum(x.nbytes for x in (*self.columns.values(), *self.pools.values()))

    def reduced(
        self, columns: dict[str, np.ndarray], pools: dict[str, np.ndarray], outputs: tuple[int, ...]
    ) -> "Table":
        """The table of some of its rows, renumbered: they are not checked again."""
        found = object.__new__(Table)
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        vars(found).update(own | {"columns": columns, "pools": pools, "outputs": outputs, "_cache": {}})
        for array in (*columns.values(), *pools.values()):
            array.setflags(write=False)
        return found

    def bound(self, captured: Sequence[Any]) -> "Table":
        """The table with other arrays of the same types in the places of those that it captured."""
        found = copy(self)
        vars(found)["captured"] = tuple(captured)
        return found

    # ── identity ─────────────────────────────────────────────────────────────────────────────────────────────
    @lazy
    def hash(self) -> str:
        """Digest of everything that determines what the table computes; source lines do not."""
        h = hashlib.sha256()
        for name in ("op", "type", "a", "b", "c"):
            h.update(np.ascontiguousarray(self.columns[name]).data)
        for pool in self.pools.values():
            h.update(np.ascontiguousarray(pool).data)
            h.update(b"|")
        used = np.flatnonzero(np.bincount(self.columns["op"])).tolist()  # np.unique imports numpy.ma
        rows = [(i, PRIMITIVES[i].name, getattr(PRIMITIVES[i], "value", "")) for i in used]
        subs = [sub.key for sub in self.subs]
        h.update(repr((self.types, self.inputs, self.outputs, subs, rows)).encode())
        return h.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"_cache": {}}

    def __repr__(self) -> str:
        return f"<op table: {len(self)} rows, {len(self.inputs)} inputs, {len(self.outputs)} outputs>"
