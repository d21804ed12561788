"""The demonstration's model, fit and uncertainty, and the demonstration as a whole."""

import sys

import numpy as np
import pytest

import fastad as fad
from fastad.demo import fit, measure, model, run, terminal


@pytest.fixture(scope="module")
def found():
    return fit.fit(fad.value_and_grad(model.misfit), model.START, lambda iteration, misfit: None)


def test_the_data_are_those_of_21_years():
    assert model.PELTS.shape == (2, 21) and len(model.YEARS) == 21
    assert model.PELTS[:, [0, -1]].T.tolist() == [[30, 4], [24.7, 8.6]]
    assert model.PELTS.sum(axis=1) == pytest.approx([715.7, 423.5])


def test_the_model_conserves_its_invariant():
    births, caught, deaths, fed = np.exp(model.START[2:])
    logs = model.solution(model.START)
    hares, lynxes = np.exp(logs)
    assert np.ptp(fed * hares - deaths * logs[0] + caught * lynxes - births * logs[1]) < 1e-6


def test_the_solution_is_that_of_scipy():
    assert float(model.misfit(model.START)) == pytest.approx(run.by_scipy(model.START), rel=1e-6)


def test_the_gradient_agrees_with_central_differences():
    # Differences of an adaptive solve contain the jumps where its steps change; so their step is large.
    differences = measure.central_differences(lambda x: model.misfit(x, rtol=1e-12), model.START, 1e-4)
    exact = fad.grad(lambda x: model.misfit(x, rtol=1e-12))(model.START)
    np.testing.assert_allclose(exact, differences, rtol=1e-5, atol=1e-5)


def test_forward_differences_are_derivatives():
    np.testing.assert_allclose(measure.forward_differences(np.sum, np.ones(3)), 1.0, rtol=1e-7)


def test_the_fitted_rates_are_those_of_the_literature(found):
    np.testing.assert_allclose(np.exp(found.x[2:]), model.LITERATURE[2:], rtol=0.04)
    assert found.misfits[-1] < 2.1 < found.misfits[0]
    assert np.all(np.diff(found.misfits) < 0)
    assert np.abs(fad.grad(model.misfit)(found.x)).max() < 1e-3


def test_the_uncertainty_is_that_of_the_inverse_hessian(found):
    """By a second way: along the direction of a parameter, the least misfit rises by s² at one standard deviation."""
    from scipy.optimize import minimize

    spread = fit.uncertainty(found.x)
    descent = fad.value_and_grad(model.misfit)
    shift = 0.01 * spread.parameters[2]

    def profile(x, level):
        value, gradient = descent(np.insert(x, 2, level))
        return value, np.delete(gradient, 2)

    others = np.delete(found.x, 2)
    above = [minimize(profile, others, (found.x[2] + s * shift,), jac=True).fun for s in (-1, 1)]
    rise = np.mean(above) - found.misfits[-1]
    assert rise / 0.01**2 == pytest.approx(spread.noise**2, rel=0.02)
    assert spread.solution.shape == (2, len(fit.FINE))
    np.testing.assert_allclose(spread.solution[:, 0], spread.parameters[:2], rtol=1e-12)  # at the start: y0's own


def test_the_demonstration_writes_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run.main(tmp_path / "new")
    printed = capsys.readouterr().out
    for word in ("solves", "bit for bit", "SciPy", "differences", "95% interval", "literature", "fit.png", "Finished"):
        assert word in printed
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["fit.png", "gradient-check.png", "loss.png"]
    assert all((tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_without_matplotlib_it_says_how_to_get_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "fastad.demo.pictures", raising=False)
    run.main(tmp_path)
    printed = capsys.readouterr().out
    assert "pip install matplotlib" in printed and "Finished" in printed
    assert not list(tmp_path.iterdir())


class Terminal:
    """A stream that says it is a terminal, and keeps what is written."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("with_tqdm", [False, True])
def test_the_progress_line_counts_stages_and_goes_away(with_tqdm, monkeypatch):
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    stream = Terminal()
    progress = terminal.Progress(2, stream)
    progress.stage("first")
    progress.stage("second")
    progress.detail("second, in detail")
    progress.close()
    assert "first" in stream.text and "second, in detail" in stream.text
    assert ("[1/2]" if not with_tqdm else "0/2") in stream.text
