"""Sparse derivatives: patterns, colorings, Jacobians, Hessians. `python -m bench.sparsity` prints them with ratios."""
import numpy as np
import pytest

from bench import contenders, sparsity
from bench.workloads import SMALL

pytestmark = pytest.mark.skipif(not contenders.available("fastad"), reason="fastad is not installed")
JACOBIANS = ["prepared", "fastad", "SciPy, differences", "CasADi", "CasADi, to SciPy"]


def timed(benchmark, call):
    return benchmark.pedantic(call, rounds=2, warmup_rounds=1) if SMALL else benchmark(call)


@pytest.mark.parametrize("name", sparsity.FUNCTIONS)
@pytest.mark.parametrize("what", ["pattern", "coloring"])
def test_patterns(benchmark, name, what):
    benchmark.group = f"{what}, Brusselator on a {name}, n = {sparsity.N}"
    timed(benchmark, sparsity.pattern_calls(name)[what])


@pytest.mark.parametrize("name", sparsity.FUNCTIONS)
@pytest.mark.parametrize("what", JACOBIANS)
def test_jacobians(benchmark, name, what):
    calls = sparsity.jacobian_calls(name)
    if what not in calls:
        pytest.skip("casadi is not installed")
    benchmark.group = f"Jacobian, Brusselator on a {name}, n = {sparsity.N}"
    found = timed(benchmark, calls[what])
    wanted = calls["fastad"]().toarray()
    other = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    np.testing.assert_allclose(other, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("what", ["gradient", "Hessian"])
def test_hessians(benchmark, what):
    benchmark.group = "chained Rosenbrock function"
    timed(benchmark, sparsity.hessian_calls(100 if SMALL else 10**5)[what])
