"""The benchmarks of a GPU run, at their smallest sizes, on a device of the tests; without one: what is missing."""

import numpy as np
import pytest
from device_double import HostDevice

import fastad as fad
from bench import cuda
from fastad.execution.cuda.device import using, what_is_missing


@pytest.mark.parametrize("section", cuda.SECTIONS, ids=lambda f: f.__name__)
def test_sections(section, capsys):
    with using(HostDevice()):
        for name, figures in section(cuda.SMALL, 1e9):
            assert name and figures.get("seconds", 1) > 0
            if "bytes, measured/predicted" in figures:
                assert 0.95 < figures["bytes, measured/predicted"] < figures["asked"]


@pytest.mark.parametrize("gradient", [False, pytest.param(True, marks=pytest.mark.slow)])  # JAX compiles for long
@pytest.mark.parametrize("kind", cuda.MPGOS)
def test_diffrax_solves_the_same(kind, gradient):
    """On the processor, which shows that the peer's part can be called and what it computes."""
    pytest.importorskip("diffrax")
    rho = np.linspace(0, 21, 3)
    last = cuda.lorenz(kind, cuda.SMALL, np.float64)
    f = fad.grad(lambda r: np.sum(last(r) ** 2)) if gradient else last
    found = cuda.diffrax_lorenz(kind, cuda.SMALL, rho, gradient)()
    np.testing.assert_allclose(found, [f(r) for r in rho], rtol=1e-4, atol=1e-5)


def test_without_a_gpu(capsys):
    if what_is_missing() is None:
        pytest.skip("there is a GPU")
    assert cuda.main(["--small"]) == 1
    assert fad.cuda.missing() in capsys.readouterr().err
