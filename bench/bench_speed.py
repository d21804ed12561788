"""Speed of every contender on every workload, one group a workload: `python -m pytest bench/bench_speed.py`.

Results are checked before they are timed. `python -m bench.report` measures the same calls interleaved, in one process
a library; prefer its figures for comparisons.
"""
import pytest

from bench import agreement, contenders
from bench.workloads import BY_NAME, SMALL

REFERENCE: dict[str, object] = {}  # a workload's derivative by the contender that ran first


@pytest.mark.parametrize(("workload", "name"), sorted(contenders.REGISTRY, key=lambda key: list(BY_NAME).index(key[0])))
def test_speed(benchmark, workload, name):
    work, chosen = BY_NAME[workload], contenders.REGISTRY[workload, name]
    if not contenders.available(chosen.package):
        pytest.skip(f"{chosen.package} is not installed")
    call = chosen.factory(work, work.what)
    result = chosen.to_numpy(call())
    agreement.check(work, result)
    difference = agreement.relative_difference(result, REFERENCE.setdefault(workload, result))
    assert difference <= agreement.TOLERANCE
    benchmark.group = f"{workload}: {work.title}"
    benchmark.extra_info |= {"difference": difference, "small": SMALL}
    if SMALL:
        benchmark.pedantic(call, rounds=3, warmup_rounds=1)
    else:
        benchmark(call)
