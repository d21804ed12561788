"""Requests: what is to be run. All executors take the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastad.once import lazy
from fastad.tables.columns import ValueType
from fastad.tables.inline import compact
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.passes.kinks import with_limits
from fastad.tables.table import Table

DERIVED = 3  # rows of a derivative, about, for each row of its value


@dataclass(frozen=True)
class Request:
    """A table (mode "value"), or its tangents or adjoints with respect to the inputs `wrt`.

    `table` is the table of just that, derived when it is first needed: the sweeps compute it from `base`. `chosen`
    are the results of the derivative that are wanted, in order (None: all of them).
    """

    base: Table
    mode: str = "value"
    wrt: tuple[int, ...] = ()
    seeds: tuple[float, ...] | None = None
    chosen: tuple[int, ...] | None = None

    @lazy
    def table(self) -> Table:
        """The derived table."""
        if self.mode == "value":
            return self.base
        if self.mode == "tangent":
            table = tangent_table(self.base, self.wrt)
        else:
            table = adjoint_table(self.base, self.wrt, seeds=self.seeds)
        if self.chosen is None:
            return table
        return compact(replace(table, outputs=tuple(table.outputs[i] for i in self.chosen)))

    @lazy
    def inner(self) -> Table:
        """`table` as a part of another program, which may be derived: where this is a derivative, that is one more."""
        if self.mode == "value":
            return self.base
        base = with_limits(self.base)
        return self.table if base is self.base else replace(self, base=base).table

    def bound(self, captured: Sequence[Any]) -> "Request":
        """The request with other arrays in the places of those that were captured."""
        found = replace(self, base=self.base.bound(captured))
        if "table" in vars(self):
            vars(found)["table"] = self.table.bound(captured)
        return found

    @property
    def is_derived(self) -> bool:
        """Whether `table` is there already."""
        return self.mode == "value" or "table" in vars(self)

    @property
    def inputs(self) -> tuple[ValueType, ...]:
        """Types of the inputs, captured arrays included."""
        base, count = self.base, self.base.explicit_inputs
        given: tuple[ValueType, ...] = ()
        if self.mode == "tangent":
            given = tuple(base.inputs[i] for i in self.wrt)
        elif self.mode == "adjoint" and self.seeds is None:
            given = base.output_types
        return (*base.inputs[:count], *given, *base.inputs[count:])

    @property
    def all_results(self) -> tuple[ValueType, ...]:
        """Types of the results before choosing: those of the value, then the derivatives."""
        own = self.base.output_types
        if self.mode == "value":
            return own
        return (*own, *map(_real, own if self.mode == "tangent" else [self.base.inputs[i] for i in self.wrt]))

    @property
    def results(self) -> tuple[ValueType, ...]:
        """Types of the results."""
        every = self.all_results
        return every if self.chosen is None else tuple(every[i] for i in self.chosen)

    @property
    def rows(self) -> int:
        """Number of rows of the table; an estimate as long as it has not been derived."""
        return len(self.table) if self.is_derived else DERIVED * len(self.base)


def _real(kind: ValueType) -> ValueType:
    """Type of a derivative."""
    return kind if kind.dtype in "df" else ValueType(kind.shape, "d")
