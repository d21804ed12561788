"""Sub-programs in files: plain ones are tables of the file, drivers describe themselves by kind, name and parts.

What derives from the parts is not saved: the adjoint of a loop is that of its body, whatever the order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.tables.composites.driver import Data, Driver
from fastad.tables.composites.kinds import kind_named
from fastad.tables.composites.sub import Sub
from fastad.tables.composites.sub_rules import Rules, rules_named
from fastad.tables.composites.validate_subs import check_subs
from fastad.tables.table import Table


def plain_parts(sub: Sub) -> Iterator[Sub]:
    """The sub-programs of their own tables that a file has to hold for this one."""
    if not isinstance(sub, Driver):
        yield sub
        return
    for part in sub.stored_parts:
        yield from plain_parts(part)


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────
class Describer:
    """Describes sub-programs as JSON; `numbers` are the places of their tables by key. Arrays of integers are collected
    in `arrays`."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.numbers = numbers
        self.rules: list[dict[str, Any]] = []
        self._rule_numbers: dict[str, int] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, sub: Sub) -> Any:
        """The description of a sub-program."""
        if isinstance(sub, Driver):
            return {"kind": sub.kind, "name": sub.name, **sub.to_data(self)}
        plain = [self.numbers[sub.key], sub.name]
        return plain if sub.rules is None else [*plain, self._rules(sub)]

    def _rules(self, sub: Sub) -> int:
        """Number of a sub-program's derivative rules."""
        number = self._rule_numbers.get(sub.key)
        if number is None:  # known before it is described: a rule may call its own sub-program
            number = self._rule_numbers[sub.key] = len(self.rules)
            self.rules.append({})
            self.rules[number] |= {"kind": sub.rules.kind, **sub.rules.to_data(self)}
        return number

    def array(self, array: np.ndarray) -> str:
        """Store an array of int64; returns its name."""
        name = f"integers.{len(self.arrays)}"
        self.arrays[name] = np.ascontiguousarray(array, np.int64).reshape(-1)
        return name


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────
class Restorer:
    """Makes sub-programs from their descriptions; `tables` are those read so far, `rules` describe derivative rules,
    `arrays(name)` reads an array of int64. Raises TableError for a description that is none."""

    def __init__(
        self, tables: Sequence[tuple[str, Table]], rules: Sequence[Any], arrays: Callable[[str], np.ndarray]
    ) -> None:
        self.tables, self.rules, self.array = tables, rules, arrays
        self._ruled: dict[tuple[Any, ...], Sub] = {}

    def __call__(self, value: Any) -> Sub:
        """The sub-program."""
        sub = self._made(value)
        check_subs([sub])
        return sub

    def _made(self, value: Any) -> Sub:
        if isinstance(value, list):
            return self._plain(value)
        if not isinstance(value, dict):
            raise TableError("its header has an invalid sub-program")
        data = Data(value)
        return kind_named(data.of("kind", str)).from_data(data.of("name", str), data, self)

    def _plain(self, value: list[Any]) -> Sub:
        """A vector function among the tables read so far, with derivative rules if it has some."""
        if [type(x) for x in value] not in ([int, str], [int, str, int]) or not 0 <= value[0] < len(self.tables):
            raise TableError("its header has an invalid sub-program")
        table = self.tables[value[0]][1]
        kinds = (*table.inputs, *table.output_types)
        if len(table.inputs) != 1 or len(kinds) != 2 or any(len(k.shape) != 1 or k.dtype != "d" for k in kinds):
            raise TableError("a sub-program that is not a function of one vector")
        if table.captured:
            raise TableError("a sub-program with captured arrays")
        found = self._ruled.get(tuple(value))
        if found is None:
            found = Sub(kinds[0].size, kinds[1].size, value[1], table, rules=self._rules(*value[2:]))
            if found.rules is not None:  # one sub-program, wherever it is called
                self._ruled[tuple(value)] = found
        return found

    def _rules(self, number: int | None = None) -> Rules | None:
        """Derivative rules of this number."""
        if number is None:
            return None
        if not 0 <= number < len(self.rules) or not isinstance(self.rules[number], dict):
            raise TableError("its header has invalid derivative rules")
        data = Data(self.rules[number])
        return rules_named(data.of("kind", str)).from_data(data, self)

    def check_rules(self) -> None:
        """Raise TableError where derivative rules do not fit their sub-programs. Called when all tables are read."""
        checked: set[Any] = set()
        while missing := [key for key in self._ruled if key not in checked]:  # rules may call others with rules
            for key in missing:
                checked.add(key)
                complaint = self._ruled[key].rules.check(self._ruled[key])
                if complaint:
                    raise TableError(f"{self._ruled[key].name}: {complaint}")
