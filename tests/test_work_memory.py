"""Work memory is shared: it does not grow with the number of recordings, and no two runs have the same at once."""

import gc

import numpy as np
from thread_tools import in_threads

import fastad as fad
from fastad.execution.work_memory import KEPT_TO, SHARED_FROM, WORK, WorkMemory

N = 3 * SHARED_FROM


def chain(k):
    def f(x):
        for _ in range(k):
            x = np.sin(np.cumsum(x))
        return np.sum(x)

    return fad.grad(f, tier="native")


def test_many_recordings_share_it():
    WORK.clear()
    x = np.linspace(0.0, 1.0, N)
    functions = [chain(k) for k in (2, 3, 4, 5)]
    wanted = [chain(k)(x) for k in (2, 3, 4, 5)]
    for _ in range(2):
        for f, y in zip(functions, wanted, strict=True):
            np.testing.assert_array_equal(f(x), y)
    sizes = [next(iter(f.memory.paths.values())).compiled._kernel.work_size for f in functions]
    assert min(sizes) >= SHARED_FROM
    assert WORK.nbytes <= 8 * (max(sizes) + 8)


def test_threads_have_their_own():
    x, wrong = np.linspace(0.0, 1.0, N), []
    f = chain(3)
    wanted = [f(x * k) for k in range(4)]

    def work(k):
        wrong.extend(k for _ in range(20) if not np.array_equal(f(x * k), wanted[k]))

    in_threads(work, 4)
    assert not wrong


class User:
    pass


def test_very_large_buffers_are_not_kept():
    memory, user = WorkMemory(), User()
    memory.use(user, KEPT_TO + 1)
    memory.give(memory.take(KEPT_TO + 1))
    assert memory.nbytes == 0
    memory.give(memory.take(KEPT_TO))
    assert memory.nbytes == 8 * KEPT_TO
    assert user


def test_it_is_freed_with_its_last_user():
    memory, users = WorkMemory(), [User(), User()]
    for user, size in zip(users, (10, 20), strict=True):
        memory.use(user, size)
    first, second = memory.take(20), memory.take(10)
    assert first.ctypes.data != second.ctypes.data
    memory.give(first)
    assert memory.take(5) is first
    memory.give(first)
    memory.give(second)
    del user
    users.pop()
    gc.collect()
    third = memory.take(20)
    memory.give(third)
    assert memory.nbytes == second.nbytes  # the large one is not wanted any more
    users.clear()
    gc.collect()
    assert memory.nbytes == 0
