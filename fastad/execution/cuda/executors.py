"""What runs a request on a device: the interpreter or a compiled kernel, and which of them a `tier` stands for.

"auto": the compiled kernel once there is one; until then the interpreter, while the kernel is made in the background.
The interpreter itself takes longer to compile than most kernels, once a machine; where it has not been compiled yet,
or where there is no background, the kernel is made at once.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from fastad.errors import CompileError, FastadError
from fastad.execution.cuda.arrays import DeviceArray
from fastad.execution.cuda.device import Device, array, empty
from fastad.execution.cuda.instances import LEADING, are_in_memory
from fastad.execution.cuda.interpreter.program import LaneInterpreter, Space, Strided
from fastad.execution.executors import AUTO
from fastad.execution.machine import background, cache
from fastad.execution.request import Request
from fastad.recording.source import at_line
from fastad.tables.table import Table
from fastad.waiting import waiting

INTERPRETER, COMPILED = "sweep", "native"


class Status(Protocol):
    """Memory in which a runner works; `status` has a code for each lane."""

    @property
    def status(self) -> DeviceArray:
        """The codes."""


class Runner(Protocol):
    """A request ready to run on a device. A lane's code is 0, guard + 1 of `rows`, or -(row + 1) of a failing row."""

    name: str

    @property
    def rows(self) -> Table:
        """The table that codes belong to."""

    @property
    def may_stop(self) -> bool:
        """Whether codes have to be looked at."""

    @property
    def bytes_a_lane(self) -> int:
        """Bytes of the device's memory."""

    @property
    def kept_bytes(self) -> int:
        """Bytes that are kept from the last run."""

    def release(self) -> None:
        """Give these back."""

    def space(self, lanes: int, stream: int) -> Any:
        """A context that has memory for so many lanes, of type Status."""

    def run(self, space: Any, lanes: int, inputs: Sequence[Strided], outputs: Sequence[Strided], stream: int) -> None:
        """Run so many lanes."""


class Interpreted:
    """A request run by the interpreter."""

    name = INTERPRETER

    def __init__(self, device: Device, request: Request, real: str) -> None:
        self._program = LaneInterpreter(device, request, real)
        self.rows, self.may_stop = self._program.rows, self._program.may_stop
        self.bytes_a_lane = self._program.bytes_a_lane
        self._kept: list[tuple[int, Space]] = []  # by the stream that they were allocated on

    @property
    def kept_bytes(self) -> int:
        return sum(self.bytes_a_lane * space.lanes for _, space in self._kept)

    def release(self) -> None:
        self._kept = []

    @contextlib.contextmanager
    def space(self, lanes: int, stream: int) -> Iterator[Space]:
        kept, self._kept = self._kept, []
        found = next((space for s, space in kept if s == stream and space.lanes >= lanes), None)
        del kept  # memory that is too small goes before the new one is taken
        space = found or self._program.space(lanes, stream)
        yield space
        self._kept = [(stream, space)]

    def run(self, space: Space, lanes: int, inputs: Sequence[Strided], outputs: Sequence[Strided], stream: int) -> None:
        self._program.run(space, lanes, inputs, outputs, stream)


class _Codes:
    def __init__(self, status: DeviceArray) -> None:
        self.status = status


class Kernel:
    """A request run by a compiled kernel, for arrays of given dtypes.

    The threads of a warp wait for the one with the most steps. A kernel that counts the steps of its lanes runs them in
    the order of these counts, as those were in a run before: lanes of alike numbers then stand in one warp. Any order
    gives the same results.
    """

    name = COMPILED

    def __init__(
        self, device: Device, request: Request, kinds: tuple[str, str], real: str, steps: int | None = None
    ) -> None:
        self.made = device.compiled(request, _characters(kinds[0]), _characters(kinds[1]), real, steps)
        self._device, self.rows, self.steps = device, self.made.rows, self.made.steps
        self.may_stop = any(getattr(row.primitive, "stops", False) for row in self.rows.rows())
        # What a thread works in is reserved for threads, not for lanes.
        self.bytes_a_lane, self.kept_bytes = 4 + 8 * self.made.counts, 0
        self._places: tuple[list[int], DeviceArray] | None = None
        self._runs, self._order = 0, dict[int, DeviceArray | None]()  # by numbers of lanes

    def release(self) -> None:
        pass

    @contextlib.contextmanager
    def space(self, lanes: int, stream: int) -> Iterator[_Codes]:
        yield _Codes(empty(self._device, (lanes,), np.int32, stream))

    def run(
        self, space: _Codes, lanes: int, inputs: Sequence[Strided], outputs: Sequence[Strided], stream: int
    ) -> None:
        order, counts = self._order.get(lanes), None
        if self.made.counts:
            counts = empty(self._device, (lanes,), np.int32, stream)
            outputs = [*outputs, Strided(counts, 1)]
        words = [lanes, 0 if order is None else order.address, space.status.address]
        for slots, arrays in ((self.made.layout.inputs, inputs), (self.made.layout.outputs, outputs)):
            for slot, x in zip(slots, arrays, strict=True):
                if slot.by_reference and x.element != 1:
                    raise CompileError(
                        f"a large array on the device has its lanes along the last axis{at_line()}; compiled kernels "
                        "take it with the lanes along the first one"
                    )
                words += [x.array.address, x.lane, x.element]
        table = space.status
        if are_in_memory(len(words)):
            table = self._in_memory(words[LEADING:], stream)
            words[LEADING:] = [table.address]
        self._device.start(self.made.kernel, lanes, words, stream)
        for own in (space.status, table, *(x.array for x in (*inputs, *outputs))):
            own.memory.used(stream)
        if order is not None:
            order.memory.used(stream)
        if counts is not None:
            self._learn(counts, lanes, stream)

    def _in_memory(self, words: list[int], stream: int) -> DeviceArray:
        """Places of arrays on the device; prepared calls have the same ones every time."""
        if self._places is None or self._places[0] != words:
            self._places = words, array(self._device, np.array(words, np.int64), stream)
        return self._places[1]

    def _learn(self, counts: DeviceArray, lanes: int, stream: int) -> None:
        """Take the order of the lanes from the steps that they have made in the first run, the second, the fourth…"""
        self._runs += 1
        if self._runs & (self._runs - 1) == 0:
            order = order_of(counts.copy_to_host(stream))
            self._order = {lanes: None if order is None else array(self._device, order, stream)}


def order_of(steps: np.ndarray) -> np.ndarray | None:
    """The lanes in the order of their numbers of steps; None where that would save little, since other orders have
    advantages of their own: neighbours in memory are read together."""
    if steps.size <= _WARP or steps.min() == steps.max():
        return None
    order = np.argsort(steps.astype(np.uint16) if steps.max() < 1 << 16 else steps, kind="stable")
    if _rounds(steps) < _GAIN * _rounds(steps[order]):
        return None
    return order.astype(np.int32)


def _rounds(steps: np.ndarray) -> int:
    """The steps of all warps: each makes as many as its lane with the most."""
    return int(np.maximum.reduceat(steps, np.arange(0, steps.size, _WARP)).sum(dtype=np.int64))


_WARP, _GAIN = 32, 1.1


def _characters(kinds: str) -> str:
    """NumPy's characters, int64 under one name."""
    return kinds.replace("l", "q")


class Choice:
    """The runner of a request for arrays of given dtypes. `tier`: "sweep", "native", "auto"."""

    def __init__(self, device: Device, request: Request, kinds: tuple[Any, ...], real: str, tier: str) -> None:
        self._device, self._request, self._kinds, self._real, self._tier = device, request, kinds, real, tier
        self._runner: Runner | None = None
        self._job: background.Job[Kernel] | None = None
        self.compile_seconds = 0.0

    @property
    def name(self) -> str:
        """The name of the executor in use."""
        return "none" if self._runner is None else self._runner.name

    def runner(self) -> Runner:
        """What runs the request now."""
        if self._runner is None:
            start = time.perf_counter()
            with waiting(lambda: f"compiling for the GPU, {len(self._request.base):,} rows{at_line()}"):
                self._runner = self._begin()
            self.compile_seconds = time.perf_counter() - start
        elif self._job is not None and self._job.is_done:
            job, self._job = self._job, None
            with contextlib.suppress(FastadError):  # the interpreter goes on
                self._runner = job.result()
                cache.note(*self._key)
        return self._runner

    @property
    def steps(self) -> int | None:
        """The most steps that solves of unknown length may make in the code in use, where that is limited."""
        return self._runner.steps if isinstance(self._runner, Kernel) else None

    def release(self) -> None:
        """Give memory back that is kept from the last run."""
        if self._runner is not None:
            self._runner.release()

    def has_more(self) -> bool:
        """Whether there is code for more steps now than before."""
        made = self._runner
        with contextlib.suppress(CompileError):  # then a lane has no memory for more
            self._runner = Kernel(self._device, self._request, self._kinds, self._real, 4 * (self.steps or 1))
        return self._runner is not made

    def _begin(self) -> Runner:
        if self._tier == INTERPRETER:
            return self._interpreted()
        is_ready = cache.is_noted(*self._key) or not background.is_on()
        if self._tier != AUTO or is_ready or not self._is_interpreter_there():
            return self._compiled_or_interpreted()
        try:
            found = self._interpreted()
        except CompileError:
            return self._compiled_or_interpreted()
        self._job = background.submit(self._compiled)
        return found

    def _compiled_or_interpreted(self) -> Runner:
        try:
            found: Runner = self._compiled()
            cache.note(*self._key)
            return found
        except CompileError as error:
            if self._tier == COMPILED:
                raise
            try:
                return self._interpreted()
            except (CompileError, ImportError) as other:
                error.add_note(f"fastad: nor does the interpreter: {other}")
                raise error from None

    def _compiled(self) -> Kernel:
        return Kernel(self._device, self._request, self._kinds, self._real)

    def _interpreted(self) -> Interpreted:
        try:
            found = Interpreted(self._device, self._request, self._real)
        except ImportError as error:
            raise CompileError(
                f"the interpreter of GPUs needs numba-cuda ({error}); pip install 'fastad[cuda]'"
            ) from None
        cache.note(*self._interpreter_key)
        return found

    def _is_interpreter_there(self) -> bool:
        return cache.is_noted(*self._interpreter_key)

    @property
    def _interpreter_key(self) -> tuple[str, ...]:
        return "cuda interpreter", self._device.arch, self._real, self._request.mode

    @property
    def _key(self) -> tuple[str, ...]:
        """What tells that a compiled kernel has been made."""
        r = self._request
        what = repr((r.mode, r.wrt, r.seeds, r.chosen, self._kinds, self._real))
        return "cuda kernel", self._device.arch, r.base.hash, what
