"""Requests on a device, many lanes at once: how their values lie, what runs them, memory and what goes wrong.

`LaneProgram` stands where `fastad.execution.compiled.Compiled` stands on the processor.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastad.errors import DeviceMemoryError, FastadError, ShapeError
from fastad.execution.compiled import Compiled
from fastad.execution.cuda.arrays import DeviceArray
from fastad.execution.cuda.device import Device, array, current, current_stream, empty
from fastad.execution.cuda.executors import Choice, Runner
from fastad.execution.cuda.interpreter.program import Strided
from fastad.execution.cuda.values import OnDevice
from fastad.execution.executors import AUTO, SWEEP, policy
from fastad.execution.kernel import GuardFailed, raise_for
from fastad.execution.request import Request
from fastad.primitives import Elementwise
from fastad.recording.source import at_line
from fastad.tables.columns import DTYPES, INPUT, ValueType
from fastad.tables.table import Table

_PART = 0.9  # of the free memory that the arenas of a batch may take
_HALF, _FEW_BYTES = 0.5, 1 << 26  # of the free memory, that inputs and results may take; what is not looked at


@dataclass(frozen=True)
class Lanes:
    """How the values of the lanes lie: the axis of every input (captured arrays included) and of every result along
    which they stand (None: one value for all)."""

    count: int
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]


@dataclass
class LaneProgram:
    """A request that a device runs once for each of its lanes. Several threads may call it."""

    request: Request
    lanes: Lanes
    tier: str = AUTO
    part: tuple[int, int] | None = None  # the number of the first lane, and of all, where these are some of them
    is_settled: bool = False  # as far as short ways to call are concerned, which there are for the processor only
    interpreted_seconds: float = 0.0
    compile_seconds: float = 0.0
    _choices: dict[Any, Choice] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock, repr=False, compare=False)

    def __post_init__(self) -> None:
        policy(self.tier)  # raises for one that is not known
        _check_outputs(self.request.table if self.request.is_derived else self.request.base, self)

    @property
    def tier_in_use(self) -> str:
        """The name of the executor of the last call."""
        return next((choice.name for choice in reversed(list(self._choices.values()))), "none")

    @property
    def nbytes(self) -> int:
        """Bytes of the processor's memory that wait for the next call."""
        return 0

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Results for these inputs: NumPy arrays, or arrays on the device if any of the inputs is there."""
        stays = any(isinstance(x, OnDevice) for x in values)
        if not stays and (size := self._fitting()) < self.lanes.count:
            return self._in_parts(values, size)
        if not stays and any(self._inner_axes):
            return self._turned(values)
        return self._at_once(values, stays)

    def _at_once(self, values: Sequence[Any], stays: bool) -> list[Any]:
        """The call for all lanes; the results stay on the device."""
        device, stream = current(), current_stream()
        given = [self._placed(device, x, k, stream) for k, x in enumerate(values)]
        found = self.run(device, given, stream)
        return found if stays else [_on_host(x, stream) for x in found]

    @property
    def _inner_axes(self) -> list[bool]:
        """Whether the lanes of a result stand neither along its first axis nor along its last."""
        kinds = zip(self.request.results, self.lanes.outputs, strict=True)
        return [axis is not None and 0 < axis % (len(kind.shape) + 1) < len(kind.shape) for kind, axis in kinds]

    def _turned(self, values: Sequence[Any]) -> list[Any]:
        """The call with such axes in front on the device."""
        axes, inner = self.lanes.outputs, self._inner_axes
        outer = tuple(0 if is_inner else axis for axis, is_inner in zip(axes, inner, strict=True))
        found = replace(self, lanes=replace(self.lanes, outputs=outer))._at_once(values, stays=False)
        turned = zip(found, axes, inner, strict=True)
        return [np.moveaxis(x, 0, axis) if is_inner else x for x, axis, is_inner in turned]

    # ── more than the device has room for ────────────────────────────────────────────────────────────────────
    def _fitting(self) -> int:
        """Lanes whose inputs and results the device has room for at once, with as much again to work in."""
        wide, shared = (self._bytes(is_wide) for is_wide in (True, False))
        if (count := self.lanes.count) * wide + shared <= _FEW_BYTES:
            return count
        if count * wide > (room := _HALF * current().memory()[0] - shared):
            self._release()
            room = _HALF * current().memory()[0] - shared
        return count if count * wide <= room or room < wide else int(room) // wide

    def _release(self) -> None:
        """Give memory back that is kept for the next call."""
        for choice in list(self._choices.values()):
            choice.release()

    def _bytes(self, is_wide: bool) -> int:
        """Bytes that each lane has of its own among inputs and results, or those that all share."""
        kinds, axes = (*self.request.inputs, *self.request.results), (*self.lanes.inputs, *self.lanes.outputs)
        own = [kind for kind, axis in zip(kinds, axes, strict=True) if (axis is not None) == is_wide]
        return sum(kind.size * DTYPES[kind.dtype].itemsize for kind in own)

    def _in_parts(self, values: Sequence[Any], size: int) -> list[Any]:
        """The call in parts of so many lanes, one after another."""
        lanes, count = self.lanes, self.lanes.count
        kinds = [DTYPES[kind.dtype] for kind in self.request.results]
        out = [np.empty(shape, kind) for shape, kind in zip(self._shapes, kinds, strict=True)]
        for first in range(0, count, size):
            own = slice(first, min(first + size, count))
            part = replace(self, lanes=replace(lanes, count=own.stop - first), part=(first, count))
            cut = [_cut(x, axis, own) for x, axis in zip(values, lanes.inputs, strict=True)]
            found = part._turned(cut) if any(self._inner_axes) else part._at_once(cut, stays=False)
            self._release()
            for whole, axis, y in zip(out, lanes.outputs, found, strict=True):
                _cut(whole, axis, own)[...] = y
        return [x if x.ndim else x[()] for x in out]

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        """Of the results of all lanes."""
        kinds = zip(self.request.results, self.lanes.outputs, strict=True)
        return [kind.shape if axis is None else _with_axis(kind.shape, axis, self.lanes.count) for kind, axis in kinds]

    # ── inputs and results ───────────────────────────────────────────────────────────────────────────────────
    def _placed(self, device: Device, x: Any, number: int, stream: int) -> Strided:
        """An input on the device."""
        axis, kind = self.lanes.inputs[number], self.request.inputs[number]
        if isinstance(x, OnDevice):
            return strided(x.source, axis, kind)
        own = np.asarray(x, DTYPES[kind.dtype])
        if axis is not None:
            own = np.moveaxis(own, axis, 0)
        return strided(array(device, np.ascontiguousarray(own), stream), None if axis is None else 0, kind)

    def results(self, device: Device, stream: int) -> list[Strided]:
        """Memory for the results."""
        kinds = zip(self._shapes, self.request.results, self.lanes.outputs, strict=True)
        return [strided(empty(device, shape, DTYPES[kind.dtype], stream), axis, kind) for shape, kind, axis in kinds]

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def run(
        self, device: Device, given: Sequence[Strided], stream: int, results: Sequence[Strided] | None = None
    ) -> list[DeviceArray]:
        """Results on the device, for inputs that are there."""
        results = self.results(device, stream) if results is None else results
        if self.lanes.count == 0:
            return [x.array for x in results]
        start = time.perf_counter()
        choice = self.choice(device, given, results)
        while True:
            runner = choice.runner()
            first = self._batches(device, runner, given, results, stream)
            if first is None:
                break
            self._go_on(choice, runner, given, first, stream)
        self.interpreted_seconds += time.perf_counter() - start
        self.compile_seconds = choice.compile_seconds
        return [x.array for x in results]

    def _go_on(
        self, choice: Choice, runner: Runner, given: Sequence[Strided], stopped: tuple[int, int], stream: int
    ) -> None:
        """Raise what has gone wrong in a lane; return where that was too few steps and there is a kernel for more now.

        A loop or a solve that has failed is run once more on the processor, which knows where and why it fails.
        """
        lane, code = stopped
        sub = runner.rows.row(-code - 1).sub if code < 0 else None
        if sub is not None:
            kinds = enumerate(self.request.inputs)
            values = [_of_lane(given[k], kind, lane, stream) for k, kind in kinds]
            try:
                with contextlib.suppress(GuardFailed):  # which rounding may lead to there
                    Compiled(self.request, SWEEP.name)(values)
            except FastadError as error:
                raise self._in_lane(error, lane) from None
        if sub is None or choice.steps is None:
            try:
                raise_for(code, runner.rows)
            except FastadError as error:
                raise self._in_lane(error, lane) from None
        steps = choice.steps
        if not choice.has_more():
            error = DeviceMemoryError(
                f"{sub.name} has more than {steps:,} steps{at_line()}, and a GPU's thread has no memory for the states "
                "of more: store fewer of them (checkpoint=fad.checkpoint.Online(…)), or loosen the tolerances"
            )
            raise self._in_lane(error, lane)

    def _in_lane(self, error: Exception, lane: int) -> Exception:
        """The error, which says in which lane it was."""
        first, count = self.part or (0, self.lanes.count)
        if count > 1:
            error.add_note(f"fastad: in lane {first + lane} of {count:,} on the device")
        return error

    def choice(self, device: Device, given: Sequence[Strided], results: Sequence[Strided]) -> Choice:
        """What runs the request for arrays of these dtypes."""
        kinds = tuple("".join(x.array.dtype.char for x in arrays) for arrays in (given, results))
        with self._lock:
            key = id(device), kinds, tuple(x.element == 1 for x in given)
            if key not in self._choices:
                self._choices[key] = Choice(device, self.request, kinds, real_of(self.request), self.tier)
            return self._choices[key]

    def _batches(
        self, device: Device, runner: Runner, given: Sequence[Strided], results: Sequence[Strided], stream: int
    ) -> tuple[int, int] | None:
        """Run all lanes, as many at once as there is memory for. The first lane that has stopped, and its code."""
        count = self.lanes.count
        size = batch_size(device, runner, count)
        with runner.space(size, stream) as space:
            for first in range(0, count, size):
                lanes = min(size, count - first)
                ins, outs = ([_from_lane(x, first) for x in arrays] for arrays in (given, results))
                runner.run(space, lanes, ins, outs, stream)
                if runner.may_stop:
                    status = DeviceArray(space.status.memory, (lanes,), np.int32, stream=stream).copy_to_host(stream)
                    if (stopped := np.flatnonzero(status)).size:
                        worst = stopped[np.argmin(np.sign(status[stopped]))]  # errors before failed guards
                        return first + int(worst), int(status[worst])
        return None


def batch_size(device: Device, runner: Runner, count: int) -> int:
    """Lanes that there is memory for. Raises DeviceMemoryError if that is not one."""
    free, _ = device.memory()
    free += runner.kept_bytes
    if count * runner.bytes_a_lane <= _PART * free:
        return count
    size = int(_PART * free) // runner.bytes_a_lane
    if size < 1:
        raise DeviceMemoryError(
            f"a lane of this program takes {runner.bytes_a_lane:,} bytes{at_line()}, and {free:,} are free on "
            f"{device.name}: store fewer states (checkpoint=), or make the arrays smaller"
        )
    return max(size // 32 * 32, 1)  # whole warps


def real_of(request: Request) -> str:
    """The numbers that a request is computed in: "f" if its inputs, its results and what stands between are float32 or
    truth values. Loops and solves compute in what they are given; their packed states have no dtype of their own."""
    table = request.base
    kinds = {kind.dtype for kind in (*table.inputs, *table.output_types)}
    kinds |= {row.dtype for row in table.rows() if isinstance(row.primitive, Elementwise)}
    return "f" if "f" in kinds and kinds <= {"f", "b"} else "d"


def strided(x: DeviceArray, axis: int | None, kind: ValueType) -> Strided:
    """A contiguous array whose lanes stand along an axis, the first or the last one."""
    if axis is None:
        return Strided(x, 0)
    axis %= x.ndim
    if axis == 0:
        return Strided(x, kind.size)
    if axis == x.ndim - 1:
        return Strided(x, 1, x.shape[axis])
    raise ShapeError(
        f"an array on the device of shape {x.shape} has its lanes along axis {axis}{at_line()}; have them along the "
        "first or the last axis"
    )


def _from_lane(x: Strided, first: int) -> Strided:
    """The same from a later lane on."""
    if first == 0 or x.lane == 0:
        return x
    start = first * x.lane
    memory = x.array
    rest = DeviceArray(
        memory.memory, (memory.size - start,), memory.dtype, memory.address + start * memory.dtype.itemsize,
        memory.stream,
    )  # fmt: skip
    return Strided(rest, x.lane, x.element)


def _cut(x: Any, axis: int | None, own: slice) -> np.ndarray:
    """A part of an array along its axis of lanes."""
    whole = np.asarray(x)
    return whole if axis is None else whole[(slice(None),) * (axis % whole.ndim) + (own,)]


def _with_axis(shape: tuple[int, ...], axis: int, count: int) -> tuple[int, ...]:
    axis %= len(shape) + 1
    return (*shape[:axis], count, *shape[axis:])


def _on_host(x: DeviceArray, stream: int) -> Any:
    """A result as the caller's own."""
    found = x.copy_to_host(stream)
    return found if found.ndim else found[()]


def _of_lane(x: Strided, kind: ValueType, lane: int, stream: int) -> np.ndarray:
    """An input of one lane in the processor's memory."""
    own, start = x.array, x.lane * lane
    if x.element == 1:
        place = own.address + start * own.dtype.itemsize
        found = DeviceArray(own.memory, (kind.size,), own.dtype, place, own.stream).copy_to_host(stream)
    else:
        found = own.copy_to_host(stream).reshape(-1)[start :: x.element][: kind.size]
    return found.reshape(kind.shape).astype(DTYPES[kind.dtype])


def _check_outputs(table: Table, program: LaneProgram) -> None:
    """Raise ShapeError where a result without an axis of lanes may differ between them."""
    lanes = program.lanes
    if None not in lanes.outputs or lanes.count == 1:
        return
    differs = np.zeros(len(table), np.bool_)
    for row in table.rows():
        if table.columns["op"][row.index] == INPUT:
            differs[row.index] = lanes.inputs[int(table.columns["a"][row.index])] is not None
        else:
            differs[row.index] = any(differs[x] for x in row.operands)
    for k, axis in enumerate(lanes.outputs):
        if axis is None and (k >= len(table.outputs) or differs[table.outputs[k]]):
            raise ShapeError("vmap: out_axes is None for a result that differs between lanes; give an axis for it")
