"""Work memory is shared: it does not grow with the number of recordings, and no two runs have the same at once."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from thread_tools import in_threads

import fastad as fad
from fastad.execution.kernel import aligned, keeps_open
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


# ── memory of which little is touched ─────────────────────────────────────────────────────────────────────────
def resident():
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it")
def test_one_touch_of_sparse_memory_costs_no_two_megabytes():
    before = resident()
    memory = aligned(2**24, sparse=True)
    memory[:: 2**18] = 1.0  # every two megabytes
    assert resident() - before < 16 * 2**20 and memory.ctypes.data % 64 == 0 and memory[2**18] == 1.0
    memory[:] = 2.0
    assert memory.sum() == 2.0**25


def test_solves_of_unknown_length_take_sparse_memory():
    def cost(p, **options):
        sol = fad.solve_ivp(lambda t, y, p: -p * y, (0, 1), np.ones(2), args=(p,), **options)
        return np.sum(sol.y[:, -1] ** 2)

    event = lambda t, y, p: y[0] - 0.5
    opens = {"adaptive": {}, "with an event": {"events": event}, "fixed": {"step": 0.1, "t_eval": [1.0]}}
    found = {
        name: any(map(keeps_open, fad.trace(fad.vmap(fad.grad(lambda p, o=o: cost(p, **o))), np.ones(3)).subs))
        for name, o in opens.items()
    }
    assert found == {"adaptive": True, "with an event": True, "fixed": False}
