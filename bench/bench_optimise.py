"""Speed of minimisations, fits and their derivatives: `python -m pytest bench/bench_optimise.py`.

Results are checked against fastad's before they are timed. `python -m bench.optimisations` measures the same calls
interleaved and prints the figures of bench/RESULTS.md.
"""
import numpy as np
import pytest

from bench import contenders, optimisations
from bench.workloads import SMALL

TASKS = list(optimisations.optimistix()) if contenders.available("optimistix") else ["minimum", "fit"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("package", optimisations.CONTENDERS)
def test_optimisation(benchmark, package, task):
    if not contenders.available(package):
        pytest.skip(f"{package} is not installed")
    calls = optimisations.CONTENDERS[package]().get(task, {})
    if not calls:
        pytest.skip(f"{package} does not take part in {task}")
    wanted = next(iter(optimisations.ours()[task].values()))()
    for call in calls.values():
        np.testing.assert_allclose(call(), wanted, rtol=1e-4, atol=1e-4 * np.max(np.abs(wanted)))
    benchmark.group = task
    if SMALL:
        benchmark.pedantic(next(iter(calls.values())), rounds=2, warmup_rounds=1)
    else:
        benchmark(next(iter(calls.values())))
