"""`SweepKernel`: a table, or its derivatives by a forward or a reverse sweep over the recorded values, run at once.

The sweeps are tables 3.3 and 3.6 of Griewank & Walther (2008), "Evaluating Derivatives": an arena holds all values, a
second one their adjoints (or one for each direction their tangents).
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from fastad.errors import CompileError
from fastad.execution.composites import drivers
from fastad.execution.composites.calling import Callee, MakePart, call_address
from fastad.execution.layout import BY_REFERENCE_FROM, Layout, Slot, make_layout
from fastad.execution.machine import cache, exported, symbols
from fastad.execution.sweeps.cases import specials, used_specials
from fastad.execution.sweeps.program import active_codes, activity, sweep_program
from fastad.execution.sweeps.source import MODES, is_linked, is_swept_row, origin, sweep_text
from fastad.kernels import fields as f
from fastad.primitives import PRIMITIVES
from fastad.schedules.tiered import Multistage
from fastad.tables.columns import CALL, CONST, INPUT, ValueType
from fastad.tables.passes.cost import scratch_size
from fastad.tables.table import Table

_RAMP, _ZEROS = np.arange(f.TILE, dtype=np.uint32), np.zeros(f.TILE, np.uint32)
_SWEEPS = {"value": "values", "tangent": "tangents", "adjoint": "adjoints"}


@functools.cache
def _sweep(mode: str) -> int:
    """Address of the sweep of a mode, compiled at first use or loaded from the disk cache."""
    return exported.address_from(f"sweep_{mode}", origin(mode), partial(sweep_text, mode))


def load(mode: str) -> None:
    """Have the sweeps ready that a kernel of a mode runs."""
    for name in dict.fromkeys(("values", _SWEEPS[mode])):
        _sweep(name)
    cache.note("sweeps", mode)


def _compile(modes: Sequence[str]) -> None:
    """Have these sweeps ready, optimised."""
    exported.compile_missing({f"sweep_{mode}": sweep_text(mode) for mode in modes})
    for mode, name in _SWEEPS.items():
        if name in modes:
            load(mode)


def warmup(
    progress: Callable[[str, float], object] | None = None, modes: Sequence[str] = MODES,
    *, kernels: bool = False,
) -> None:  # fmt: skip
    """Compile the sweeps, or load them; with `kernels`, also what native code calls, drivers and planners.

    `progress` is called with what comes next and the fraction that is done.
    """
    jobs: list[tuple[str, Callable[[], object]]] = [(f"sweeps of {', '.join(modes)}", partial(_compile, modes))]
    if kernels:
        jobs += [(f"kernel of {name}", partial(_compile_entry, name)) for name in exported.entry_names()]
        jobs += [(f"driver {name}", partial(drivers.load_drivers, [name])) for name in drivers.driver_names()]
        jobs.append(("derivatives of long tables", exported.activity_address))
        jobs.append(("planners of checkpoints", lambda: Multistage(1, 1).predicted_cost(4)))
    for k, (what, job) in enumerate(jobs):
        if progress:
            progress(what, k / len(jobs))
        job()
    if progress:
        progress("sweeps", 1.0)


def every_text() -> Iterator[str]:
    """The texts of all that is compiled for a machine rather than for a program, but for planners."""
    yield from map(sweep_text, MODES)
    yield from map(exported.entry_text, exported.entry_names())
    yield from map(drivers.driver_text, drivers.driver_names())
    yield exported.ACTIVITY


def _compile_entry(name: str) -> None:
    exported.compile_missing({f"entry_{name}": exported.entry_text(name)})


class SweepKernel:
    """A table, or its derivatives, run by the sweeps; a `fastad.execution.kernel.Kernel`.

    Inputs and results are those of `table` (mode "value"), of `tangent_table(table, wrt)` ("tangent") or of
    `adjoint_table(table, wrt, seeds=seeds)` ("adjoint"). With `directions`, the tangents of inputs and of results
    have a leading axis of that length. `chosen` are the results that the caller gets (None: all). `part` makes the
    kernels of sub-programs, of which `threads` threads may share the work. Several threads may run a kernel, each with
    a work vector of its own.
    """

    def __init__(
        self, table: Table, mode: str = "value", wrt: Sequence[int] = (), seeds: Sequence[float] | None = None,
        *, directions: int | None = None, threshold: int | None = BY_REFERENCE_FROM,
        chosen: tuple[int, ...] | None = None, part: MakePart | None = None, threads: int = 1,
    ) -> None:  # fmt: skip
        if mode not in _SWEEPS:
            raise ValueError(f"mode is one of {', '.join(_SWEEPS)}, not {mode!r}")
        if mode != "value" and not is_swept(table):  # they would pass over rows that they do not know
            raise ValueError("the derivative sweeps do not know all rows of this table: run the derived table")
        self.rows, self.mode, self.wrt, self.chosen = table, mode, tuple(wrt), chosen
        self._part, self._threads = part or _part, threads
        self.seeds = None if seeds is None else np.array(seeds, np.float64)
        self.directions = directions
        self.layout = self._layout(threshold)
        self._masks = None if mode == "value" else activity(table, wrt)
        self._shared = sweep_program(table, self._masks, is_reverse=mode == "adjoint")
        copies = {"value": 0, "adjoint": 1, "tangent": 1 if directions is None else directions}
        arena = self._shared.arena
        self._work = arena.size(copies[mode]), scratch_size(table, tangents=mode == "tangent")
        self.work_size = sum(self._work)
        self.callees: Sequence[Callee] = ()  # of the sub-programs that are called
        self._arrays: list[np.ndarray] = []  # what the program's addresses refer to
        self._program = self._make_program()
        self.context = self._program.ctypes.data
        self.address = _sweep(_SWEEPS[mode])
        exported.load_symbols(PRIMITIVES[code] for code in np.flatnonzero(np.bincount(table.columns["op"])).tolist())

    # ── inputs and results ───────────────────────────────────────────────────────────────────────────────────
    def _layout(self, threshold: int | None) -> Layout:
        table, before = self.rows, self.rows.explicit_inputs
        inputs, outputs = table.inputs, table.output_types
        own = tuple(table.inputs[i] for i in self.wrt)
        given: tuple[ValueType, ...] = ()
        if self.mode == "tangent":
            given, derived = self._led(own), self._led(outputs)
        elif self.mode == "adjoint":
            given, derived = () if self.seeds is not None else outputs, own
        else:
            derived = ()
        self._given = range(before, before + len(given))
        return make_layout((*inputs[:before], *given, *inputs[before:]), (*outputs, *derived), threshold)

    def _led(self, kinds: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Types with a leading axis of directions."""
        if self.directions is None:
            return tuple(kinds)
        return tuple(ValueType((self.directions, *kind.shape), kind.dtype) for kind in kinds)

    # ── the program ──────────────────────────────────────────────────────────────────────────────────────────
    def _make_program(self) -> np.ndarray:
        table, shared, masks = self.rows, self._shared, self._masks
        steps, arena = shared.steps, shared.arena
        p = np.zeros(f.FIELDS, np.int64)
        if masks is not None:
            steps = steps.copy()
            added = masks if arena.handed is None else masks & ~arena.handed
            steps[:, f.CHOICE] = added[shared.step_rows]
            p[f.ACTIVE_CODES] = self._keep(active_codes(table, added))
            p[f.VALUES] = _sweep("values")
            self._derivative_moves(p, masks)
        steps, statics = self._with_callees(steps)
        p[f.STEPS], p[f.STEP_COUNT], p[f.CODES] = self._keep(steps), len(steps), self._keep(table.columns["op"])
        p[[f.A, f.B, f.C, f.D]] = [self._keep(column) for column in (*shared.columns, shared.derived)]
        p[f.CONSTANTS], p[f.STATICS] = self._keep(table.pools["constants"]), self._keep(statics)
        p[f.POOL], p[f.SPECIALS] = self._keep(shared.pool), self._keep(_specials(table, self.mode != "value"))
        p[f.RAMP], p[f.ZEROS], p[f.ARENA] = self._keep(_RAMP), self._keep(_ZEROS), arena.kept_size
        p[f.DERIVED], p[f.READ_AGAIN] = arena.derived_size, self._keep(shared.again)
        p[f.DIRECTIONS] = 1 if self.directions is None else self.directions
        p[[f.WORK, f.WORK_SIZE]] = self._work
        p[f.ENTRIES] = self._keep(_entries(table))
        self._moves(p, f.LOADS, self._given_moves(are_referred=False))
        self._moves(p, f.REFERRED, self._given_moves(are_referred=True))
        stores = zip(table.outputs, self.layout.outputs, strict=False)
        self._moves(p, f.STORES, (_move(int(arena.values[row]), slot) for row, slot in stores))
        return p

    def _with_callees(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps and static integers, in which composite rows have the addresses of their callees."""
        statics = self.rows.pools["statics"]
        if not self.rows.subs:
            return steps, statics
        if self.mode != "value":
            raise CompileError("a derivative sweep over rows that are differentiated by derivation only")
        self.callees = [Callee(sub, self._part, self._threads) for sub in self.rows.subs]
        steps = steps.copy()
        calls = np.flatnonzero((steps[:, f.OP] == CALL) & (steps[:, f.KIND] == f.ARRAY))
        numbers = statics[steps[calls, f.C_SLOT] + 1]
        steps[calls, f.C_SLOT], steps[calls, f.STATIC_COUNT] = len(statics) + 3 * numbers, 2
        added = [(2, callee.address, call_address()) for callee in self.callees]
        return steps, np.concatenate([statics, np.array(added, np.int64).reshape(-1)])

    def _keep(self, array: np.ndarray) -> int:
        """The address of an array's data, which stays valid as long as the kernel."""
        self._arrays.append(array)
        return array.ctypes.data

    def _moves(self, p: np.ndarray, field: int, moves: Iterable[tuple[int, ...]]) -> None:
        array = np.array(list(moves), np.int64).reshape(-1, f.MOVE)
        p[field], p[field + 1] = self._keep(array), len(array)

    def _given_moves(self, are_referred: bool) -> Iterator[tuple[int, ...]]:
        """Inputs, and constants of several numbers; those that are read where they lie, or the others."""
        table = self.rows
        constants = table.pools["constants"].ctypes.data
        chosen = (table.columns["op"] == INPUT) | ((table.columns["op"] == CONST) & (table.sizes != 1))
        referred = np.zeros(len(table), np.bool_)
        referred[self._shared.arena.referred] = True
        for row in np.flatnonzero(chosen & (referred == are_referred)).tolist():
            number, place = int(table.columns["a"][row]), int(self._shared.arena.values[row])
            if table.columns["op"][row] == INPUT:
                yield _move(place, self._input_slot(number))
            else:
                yield place, constants + 8 * number, int(table.sizes[row]), f.ABSOLUTE

    def _input_slot(self, number: int) -> Slot:
        return self.layout.inputs[number + (len(self._given) if number >= self._given.start else 0)]

    def _derivative_moves(self, p: np.ndarray, masks: np.ndarray) -> None:
        table, outputs = self.rows, self.rows.outputs
        inputs = np.flatnonzero((table.columns["op"] == INPUT) & (masks != 0)).tolist()
        rows = {int(table.columns["a"][row]): row for row in inputs}
        own = [rows.get(number, -1) for number in self.wrt]
        seeded, wanted = (own, outputs) if self.mode == "tangent" else (outputs, own)
        slots = [self.layout.inputs[i] for i in self._given]
        wanted = [row if row >= 0 and masks[row] else -1 for row in wanted]
        results = list(zip(wanted, self.layout.outputs[len(outputs) :], strict=True))
        made_there = self._made_there(results)
        self._moves(p, f.MADE_THERE, made_there.values())
        self._moves(p, f.RESULTS, (self._lanes(row, slot) for row, slot in results if slot not in made_there))
        if self.seeds is None:
            pairs = zip(seeded, slots, strict=True)
            self._moves(p, f.SEEDS, (self._lanes(row, slot) for row, slot in pairs if row >= 0))
        else:
            self._moves(p, f.SEEDS, self._constant_seeds())

    def _made_there(self, results: Sequence[tuple[int, Slot]]) -> dict[Slot, tuple[int, ...]]:
        """The moves of addresses for results that are made where they are to be: of each adjoint the first."""
        arena = self._shared.arena
        first = {row: slot for row, slot in reversed(results) if row in arena.given_back}
        return {slot: _move(int(arena.derived[row]), slot) for row, slot in first.items()}

    def _constant_seeds(self) -> Iterator[tuple[int, ...]]:
        assert self.seeds is not None
        first = self._keep(self.seeds)
        for k, row in enumerate(self.rows.outputs):
            yield self._place(row), first + 8 * k, int(self.rows.sizes[row]), f.SPREAD

    def _lanes(self, row: int, slot: Slot) -> tuple[int, ...]:
        """Move of one direction's values, or of the only ones."""
        place, offset, size, how = _move(self._place(row), slot)
        return place, offset, size if self.directions is None else size // max(self.directions, 1), how

    def _place(self, row: int) -> int:
        """The place of a row's derivative, as moves name it."""
        if row < 0:
            return f.ZERO
        place = int(self._shared.arena.derived_slots[row])
        return place if place >= 0 else place + f.ZERO


def is_swept(table: Table) -> bool:
    """Whether the derivative sweeps know all rows of a table; others run the derived table."""
    return not table.subs and all(map(is_swept_row, np.flatnonzero(np.bincount(table.columns["op"])).tolist()))


def arena_size(table: Table, mode: str = "value", wrt: Sequence[int] = ()) -> int:
    """Doubles of the arenas for a table, or for its derivatives in one direction."""
    masks = None if mode == "value" else activity(table, wrt)
    arena = sweep_program(table, masks, is_reverse=mode == "adjoint").arena
    return arena.size(int(mode != "value"))


def _part(table: Table, threads: int, threshold: int | None = None) -> SweepKernel:
    """The kernel of a sub-program."""
    return SweepKernel(table, threshold=threshold, threads=threads)


def _move(place: int, slot: Slot) -> tuple[int, ...]:
    return place, slot.offset, slot.size, f.REFERENCE if slot.by_reference else f.INLINE


def _entries(table: Table) -> np.ndarray:
    """Addresses by opcode of the kernels that the sweeps do not contain, filled in for those that the table needs."""
    found = np.zeros(len(PRIMITIVES), np.int64)
    for op in np.flatnonzero(np.bincount(table.columns["op"])).tolist():
        if is_linked(op):
            found[op] = exported.entry_address(PRIMITIVES[op].name)
    return found


def _specials(table: Table, derivatives: bool) -> np.ndarray:
    """Addresses of the special functions, filled in for those that the table needs: finding them imports SciPy."""
    names = specials()
    found = np.zeros(len(names), np.int64)
    for op in np.flatnonzero(np.bincount(table.columns["op"], minlength=1)).tolist():
        for name in used_specials(op, derivatives):
            address = symbols.address(name)
            if address is None:
                raise CompileError(f"no library here provides {name}")
            found[names.index(name)] = address
    return found
