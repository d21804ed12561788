"""`LaneInterpreter`: a request that the interpreter runs on a device, once for every lane.

The sweeps' program (see `fastad.execution.sweeps.program`) lies in the device's memory once; each lane has an arena of
values, and one of tangents or adjoints.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import CompileError
from fastad.execution.cuda.arrays import DeviceArray
from fastad.execution.cuda.device import Device, array, empty
from fastad.execution.cuda.interpreter.building import interpreter, mover
from fastad.execution.cuda.interpreter.source import refusals
from fastad.execution.request import Request
from fastad.execution.sweeps.kernel import is_swept
from fastad.execution.sweeps.program import active_codes, activity, sweep_program
from fastad.kernels import fields as f
from fastad.recording.source import at_line
from fastad.tables.columns import CONST, INPUT
from fastad.tables.passes.cost import scratch_size
from fastad.tables.table import Table

_MODES = {"value": "values", "tangent": "tangents", "adjoint": "adjoints"}


@dataclass(frozen=True)
class Strided:
    """An input or result of all lanes in the caller's memory: element k of lane l is at `lane * l + element * k`.
    A lane stride of 0 is one value for all lanes."""

    array: DeviceArray
    lane: int
    element: int = 1


class Space:
    """The memory in which an interpreter runs up to `lanes` lanes."""

    def __init__(self, device: Device, program: "LaneInterpreter", lanes: int, stream: int) -> None:
        self.lanes = lanes
        self.values = empty(device, (program.value_size, lanes), program.real, stream)
        self.derived = empty(device, (max(program.derived_size, 1), lanes), program.real, stream)
        self.status = empty(device, (lanes,), np.int32, stream)


class LaneInterpreter:
    """A request as the interpreter runs it on a device. Inputs and results are those of the request before choosing.

    Raises CompileError for a program that needs what the interpreter has not: loops and other composite rows, linear
    algebra by LAPACK, functions that libdevice lacks.
    """

    name = "interpreter"

    def __init__(self, device: Device, request: Request, real: str = "d") -> None:
        base = request.base
        if is_swept(base):
            self.mode, self.rows, self.chosen = request.mode, base, request.chosen
        else:
            self.mode, self.rows, self.chosen = "value", request.table, None
        self.device, self.request, self.real = device, request, np.dtype(real)
        derived = self.mode != "value"
        self._masks = activity(base, request.wrt) if derived else None
        self._shared = sweep_program(self.rows, self._masks, is_referring=False)
        self._codes = active_codes(base, self._masks) if self._masks is not None else None
        _refuse(self.rows, self.mode, self._codes)
        arena = self._shared.arena
        self.work_size = scratch_size(self.rows, tangents=self.mode == "tangent")
        self._work, self.value_size = arena.value_size, arena.value_size + self.work_size
        self.derived_size = arena.derived_size if derived else 0
        self._upload()

    @property
    def bytes_a_lane(self) -> int:
        """Bytes of device memory that a lane takes."""
        return (self.value_size + max(self.derived_size, 1)) * self.real.itemsize + 4

    @property
    def may_stop(self) -> bool:
        """Whether a row may fail, so that the statuses of the lanes have to be looked at."""
        return any(getattr(row.primitive, "stops", False) for row in self.rows.rows())

    # ── the program ──────────────────────────────────────────────────────────────────────────────────────────
    def _upload(self) -> None:
        table, shared = self.rows, self._shared
        steps = np.array(shared.steps, np.int64).reshape(-1, f.STEP)
        if self._masks is not None:
            steps[:, f.CHOICE] = self._masks[shared.step_rows]
        arrays = bool((steps[:, f.KIND] == f.ARRAY).any())
        self._steps, self._statics = self._on_device(steps), self._on_device(table.pools["statics"])
        self._columns = [self._on_device(np.ascontiguousarray(c, np.uint32)) for c in shared.columns]
        self._pool = self._on_device(np.array(shared.pool, np.int64).reshape(-1, f.LISTED_OPERAND))
        self._constants = self._on_device(table.pools["constants"].astype(self.real))
        self._ops = self._on_device(table.columns["op"])
        self._filled = self._on_device(np.array(list(self._constant_arrays()), np.int64).reshape(-1, 3))
        self._forward = self.device.function(interpreter("values", arrays, self.real.char))
        if self._masks is None:
            return
        self._active = self._on_device(np.ascontiguousarray(self._codes, np.uint16))
        self._derived_column = self._on_device(np.ascontiguousarray(shared.derived, np.uint32))
        self._again = self._on_device(np.array(shared.again, np.int64))
        self._sweep = self.device.function(interpreter(_MODES[self.mode], arrays, self.real.char))
        seeds, seeded = self._constant_seeds()
        self._seeds, self._seeded = self._on_device(seeds), self._on_device(seeded)

    def _on_device(self, values: np.ndarray) -> DeviceArray:
        return array(self.device, values)

    def _constant_arrays(self) -> Iterator[tuple[int, int, int]]:
        table = self.rows
        for row in np.flatnonzero((table.columns["op"] == CONST) & (table.sizes != 1)).tolist():
            yield int(self._shared.arena.values[row]), int(table.columns["a"][row]), int(table.sizes[row])

    def _constant_seeds(self) -> tuple[np.ndarray, np.ndarray]:
        """The adjoints of results that the request fixes, and (slot, size) of each."""
        if self.mode != "adjoint" or self.request.seeds is None:
            return np.zeros(0, self.real), np.zeros((0, 2), np.int64)
        places = [(self._place(row), int(self.rows.sizes[row])) for row in self.rows.outputs]
        return np.array(self.request.seeds, self.real), np.array(places, np.int64).reshape(-1, 2)

    def _place(self, row: int) -> int:
        return int(self._shared.arena.derived[row])

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def space(self, lanes: int, stream: int = 0) -> Space:
        """Memory for so many lanes."""
        return Space(self.device, self, lanes, stream)

    def run(
        self, space: Space, lanes: int, inputs: Sequence[Strided], outputs: Sequence[Strided], stream: int = 0
    ) -> None:
        """Compute the results of so many lanes; `space.status` then has 0 or what went wrong in each."""
        values, derived, status = space.values, space.derived, space.status
        table = self.rows
        given = self._given(len(inputs))
        own = [x for k, x in enumerate(inputs) if k not in given]
        for row in np.flatnonzero(table.columns["op"] == INPUT).tolist():
            number = int(table.columns["a"][row])
            self._load(values, own[number], int(self._shared.arena.values[row]), table.sizes[row], lanes, stream)
        program = (self._constants, self._steps, self._ops, *self._columns, self._statics, self._pool, self._filled)
        last = (status, lanes, self._work, self.work_size)
        self.device.launch(self._forward, lanes, (values, *program, *last), stream)
        stores = list(self._stores(outputs))
        for _, slot, size, x in [s for s in stores if not s[0]]:  # the sweep of derivatives may write over them
            self._store(values, x, slot, size, lanes, stream)
        if self._masks is None:
            return
        self.device.clear(derived.address, derived.nbytes, stream)
        for row, k in zip(self._seed_rows(), given, strict=False):
            if row >= 0:
                self._load(derived, inputs[k], self._place(row), table.sizes[row], lanes, stream, adds=1)
        self._derive(space, lanes, stream)
        for _, slot, size, x in [s for s in stores if s[0]]:
            self._store(derived, x, slot, size, lanes, stream)

    def _given(self, count: int) -> range:
        """Numbers of the inputs that are tangents, or adjoints of results."""
        start = self.rows.explicit_inputs
        return range(start, start + count - len(self.rows.inputs))

    def _derive(self, space: Space, lanes: int, stream: int) -> None:
        arenas, head = (space.values, space.derived), (self._steps, self._active, *self._columns, self._derived_column)
        if self.mode == "adjoint":
            tail: tuple[Any, ...] = (self._again, self._seeded, space.status, lanes)
            arguments = (*arenas, self._seeds, *head, self._statics, self._pool, *tail)
        else:
            tail = (space.status, lanes, self._work, self.work_size)
            arguments = (*arenas, *head, self._statics, self._pool, *tail)
        self.device.launch(self._sweep, lanes, arguments, stream)

    def _own_rows(self) -> list[int]:
        """The input rows of `wrt`; -1 where there is none."""
        assert self._masks is not None
        inputs = np.flatnonzero((self.rows.columns["op"] == INPUT) & (self._masks != 0)).tolist()
        rows = {int(self.rows.columns["a"][row]): row for row in inputs}
        return [rows.get(number, -1) for number in self.request.wrt]

    def _seed_rows(self) -> Sequence[int]:
        return self._own_rows() if self.mode == "tangent" else self.rows.outputs

    def _stores(self, outputs: Sequence[Strided]) -> Iterator[tuple[bool, int, int, Strided]]:
        """(whether it is a derivative, slot, size, target) of every result that is wanted; a slot of -1 holds zeros."""
        table, arena = self.rows, self._shared.arena
        found = [(False, int(arena.values[row]), int(table.sizes[row])) for row in table.outputs]
        if self._masks is not None:
            is_forward = self.mode == "tangent"
            wanted = self.rows.outputs if is_forward else self._own_rows()
            kinds = table.output_types if is_forward else [table.inputs[i] for i in self.request.wrt]
            for row, kind in zip(wanted, kinds, strict=True):
                is_active = row >= 0 and self._masks[row]
                found.append((True, self._place(row) if is_active else -1, kind.size))
        chosen = range(len(found)) if self.chosen is None else self.chosen
        for k, target in zip(chosen, outputs, strict=True):
            yield (*found[k], target)

    def _load(
        self, arena: DeviceArray, x: Strided, slot: int, size: int, lanes: int, stream: int, adds: int = 0
    ) -> None:
        kernel = self.device.function(mover("load", x.array.dtype.char, self.real.char))
        arguments = (arena, x.array.reshape(-1), slot, lanes, x.lane, x.element, adds)
        self.device.launch(kernel, lanes * int(size), arguments, stream)

    def _store(self, arena: DeviceArray, x: Strided, slot: int, size: int, lanes: int, stream: int) -> None:
        kernel = self.device.function(mover("store", x.array.dtype.char, self.real.char))
        arguments = (arena, x.array.reshape(-1), slot, lanes, x.lane, x.element)
        self.device.launch(kernel, lanes * size, arguments, stream)


def _refuse(table: Table, mode: str, codes: np.ndarray | None) -> None:
    """Raise CompileError for a program that the interpreter cannot run."""
    if table.subs:
        what = ", ".join(sorted({sub.name for sub in table.subs}))
        raise CompileError(f"the interpreter of GPUs runs no {what}{at_line()}; compiled kernels do")
    ops = np.flatnonzero(np.bincount(table.columns["op"])).tolist()
    active = [] if codes is None else np.flatnonzero(np.bincount(codes)).tolist()
    refused = list(dict.fromkeys(refusals(_MODES[mode], ops, active)))
    if refused:
        raise CompileError(
            f'the interpreter of GPUs has no {", ".join(refused)}{at_line()}; compiled kernels may (tier="native")'
        )
