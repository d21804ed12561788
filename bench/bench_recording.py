"""Microseconds a NumPy call while recording: every kind and program once. `python -m bench.recording` measures them."""
import pytest

from bench import contenders, recording
from bench.workloads import SMALL

pytestmark = pytest.mark.skipif(not contenders.available("fastad"), reason="fastad is not installed")


@pytest.mark.parametrize("name", recording.KINDS)
def test_kind(benchmark, name):
    assert benchmark.pedantic(recording.kind_time, (name,), rounds=1) > 0


@pytest.mark.parametrize("name", recording.PROGRAMS)
def test_program(benchmark, name):
    size = "small" if SMALL else "full"
    seconds, rows = benchmark.pedantic(recording.recorded, (name, size), rounds=1)
    assert seconds > 0 and rows > 0 and recording.calls_of(name, size) > 0
