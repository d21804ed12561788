"""Adjoints of solves that are programs of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastad.once import lazy
from fastad.tables.composites.sub import Sub


@dataclass(frozen=True, eq=False)
class Backward:
    """The sub-program of [argument of a solve | adjoints of its results | its results] to adjoints of the argument. It
    is made when it is first needed; `key` is equal for those that compute the same."""

    key: str
    make: Callable[[], Sub]

    @staticmethod
    def of(sub: Sub) -> "Backward":
        """That of a sub-program that is there already."""
        found = Backward(sub.key, lambda: sub)
        vars(found)["sub"] = sub
        return found

    @lazy
    def sub(self) -> Sub:
        return self.make()

    def fits(self, solve: Any) -> bool:
        """Whether the sub-program is for a solve of this size, if it was made."""
        made = vars(self).get("sub")
        ends = solve.n_in + 2 * solve.n_results, solve.n_in
        return made is None or (not made.n_saved and (made.n_in, made.n_out) == ends)

    def __reduce__(self) -> Any:
        return Backward.of, (self.sub,)
