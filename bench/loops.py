"""Figures of long loops: the gradient of a million steps under a schedule or by an inverse, and the time of planning.

Each function is a task of `bench.isolated.run`, for a process of its own.
"""
import gc
import time
from pathlib import Path
from statistics import median

import numpy as np

from bench import functions

ROUNDS = 5


def resident(key: str) -> int:
    """Bytes of this process by this key of /proc; 0 where there is no such key."""
    status = Path("/proc/self/status")
    rows = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(row.split()[1]) for row in rows if row.startswith(key)), 0)


def growth(make) -> tuple:
    """(a call, the increase of the peak resident set of the process by making and calling it)."""
    gc.collect()
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # resets the peak to the current size
    before = resident("VmRSS")
    call = make()
    call()
    return call, max(resident("VmHWM") - before, 0)


def interleaved(calls: dict) -> dict[str, float]:
    """Median seconds of each call, in rounds A B C, C B A, …"""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS):
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            start = time.perf_counter()
            calls[name]()
            samples[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in samples.items()}


def work_bytes(prepared) -> int:
    """Work memory of a prepared call."""
    return kernel_bytes(prepared._binding.kernel)


def kernel_bytes(kernel) -> int:
    """The memory that a kernel has at once: its own work memory, and that of the largest kernel it calls."""
    called = [kernel_bytes(packet._kernel) for packet in getattr(kernel, "packets", ())]
    return 8 * kernel.work_size + max(called, default=0)


# ---- schedules ----------------------------------------------------------------------------------------------------
def revolve(steps: int, snapshots: int) -> dict:
    """The gradient of a map of ten numbers: under Revolve, Periodic and StoreAll, and the map itself."""
    import fastad as fad

    x = np.linspace(0.1, 1.0, 10)

    def final(x, schedule=None, n=steps):
        def step(state, _):
            return functions.oscillators(*state, 0.05), None

        (q, p), _ = fad.scan(step, (x[:5], x[5:]), None, length=n, checkpoint=schedule)
        return np.sum(q * q) + np.sum(p)

    def gradient(schedule, n=steps):
        return fad.grad(lambda x: final(x, schedule, n), tier="native").prepare(x)

    value = fad.jit(final, tier="native").prepare(x)
    every = round(steps**0.5)
    schedules = [fad.checkpoint.Revolve(snapshots), fad.checkpoint.Periodic(every), fad.checkpoint.StoreAll()]
    for schedule in schedules:  # compile everything; a different number of steps, so that no result is reused
        gradient(schedule, 2 * every)()
    runs, grown = {}, {}
    for schedule in schedules:
        runs[repr(schedule)], grown[repr(schedule)] = growth(lambda s=schedule: gradient(s))
    seconds = interleaved({"value": value, **runs})
    step = seconds["value"] / steps
    adjoint = (seconds["StoreAll()"] - seconds["value"]) / steps
    truth = runs["StoreAll()"]().copy()
    return {
        "steps": steps, "step": step, "adjoint step": adjoint,
        "schedules": [
            {
                "schedule": repr(s), "steps": s.predicted_steps(steps), "seconds": seconds[repr(s)],
                "predicted seconds": (s.predicted_steps(steps) + 1) * step + steps * adjoint,
                "bytes": work_bytes(runs[repr(s)]),
                "predicted bytes": s.predicted_bytes(steps, x.nbytes), "resident": grown[repr(s)],
                "equal": bool(np.array_equal(runs[repr(s)](), truth)),
            }
            for s in schedules
        ],
    }  # fmt: skip


# ---- invertible steps ---------------------------------------------------------------------------------------------
def leapfrog(steps: int) -> dict:
    """The gradient of two pendulums, by the inverse of a step and with all states stored."""
    import fastad as fad

    q, p, h = np.array([0.5, 1.0]), np.zeros(2), 0.01

    def final(q, p, inverse=None, n=steps):
        def step(state, _):
            return functions.leapfrog(*state, h), None

        (q, p), _ = fad.scan(step, (q, p), None, length=n, inverse=inverse)
        return np.sum(q * q) + np.sum(p)

    def back(state, _):
        return functions.leapfrog(*state, -h)

    def gradient(inverse, n=steps):
        return fad.grad(lambda q, p: final(q, p, inverse, n), (0, 1), tier="native").prepare(q, p)

    value = fad.jit(final, tier="native").prepare(q, p)
    calls = {"value": value, "inverse": gradient(back), "StoreAll": gradient(None)}
    inverted, stored = (np.concatenate(calls[name]()) for name in ("inverse", "StoreAll"))
    seconds = interleaved(calls)
    difference = float(np.abs(inverted - stored).max() / np.abs(stored).max())
    held = {name: work_bytes(calls[name]) for name in ("inverse", "StoreAll")}
    held["inverse, a tenth of the steps"] = work_bytes(gradient(back, steps // 10))
    return {"steps": steps, "difference": difference, "seconds": seconds, "bytes": held}


# ---- planning -----------------------------------------------------------------------------------------------------
PLANS = {"Revolve": (100,), "Online": (100,), "Periodic": (1000,), "Multistage": (100, 5)}


def planning(steps: int) -> list[dict]:
    """Seconds to plan: all actions of the schedules, made in pieces."""
    import fastad as fad
    from fastad.kernels import planning
    from fastad.schedules import tiered
    from fastad.schedules.base import new_buffer

    results = []
    for name, arguments in PLANS.items():
        schedule, buffer = getattr(fad.checkpoint, name)(*arguments), new_buffer()

        def plan(schedule=schedule, buffer=buffer):
            tiered._listed.cache_clear()
            state, actions = schedule.state(steps), 0
            while count := planning.plan(state, buffer):
                actions += count
            return actions

        actions = plan()
        seconds = interleaved({"plan": plan})["plan"]
        results.append({"schedule": repr(schedule), "steps": steps, "actions": actions, "seconds": seconds})
    return results
