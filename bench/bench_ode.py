"""Speed of ODE solves and their gradients, one group a problem: `python -m pytest bench/bench_ode.py`.

Results are checked against fastad's at their tolerances before they are timed. `python -m bench.ode_report` measures
the same calls interleaved and prints the figures of bench/RESULTS.md.
"""
import pytest

from bench import agreement, contenders, ode_precision
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


@pytest.mark.parametrize("problem", ode_precision.DIAGRAMS)
def test_precision(benchmark, problem, tmp_path):
    """All contenders of a work-precision diagram come near the reference; the diagram is drawn from its file."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("diffrax")
    pytest.importorskip("casadi")
    points = benchmark.pedantic(ode_precision.measured, (ode_precision.DIAGRAMS[problem],), rounds=1)
    found = {name: min(own.error for own in points if own.contender == name) for name in ode_precision.CONTENDERS}
    assert found["fastad Dopri8"] < 0.3, found
    ode_precision.write(points, tmp_path / "precision.csv")
    ode_precision.main([problem, "--draw", "--output", str(tmp_path)])
    assert ode_precision.read(tmp_path / "precision.csv") and (tmp_path / f"precision-{problem}.png").stat().st_size
