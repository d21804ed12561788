"""Compiled kernels: the code of a program for a GPU, one instance a thread, kept on disk."""

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fastad.errors import CompileError
from fastad.execution.collecting import uncollected
from fastad.execution.cuda import ptx
from fastad.execution.cuda.instances import ENTRY, KINDS, Array, InstanceText
from fastad.execution.cuda.leaves import LLVM_NAMES, far_calls, libdevice_names, single_text, special_text
from fastad.execution.cuda.precision import single
from fastad.execution.cuda.programs import ProgramText, translated
from fastad.execution.layout import BY_REFERENCE_FROM, Layout
from fastad.execution.machine import cache
from fastad.execution.request import Request
from fastad.primitives import elementwise_rows
from fastad.tables.builder import Builder
from fastad.tables.inline import inline, new_inputs
from fastad.tables.table import Table

LOCAL_BYTES = 512 * 1024  # of a thread's local memory (CUDA C++ Programming Guide, Technical Specifications)


@dataclass(frozen=True)
class Code:
    """The machine code of a program for one architecture.

    `cubin` has the kernel `entry`, of (i64 instances; ptr to their order as int32, or null; ptr to the int32 codes of
    all; and for every input and every result ptr, i64 elements from one instance to the next, i64 elements from one
    element to the next). An instance's code is 0, guard + 1 of a guard that failed, or negative for an error, as in
    `fastad.execution.kernel`; `rows` is the table that these belong to. What goes by reference in `layout` has its
    elements one after another, as float64. `inputs` and `outputs` are the characters of NumPy's dtypes of all arrays.
    `steps`: the most that solves of unknown length may make here, where their states are kept; None: as many as they
    may make anywhere. Instances that would make more end in an error: they need code for more steps.
    `counts`: behind the results stands another, int32: the steps that the instance's adaptive solves have made.
    `registers` of a thread; `local_bytes` of its local memory, of which `spilled_bytes` are registers that did not fit.
    """

    cubin: bytes
    entry: str
    layout: Layout
    inputs: str
    outputs: str
    rows: Table
    registers: int
    local_bytes: int
    spilled_bytes: int
    threads: int  # of a block
    steps: int | None
    counts: bool


class DeviceText:
    """The IR text of a program: `device` for a GPU, `host` for this CPU, which are the same but for how an instance
    finds its number and for the functions of mathematics.

    `inputs`, `outputs`: characters of the dtypes of the arrays, of `KINDS` (default: those of the numbers computed in).
    `precision`: "d" or "f", float64 or float32. Raises CompileError if an instance needs more memory than `room` bytes
    (None: any).
    """

    def __init__(
        self, table: Table, inputs: str | None = None, outputs: str | None = None, precision: str = "d",
        threshold: int | None = BY_REFERENCE_FROM, room: int | None = LOCAL_BYTES,
    ) -> None:  # fmt: skip
        self.rows, self.precision = table, precision
        self.inputs = inputs or precision * len(table.inputs)
        self.outputs = outputs or precision * len(table.outputs)
        if bad := [kind for kind in self.inputs + self.outputs if kind not in KINDS]:
            raise CompileError(f"a GPU's kernels take arrays of the dtypes {', '.join(KINDS)}, not {bad[0]!r}")
        inline = precision == "f" or set(self.inputs + self.outputs) != {"d"}
        with uncollected():
            self._program = ProgramText(table, None if inline else threshold, precision == "f")
        self.layout, self.work = self._program.layout, self._program.kernel.work
        numbers = self.layout.in_size + self.layout.out_size + self.work + self._program.vectors
        self.vectors = 8 * numbers  # bytes
        if room is not None and self.vectors > room:
            raise CompileError(
                f"an instance of this program needs {self.vectors:,} bytes of memory, and a thread of a GPU has "
                f"{room:,}: store fewer states (checkpoint=), or make the instances smaller"
            )
        self._assembly = self._program.assembly
        self._assembly.complete(_special)

    @property
    def device(self) -> str:
        """The text for a GPU."""
        names = libdevice_names(self._needed, self.precision == "f")
        names, added = far_calls(self._assembly.renamed({}), names)
        return self._with(self._instances.device, names, added)

    @property
    def calls_libdevice(self) -> bool:
        return bool(self._needed)

    @property
    def _needed(self) -> list[str]:
        return [*self._assembly.missing, *(name for name in LLVM_NAMES if name in self._assembly.outside)]

    @property
    def host(self) -> str:
        """The text for this CPU."""
        if self.precision == "d":
            return self._with(self._instances.host, {})
        names = {name: f"{name}f" for name in self._assembly.missing}
        arity = {row.symbol: row.arity for row in elementwise_rows() if not row.on_device or row.libdevice}
        scipy = [single_text(name, arity[name]) for name in names if name in arity]
        return "".join([self._with(self._instances.host, names, defined=scipy), *scipy])

    @functools.cached_property
    def _instances(self) -> InstanceText:
        arrays = [
            [Array(slot, kind) for slot, kind in zip(slots, kinds, strict=True)]
            for slots, kinds in ((self.layout.inputs, self.inputs), (self.layout.outputs, self.outputs))
        ]
        number = "float" if self.precision == "f" else "double"
        return InstanceText(self._program.kernel.name, self.work, arrays[0], arrays[1], number)

    def _with(
        self, instances: str, names: dict[str, str], added: str = "", defined: Sequence[str] = ()
    ) -> str:
        text = self._assembly.renamed(names, added, "".join(defined))
        return (single(text) if self.precision == "f" else text) + instances


def text_of(
    request: Request, inputs: str | None = None, outputs: str | None = None, precision: str = "d",
    steps: int | None = None, counts: bool = False,
) -> tuple[DeviceText, int | None]:  # fmt: skip
    """The text of a request, and the steps that solves of unknown length are limited to: to `steps`, or so that an
    instance takes no more than ROOM bytes. Their derivatives keep a state of every step. With `counts`, the number of
    steps is one more result, where there are such solves (`counts_steps`)."""

    def made(own: Request, room: int | None = LOCAL_BYTES) -> DeviceText:
        if counts and counts_steps(request):
            kinds = outputs or precision * len(request.results)
            return DeviceText(counted(own.table), inputs, f"{kinds}i", precision, room=room)
        return DeviceText(own.table, inputs, outputs, precision, room=room)

    if steps is not None:
        return made(limited(request, steps)), steps
    found = made(request, None)
    if found.vectors <= ROOM or not any(sub.open_size for sub in request.base.subs):
        return made(request), None
    few, more = (made(limited(request, n), None).vectors for n in (_FEW, 2 * _FEW))
    steps = max(_FEW, (ROOM - few) * _FEW // max(more - few, 1) + _FEW)
    return made(limited(request, steps)), steps


def counts_steps(request: Request) -> bool:
    """Whether the instances of a program may make different numbers of steps, which it can tell."""
    return any(row.sub is not None and row.sub.counted for row in request.table.rows())


def counted(table: Table) -> Table:
    """The table with one more result: the number of steps of its solves."""
    solves = [row for row in table.rows() if row.sub is not None and row.sub.counted]
    b = Builder()
    refs = inline(b, table, new_inputs(b, table)[0])
    numbers = [b.region(refs[row.index], (k, 1, 1), (), "d") for row in solves for k in row.sub.counted]
    total = functools.reduce(lambda x, y: b.emit("add", (x, y)), numbers)
    return b.table([*(refs[x] for x in table.outputs), total], table.captured)


def limited(request: Request, steps: int | None) -> Request:
    """The request with at most so many steps in solves of unknown length."""
    if steps is None:
        return request
    subs = tuple(x if x.open_size is None else x.limited(min(x.length, steps)) for x in request.base.subs)
    return replace(request, base=replace(request.base, subs=subs))


ROOM, _FEW = 64 * 1024, 16  # bytes: the driver reserves local memory for all threads that can be there at once


def _special(name: str) -> str | None:
    """A module with a function of mathematics that NVIDIA's library has not."""
    text = special_text(name)
    return None if text is None else translated(text, name, name)


_THREADS = 128  # of a block: as many registers as a thread can have, for two blocks at once


def code(
    request: Request, architecture: str, inputs: str | None = None, outputs: str | None = None, precision: str = "d",
    steps: int | None = None,
) -> Code:  # fmt: skip
    """The code of a request for GPUs of an architecture, such as "sm_90". See `DeviceText`, `Code` and `text_of`.

    Raises CompileError for what a GPU cannot run, and where the packages that compile for it are missing."""
    text, steps = text_of(request, inputs, outputs, precision, steps, counts=True)
    device = text.device

    def make() -> bytes:
        found = ptx.assembled(ptx.ptx_of(device, architecture, text.calls_libdevice), architecture)
        facts: dict[str, Any] = asdict(found)
        data = facts.pop("data")
        head = json.dumps(facts).encode()
        return len(head).to_bytes(4, "little") + head + data

    stored = cache.cached(("cubin", architecture, *_versions(), device), make)
    size = int.from_bytes(stored[:4], "little")
    facts = json.loads(stored[4 : 4 + size])
    return Code(
        stored[4 + size :], ENTRY, text.layout, text.inputs, text.outputs, text.rows, facts["registers"],
        facts["stack"], facts["spilled"], _THREADS, steps, len(text.outputs) > len(request.results),
    )  # fmt: skip


def _versions() -> Sequence[str]:
    """What the text does not show: the versions of NVIDIA's packages."""
    from importlib import metadata

    found = []
    for name in ("nvidia-nvjitlink", "nvidia-nvvm"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(name)
    return found
