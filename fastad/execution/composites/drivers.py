"""Composite rows that drivers run: their parameters in memory, and how they are reached by address."""

import functools
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fastad.execution.composites.blocks import BlocksKernel, threads_for
from fastad.execution.composites.callbacks import CallbackKernel
from fastad.execution.kernel import PartKernel
from fastad.execution.machine import exported
from fastad.tables.composites.driver import Driver
from fastad.tables.composites.sub import Sub

_ENTRY = """
from fastad.kernels.memory import types

SIGNATURE = types.int64(types.int64, types.int64, types.int64, types.int64)


def entry(context, source, target, work):
    return {name}(context, source, target, work)
"""
_OWN = "fastad.kernels."
APART_FROM = 64  # numbers of a piece of a step's argument or result from which on it is cheaper to address than to copy
_ALIGN = 8  # doubles: kernels find their work at the start of a cache line


@functools.cache
def driver_address(kernel: str) -> int:
    """Address of a driver's kernel, which is given by its dotted name."""
    return exported.address(f"driver_{kernel.rpartition('.')[2]}", driver_text(kernel))


def load_drivers(kernels: Sequence[str]) -> None:
    """Have these kernels ready; those that are in no cache are compiled side by side."""
    exported.compile_missing({f"driver_{kernel.rpartition('.')[2]}": driver_text(kernel) for kernel in kernels})
    for kernel in kernels:
        driver_address(kernel)


def driver_text(kernel: str) -> str:
    """The text that `driver_address` compiles. It holds the text of a module that is not fastad's, which so becomes
    part of the key of what is cached."""
    home, _, name = kernel.rpartition(".")
    if kernel.startswith(_OWN):
        text = f"from {home} import {name}\n"
    else:
        spec = find_spec(home)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"the module of the driver {kernel} cannot be found")
        text = Path(spec.origin).read_text(encoding="utf-8")
    return text + _ENTRY.format(name=name)


def driver_names() -> tuple[str, ...]:
    """The kernels of fastad's drivers."""
    from fastad.tables.composites.kinds import BUILT_IN  # those of solves are large, and few programs have one

    return tuple(kind.kernel for kind in BUILT_IN)


class DriverKernel:
    """The kernel of a driver; `make(part, threads)` makes the kernels of the sub-programs that it calls. Threads share
    its blocks, if it has some, or else are left to its parts."""

    def __init__(self, sub: Driver, make: Any, threads: int = 1) -> None:
        given = sub.parameters()
        shared_by = threads_for(sub, threads)
        make = partial(make, threads=1 if shared_by > 1 else threads)
        self._held: list[Any] = []
        self._record = given.record.reshape(1)
        record, scratch = self._record[0], 0
        pieces, room = given.apart(APART_FROM)
        if pieces:
            record["apart"] = APART_FROM
        for field, parts in given.kernels.items():
            one = parts is None or isinstance(parts, Sub)
            listed: Any = (parts,) if one else parts
            cut = {"pieces": pieces[field], "least": APART_FROM} if field in pieces else {}
            found = [self._part(part, partial(make, **cut)) for part in listed]
            record[field] = found[0][:2] if one else [part[:2] for part in found]
            scratch = max(scratch, *(part[2] for part in found))
        for field, array in given.arrays.items():
            self._held.append(own := np.ascontiguousarray(array, np.int64))
            record[field] = own.ctypes.data
        self.work_size = lay_out(record, {**given.work, **room}, scratch)
        self.context = int(self._record.ctypes.data)
        self.address = driver_address(sub.kernel)
        if given.resources:  # Python is needed before and after a run
            kernel = CallbackKernel(self.address, self._record, self.work_size, given.resources)
            self._use(kernel)
        if sub.blocks is not None:
            self._use(BlocksKernel(self.address, self.context, self.work_size, sub.blocks, shared_by))

    def _use(self, kernel: PartKernel) -> None:
        """Have another kernel around this one."""
        self._held.append(kernel)
        self.address, self.context, self.work_size = kernel.address, kernel.context or 0, kernel.work_size

    def _part(self, sub: Sub | None, make: Any) -> tuple[int, int, int]:
        """Address, context and doubles of work of a part's kernel."""
        if sub is None:
            return 0, 0, 0
        kernel = make(sub)
        self._held.append(kernel)
        return kernel.address, kernel.context or 0, kernel.work_size


def lay_out(record: Any, work: Any, scratch: int) -> int:
    """Write the places of a driver's own vectors in its work; returns the length of that. The first place of all has
    the address of saved states."""
    if not work:
        return scratch
    at, places = _ALIGN, {}
    for field, size in (*work.items(), ("scratch", scratch)):
        places[field] = at
        at += -(-size // _ALIGN) * _ALIGN
    record["work"] = tuple(places[field] for field in record["work"].dtype.names)
    return at
