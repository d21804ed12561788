"""Executors of other libraries as fastad uses them: concurrent.futures, Dask's clients, mpi4py.futures."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures  # its executors are imported when they are first asked for
from contextlib import contextmanager
from typing import Any

from fastad.recording.source import at_line

_RETRIES = 3  # of a Dask task whose worker is lost


def number_of_workers(executor: Any) -> int:
    """How many items it runs at once, as far as it tells."""
    if _is_dask(executor):
        return max(1, sum(executor.nthreads().values()))
    for name in ("_max_workers", "num_workers"):  # concurrent.futures has no public name
        found = getattr(executor, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return os.cpu_count() or 1


def shares_memory(executor: Any) -> bool:
    """Whether its workers are threads of this process, so that functions need not travel."""
    return isinstance(executor, futures.ThreadPoolExecutor)


def check_executor(executor: Any, called: str) -> None:
    """Raise TypeError if this is no executor."""
    if not (isinstance(executor, futures.Executor) or callable(getattr(executor, "submit", None))):
        raise TypeError(
            f"{called}: executor is {executor!r}{at_line()}; give a concurrent.futures executor, a dask.distributed "
            "Client or an mpi4py.futures.MPIPoolExecutor"
        )


def run_all(executor: Any, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """(number, result) of function(*task) for each task, as they finish.

    A process pool ends when one of its processes dies. Its unfinished tasks are then done by a new pool of the same
    size, once; Dask moves the tasks of a lost worker to others by itself.
    """
    with _futures(executor) as pool:
        left = yield from _finished(pool, function, dict(enumerate(tasks)))
    if left:
        if not isinstance(executor, futures.ProcessPoolExecutor):
            raise futures.BrokenExecutor(f"{executor!r} has ended with {len(left)} of {len(tasks)} tasks undone")
        warnings.warn(
            f"a process of the pool has died; {len(left)} of {len(tasks)} tasks are done again by a new pool",
            RuntimeWarning, stacklevel=2,
        )  # fmt: skip
        with futures.ProcessPoolExecutor(number_of_workers(executor), mp_context=executor._mp_context) as again:
            lost = yield from _finished(again, function, left)
        if lost:
            died = f"processes of two pools have died, with {len(lost)} of {len(tasks)} tasks undone"
            raise futures.BrokenExecutor(died)


def _finished(pool: futures.Executor, function: Callable[..., Any], tasks: dict[int, tuple[Any, ...]]) -> Any:
    """Yield what finishes; return the tasks that a broken pool has left."""
    numbers: dict[futures.Future[Any], int] = {}
    left = dict(tasks)
    try:
        for number, task in tasks.items():
            numbers[pool.submit(function, *task)] = number
    except futures.BrokenExecutor:
        pass
    try:
        for future in futures.as_completed(numbers):
            try:
                result = future.result()
            except futures.BrokenExecutor:
                continue
            del left[numbers[future]]
            yield numbers[future], result
    finally:
        for future in numbers:
            future.cancel()
    return left


@contextmanager
def _futures(executor: Any) -> Iterator[futures.Executor]:
    """The executor with the methods of concurrent.futures.Executor."""
    yield executor.get_executor(pure=False, retries=_RETRIES) if _is_dask(executor) else executor


def _is_dask(executor: Any) -> bool:
    return callable(getattr(executor, "get_executor", None)) and callable(getattr(executor, "nthreads", None))
