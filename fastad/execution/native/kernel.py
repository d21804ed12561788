"""The native kernel of a table."""

import functools
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fastad import primitives
from fastad.execution.collecting import uncollected
from fastad.execution.composites.calling import CALL, Callee, MakePart, call_address
from fastad.execution.layout import BY_REFERENCE_FROM, layout_of
from fastad.execution.machine import background, cache, compiling, objects, symbols
from fastad.execution.machine.exported import entry_address, sources_digest
from fastad.execution.machine.times import TIMES
from fastad.execution.native.code.gathers import places_of
from fastad.execution.native.names import CALLEE, CONSTANTS, ENTRY, PLACES
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.planning.thin import without_thin_products
from fastad.execution.native.program import NativeCode
from fastad.execution.row_kinds import row_counts
from fastad.tables.table import Table

_LENGTH = 8  # bytes of the length of what precedes the objects


class NativeKernel:
    """A table as native code: satisfies `fastad.execution.kernel.Kernel`.

    Parameters
    ----------
    table : the program.
    threads : how many threads large loops and lanes may use. Results do not depend on it.
    threshold : size from which inputs and results go by reference (see `layout_of`).
    part : makes the kernels of sub-programs.
    """

    chosen: tuple[int, ...] | None = None

    def __init__(
        self, table: Table, threads: int = 1, threshold: int | None = BY_REFERENCE_FROM, part: MakePart | None = None
    ) -> None:
        start = time.perf_counter()
        given, table = table, without_thin_products(table)
        self.rows, self.context, self.threads = table, 0, threads
        self.layout = layout_of(table, threshold)
        self.from_cache = True
        self._constants = table.pools["constants"]  # native code reads it in place
        self._places: list[np.ndarray] = []
        self.callees: Sequence[Callee] = [Callee(sub, part or _part, threads) for sub in table.subs]
        self.work_size = self._link(cache.cached(_key(given, threads, threshold), partial(self._compile, given)))
        self.compile_seconds = time.perf_counter() - start

    def _compile(self, given: Table) -> bytes:
        """The objects of all parts, in the form that the cache keeps; `given` is the program as it came."""
        self.from_cache = False
        compiling.prepare()  # while the plan is made
        start = time.thread_time()
        with uncollected():
            plan = make_plan(self.rows, self.layout)
            parts, work_size = list(reversed(NativeCode(plan, self.threads).parts)), plan.work_size
        del plan  # of a long program tens of megabytes, while it is compiled
        self.rows.free_lists()
        taken, found = time.thread_time() - start, []
        while parts:  # each text goes when it is compiled
            part = parts.pop()
            with background.waiting():
                code, seconds = compiling.compiled(part.text, part.level, beside=background.is_here())
            taken += seconds
            found.append((code, part.names))
        TIMES.measured(row_counts(given), taken)
        head = json.dumps({"work": work_size, "parts": [(len(code), names) for code, names in found]}).encode()
        return b"".join([len(head).to_bytes(_LENGTH, "little"), head, *(code for code, _ in found)])

    def _link(self, stored: bytes) -> int:
        """Load all parts, each with the functions of those before it; returns the doubles of work needed."""
        at = _LENGTH + int.from_bytes(stored[:_LENGTH], "little")
        head = json.loads(stored[_LENGTH:at])
        self._code: list[objects.LoadedCode] = []
        known: dict[str, int] = {}
        for size, names in head["parts"]:
            code = objects.load_object(stored[at : at + size], names, partial(self._find, known))
            self._code.append(code)
            known |= code.addresses
            at += size
        self.address = known["kernel"]
        return int(head["work"])

    def _find(self, known: dict[str, int], name: str) -> int | None:
        return known.get(name) or self._resolve(name)

    def _resolve(self, name: str) -> int | None:
        if name == CONSTANTS:
            return self._constants.ctypes.data
        if name.startswith(PLACES):
            self._places.append(places_of(self.rows, int(name.removeprefix(PLACES))))
            return self._places[-1].ctypes.data
        if name == CALL:
            return call_address()
        if name.startswith(CALLEE):
            return self.callees[int(name.removeprefix(CALLEE))].address
        if name.startswith(ENTRY):
            return entry_address(name.removeprefix(ENTRY))
        return symbols.address(name)


def _part(table: Table, threads: int, threshold: int | None = None) -> NativeKernel:
    """The kernel of a sub-program."""
    return NativeKernel(table, threads, threshold)


def is_cached(table: Table, threads: int = 1, threshold: int | None = BY_REFERENCE_FROM) -> bool:
    """Whether the kernel's object code is in the disk cache."""
    return cache.is_stored(_key(table, threads, threshold))


def _key(table: Table, threads: int, threshold: int | None) -> tuple[str, ...]:
    return "native", _generator(), table.hash, str(threads), str(threshold)


@functools.cache
def _generator() -> str:
    """Digest of the source of the code generator and of the rows, which say how much memory kernels need: what other
    versions of these made is not used."""
    return sources_digest(Path(__file__).parent, Path(primitives.__path__[0]))
