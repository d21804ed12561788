"""Samples of a call, and their medians."""
import gc
import statistics
import time
from collections.abc import Callable
from itertools import repeat


def sample_time(call: Callable, calls: int) -> float:
    """Seconds a call, over `calls` calls, with the garbage collector off."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in repeat(None, calls):
            call()
        return (time.perf_counter() - start) / calls
    finally:
        if enabled:
            gc.enable()


def calibrate(call: Callable, sample: float, warmup: float) -> int:
    """The number of calls that fill a sample. `call` first runs for `warmup` seconds, for compilation, caches and
    thread pools."""
    calls, start = 1, time.perf_counter()
    while True:
        seconds = sample_time(call, calls) * calls
        if seconds >= 0.7 * sample:
            break
        calls = max(calls + 1, min(10 * calls, round(calls * sample / max(seconds, 1e-9))))
    while time.perf_counter() - start < warmup:
        call()
    return calls


def summary(samples: list[float], calls: int, first: float) -> dict:
    """Figures of one contender: seconds a call, and how they were found."""
    quartiles = statistics.quantiles(samples, n=4) if len(samples) > 1 else samples * 3
    return {
        "median": statistics.median(samples), "best": min(samples), "quartiles": [quartiles[0], quartiles[2]],
        "rounds": len(samples), "calls": calls, "first": first,
    }
