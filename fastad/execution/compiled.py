"""Running requests on NumPy arrays: chooses the executor, makes its kernel, and has buffers for every thread."""

import os
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastad.execution.executors import AUTO, Executor, Policy, policy
from fastad.execution.kernel import Kernel
from fastad.execution.layout import BY_REFERENCE_FROM
from fastad.execution.machine import background
from fastad.execution.marshalling import Binding, CallForm
from fastad.execution.observing import observed, observers
from fastad.execution.request import Request
from fastad.locks import lock
from fastad.recording.source import at_line
from fastad.tables.table import Table
from fastad.waiting import waiting


@dataclass
class Compiled:
    """A request, its kernel, and the executor that made it. Calls from several threads get bindings of their own."""

    request: Request
    tier: str = AUTO
    threads: int | None = None
    interpreted_seconds: float = 0.0  # by an executor that may yet be replaced
    compile_seconds: float = 0.0
    is_settled: bool = False  # the executor in use will not be replaced
    _policy: Policy = field(init=False)
    _executor: Executor | None = None
    _kernel: Kernel | None = None
    _pays_from: float = 0.0  # seconds interpreted from which the other executor's kernel is made
    _job: "background.Job[Kernel] | None" = None  # that makes it
    _free: list[Binding] = field(default_factory=list)
    _lock: Any = field(default_factory=lock, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._policy = policy(self.tier)

    @property
    def tier_in_use(self) -> str:
        """The name of the executor."""
        return (self._executor or self._policy.first).name

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers that wait for the next call."""
        return sum(binding.nbytes for binding in list(self._free))

    def __call__(self, values: Sequence[Any]) -> Sequence[Any]:
        """Results for these inputs (captured arrays included)."""
        if observers and (results := observed(self.request, values)) is not None:
            return results
        if self.is_settled:
            free = self._free
            try:
                binding = free.pop()
            except IndexError:
                binding = self._bind()
            try:
                return binding.call(values)
            finally:
                free.append(binding)
        return self._choose(values)

    def _choose(self, values: Sequence[Any]) -> Sequence[Any]:
        """Run by the first executor until that has cost what the next one's kernel costs; then make that."""
        if self._kernel is None:
            with self._lock:
                if self._kernel is None:
                    self._use(self._begin())
        elif self.interpreted_seconds >= self._pays_from:
            self._go_over()
        if self.is_settled:
            return self(values)
        free = self._free  # not read again below: another thread may compile meanwhile
        try:
            binding = free.pop()
        except IndexError:
            binding = self._bind()
        start = time.perf_counter()
        try:
            return binding.call(values)
        finally:
            self.interpreted_seconds += time.perf_counter() - start
            free.append(binding)

    def _go_over(self) -> None:
        """Have the next executor's kernel made in the background, and change over once it is; without a background,
        make it now. One thread does, and the others go on."""
        if self._lock.acquire(blocking=False):
            try:
                if not self.is_settled and (self._is_waited_for() if self._own_job is None else self._own_job.is_done):
                    self._settle()
            finally:
                self._lock.release()

    def _is_waited_for(self) -> bool:
        """Whether the next executor's kernel is to be made at once; here the background is asked for it if it pays."""
        self._pays_from = self._policy.pays_from(self.request)  # as far as is known by now
        if self.interpreted_seconds < self._pays_from:
            return False
        if background.is_on():
            self._job = background.submit(self._maker(), self._pays_from)
            return False
        return True

    @property
    def _own_job(self) -> "background.Job[Kernel] | None":
        """The job that makes the next kernel, if it was not left to the process that this one was forked from."""
        return None if self._job is None or self._job.is_lost else self._job

    def _maker(self) -> Callable[[], Kernel]:
        """Makes the next executor's kernel; raises ReferenceError if nobody has a use for it any more."""
        own = weakref.proxy(self)
        return lambda: own._policy.then.kernel(own.request, own._threads, BY_REFERENCE_FROM)

    def _begin(self) -> Executor:
        try:
            return self._policy.start(self.request, self._threads)
        except Exception:  # in a derivation that the first executor may not need; else it fails in the same way
            return self._policy.first

    def binding(self) -> Binding:
        """A new binding, of the kernel that will not be replaced."""
        self._settle()
        return self._bind()

    def _settle(self) -> None:
        """Change over to the kernel that will not be replaced."""
        with self._lock:
            if not self.is_settled:
                self._use(self._policy.then)

    def _bind(self) -> Binding:
        assert self._kernel is not None
        return Binding(CallForm.of(self._kernel, self.request))

    def _use(self, executor: Executor) -> None:
        start = time.perf_counter()
        what = f"{executor.work} for {len(self.request.base):,} rows{at_line()}"
        with waiting(lambda: what):
            made = self._policy.make(executor, self._made_by)
        if made[0] is not executor or executor is self._policy.then:
            self.compile_seconds = time.perf_counter() - start if self._job is None else self._job.seconds
            self._executor, self._kernel = made
            self._free, self._job, self.is_settled = [], None, True
        else:
            self._pays_from = self._policy.pays_from(self.request)
            self._executor, self._kernel = made

    def _made_by(self, executor: Executor) -> Kernel:
        if self._own_job is not None and executor is self._policy.then:
            return self._own_job.result()
        return executor.kernel(self.request, self._threads, BY_REFERENCE_FROM)

    @property
    def _threads(self) -> int:
        return self.threads or default_threads()


def native_work_bytes(table: Table) -> int:
    """Bytes of work memory that native code takes for a table."""
    from fastad.execution.native import work_bytes

    return work_bytes(table)


def sweep_work_bytes(table: Table, mode: str, wrt: Sequence[int]) -> int:
    """Bytes of the arenas of the sweeps, for a table or its derivatives."""
    from fastad.execution.sweeps.kernel import arena_size, is_swept

    if mode != "value" and not is_swept(table):
        return 8 * arena_size(Request(table, mode, tuple(wrt)).table)
    return 8 * arena_size(table, mode, wrt)


def default_threads() -> int:
    """Threads for large loops: FASTAD_THREADS, or the processors this process may use."""
    return int(os.environ.get("FASTAD_THREADS", 0)) or len(getattr(os, "sched_getaffinity", _all)(0))


def _all(process: int) -> range:
    """All processors, on systems that do not tell which of them a process may use."""
    return range(os.cpu_count() or 1)
