"""Work memory of large kernels, which all of them share: a kernel has it while it runs.

Every kernel had its own, and programs with many recordings (one for each length of a sentence, say) held gigabytes.
Very large buffers go back to the system after each run: the next run pays for its pages, a small part of what it does
with them, and a process does not hold gigabytes for a gradient that was asked for once.
"""

import weakref
from collections import Counter
from typing import Any

import numpy as np

from fastad.execution.kernel import aligned
from fastad.locks import lock

SHARED_FROM = 4096  # doubles: smaller kernels run for so short a time that to borrow memory would be felt
KEPT_TO = 2**25  # doubles, 256 MiB


class WorkMemory:
    """Buffers that wait for the next run. There are as many as kernels ran at once, of the size of the largest."""

    def __init__(self) -> None:
        self._lock = lock()
        self._free: list[np.ndarray] = []
        self._wanted: Counter[int] = Counter()  # sizes that living users may ask for
        self._changes, self._seen, self._largest = 0, 0, 0  # of those sizes: changes, and the largest after so many

    def use(self, user: Any, size: int) -> None:
        """Let an object borrow buffers of a size for as long as it lives."""
        self._wanted[size] += 1
        self._changes += 1
        weakref.finalize(user, self._leave, size)

    def _leave(self, size: int) -> None:
        # Runs whenever the garbage collector does, also in a thread that holds the lock.
        self._wanted[size] -= 1
        self._changes += 1
        if not +self._wanted:
            self._free = []

    def take(self, size: int, sparse: bool = False) -> np.ndarray:
        """A buffer of at least this size, which nobody else has; see `aligned`."""
        with self._lock:
            fitting = [k for k, buffer in enumerate(self._free) if buffer.size >= size]
            if fitting:
                return self._free.pop(min(fitting, key=lambda k: self._free[k].size))
            self._free = []  # the new one serves for these, too
        return aligned(size, sparse)

    def give(self, buffer: np.ndarray) -> None:
        """Take a buffer back."""
        with self._lock:
            if self._seen != self._changes:
                self._seen = self._changes  # before looking: what changes meanwhile is seen the next time
                self._largest = max(+self._wanted, default=0)
            if buffer.size <= min(self._largest, KEPT_TO):
                self._free.append(buffer)

    def clear(self) -> None:
        """Free the buffers that wait."""
        self._free = []

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers that wait."""
        return sum(buffer.nbytes for buffer in self._free)


WORK = WorkMemory()
