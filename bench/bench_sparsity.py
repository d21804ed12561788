"""Sparse derivatives: patterns, colorings, Jacobians, Hessians; `python -m bench.sparsity` prints all with their ratios."""
import numpy as np
import pytest

from bench import contenders, sparsity
from bench.workloads import SMALL

pytestmark = pytest.mark.skipif(not contenders.available("fastad"), reason="fastad is not installed")


@pytest.mark.parametrize("name", sparsity.FUNCTIONS)
@pytest.mark.parametrize("what", ["pattern", "coloring", "Jacobian, prepared", "Jacobian", "SciPy, differences", "CasADi"])
def test_jacobians(benchmark, name, what):
    calls = sparsity.jacobian_calls(name)
    if what not in calls:
        pytest.skip("casadi is not installed")
    benchmark.group = f"Brusselator on a {name}, n = {sparsity.N}"
    found = benchmark.pedantic(calls[what], rounds=2, warmup_rounds=1) if SMALL else benchmark(calls[what])
    if what in ("SciPy, differences", "CasADi"):
        other = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
        wanted = calls["Jacobian"]().toarray()
        np.testing.assert_allclose(other, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("what", ["gradient", "Hessian"])
def test_hessians(benchmark, what):
    call = sparsity.hessian_calls(100 if SMALL else 10**5)[what]
    benchmark.group = "chained Rosenbrock function"
    if SMALL:
        benchmark.pedantic(call, rounds=2, warmup_rounds=1)
    else:
        benchmark(call)
