"""Speed of ODE solves and their gradients, one group a problem: `python -m pytest bench/bench_ode.py`.

Results are checked against fastad's at their tolerances before they are timed. `python -m bench.ode_report` measures
the same calls interleaved and prints the figures of bench/RESULTS.md.
"""
import pytest

from bench import agreement, contenders
from bench.ode_contenders import CONTENDERS
from bench.ode_report import flat
from bench.odes import PROBLEMS
from bench.workloads import SMALL

TOLERANCE = 1e-3  # methods and step sizes differ


@pytest.mark.parametrize("what", ["solve", "gradient"])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", CONTENDERS)
def test_odes(benchmark, name, problem, what):
    package, make = CONTENDERS[name]
    if not contenders.available(package):
        pytest.skip(f"{package} is not installed")
    work = PROBLEMS[problem]
    call = make(work, what)
    if call is None:
        pytest.skip(f"{name} does not take part in {problem}, {what}")
    if name != "fastad":
        wanted = flat(CONTENDERS["fastad"][1](work, what)())
        assert agreement.relative_difference(flat(call()), wanted) <= TOLERANCE
    benchmark.group = f"{problem}, {what}: {work.title}"
    if SMALL:
        benchmark.pedantic(call, rounds=2, warmup_rounds=1)
    else:
        benchmark(call)
