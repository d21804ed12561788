"""A builder that goes on from another one's rows, which are appended in blocks or emitted anew."""

from typing import Any

import numpy as np

from fastad.primitives import PRIMITIVES, Elementwise
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import CALL

_LEAST = 4  # parts of the key of a row that is no constant


class Continued(Builder):
    """A builder, without rows, with the types, lines, static integers, constants and sub-programs of another, which is
    used up: they keep their numbers."""

    def __init__(self, other: Builder) -> None:
        super().__init__()
        for name in ("types", "type_list", "_sizes", "_read_types", "_result_types", "lines", "statics", "_static_sets",
                     "_places", "constants", "subs", "_sub_numbers"):  # fmt: skip
            setattr(self, name, getattr(other, name))

    def extend(self, columns: dict[str, np.ndarray], flags: np.ndarray) -> None:
        """Append rows as they are: their columns, and flags. Later rows may be equal to them; see `know`."""
        for name, column in self.columns.items():
            column.frombytes(np.ascontiguousarray(columns[name], column.typecode).tobytes())
        self._flags.extend(flags.tobytes())

    def know_constants(self, other: Builder, place: np.ndarray) -> None:
        """The constants of the other builder have been copied here, each to its place."""
        self._rows |= {key: int(place[ref]) for key, ref in other._rows.items() if len(key) < _LEAST}
        self._scalars |= {int(place[ref]): number for ref, number in other._scalars.items()}
        self._numbers |= {number: int(place[ref]) for number, ref in other._numbers.items()}

    def know(self, ref: Ref) -> None:
        """Have rows that are emitted later and are equal to this one be this one."""
        op, a, b, c = self.definition(ref)
        row: Any = PRIMITIVES[op]
        if isinstance(row, Elementwise):
            if row.commutes and row.arity == 2 and a > b:
                a, b = b, a
        elif op == CALL:
            sub = self.subs[self.statics_at(c)[0]]
            if sub.overwrites_saved or sub.result_is_overwritten:
                return
        elif row.is_pooled:
            self._rows.setdefault((row.name, tuple(self.operands[a : a + b]), c, self.type(ref)), ref)
            return
        elif not row.pure:
            return
        self._rows.setdefault((op, self.columns["type"][ref], a, b, c), ref)
