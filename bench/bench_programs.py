"""Programs as people write them for other tools, each once: gradients have the slope of the program, and are those of
the peers that are installed. `python -m bench.programs` measures them."""
import pytest

from bench import contenders, program_runs, programs
from bench.workloads import SMALL

pytestmark = pytest.mark.skipif(not contenders.available("fastad"), reason="fastad is not installed")
SIZE = "small" if SMALL else "full"
WHO = [name for name in ("fastad", "autograd") if contenders.available(name)]


@pytest.mark.parametrize("name", programs.NAMES)
def test_program(benchmark, name):
    gradient, x = program_runs.fastad(name, SIZE)
    found = program_runs.flat(benchmark.pedantic(gradient, (x,), rounds=1))
    assert program_runs.slope_is_right(name, SIZE, found)
    if "autograd" in WHO and program_runs.can_run(name, "autograd"):
        peer, x = program_runs.autograd(name, SIZE)
        program_runs.agree(name, "autograd", program_runs.flat(peer(x)), found)


def test_processes(tmp_path):
    """Figures of one program in processes of their own, for whoever is installed."""
    tmp_path.chmod(0o700)
    figures = program_runs.compared("rk4", tuple(WHO), SIZE, 0.0, 600.0, str(tmp_path))
    assert all(own["first"] > 0 and own["steady"] > 0 and own["primal"] > 0 for own in figures.values()), figures
