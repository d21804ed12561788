"""Sub-programs in files: plain ones are tables of the file, those that drivers run are described by their parts.

What derives from the parts is not saved: the adjoint of a loop is that of its body, whatever the order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastad.errors import ScheduleError, TableError
from fastad.tables.composite import Branch, Driver, Lanes
from fastad.tables.loops import Loop, LoopAdjoint, Sizes
from fastad.tables.sub import Sub
from fastad.tables.table import Table
from fastad.tables.validate_subs import check_subs, wrong_parts

_PARTS = ("body", "condition", "inverse")
_FLAGS = ("backward", "kept", "progress")
_SIZES = ("state", "element", "result", "shared")


def plain_parts(sub: Sub) -> Iterator[Sub]:
    """The sub-programs of their own tables that a file has to hold for this one."""
    if not isinstance(sub, Driver):
        yield sub
        return
    own = sub.loop if isinstance(sub, LoopAdjoint) else sub  # the adjoint of its body follows from that
    for part in own.parts:
        yield from plain_parts(part)


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────
class Describer:
    """Describes sub-programs as JSON; `numbers` are the places of their tables by key. Lists of actions are collected
    in `arrays`."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.numbers = numbers
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, sub: Sub) -> Any:
        """The description of a sub-program."""
        if isinstance(sub, Branch):
            return {"name": sub.name, "branches": [self(part) for part in sub.branches]}
        if isinstance(sub, Lanes):
            return {"name": sub.name, "lanes": sub.size, "sub": self(*sub.parts)}
        if isinstance(sub, LoopAdjoint):
            return {"adjoint": self(sub.loop)}
        if isinstance(sub, Loop):
            return self._loop(sub)
        if isinstance(sub, Driver):
            raise TableError(f"{sub.name} is of a kind that cannot be saved")
        return [self.numbers[sub.key], sub.name]

    def _loop(self, loop: Loop) -> dict[str, Any]:
        sizes = [*(getattr(loop.sizes, name) for name in _SIZES), loop.sizes.counted]
        flags = [getattr(loop, name) for name in _FLAGS]
        parts = [part and self(part) for part in (loop.body, loop.condition, loop.inverse)]
        return {
            "name": loop.name, "length": loop.length, "sizes": sizes, "flags": flags, "parts": parts,
            "schedule": loop.schedule and self._schedule(loop),
        }  # fmt: skip

    def _schedule(self, loop: Loop) -> list[Any]:
        from fastad.schedules.stored import to_data

        try:
            described, actions = to_data(loop.schedule, loop.length)
        except ScheduleError as error:
            raise TableError(f"{loop.name}: {error}") from None
        if actions is None:
            return [described, None]
        name = f"actions.{len(self.arrays)}"
        self.arrays[name] = np.ascontiguousarray(actions, np.int64).reshape(-1)
        return [described, name]


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────
class Restorer:
    """Makes sub-programs from their descriptions; `tables` are those read before, `arrays(name)` reads a list of
    actions. Raises TableError for a description that is none."""

    def __init__(self, tables: Sequence[tuple[str, Table]], arrays: Any) -> None:
        self.tables, self.arrays = tables, arrays

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
        if "adjoint" in value:
            return LoopAdjoint.of(self._checked_loop(value["adjoint"]))
        name = _of(value, "name", str)
        if "branches" in value:
            branches = [self(part) for part in _of(value, "branches", list)]
            if not branches:
                raise TableError(f"{name}: a choice without branches")
            return Branch.of(branches, name)
        if "lanes" in value:
            sub, size = self(value.get("sub")), _of(value, "lanes", int)
            return Lanes(size * sub.n_in, size * sub.n_out, name, sub=sub, size=size)
        return self._loop(value)

    def _checked_loop(self, value: Any) -> Loop:
        loop = self(value)
        if not isinstance(loop, Loop):
            raise TableError("an adjoint of something else than a loop")
        return loop

    def _plain(self, value: list[Any]) -> Sub:
        """A vector function among the tables read before."""
        if [type(x) for x in value] != [int, str] or not 0 <= value[0] < len(self.tables):
            raise TableError("its header has an invalid sub-program")
        table = self.tables[value[0]][1]
        kinds = (*table.inputs, *table.output_types)
        if len(table.inputs) != 1 or len(kinds) != 2 or any(len(k.shape) != 1 or k.dtype != "d" for k in kinds):
            raise TableError("a sub-program that is not a function of one vector")
        if table.captured:
            raise TableError("a sub-program with captured arrays")
        return Sub(kinds[0].size, kinds[1].size, value[1], table)

    def _loop(self, value: dict[str, Any]) -> Loop:
        state, element, result, shared, counted = _list(value, "sizes", [int] * len(_SIZES) + [bool])
        flags = _list(value, "flags", [bool] * len(_FLAGS))
        length, parts = _of(value, "length", int), _of(value, "parts", list)
        if len(parts) != len(_PARTS):
            raise TableError("its header has an invalid loop")
        made = [None if part is None else self(part) for part in parts]
        options: dict[str, Any] = dict(zip(_PARTS + _FLAGS, (*made, *flags), strict=True))
        options["schedule"] = self._schedule(value.get("schedule"), length)
        name, own = _of(value, "name", str), Sizes(state, element, result, shared, counted)
        complaint = wrong_parts(Loop(0, 0, name, sizes=own, length=length, **options))
        if complaint:  # before sizes are computed from what is wrong
            raise TableError(f"{name}: {complaint}")
        return Loop.of(name, own, length, **options)

    def _schedule(self, value: Any, length: int) -> Any:
        from fastad.schedules.stored import from_data

        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2:
            raise TableError("its header has an invalid schedule")
        described, name = value
        return from_data(described, None if name is None else self.arrays(str(name)), length)


def _of(value: dict[str, Any], key: str, kind: type) -> Any:
    found = value.get(key)
    if type(found) is not kind:
        raise TableError(f"its header has a sub-program without a valid {key!r}")
    return found


def _list(value: dict[str, Any], key: str, kinds: list[type]) -> list[Any]:
    found = _of(value, key, list)
    if [type(x) for x in found] != kinds:
        raise TableError(f"its header has a sub-program without a valid {key!r}")
    return list(found)
