"""Array programs on a device: rows that work element by element over arrays of one size, and their sums.

Elements become lanes. A program is cut into stages: what comes before a sum, what comes after it, … Each stage is a
table of single numbers, which is run for every element by what runs lanes; a sum is made by lanes that add up 128
numbers each, again and again. Stages recompute what depends on single numbers alone.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastad.execution.cuda.arrays import DeviceArray
from fastad.execution.cuda.device import Device, array, empty
from fastad.execution.cuda.interpreter.program import Strided
from fastad.execution.cuda.lanes import LaneProgram, Lanes
from fastad.execution.request import Request
from fastad.primitives import STRIDED, ArrayPrimitive, Elementwise, Form, opcode
from fastad.tables.builder import Builder
from fastad.tables.columns import CONST, DTYPES, INPUT
from fastad.tables.table import Row, Table

LARGE = 1024  # elements from which they are lanes
_FOLD = 128  # numbers that a lane of a sum adds up
_SUM = opcode("sum")


@dataclass(frozen=True)
class Stage:
    """A table of single numbers that is run for each of `count` elements. `sources` are the rows of the program whose
    values are its inputs, `targets` those that its results are."""

    table: Table
    count: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The stages of a program in order; `sums` says which row a row sums up; `constants` are arrays of the program."""

    stages: tuple[Stage, ...]
    sums: dict[int, int]
    constants: tuple[int, ...]
    aliases: dict[int, int]  # rows that show a row's numbers again


# ── cutting a program into stages ─────────────────────────────────────────────────────────────────────────────
def plan_of(table: Table) -> Plan | None:
    """How the elements of a program become lanes; None for one that does not work element by element."""
    sizes = set(table.sizes.tolist()) - {1}
    if len(sizes) != 1 or min(sizes) < LARGE or table.subs:
        return None
    rows = list(table.rows())
    aliases = {row.index: row.operands[0] for row in rows if _is_alias(row, table)}
    if not all(_fits(row, aliases) for row in rows):
        return None
    return _Cut(table, rows, aliases, sizes.pop()).plan()


def _is_alias(row: Row, table: Table) -> bool:
    """Whether a row repeats one number, or has all elements of an array in their order."""
    if row.primitive.code != STRIDED.code:
        return False
    source, (region,) = row.operands[0], [row.statics]
    offset, shape, strides = region[0], region[1 : 1 + len(region) // 2], region[1 + len(region) // 2 :]
    if table.sizes[source] == 1:
        return True
    whole = np.arange(row.size).reshape(shape) if row.size == table.sizes[source] and offset == 0 else None
    steps = None if whole is None else [s // whole.itemsize for s in whole.strides]
    return steps is not None and all(a == b or n == 1 for a, b, n in zip(steps, strides, shape, strict=True))


def _fits(row: Row, aliases: dict[int, int]) -> bool:
    if row.index in aliases or isinstance(row.primitive, Elementwise):
        return True
    if isinstance(row.primitive, ArrayPrimitive) and row.primitive.form in (Form.INPUT, Form.CONSTANT):
        return True
    return row.primitive.code == _SUM and row.size == 1


class _Cut:
    """The levels of rows: how many sums come before each."""

    def __init__(self, table: Table, rows: Sequence[Row], aliases: dict[int, int], count: int) -> None:
        self.table, self.rows, self.aliases, self.count = table, rows, aliases, count
        self.sums = {row.index: self.base(row.operands[0]) for row in rows if row.primitive.code == _SUM}
        self.level = [0] * len(rows)
        self.is_wide = [bool(table.sizes[row.index] != 1) for row in rows]
        for row in rows:
            before = max((self.level[self.base(x)] for x in row.operands), default=0)
            self.level[row.index] = before + int(row.index in self.sums)

    def base(self, row: int) -> int:
        """The row whose numbers a row shows."""
        while row in self.aliases:
            row = self.aliases[row]
        return row

    def plan(self) -> Plan:
        stages = [stage for k in range(max(self.level) + 1) for stage in self._stages(k) if stage.targets]
        results = {self.base(x) for x in self.table.outputs}
        given = [row.index for row in self.rows if row.primitive.code == CONST]
        constants = [x for x in given if self.is_wide[x] or x in results]
        return Plan(tuple(stages), self.sums, tuple(constants), self.aliases)

    def _stages(self, level: int) -> list[Stage]:
        """What is computed for every element after so many sums; and at the end the single numbers that are results."""
        wide = [x for x in self._wanted(level) if self.is_wide[x] and self._is_computed(x)]
        found = [self._stage(wide, level, self.count)]
        if level == max(self.level):
            single = [self.base(x) for x in self.table.outputs if not self.is_wide[self.base(x)]]
            found.append(self._stage([x for x in dict.fromkeys(single) if self._is_computed(x)], level, 1))
        return found

    def _is_computed(self, row: int) -> bool:
        return isinstance(self.rows[row].primitive, Elementwise)

    def _wanted(self, level: int) -> list[int]:
        """Rows of a level that are results, are summed up, or are read after a later sum."""
        found = dict.fromkeys(map(self.base, [*self.table.outputs, *self.sums.values()]))
        for row in self.rows:
            own = self.level[row.index]
            found |= dict.fromkeys(y for x in row.operands if self.level[y := self.base(x)] < own)
        return [x for x in found if self.level[x] == level]

    def _stage(self, targets: Sequence[int], level: int, count: int) -> Stage:
        b, refs, sources = Builder(), dict[int, int](), list[int]()
        needed = self._needed(targets, level)
        for x in sorted(needed):
            row = self.rows[x]
            if needed[x]:
                refs[x] = b.emit(row.name, [refs[self.base(y)] for y in row.operands])
            elif row.primitive.code == CONST and not self.is_wide[x]:
                first = int(self.table.columns["a"][x])
                refs[x] = b.const(DTYPES[row.dtype].type(self.table.pools["constants"][first]), row.dtype)
            else:
                refs[x] = b.input((), row.dtype)
                sources.append(x)
        return Stage(b.table([refs[x] for x in targets]), count, tuple(sources), tuple(targets))

    def _needed(self, targets: Sequence[int], level: int) -> dict[int, bool]:
        """The rows that the targets need, and whether they are computed in this stage."""
        found, todo = dict[int, bool](), list(targets)
        while todo:
            x = todo.pop()
            if x in found:
                continue
            found[x] = self._is_computed(x) and (not self.is_wide[x] or self.level[x] == level)
            if found[x]:
                todo += [self.base(y) for y in self.rows[x].operands]
        return found


# ── running the stages ────────────────────────────────────────────────────────────────────────────────────────
class ElementProgram(LaneProgram):
    """A program whose elements are lanes."""

    def prepare(self, plan: Plan) -> "ElementProgram":
        self.plan = plan
        axes = [tuple(None if n == 1 else 0 for n in self._sizes(s.table.inputs, s.sources)) for s in plan.stages]
        self._programs = [
            LaneProgram(Request(s.table), Lanes(s.count, a, (0,) * len(s.targets)), self.tier)
            for s, a in zip(plan.stages, axes, strict=True)
        ]
        self._folds: dict[str, LaneProgram] = {}
        return self

    def _sizes(self, kinds: Sequence[object], rows: Sequence[int]) -> list[int]:
        return [int(self.request.table.sizes[row]) for row in rows]

    @property
    def tier_in_use(self) -> str:
        return self._programs[-1].tier_in_use if self._programs else "none"

    def run(
        self, device: Device, given: Sequence[Strided], stream: int, results: Sequence[Strided] | None = None
    ) -> list[DeviceArray]:
        table, plan = self.request.table, self.plan
        results = self.results(device, stream) if results is None else results
        values = self._inputs(device, given, stream)
        places = zip(map(self._base, table.outputs), results, strict=True)
        own = {row: x.array for row, x in places if x.array.size == table.sizes[row]}
        for stage, program in zip(plan.stages, self._programs, strict=True):
            self._sum(device, stage.sources, values, stream)
            ins = [Strided(values[x], int(values[x].size != 1)) for x in stage.sources]
            for x in stage.targets:
                values[x] = own[x].reshape(-1) if x in own else self._room(device, x, stream)
            outs = [Strided(values[x], 1) for x in stage.targets]
            program.run(device, ins, stream, outs)
        self._sum(device, [self._base(row) for row in table.outputs], values, stream)
        return [self._finished(device, x, values[self._base(row)], row, stream)
                for row, x in zip(table.outputs, results, strict=True)]  # fmt: skip

    def _base(self, row: int) -> int:
        while row in self.plan.aliases:
            row = self.plan.aliases[row]
        return row

    def _inputs(self, device: Device, given: Sequence[Strided], stream: int) -> dict[int, DeviceArray]:
        table = self.request.table
        rows = np.flatnonzero(table.columns["op"] == INPUT).tolist()
        found = {row: given[int(table.columns["a"][row])].array.reshape(-1) for row in rows}
        for row in self.plan.constants:
            first, kind = int(table.columns["a"][row]), table.types[table.columns["type"][row]]
            values = table.pools["constants"][first : first + table.sizes[row]].astype(DTYPES[kind.dtype])
            found[row] = array(device, values, stream)
        return found

    def _room(self, device: Device, row: int, stream: int) -> DeviceArray:
        """Memory for a row's values, with zeros behind them that fill up a sum."""
        table = self.request.table
        kind = table.types[table.columns["type"][row]]
        return _padded(device, int(table.sizes[row]), DTYPES[kind.dtype], stream)

    def _sum(self, device: Device, rows: Sequence[int], values: dict[int, DeviceArray], stream: int) -> None:
        """Have the sums among these rows."""
        for row in rows:
            if row in self.plan.sums and row not in values:
                values[row] = self._folded(device, values[self.plan.sums[row]], stream)

    def _folded(self, device: Device, x: DeviceArray, stream: int) -> DeviceArray:
        """The sum of an array: lanes add up numbers that lie as far apart as there are lanes."""
        while x.size > 1:
            lanes = -(-x.size // _FOLD)
            padded = x.whole if isinstance(x, _Padded) else _copied(device, x, stream)
            out = _padded(device, lanes, x.dtype, stream)
            kind = "f" if x.dtype == np.float32 else "d"
            program = self._folds.setdefault(
                f"{kind}{lanes}", LaneProgram(Request(_fold(kind)), Lanes(lanes, (0,), (0,)), self.tier)
            )
            program.run(device, [Strided(padded, 1, lanes)], stream, [Strided(out, 1)])
            x = out
        return x

    def _finished(self, device: Device, result: Strided, x: DeviceArray, row: int, stream: int) -> DeviceArray:
        """A result where the caller wants it: what is no row of its own stage is copied there."""
        if x.address != result.array.address:
            target = result.array.reshape(-1)
            if x.size == target.size:
                device.copy(target.address, x.address, x.nbytes, stream)
                for own in (target, x):
                    own.memory.used(stream)
            else:  # one number in all elements
                spread = LaneProgram(Request(_same(target.dtype.char)), Lanes(target.size, (None,), (0,)), self.tier)
                spread.run(device, [Strided(x, 0)], stream, [Strided(target, 1)])
        return result.array


class _Padded(DeviceArray):
    """An array with zeros behind it, up to a multiple of what a lane of a sum adds up. `whole` has these too."""

    whole: DeviceArray


def _padded(device: Device, size: int, dtype: np.dtype, stream: int) -> _Padded:
    whole = empty(device, (-(-size // _FOLD) * _FOLD,), dtype, stream)
    device.clear(whole.address + size * dtype.itemsize, (whole.size - size) * dtype.itemsize, stream)
    found = _Padded(whole.memory, (size,), dtype)
    found.whole = whole
    return found


def _copied(device: Device, x: DeviceArray, stream: int) -> DeviceArray:
    found = _padded(device, x.size, x.dtype, stream)
    device.copy(found.address, x.address, x.nbytes, stream)
    for own in (found, x):
        own.memory.used(stream)
    return found.whole


@functools.cache
def _fold(kind: str) -> Table:
    b = Builder()
    x = b.input((_FOLD,), kind)
    return b.table([b.emit("sum", (x,), (1, _FOLD, 1), (), kind)])


@functools.cache
def _same(kind: str) -> Table:
    b = Builder()
    return b.table([b.input((), kind)])
