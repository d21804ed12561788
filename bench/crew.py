"""Workers: one process a package, so that no library's threads, allocator or settings touch another's.

The parent asks them in turns, over pipes, to time samples; while one works the others sleep.
"""
import multiprocessing
import os
import time
import traceback
from contextlib import contextmanager
from typing import Any

# PyTorch's OpenMP threads spin while they wait. On a busy machine, a spinning barrier can cost 100 times the
# computation, so they wait passively here. This helps PyTorch, and does not change its number of threads.
ENVIRONMENT = {"torch": {"OMP_WAIT_POLICY": "passive"}}


class Worker:
    """A process that holds prepared calls of one package."""

    def __init__(self, package: str):
        context = multiprocessing.get_context("spawn")
        self.package = package
        self.pipe, remote = context.Pipe()
        self.process = context.Process(target=serve, args=(remote,), daemon=True)
        with environment(ENVIRONMENT.get(package, {})):
            self.process.start()

    def ask(self, order: str, *args: Any) -> Any:
        self.pipe.send((order, args))
        ok, answer = self.pipe.recv()
        if not ok:
            raise RuntimeError(f"{self.package}, {order} {args}:\n{answer}")
        return answer

    def close(self):
        self.pipe.send(None)
        self.process.join(10)


@contextmanager
def environment(settings: dict[str, str]):
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


class Crew:
    """Workers by package, started when first needed."""

    def __init__(self):
        self.workers: dict[str, Worker] = {}

    def __getitem__(self, package: str) -> Worker:
        if package not in self.workers:
            self.workers[package] = Worker(package)
        return self.workers[package]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers.values():
            worker.close()


# ---- in the worker ------------------------------------------------------------------------------------------------
def serve(pipe):
    orders = Orders()
    while (message := pipe.recv()) is not None:
        order, args = message
        try:
            pipe.send((True, getattr(orders, order)(*args)))
        except Exception:
            pipe.send((False, traceback.format_exc(limit=-3)))


class Orders:
    """The orders that a worker accepts. A call is named by (contender, what)."""

    def __init__(self):
        self.calls = {}

    def prepare(self, workload: str, name: str, what: str):
        """Build a call, make it once; its result as arrays, and the seconds that building and calling took."""
        from bench import contenders, workloads

        chosen = contenders.REGISTRY[workload, name]
        contenders.available(chosen.package)  # imported: its import is not part of the first call
        start = time.perf_counter()
        call = chosen.factory(workloads.BY_NAME[workload], what)
        result = call()
        seconds = time.perf_counter() - start
        self.calls[name, what] = call
        return workloads.leaves(chosen.to_numpy(result)), seconds

    def calibrate(self, key, sample: float, warmup: float) -> int:
        from bench import timing

        return timing.calibrate(self.calls[tuple(key)], sample, warmup)

    def sample(self, key, calls: int) -> float:
        from bench import timing

        call = self.calls[tuple(key)]
        if calls > 1:
            call()  # the other workers may have evicted its data from the processor's caches
        return timing.sample_time(call, calls)

    def forget(self):
        self.calls.clear()
