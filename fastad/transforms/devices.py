"""Programs that a device runs: how the lanes of a call lie, and arrays on the device as arguments."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastad.errors import TableError
from fastad.execution.cuda.elements import LARGE, ElementProgram, plan_of
from fastad.execution.cuda.lanes import LaneProgram, Lanes
from fastad.execution.request import Request
from fastad.recording.source import at_line, user_line
from fastad.tables.reference import Stopped
from fastad.transforms.program import Program


@dataclass(frozen=True)
class DeviceProgram(Program):
    """A program of one lane, which a device runs for all lanes of a call. `lanes` are those of explicit inputs and
    of results."""

    lanes: Lanes = field(default_factory=lambda: Lanes(1, (), ()))

    def compiled(self, tier: str, threads: int | None) -> LaneProgram:
        if self.lanes.count == 1 and not self._has_axes and self._is_large:
            if (plan := plan_of(self.request.table)) is not None:
                return ElementProgram(self.request, self.lanes, tier).prepare(plan)
            _warn(self.request)
        return LaneProgram(self.request, self.lanes, tier)

    @property
    def _has_axes(self) -> bool:
        return any(axis is not None for axis in self.lanes.inputs)

    @property
    def _is_large(self) -> bool:
        """Whether there are arrays whose elements may be lanes."""
        return int(self.request.base.sizes.max(initial=1)) >= LARGE

    def by_numpy(self, inputs: Sequence[Any]) -> Any:
        if self.lanes.count != 1 or self._has_axes:
            raise Stopped(0)  # lanes differ
        return super().by_numpy(inputs)

    def is_repeated_by(self, other: Program) -> bool:
        return super().is_repeated_by(other) and self.lanes == getattr(other, "lanes", None)

    @property
    def storable(self) -> Program:
        raise TableError(f'a function of device="cuda" cannot be saved{at_line()}; save it without the device')


def _warn(request: Request) -> None:
    """One thread of a GPU is slower than a processor."""
    line = user_line()
    warnings.warn_explicit(
        f"on the device this program of {int(request.base.sizes.sum()):,} numbers is run by one thread, which is slow: "
        "its rows do not work element by element. Use vmap over its independent parts, or run it on the processor",
        RuntimeWarning, line.file, line.number,
    )  # fmt: skip


def one_lane(program: Program) -> DeviceProgram:
    """The program as it stands, run by one lane."""
    kinds = program.request
    return _of(program, Lanes(1, (None,) * len(kinds.inputs), (None,) * len(kinds.results)))


def many_lanes(
    inner: Program, count: int, axes: Sequence[int | None], out_axes: Sequence[int | None]
) -> DeviceProgram:  # fmt: skip
    """The program of a lane, run by `count` lanes; `axes` are those of the inputs of the call."""
    own = [axes[n] if n >= 0 else None for n in inner.sources]
    rest = [None] * (len(inner.request.inputs) - len(own))
    return _of(inner, Lanes(count, (*own, *rest), tuple(out_axes)))


def _of(program: Program, lanes: Lanes) -> DeviceProgram:
    fields = {name: value for name, value in vars(program).items() if name in Program.__dataclass_fields__}
    return DeviceProgram(**fields, lanes=lanes)
