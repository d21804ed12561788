"""Running requests on NumPy arrays: chooses the executor, makes its kernel, and has buffers for every thread."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastad.execution.executors import AUTO, Executor, Policy, policy
from fastad.execution.kernel import Kernel
from fastad.execution.layout import BY_REFERENCE_FROM
from fastad.execution.marshalling import Binding, CallForm
from fastad.execution.observing import observed, observers
from fastad.execution.request import Request
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
    _free: list[Binding] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

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
        elif self.interpreted_seconds >= self._policy.then.estimate(self.request):
            self._settle(wait=False)
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

    def _begin(self) -> Executor:
        try:
            return self._policy.start(self.request, self._threads)
        except Exception:  # in a derivation that the first executor may not need; else it fails in the same way
            return self._policy.first

    def binding(self) -> Binding:
        """A new binding, of the kernel that will not be replaced."""
        self._settle()
        return self._bind()

    def _settle(self, wait: bool = True) -> None:
        """Change over to the kernel that will not be replaced. Without `wait`, one thread does and the others go on."""
        if self._lock.acquire(blocking=wait):
            try:
                if not self.is_settled:
                    self._use(self._policy.then)
            finally:
                self._lock.release()

    def _bind(self) -> Binding:
        assert self._kernel is not None
        return Binding(CallForm.of(self._kernel, self.request))

    def _use(self, executor: Executor) -> None:
        start = time.perf_counter()
        what = f"{executor.work} for {len(self.request.base):,} rows{at_line()}"
        with waiting(lambda: what):
            made = self._policy.make(executor, lambda e: e.kernel(self.request, self._threads, BY_REFERENCE_FROM))
        if made[0] is not executor or executor is self._policy.then:
            self.compile_seconds = time.perf_counter() - start
            self._executor, self._kernel = made
            self._free, self.is_settled = [], True
        else:
            self._executor, self._kernel = made

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
