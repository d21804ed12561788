"""Drivers that call back to Python: states on disk, progress bars, and warnings."""

import contextlib
import ctypes
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastad.errors import CompileError, ScheduleError
from fastad.execution.kernel import SIGNATURE
from fastad.execution.pending import keep_error
from fastad.recording.source import user_line
from fastad.tables.composites.driver import ProgressBar, StatesOnDisk, UserWarned

_PERIOD = 0.1  # seconds between looks at the number of steps
_counters: list[np.ndarray] = []  # where steps are counted instead of shown


@contextlib.contextmanager
def states_on_disk(doubles: int, path: str | os.PathLike[str] | None) -> Iterator[int]:
    """Address of so many doubles in a memory-mapped file, which is gone afterwards.

    `path`: a folder for it, or the name of a file that does not exist; None: the system's folder for such files.
    """
    with contextlib.ExitStack() as stack:
        folder = path is None or Path(path).is_dir()
        if folder:
            import tempfile

            file: Any = stack.enter_context(tempfile.TemporaryFile(dir=path, prefix="fastad-states-"))
        else:
            assert path is not None
            try:
                file = stack.enter_context(open(path, "xb+"))
            except FileExistsError:
                raise ScheduleError(f"{os.fspath(path)} exists; name a new file or a folder for the states") from None
            stack.callback(Path(path).unlink, missing_ok=True)
        file.truncate(8 * max(doubles, 1))
        states: np.memmap = np.memmap(file, np.float64, "r+", shape=(max(doubles, 1),))
        yield int(states.ctypes.data)
        del states


@contextlib.contextmanager
def progress_bar(own: ProgressBar) -> Iterator[int]:
    """Address of an integer that counts steps, and of the part that was done, one of which a bar shows."""
    if _counters:
        yield int(_counters[-1].ctypes.data)
        return
    with _shown(own) as steps:
        yield int(steps.ctypes.data)


@contextlib.contextmanager
def one_bar(own: ProgressBar) -> Iterator[None]:
    """All runs with a progress bar in here show the same one."""
    with _shown(own) as steps, _counted_in(steps):
        yield


@contextlib.contextmanager
def _shown(own: ProgressBar) -> Iterator[np.ndarray]:
    """A count of steps and the part that was done, shown as a bar."""
    bars = progress_bars()
    steps, done = np.zeros(2, np.int64), threading.Event()
    part = steps.view(float)[1:]
    first, last = own.part or (0.0, 0.0)
    part[0] = first
    look: dict[str, Any] = {"total": own.total, "unit": " steps", "unit_scale": True}
    if own.part:
        look = {"total": last - first, "bar_format": "{l_bar}{bar}| {postfix}[{elapsed}<{remaining}]"}

    def show() -> None:
        with bars(desc=own.name, leave=False, **look) as bar:
            while True:
                is_last = done.wait(_PERIOD)
                if own.part:
                    bar.set_postfix_str(f"{int(steps[0]):,} steps ", refresh=False)
                reached = float(part[0]) - first if own.part else int(steps[0])
                bar.update(max(reached - bar.n, 0))  # a bar's own sum of parts is rounded
                if is_last:
                    break

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield steps
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def counted_steps() -> Iterator[np.ndarray]:
    """Its first number is what loops with a progress bar add their steps and adjoint steps to, instead of a bar."""
    with _counted_in(np.zeros(2, np.int64)) as steps:
        yield steps


@contextlib.contextmanager
def _counted_in(steps: np.ndarray) -> Iterator[np.ndarray]:
    _counters.append(steps)
    try:
        yield steps
    finally:
        _counters.pop()


def progress_bars() -> Any:
    """tqdm's bar, for terminals and notebooks."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise CompileError("a progress bar needs tqdm: python -m pip install 'fastad[progress]'") from None
    return tqdm


class CallbackKernel:
    """The kernel of a driver that needs Python before and after a run: a C function that calls Python, which gets the
    resources ready, runs the driver with the interpreter's lock released, and cleans up, also after an error.

    `resources` are those of `fastad.tables.composites.driver.Parameters`, by fields of the driver's record.
    """

    context = 0

    def __init__(self, address: int, record: np.ndarray, work_size: int, resources: Mapping[str, Any]) -> None:
        self._driver, self._record, self.work_size = SIGNATURE(address), record, work_size
        self._resources = resources
        self._function = SIGNATURE(self._run)
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value or 0

    def _run(self, context: Any, source: int, target: int, work: int) -> int:
        record = self._record.copy()  # of this call: several threads may be here
        try:
            with contextlib.ExitStack() as stack:
                for field, resource in self._resources.items():
                    record[field] = stack.enter_context(_PROVIDERS[type(resource)](resource))
                return int(self._driver(record.ctypes.data, source, target, work))
        except BaseException as error:
            keep_error(error)
            return -1


@contextlib.contextmanager
def warned(text: str) -> Iterator[int]:
    """Warn the user, at the line that is running."""
    line = user_line(4)  # past this function and two of contextlib
    warnings.warn_explicit(text, RuntimeWarning, line.file or "<unknown>", line.number)
    yield 0


_PROVIDERS: dict[type, Callable[[Any], contextlib.AbstractContextManager[int]]] = {
    StatesOnDisk: lambda own: states_on_disk(own.doubles, own.path),
    ProgressBar: progress_bar,
    UserWarned: lambda own: warned(own.text),
}
