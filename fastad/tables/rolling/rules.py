"""How the numbers that change from turn to turn follow from the turn's index, or from sums that the loop carries.

A recording is rolled piece by piece, and pieces of one loop have to find the same rules to be joined. A few numbers may
fit several, so those of the loops before are tried first; they are kept with the turn's table.
"""

from typing import NamedTuple

import numpy as np

from fastad.primitives.distinct import distinct
from fastad.tables.rolling.counted import Counted, Periodic, counted, from_start
from fastad.tables.rolling.joined import is_rolled
from fastad.tables.rolling.summed import Shifted, Sums
from fastad.tables.table import Table

_KEY = "rules of a rolled loop"
_NUMBERS = "numbers that rules may be made of"


class _Known(NamedTuple):
    counted: tuple[Counted, ...]
    steps: tuple[float, ...]
    shifts: tuple[float, ...]


class Rules:
    """The rules of a loop, by the rows that hold the numbers: `counted` from the index, `summed` from `sums`."""

    def __init__(self, table: Table) -> None:
        bodies = [sub.step.table for sub in table.subs if is_rolled(sub)]
        if _NUMBERS not in table._cache:  # which all loops of a table look through
            numbers = np.concatenate([own.pools["constants"] for own in (table, *bodies)])
            table._cache[_NUMBERS] = distinct(numbers[~np.isnan(numbers)])
        self._numbers = table._cache[_NUMBERS]
        self.sums = Sums(self._numbers)
        self._before: list[_Known] = [own._cache[_KEY] for own in bodies if _KEY in own._cache]
        self.counted: dict[bytes, Counted | Periodic] = {}
        self.summed: dict[bytes, Shifted] = {}

    def find(self, key: bytes, values: np.ndarray, dtype: str) -> bool:
        """Find the rule behind these numbers, of which there is one in each turn; False where there is none."""
        rule = self._again(values, dtype) or counted(values, dtype) or self.sums.rule(values, dtype)
        rule = rule or from_start(values, dtype, self._numbers)
        if isinstance(rule, Shifted):
            self.summed[key] = rule
        elif rule is not None:
            self.counted[key] = rule
        return rule is not None

    def _again(self, values: np.ndarray, dtype: str) -> Counted | Shifted | None:
        for before in self._before:
            found = (rule.again(values, dtype) for rule in before.counted)
            rule = next((own for own in found if own is not None), None)
            summed = rule or self.sums.again(values, dtype, before.steps, before.shifts)
            if summed is not None:
                return summed
        return None

    def keep_with(self, table: Table) -> None:
        """Keep the rules for the pieces that follow; `table` is that of a turn."""
        own = tuple(rule for rule in self.counted.values() if isinstance(rule, Counted))
        shifts = tuple(rule.shift for rule in self.summed.values())
        table._cache[_KEY] = _Known(own, tuple(own.step for own in self.sums.own), shifts)
