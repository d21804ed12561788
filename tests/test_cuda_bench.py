"""The benchmarks of a GPU run, at their smallest sizes, on a device of the tests; without one: what is missing."""

import pytest
from device_double import HostDevice

import fastad as fad
from bench import cuda
from fastad.execution.cuda.device import using, what_is_missing


@pytest.mark.parametrize("section", cuda.SECTIONS, ids=lambda f: f.__name__)
def test_sections(section, capsys):
    with using(HostDevice()):
        for name, figures in section(cuda.SMALL, 1e9):
            assert name and figures["seconds"] > 0
            if "bytes, measured/predicted" in figures:
                assert 0.95 < figures["bytes, measured/predicted"] < figures["asked"]


def test_without_a_gpu(capsys):
    if what_is_missing() is None:
        pytest.skip("there is a GPU")
    assert cuda.main(["--small"]) == 1
    assert fad.cuda.missing() in capsys.readouterr().err
