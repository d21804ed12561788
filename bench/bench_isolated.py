"""Start-up, memory and the cost of scalar programs by size, each in processes of its own."""
import pytest

from bench import contenders, isolated
from bench.workloads import SMALL

pytestmark = pytest.mark.skipif(not contenders.available("fastad"), reason="fastad is not installed")


def measured(benchmark, task, *args, **arguments):
    benchmark.extra_info["figures"] = figures = benchmark.pedantic(task, args, arguments, rounds=1)
    return figures


def test_start(benchmark):
    figures = measured(benchmark, isolated.start, repeats=1 if SMALL else 5)
    assert SMALL or (figures["import"] <= 1.0 and figures["first gradient"] <= 0.1), figures


def test_programs_by_size(benchmark):
    sizes = (100, 200) if SMALL else (1_000, 10_000, 100_000)
    figures = measured(benchmark, isolated.scaling, sizes)
    assert all(f["table bytes"] <= 24 * f["table rows"] + 4096 for f in figures), figures
    if not SMALL:  # cost must be linear: ten times the rows take about ten times as long
        assert figures[2]["native first gradient"] <= 15 * figures[1]["native first gradient"], figures


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("name", ["sin-exp", "mlp", "gmm", "program-1e5"])
def test_memory(benchmark, name, tier):
    figures = measured(benchmark, isolated.run, "memory", name=name, tier=tier)
    assert SMALL or abs(figures["measured"] / figures["predicted"] - 1) <= 0.1, figures
