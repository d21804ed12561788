"""Composite rows that drivers run: what a driver is told, and how it is reached by address.

A driver is a function of `fastad.kernels` with the signature of kernels; its context is a vector of numbers and
addresses (see `fastad.kernels.loop_fields`).
"""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastad.execution import exported
from fastad.execution.attended import AttendedKernel
from fastad.kernels import loop_fields as f
from fastad.tables.composite import Branch, Driver, Lanes
from fastad.tables.loops import Loop, LoopAdjoint
from fastad.tables.sub import Sub

_ENTRY = '''\
"""The driver {name} as a kernel."""
from numba import types

from fastad.kernels.{home} import {name}

SIGNATURE = types.int64(types.int64, types.int64, types.int64, types.int64)


def entry(context, source, target, work):
    return {name}(context, source, target, work)
'''
_HOMES = {"run_branch": "branching", "run_lanes": "branching", "run_loop": "looping", "reverse_loop": "looping"}
_WAYS = {"every": f.EVERY, "scheduled": f.SCHEDULED, "online": f.ONLINE, "inverted": f.INVERTED}
_ALIGN = 8  # doubles: kernels find their work at the start of a cache line


@functools.cache
def driver_address(name: str) -> int:
    """Address of a driver."""
    return exported.address(f"driver_{name}", driver_text(name))


def driver_text(name: str) -> str:
    """The text that `driver_address` compiles."""
    return _ENTRY.format(name=name, home=_HOMES[name])


def driver_names() -> tuple[str, ...]:
    """All drivers."""
    return tuple(_HOMES)


class DriverKernel:
    """The kernel of a driver; `make` makes the kernels of the sub-programs that it calls."""

    def __init__(self, sub: Driver, make: Any) -> None:
        self._make = make
        self._held: list[Any] = []
        self._told = np.zeros(0, np.int64)
        fill: dict[type, Any] = {
            Branch: self._branch, Lanes: self._lanes, Loop: self._loop, LoopAdjoint: self._adjoint
        }  # fmt: skip
        name = fill[type(sub)](sub)
        self.context = int(self._told.ctypes.data)
        self.address = driver_address(name)
        loop = sub.loop if isinstance(sub, LoopAdjoint) else sub
        if isinstance(loop, Loop):
            self._attend(loop, isinstance(sub, LoopAdjoint))

    def _attend(self, loop: Loop, adjoint: bool) -> None:
        """Put Python around the driver if there are states on disk or a progress bar."""
        disk = loop.keeping.disk * loop.sizes.state if adjoint else 0
        progress = (loop.name, loop.total_steps(adjoint)) if loop.progress else None
        if disk or progress:
            path = getattr(loop.resolved, "path", None)
            kernel = AttendedKernel(self.address, self._told, self.work_size, disk=disk, path=path, progress=progress)
            self._held.append(kernel)
            self.address, self.context = kernel.address, kernel.context

    def _part(self, sub: Sub | None) -> tuple[int, int, int]:
        """Address, context and doubles of work of a part's kernel."""
        if sub is None:
            return 0, 0, 0
        kernel = self._make(sub)
        self._held.append(kernel)
        return kernel.address, kernel.context or 0, kernel.work_size

    def _branch(self, sub: Branch) -> str:
        parts = [self._part(part) for part in sub.branches]
        head = [sub.n_in - 1, sub.n_out, len(parts)]
        self._tell([*head, *(x for part in parts for x in part[:2])])
        self.work_size = max(part[2] for part in parts)
        return "run_branch"

    def _lanes(self, sub: Lanes) -> str:
        (part,) = sub.parts
        address, context, self.work_size = self._part(part)
        self._tell([part.n_in, part.n_out, sub.size, address, context, part.n_kept])
        return "run_lanes"

    def _tell(self, numbers: Iterable[int]) -> None:
        self._told = np.array(list(numbers), np.int64)

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────────────
    def _loop(self, loop: Loop, adjoint: bool = False) -> str:
        self._told = p = np.zeros(f.LOOP_FIELDS, np.int64)
        s = loop.sizes
        p[[f.CARRY, f.X, f.Y, f.SHARED]] = s.state, s.element, s.result, s.shared
        p[[f.LENGTH, f.COUNTED, f.BACKWARD]] = loop.length, s.counted, loop.backward
        assert loop.body is not None
        parts = {f.BODY: loop.body, f.CONDITION: loop.condition}
        if adjoint:
            parts |= {f.ADJOINT: loop.body.adjoint, f.INVERSE: loop.inverse}
        work = 0
        for place, part in parts.items():
            p[place], p[place + 1], needed = self._part(part)
            work = max(work, needed)
        if loop.kept or adjoint:
            self._keep(p, loop)
        p[f.HINTED] = loop.kept
        self._lay_out(p, adjoint, work)
        return "reverse_loop" if adjoint else "run_loop"

    def _adjoint(self, sub: LoopAdjoint) -> str:
        return self._loop(sub.loop, adjoint=True)

    def _keep(self, p: np.ndarray, loop: Loop) -> None:
        keeping = loop.keeping
        p[f.KEEP], p[f.MEMORY_SLOTS] = _WAYS[keeping.way], keeping.memory
        p[f.SLOTS] = keeping.memory + keeping.disk
        if keeping.plan is not None:
            p[f.PLAN], p[f.PLAN_SIZE] = self._address(keeping.plan), len(keeping.plan)

    def _address(self, array: np.ndarray) -> int:
        kept = np.ascontiguousarray(array, np.int64)
        self._held.append(kept)
        return int(kept.ctypes.data)

    def _lay_out(self, p: np.ndarray, adjoint: bool, work: int) -> None:
        """Places of the driver's own vectors in its work."""
        inside, outside = int(p[f.CARRY] + p[f.X] + p[f.COUNTED] + p[f.SHARED]), int(p[f.CARRY] + p[f.Y])
        planned = p[f.KEEP] in (f.SCHEDULED, f.ONLINE)
        sizes = {
            f.STEP_IN: inside,
            f.STEP_OUT: max(outside, 1),
            f.BAR_IN: adjoint * (inside + outside),
            f.BAR_OUT: adjoint * inside,
            f.SHARED_BAR: adjoint * p[f.SHARED],
            f.KEPT: adjoint * self._own_states(p),
            f.PLAN_AT: int(p[f.PLAN_SIZE]),
            f.ACTIONS_AT: planned * f.ACTION * f.CHUNK,
            f.SCRATCH: work,
        }
        at = _ALIGN  # the first place has the address of what was kept
        for place, size in sizes.items():
            at += 2 if place == f.PLAN_AT else 0  # the cursor lies before it
            p[place] = at
            at += -(-int(size) // _ALIGN) * _ALIGN + (_ALIGN - 2 if place == f.PLAN_AT else 0)
        self.work_size = at

    @staticmethod
    def _own_states(p: np.ndarray) -> int:
        """Doubles that an adjoint needs for states of its own."""
        if p[f.KEEP] == f.INVERTED or p[f.HINTED]:
            return 0
        chosen = p[f.PLAN_SIZE] if p[f.KEEP] == f.ONLINE else 0
        return int(1 + p[f.CARRY] * (1 + p[f.MEMORY_SLOTS]) + chosen)


# ── how long a run takes ──────────────────────────────────────────────────────────────────────────────────────
_MANY = 100_000  # steps of a loop of unknown length


def row_evaluations(sub: Sub) -> int:
    """How many rows a run evaluates, about; loops of unknown length count as long ones."""
    loop = sub.loop if isinstance(sub, LoopAdjoint) else sub
    times = 1
    if isinstance(loop, Loop):
        times = loop.length if loop.length >= 0 and loop.condition is None else _MANY
    elif isinstance(loop, Lanes):
        times = loop.size
    own = sum(row_evaluations(part) for part in sub.parts)
    if sub.table is not None:
        own += len(sub.table) + sum(row_evaluations(inner) for inner in sub.table.subs)
    return times * own
