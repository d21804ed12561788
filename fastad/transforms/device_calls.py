"""Calls of functions on a device: arrays that lie there as arguments, and prepared calls whose buffers stay there."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from fastad.errors import RecordingError
from fastad.execution.cuda.arrays import DeviceArray, stream_number
from fastad.execution.cuda.device import array, current, on_stream
from fastad.execution.cuda.interpreter.program import Strided
from fastad.execution.cuda.lanes import LaneProgram, strided
from fastad.execution.cuda.values import OnDevice, on_host, stand_in
from fastad.execution.kernel import GuardFailed
from fastad.tables.columns import DTYPES
from fastad.transforms.call import Call, described, flatten, make_call, unflatten
from fastad.transforms.numbers import Renumbered
from fastad.transforms.paths import Path, Paths


def on_device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, with stand-ins for the arrays on a device."""
    leaves, tree = flatten((args, kwargs))
    found = [stand_in(x) for x in leaves]
    if all(x is y for x, y in zip(found, leaves, strict=True)):
        return args, kwargs
    return unflatten(tree, found)


def on_host_call(call: Call) -> Call:
    """The call with its arrays in the processor's memory."""
    return call.replaced([on_host(x) for x in call.inputs])


class PreparedOnDevice:
    """A call whose inputs and results stay on the device; made by `.prepare(*args)` of a function of `device="cuda"`.

    `inputs` are the arguments as arrays on the device, in the structure of the call: those that were given there
    themselves, copies of the others. Write to them by the library they are of, or by `.copy_from_host(values)`, and
    call `run(stream=...)`: it returns the same arrays on the device every time. Where no row of the program can fail
    the call only launches; else it waits and raises what has gone wrong.
    """

    def __init__(self, function: Paths, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args, kwargs = function.normalise(args, kwargs)
        self._function, self._device = function, current()
        self._call = make_call(args, kwargs)
        self._path = self._found(self._call)
        self._arrays: dict[int, DeviceArray] = {}
        given = iter([self._buffer(k, x) for k, x in enumerate(self._call.inputs)])
        full = [next(given) if d else x for x, d in zip(self._call.leaves, self._call.dynamic, strict=True)]
        self.inputs, self.keyword_inputs = unflatten(self._call.tree, full)
        self._bind()

    def __repr__(self) -> str:
        inputs = described(self._call.leaves)
        return f"<fastad prepared call of {self._function!r} on {self._device.name}, inputs {inputs}>"

    def _buffer(self, number: int, x: Any) -> DeviceArray:
        own = x.source if isinstance(x, OnDevice) else array(self._device, np.ascontiguousarray(x))
        found = DeviceArray(own.memory, np.shape(x), own.dtype, own.address)
        self._arrays[number] = found
        return found

    def _found(self, call: Call) -> Path:
        while True:
            try:
                return self._function.path_for(call)
            except Renumbered:  # happens once for every number at most
                continue

    def _bind(self) -> None:
        """Places of the inputs and results of the path."""
        path = self._path
        program = self._program
        sources = path.recording.program.sources
        values = [*(self._arrays.get(n) for n in sources), *path.captured]
        self._captured: list[tuple[np.ndarray, DeviceArray]] = []  # what the function refers to is read at every run
        self._given = [self._placed(program, k, x) for k, x in enumerate(values)]
        self._results = program.results(self._device, 0)
        self._device.synchronize()  # the memory is there for all streams
        arrays: Sequence[Any] = [x.array for x in self._results]
        self._result = path.recording.program.result(arrays)

    @property
    def _program(self) -> LaneProgram:
        """How the path runs; the function is one for a device."""
        return cast(LaneProgram, self._path.compiled)

    def _placed(self, program: LaneProgram, number: int, x: Any) -> Strided:
        kind, axis = program.request.inputs[number], program.lanes.inputs[number]
        if not isinstance(x, DeviceArray):
            host, x = x, array(self._device, np.ascontiguousarray(x, DTYPES[kind.dtype]))
            self._captured.append((host, x))
        return strided(x, axis, kind)

    def run(self, stream: Any = None) -> Any:
        """Run on the buffers as they are; returns the arrays of the results, on the device."""
        with on_stream(stream):
            number = stream_number(stream)
            if not (self._path.outside.unchanged() and self._path.is_current()):
                self._path = self._found(self._call)
                self._bind()
            for host, own in self._captured:
                own.copy_from_host(host, number)
            for _ in range(_MOST):
                try:
                    for x in (*self._arrays.values(), *(y.array for y in self._results)):
                        x.stream = number
                    self._program.run(self._device, self._given, number, self._results)
                    return self._result
                except GuardFailed as failed:
                    self._path = self._function.other_path(self._current(), self._path, failed.guard)
                    self._bind()
        raise RecordingError(
            f"the lanes of {self._function.__name__} take different branches; use np.where or fad.cond"
        )

    __call__ = run

    def _current(self) -> Call:
        """The call with the inputs as they are in the buffers now."""
        now = [stand_in(self._arrays[k]) for k in range(len(self._call.inputs))]
        return self._call.replaced([on_host(x)[()] for x in now])


_MOST = 100  # paths that one call follows
